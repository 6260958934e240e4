"""Commands over many runs: study, search, sweep, compare."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.completion import complete_run
from pipelines.cli.options import (
    DEFAULT_CACHE,
    DEFAULT_RAW,
    AsJson,
    Cache,
    Classes,
    Config,
    Engine,
    Epochs,
    ExecutorName,
    Hidden,
    Out,
    Quiet,
    Raw,
    Recipe,
    Settings,
    Source,
    Threads,
    Unpinned,
    file_name,
    merged_spec,
    run_or_study,
    settings_with,
)
from pipelines.cli.terminal import overall, print_json, print_text, say
from pipelines.disk.untrusted.printable import in_lines, printable, shell
from pipelines.runs.naming import RUNS
from pipelines.training.interrupts import Interrupted
from pipelines.training.threads import use_threads

if TYPE_CHECKING:
    from pipelines.studies.executors import Workers


def study(
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", min=1, help="Train seeds 0 to N-1.")] = 10,
    jobs: Annotated[int, typer.Option("--jobs", metavar="M", min=1, help="Processes at a time.")] = 1,
    ablate: Annotated[bool, typer.Option("--ablate", help="Once more without each ingredient, one at a time.")] = False,
    config: Config = None,
    recipe: Recipe = "report",
    settings: Settings = None,
    classes: Classes = None,
    hidden: Hidden = None,
    epochs: Epochs = None,
    source: Source = None,
    cache: Cache = DEFAULT_CACHE,
    raw: Raw = DEFAULT_RAW,
    out: Out = None,
    unpinned: Unpinned = False,
    executor: ExecutorName = "processes",
    engine: Engine = None,
    threads: Threads = 1,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train many seeds of one recipe and sum them up; a finished seed is never trained again.

    Example:
        bpfunc study --recipe report --seeds 10 --jobs 2
        bpfunc study --recipe best --seeds 5 --ablate
    """
    use_threads(threads)
    from pipelines.dataset.places import Places
    from pipelines.studies.ablation import ablation_table
    from pipelines.studies.conduct import conduct_study
    from pipelines.studies.study import study_table
    from pipelines.studies.text import ablation_lines, study_lines

    spec = merged_spec(
        recipe,
        config,
        classes=classes,
        hidden=hidden,
        epochs=epochs,
        engine=engine,
        unpinned=unpinned,
        settings=settings,
    )
    directory, places = out or RUNS / f"study-{spec.name}", Places(source=source, cache=cache, raw=raw)
    with _workers("study", executor, jobs, threads, quiet=quiet) as workers:
        done = conduct_study(spec, seeds, directory, places, workers, ablate=ablate)
    if as_json:
        document = {"study": str(directory), "page": str(done.page), **study_table(done.study)}
        print_json(document | {"ablation": ablation_table(done.ablation)} if ablate else document)
    else:
        print_text(study_lines(done.study))
        if ablate:
            print_text(ablation_lines(done.ablation))
        print_text(in_lines([f"study: {directory / 'study.json'}", f"page: {done.page}"]))


@contextmanager
def _workers(name: str, executor: str, jobs: int, threads: int, *, quiet: bool) -> Iterator[Workers]:
    """Give what runs many trainings; whenever it is interrupted, say that the same command goes on."""
    from pipelines.studies.executors import Workers

    bar = partial(overall, name, quiet=quiet)
    try:
        yield Workers(executor=executor, jobs=jobs, threads=threads, say=partial(say, quiet=quiet), progress=bar)
    except (KeyboardInterrupt, Interrupted):
        raise Interrupted("the same command goes on") from None


def search(
    space: Annotated[Path, typer.Argument(metavar="SEARCH.toml", help="Recipe, folds and variants to try.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the log is kept; resumes what is there.")],
    jobs: Annotated[int, typer.Option("--jobs", metavar="M", min=1, help="Processes at a time.")] = 1,
    settings: Settings = None,
    source: Source = None,
    cache: Cache = DEFAULT_CACHE,
    raw: Raw = DEFAULT_RAW,
    executor: ExecutorName = "processes",
    engine: Engine = None,
    threads: Threads = 1,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Choose settings by cross-validation over the training split; the test split is never opened.

    Example:
        bpfunc search docs/searches/best-1.toml --out data/runs/search --jobs 2
        bpfunc search docs/searches/best-1.toml --out data/runs/search --set train.epochs=10
    """
    use_threads(threads)
    from pipelines.dataset.places import Places
    from pipelines.studies.text import search_lines
    from pipelines.studies.tuning.conduct import conduct_search

    places, changes = Places(source=source, cache=cache, raw=raw), settings_with(engine, settings)
    with _workers("search", executor, jobs, threads, quiet=quiet) as workers:
        table = conduct_search(space, out, places, workers, changes=changes)
    if as_json:
        print_json(table)
    else:
        print_text(search_lines(table))


def sweep(
    space: Annotated[Path, typer.Argument(metavar="SPACE.toml", help="Recipe and the ranges of its fields.")],
    trials: Annotated[int, typer.Option("--trials", metavar="N", min=1, help="Trials in all, of everybody.")] = 50,
    jobs: Annotated[int, typer.Option("--jobs", metavar="M", min=1, help="Trials at a time.")] = 1,
    storage: Annotated[
        str | None, typer.Option("--storage", metavar="URL", help="Database that many machines share.")
    ] = None,
    settings: Settings = None,
    source: Source = None,
    cache: Cache = DEFAULT_CACHE,
    raw: Raw = DEFAULT_RAW,
    out: Out = None,
    executor: ExecutorName = "processes",
    engine: Engine = None,
    threads: Threads = 1,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Search settings with Optuna by validation loss; the test split is never opened, and what is there goes on.

    Example:
        bpfunc sweep SPACE.toml --trials 50 --jobs 2
    """
    use_threads(threads)
    from pipelines.dataset.places import Places
    from pipelines.studies.text import trial_line
    from pipelines.studies.tuning.conduct import conduct_sweep
    from pipelines.studies.tuning.sweep import sweep_table

    directory, places = out or RUNS / f"sweep-{space.stem}", Places(source=source, cache=cache, raw=raw)
    changes = settings_with(engine, settings)
    with _workers("sweep", executor, jobs, threads, quiet=quiet) as workers:
        done = conduct_sweep(space, directory, trials, places, workers, changes=changes, storage=storage)
    if as_json:
        best, *rows = sweep_table([done.best, *done.results])
        print_json({"sweep": str(directory), "config": str(done.config), "best": best, "trials": rows})
    else:
        print_text(printable(f"best of {len(done.results)}: {trial_line(done.best)}"))
        print_text(shell(["bpfunc", "run", "--config", str(done.config)]))


def compare(
    a: Annotated[
        Path,
        typer.Argument(metavar="A", parser=run_or_study, autocompletion=complete_run, help="A run or a study."),
    ],
    b: Annotated[
        Path,
        typer.Argument(metavar="B", parser=run_or_study, autocompletion=complete_run, help="Another."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", parser=file_name, help="Page with pictures.")
    ] = None,
    source: Source = None,
    cache: Cache = DEFAULT_CACHE,
    raw: Raw = DEFAULT_RAW,
    as_json: AsJson = False,
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
        from pipelines.dataset.places import Places
        from pipelines.disk.ownership import check_output
        from pipelines.studies.comparison import side_by_side
        from pipelines.studies.comparison_page import write_comparison_page

        check_output(out, reads=[path for path in (a, b, source) if path is not None])

        sides = side_by_side(a, b, Places(source=source, cache=cache, raw=raw))
        found = sides.comparison
        write_comparison_page(out, sides, shell(["bpfunc", "compare", str(a), str(b), "--out", str(out)]))
    if as_json:
        print_json({**attrs.asdict(found), "page": None if out is None else str(out)})
        return
    print_text(comparison_lines(found))
    if out is not None:
        print_text(printable(f"page: {out}"))
