"""Commands that look inside: explain, gradcheck."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import (
    DEFAULT_CACHE,
    DEFAULT_RAW,
    AsJson,
    Cache,
    Classes,
    Config,
    Hidden,
    Quiet,
    Raw,
    Recipe,
    Seed,
    Settings,
    Source,
    Threads,
    Unpinned,
    file_name,
    merged_spec,
)
from pipelines.cli.terminal import print_json, print_text, say
from pipelines.disk.untrusted.printable import in_lines, printable
from pipelines.errors import UsageProblem
from pipelines.training.threads import use_threads


def explain(
    config: Config = None,
    recipe: Recipe = "report",
    settings: Settings = None,
    classes: Classes = None,
    hidden: Hidden = None,
    seed: Seed = None,
    batch: Annotated[int | None, typer.Option("--batch", metavar="N", min=1, help="Examples in the batch.")] = None,
    step: Annotated[int, typer.Option("--step", metavar="K", min=0, help="Which step; those before it are taken.")] = 0,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="0,10,last", help="Several steps of one training, the last one being `last`."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", parser=file_name, help="Page to project.")
    ] = None,
    source: Source = None,
    cache: Cache = DEFAULT_CACHE,
    raw: Raw = DEFAULT_RAW,
    unpinned: Unpinned = False,
    threads: Threads = 1,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Show one training step from inside: forward, backward and update, with shapes, norms, FLOPs, times and formulas.

    Example:
        bpfunc explain
        bpfunc explain --hidden 16,8 --step 100 --html step.html
        bpfunc explain --at 0,10,100,last --html steps.html
    """
    use_threads(threads)
    from pipelines.disk.ownership import check_output
    from pipelines.inspection.explain import explain_moments, explained_table, last_step
    from pipelines.inspection.text import explained_lines
    from pipelines.stages.prepare import prepare
    from pipelines.training.rows import read_training_rows, training_split

    if html is not None:
        check_output(html, reads=[path for path in (config, source) if path is not None])
    words = [*(settings or []), *([] if batch is None else [f"train.batch_size={batch}"])]
    spec = merged_spec(recipe, config, classes=classes, hidden=hidden, seed=seed, unpinned=unpinned, settings=words)
    if spec.dataset.partitions:
        raise UsageProblem(
            "a step of streamed rows cannot be shown", where="dataset.partitions", remedy="leave the partitions out"
        )
    prepared, _ = prepare(spec.dataset, source=source, cache=cache, raw=raw)
    train_rows, _ = training_split(read_training_rows(prepared.train), spec.train)
    try:
        steps = [step] if at is None else _steps(at, step, last_step(train_rows, spec))
        found = list(explain_moments(train_rows, spec, prepared.meta.class_names, steps))
    except ValueError as problem:
        place = "--step" if at is None else "--at"
        raise UsageProblem(str(problem), where=place, remedy="choose a step of the training") from None
    if html is not None:
        from pipelines.inspection.explain_page import write_explain_page

        write_explain_page(html, found)
    if as_json:
        tables = [explained_table(one) for one in found]
        print_json((tables[0] if at is None else {"moments": tables}) | {"page": None if html is None else str(html)})
        return
    if not quiet or html is None:
        for number, one in enumerate(found):
            if number:
                print_text(in_lines([""]))
            print_text(explained_lines(one))
    if html is not None:
        say(f"open it in a browser and turn over with the arrow keys: {html}", quiet=quiet)


def _steps(words: str, step: int, last: int) -> list[int]:
    """Read ``--at``: numbers of steps in any order, and ``last``."""
    if step:
        raise UsageProblem("--step and --at are given both", where="--at", remedy="name all steps in --at")
    names = [word.strip() for word in words.split(",")]
    wrong = [name for name in names if name != "last" and not (name.isascii() and name.isdecimal() and len(name) < 10)]
    if wrong:
        raise UsageProblem(
            f"expected numbers of steps and `last`, found {wrong[0]!r}",
            where="--at",
            remedy="write 0,10,100,last",
        )
    return sorted({last if name == "last" else int(name) for name in names})


def gradcheck(
    config: Config = None,
    recipe: Recipe = "report",
    settings: Settings = None,
    classes: Classes = None,
    hidden: Hidden = None,
    seed: Seed = None,
    threads: Threads = 1,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Check every derivative of a recipe's network and loss, and of all ops; exit code 1 if one is wrong.

    Example:
        bpfunc gradcheck
        bpfunc gradcheck --recipe best --hidden 32,16 --json
        bpfunc gradcheck --set model.activation=gelu --quiet
    """
    use_threads(threads)
    from pipelines.disk.json_text import json_value
    from pipelines.inspection.gradcheck import check_derivatives
    from pipelines.inspection.text import check_lines

    spec = merged_spec(recipe, config, classes=classes, hidden=hidden, seed=seed, settings=settings)
    rows = list(check_derivatives(spec))
    wrong = [row for row in rows if not row.found.passed]
    if as_json:
        print_json(
            {
                "recipe": spec.name,
                "seed": spec.train.seed,
                "checked": len(rows),
                "failed": len(wrong),
                "checks": [
                    {
                        "subject": row.subject,
                        "name": row.name,
                        "derivative": row.derivative,
                        "error": json_value(row.found.error),
                        "tolerance": row.found.tolerance,
                        "passed": row.found.passed,
                    }
                    for row in rows
                ],
            }
        )
    else:
        shown = wrong if quiet else rows
        if shown:
            print_text(check_lines(shown))
        print_text(printable(f"{len(rows)} derivatives checked, {len(wrong) or 'none'} wrong"))
    if wrong:
        raise typer.Exit(1)
