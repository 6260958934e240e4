"""Commands that look inside: explain, gradcheck."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import END, NETWORK, PLACES, Given, file_name, shared
from pipelines.cli.terminal import print_json, print_text
from pipelines.disk.untrusted.printable import in_lines, printable
from pipelines.errors import UsageProblem


@shared(*NETWORK, "seed", "batch", "step", "at", "html", *PLACES, "unpinned", *END)
def explain(
    given: Given,
    batch: Annotated[int | None, typer.Option("--batch", metavar="N", min=1, help="Examples in the batch.")] = None,
    step: Annotated[
        int, typer.Option("--step", metavar="K", min=0, help="Number of the step; the training runs up to it.")
    ] = 0,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="0,10,last", help="Several steps of one training, the last one being `last`."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", parser=file_name, help="HTML page to write.")
    ] = None,
) -> None:
    """Show one training step from inside: forward, backward and update, with shapes, norms, FLOPs, times and formulas.

    Example:
        bpfunc explain
        bpfunc explain --hidden 16,8 --step 100 --html step.html
        bpfunc explain --at 0,10,100,last --html steps.html
    """
    from pipelines.disk.ownership import check_output
    from pipelines.inspection.explain import explain_moments, explained_table, last_step
    from pipelines.inspection.text import explained_lines
    from pipelines.stages.prepare import prepare
    from pipelines.training.rows import read_training_rows, training_split

    if html is not None:
        check_output(html, reads=[path for path in (given.config, given.source) if path is not None])
    spec = given.spec(*([] if batch is None else [f"train.batch_size={batch}"]))
    if spec.dataset.partitions:
        raise UsageProblem(
            "a step of streamed rows cannot be shown", where="dataset.partitions", remedy="leave the partitions out"
        )
    prepared, _ = prepare(spec.dataset, source=given.source, cache=given.cache, raw=given.raw)
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
    if given.as_json:
        tables = [explained_table(one) for one in found]
        print_json((tables[0] if at is None else {"moments": tables}) | {"page": None if html is None else str(html)})
        return
    if not given.quiet or html is None:
        for number, one in enumerate(found):
            if number:
                print_text(in_lines([""]))
            print_text(explained_lines(one))
    if html is not None:
        given.say(f"open it in a browser and turn over with the arrow keys: {html}")


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


@shared(*NETWORK, "seed", *END)
def gradcheck(given: Given) -> None:
    """Check every derivative of a recipe's network and loss, and of all ops; exit code 1 if one is wrong.

    Example:
        bpfunc gradcheck
        bpfunc gradcheck --recipe best --hidden 32,16 --json
        bpfunc gradcheck --set model.activation=gelu --quiet
    """
    from pipelines.disk.json_text import json_value
    from pipelines.inspection.gradcheck import check_derivatives
    from pipelines.inspection.text import check_lines

    spec = given.spec()
    rows = list(check_derivatives(spec))
    wrong = [row for row in rows if not row.found.passed]
    if given.as_json:
        print_json(
            {
                "recipe": spec.name,
                "seed": spec.train.seed,
                "checked": len(rows),
                "failed": len(wrong),
                "checks": [
                    {name: getattr(row, name) for name in ("subject", "name", "derivative")}
                    | {
                        "error": json_value(row.found.error),
                        "tolerance": row.found.tolerance,
                        "passed": row.found.passed,
                    }
                    for row in rows
                ],
            }
        )
    else:
        shown = wrong if given.quiet else rows
        if shown:
            print_text(check_lines(shown))
        print_text(printable(f"{len(rows)} derivatives checked, {len(wrong) or 'none'} wrong"))
    if wrong:
        raise typer.Exit(1)
