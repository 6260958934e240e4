"""Commands over many runs: study, search, sweep, compare."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.completion import complete_run
from pipelines.cli.options import END, NETWORK, PLACES, Given, Jobs, file_name, run_or_study, shared
from pipelines.cli.terminal import overall, print_result
from pipelines.disk.untrusted.printable import in_lines, printable, shell
from pipelines.runs.naming import RUNS
from pipelines.training.interrupts import Interrupted

if TYPE_CHECKING:
    from pipelines.studies.executors import Workers


@shared(
    *("seeds", "jobs", "ablate", *NETWORK, "epochs", *PLACES, "out", "unpinned", "executor", "engine"),
    *END,
)
def study(
    given: Given,
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", min=1, help="Train seeds 0 to N-1.")] = 10,
    jobs: Jobs = 1,
    ablate: Annotated[bool, typer.Option("--ablate", help="Once more without each ingredient, one at a time.")] = False,
) -> None:
    """Train many seeds of one recipe and sum them up; a finished seed is never trained again.

    Example:
        bpfunc study --recipe report --seeds 10 --jobs 2
        bpfunc study --recipe best --seeds 5 --ablate
    """
    from pipelines.studies.ablation import ablation_table
    from pipelines.studies.conduct import conduct_study
    from pipelines.studies.study import study_table
    from pipelines.studies.text import ablation_lines, study_lines

    spec = given.spec()
    directory = given.out or RUNS / f"study-{spec.name}"
    with _workers("study", given, jobs) as workers:
        done = conduct_study(spec, seeds, directory, given.places(), workers, ablate=ablate)
    document = {"study": str(directory), "page": str(done.page), **study_table(done.study)}
    lines = study_lines(done.study).splitlines()
    if ablate:
        document["ablation"] = ablation_table(done.ablation)
        lines += ablation_lines(done.ablation).splitlines()
    lines += [f"study: {directory / 'study.json'}", f"page: {done.page}"]
    print_result(document, in_lines(lines), as_json=given.as_json)


@contextmanager
def _workers(name: str, given: Given, jobs: int) -> Iterator[Workers]:
    """Give what runs many trainings; whenever it is interrupted, say that the same command goes on."""
    from pipelines.studies.executors import Workers

    bar = partial(overall, name, quiet=given.quiet)
    try:
        yield Workers(executor=given.executor, jobs=jobs, threads=given.threads, say=given.say, progress=bar)
    except (KeyboardInterrupt, Interrupted):
        raise Interrupted("the same command goes on") from None


@shared("space", "out", "jobs", "settings", *PLACES, "executor", "engine", *END)
def search(
    given: Given,
    space: Annotated[Path, typer.Argument(metavar="SEARCH.toml", help="Recipe, folds and variants to try.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Directory of the log; a search there goes on.")],
    jobs: Jobs = 1,
) -> None:
    """Choose settings by cross-validation over the training split; the test split is never opened.

    Example:
        bpfunc search docs/searches/best-1.toml --out data/runs/search --jobs 2
        bpfunc search docs/searches/best-1.toml --out data/runs/search --set train.epochs=10
    """
    from pipelines.studies.text import search_lines
    from pipelines.studies.tuning.conduct import conduct_search

    with _workers("search", given, jobs) as workers:
        table = conduct_search(space, out, given.places(), workers, changes=given.changes())
    print_result(table, search_lines(table), as_json=given.as_json)


@shared("space", "trials", "jobs", "storage", "settings", *PLACES, "out", "executor", "engine", *END)
def sweep(
    given: Given,
    space: Annotated[Path, typer.Argument(metavar="SPACE.toml", help="Recipe and the ranges of its fields.")],
    trials: Annotated[int, typer.Option("--trials", metavar="N", min=1, help="Trials in all, of everybody.")] = 50,
    jobs: Annotated[int, typer.Option("--jobs", metavar="M", min=1, help="Trials at a time.")] = 1,
    storage: Annotated[
        str | None, typer.Option("--storage", metavar="URL", help="Database that many machines share.")
    ] = None,
) -> None:
    """Search settings with Optuna by validation loss; the test split is never opened, and what is there goes on.

    Example:
        bpfunc sweep SPACE.toml --trials 50 --jobs 2
    """
    from pipelines.studies.text import trial_line
    from pipelines.studies.tuning.conduct import conduct_sweep
    from pipelines.studies.tuning.sweep import sweep_table

    directory, places = given.out or RUNS / f"sweep-{space.stem}", given.places()
    with _workers("sweep", given, jobs) as workers:
        done = conduct_sweep(space, directory, trials, places, workers, changes=given.changes(), storage=storage)
    best, *rows = sweep_table([done.best, *done.results])
    document = {"sweep": str(directory), "config": str(done.config), "best": best, "trials": rows}
    told = printable(f"best of {len(done.results)}: {trial_line(done.best)}")
    lines = [told, shell(["bpfunc", "run", "--config", str(done.config)])]
    print_result(document, in_lines(lines), as_json=given.as_json)


@shared("a", "b", "out", *PLACES, "as_json")
def compare(
    given: Given,
    a: Annotated[
        Path, typer.Argument(metavar="A", parser=run_or_study, autocompletion=complete_run, help="A run or a study.")
    ],
    b: Annotated[Path, typer.Argument(metavar="B", parser=run_or_study, autocompletion=complete_run, help="Another.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", parser=file_name, help="Page with pictures.")
    ] = None,
) -> None:
    """Compare two runs or studies on the same test rows: difference, interval, McNemar's test.

    Example:
        bpfunc compare data/runs/first data/runs/second
        bpfunc compare data/runs/first data/runs/second --out compare.html
    """
    import attrs

    from pipelines.studies.compare import compare as compared
    from pipelines.studies.text import comparison_lines

    if out is None:
        found = compared(a, b)
    else:
        from pipelines.disk.ownership import check_output
        from pipelines.studies.comparison import side_by_side
        from pipelines.studies.comparison_page import write_comparison_page

        check_output(out, reads=[path for path in (a, b, given.source) if path is not None])
        sides = side_by_side(a, b, given.places())
        found = sides.comparison
        write_comparison_page(out, sides, shell(["bpfunc", "compare", str(a), str(b), "--out", str(out)]))
    document = {**attrs.asdict(found), "page": None if out is None else str(out)}
    lines = [*comparison_lines(found).splitlines(), *([] if out is None else [f"page: {out}"])]
    print_result(document, in_lines(lines), as_json=given.as_json)
