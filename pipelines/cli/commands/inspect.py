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
from pipelines.disk.untrusted.printable import printable
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
    """
    use_threads(threads)
    from pipelines.disk.ownership import check_output
    from pipelines.inspection.explain import explain as explained
    from pipelines.inspection.explain import explained_table
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
    learn, _ = training_split(read_training_rows(prepared.train), spec.train)
    try:
        found = explained(learn, spec, prepared.meta.class_names, step=step)
    except ValueError as problem:
        raise UsageProblem(str(problem), where="--step", remedy="choose a step of the training") from None
    if html is not None:
        from pipelines.inspection.explain_page import write_explain_page

        write_explain_page(html, found)
    if as_json:
        print_json(explained_table(found) | {"page": None if html is None else str(html)})
        return
    if not quiet or html is None:
        print_text(explained_lines(found))
    if html is not None:
        say(f"turn over with the arrow keys: {html}", quiet=quiet)


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
