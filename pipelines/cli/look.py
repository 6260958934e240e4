"""Commands that look inside: gradcheck."""

from __future__ import annotations

import typer

from pipelines.cli.options import AsJson, Classes, Config, Hidden, Quiet, Recipe, Seed, Settings, Threads, merged_spec
from pipelines.cli.terminal import print_json
from pipelines.threads import use_threads


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
    from pipelines.derivatives import check_derivatives
    from pipelines.tabulate import check_lines

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
                        "error": row.found.error if row.found.error == row.found.error else None,
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
            print(check_lines(shown))
        print(f"{len(rows)} derivatives checked, {len(wrong) or 'none'} wrong")
    if wrong:
        raise typer.Exit(1)
