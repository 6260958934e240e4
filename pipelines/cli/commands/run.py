"""Commands of one run: run, train, evaluate, report."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.cli.options import (
    DEFAULT_CACHE,
    DEFAULT_RAW,
    AsJson,
    Cache,
    CheckpointEvery,
    Classes,
    Config,
    DataParallel,
    Engine,
    Epochs,
    Hidden,
    OnNan,
    Out,
    Quiet,
    Raw,
    Recipe,
    RunDirectory,
    Seed,
    Settings,
    Source,
    Stream,
    Threads,
    Unpinned,
    merged_spec,
)
from pipelines.cli.terminal import describe_decision, print_json, print_text, progress, say
from pipelines.disk.untrusted.printable import in_lines, printable
from pipelines.report.drawing.wording import plural
from pipelines.training.threads import use_threads

if TYPE_CHECKING:
    from pipelines.artifacts import ReportFiles
    from pipelines.dataset.places import Places
    from pipelines.runs.data_parallel import MpiProcesses
    from pipelines.runs.directory import Finished
    from pipelines.spec.run_spec import RunSpec


def run(
    config: Config = None,
    recipe: Recipe = "report",
    settings: Settings = None,
    classes: Classes = None,
    hidden: Hidden = None,
    epochs: Epochs = None,
    seed: Seed = None,
    on_nan: OnNan = None,
    engine: Engine = None,
    checkpoint_every: CheckpointEvery = 20.0,
    source: Source = None,
    cache: Cache = DEFAULT_CACHE,
    raw: Raw = DEFAULT_RAW,
    out: Out = None,
    unpinned: Unpinned = False,
    threads: Threads = 1,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Prepare the data, train a network, evaluate it on the test split, and write the report.

    Example:
        bpfunc run --hidden 256,128 --epochs 20 --seed 1
        bpfunc run --classes "Bag,Coat,Shirt,Pullover"
        bpfunc run --recipe best --set train.learning_rate=0.001 --json
    """
    use_threads(threads)
    from pipelines.dataset.places import Places
    from pipelines.disk.ownership import check_new_directory
    from pipelines.runs.run import evaluate_run, report_run

    if out is not None:
        check_new_directory(out)
    spec = merged_spec(
        recipe,
        config,
        classes=classes,
        hidden=hidden,
        epochs=epochs,
        seed=seed,
        on_nan=on_nan,
        engine=engine,
        unpinned=unpinned,
        settings=settings,
    )
    finished = _train(spec, Places(source=source, cache=cache, raw=raw, out=out), quiet=quiet, every=checkpoint_every)
    evaluation, values = evaluate_run(spec, finished)
    files = report_run(spec, finished, evaluation)
    _show_result(finished.directory, values, files, as_json=as_json)


def train(
    config: Config = None,
    recipe: Recipe = "report",
    settings: Settings = None,
    classes: Classes = None,
    hidden: Hidden = None,
    epochs: Epochs = None,
    seed: Seed = None,
    on_nan: OnNan = None,
    engine: Engine = None,
    checkpoint_every: CheckpointEvery = 20.0,
    source: Source = None,
    cache: Cache = DEFAULT_CACHE,
    raw: Raw = DEFAULT_RAW,
    out: Out = None,
    unpinned: Unpinned = False,
    stream: Stream = None,
    data_parallel: DataParallel = False,
    threads: Threads = 1,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Prepare the data and train a network; the test split stays sealed.

    Example:
        bpfunc train --recipe report --out data/runs/first
    """
    use_threads(threads)
    with _processes(data_parallel) as processes:
        from pipelines.dataset.places import Places
        from pipelines.disk.ownership import check_new_directory

        if out is not None:
            check_new_directory(out)
        spec = merged_spec(
            recipe,
            config,
            classes=classes,
            hidden=hidden,
            epochs=epochs,
            seed=seed,
            on_nan=on_nan,
            engine=engine,
            unpinned=unpinned,
            stream=stream,
            settings=settings,
        )
        places = Places(source=source, cache=cache, raw=raw, out=out)
        finished: Finished | None
        if processes is None:
            finished = _train(spec, places, quiet=quiet, sealed=True, every=checkpoint_every)
        else:
            finished = _train_together(spec, places, processes, quiet=quiet, every=checkpoint_every)
        if finished is not None:
            _show_training(spec, finished, as_json=as_json)


def _processes(data_parallel: bool) -> AbstractContextManager[MpiProcesses | None]:
    if not data_parallel:
        return nullcontext()
    from pipelines.runs.data_parallel import mpi_processes

    return mpi_processes()


def _show_training(spec: RunSpec, finished: Finished, *, as_json: bool) -> None:
    from pipelines.spec.toml import to_table

    last = finished.trained.history[finished.trained.epoch - 1]
    if as_json:
        print_json(
            {
                "run": str(finished.directory),
                "validation_accuracy": last.validation_accuracy,
                "train_seconds": finished.trained.train_seconds,
                "config": to_table(spec),
            }
        )
    else:
        shown = "none held out" if last.validation_accuracy is None else f"{last.validation_accuracy:.2%}"
        trained = finished.trained
        lines = [
            f"trained {plural(len(trained.history), 'epoch', 'epochs')} in {trained.train_seconds:.1f} s",
            f"kept epoch {last.epoch}, validation accuracy {shown}",
            f"run: {finished.directory}",
        ]
        print_text(in_lines(lines))


def resume(
    run: RunDirectory,
    checkpoint_every: CheckpointEvery = 20.0,
    source: Source = None,
    cache: Cache = DEFAULT_CACHE,
    raw: Raw = DEFAULT_RAW,
    threads: Threads = 1,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Go on with a run that was interrupted, bit for bit as if it had not been, and do what was left to do.

    Example:
        bpfunc resume data/runs/first
    """
    use_threads(threads)
    from pipelines.dataset.places import Places
    from pipelines.runs.directory import SEALED, read_config
    from pipelines.runs.run import evaluate_run, report_run, resume_run
    from pipelines.training.engine import telling

    observe = progress(read_config(run), quiet=quiet)
    tell = partial(say, quiet=quiet)
    places = Places(source=source, cache=cache, raw=raw)
    with telling(tell):
        spec, finished = resume_run(run, places, observe=observe, tell=tell, every=checkpoint_every)
    if (run / SEALED).is_file():
        _show_training(spec, finished, as_json=as_json)
        return
    evaluation, values = evaluate_run(spec, finished)
    _show_result(run, values, report_run(spec, finished, evaluation), as_json=as_json)


def evaluate(
    run: RunDirectory,
    source: Source = None,
    cache: Cache = DEFAULT_CACHE,
    raw: Raw = DEFAULT_RAW,
    threads: Threads = 1,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Measure a trained run on the test split and write its metrics.json.

    Example:
        bpfunc evaluate data/runs/first --json
    """
    use_threads(threads)
    from pipelines.dataset.places import Places
    from pipelines.runs.run import evaluate_run, reopen_run

    spec, finished = reopen_run(run, Places(source=source, cache=cache, raw=raw))
    say(f"data: {describe_decision(finished.decision)}, {finished.prepared.path}", quiet=quiet)
    _, values = evaluate_run(spec, finished)
    _show_result(run, values, None, as_json=as_json)


def report(
    run: RunDirectory,
    source: Source = None,
    cache: Cache = DEFAULT_CACHE,
    raw: Raw = DEFAULT_RAW,
    threads: Threads = 1,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Draw the pictures and the page of a trained run again.

    Example:
        bpfunc report data/runs/first
    """
    use_threads(threads)
    from pipelines.dataset.places import Places
    from pipelines.runs.run import evaluate_run, reopen_run, report_run

    spec, finished = reopen_run(run, Places(source=source, cache=cache, raw=raw))
    say(f"data: {describe_decision(finished.decision)}, {finished.prepared.path}", quiet=quiet)
    evaluation, values = evaluate_run(spec, finished)
    _show_result(run, values, report_run(spec, finished, evaluation), as_json=as_json)


def _train(spec: RunSpec, places: Places, *, quiet: bool, every: float, sealed: bool = False) -> Finished:
    from pipelines.runs.run import train_run
    from pipelines.training.engine import telling, why_numpy

    observe = progress(spec, quiet=quiet)
    with telling(partial(say, quiet=quiet)):
        finished = train_run(spec, places, now=datetime.now(), observe=observe, sealed=sealed, every=every)
    say(f"data: {describe_decision(finished.decision)}, {finished.prepared.path}", quiet=quiet)
    if reason := why_numpy(spec):
        say(reason, quiet=quiet)
    return finished


def _train_together(
    spec: RunSpec, places: Places, processes: MpiProcesses, *, quiet: bool, every: float
) -> Finished | None:
    from bpfunc.gradient.data_parallel import data_parallel
    from pipelines.runs.data_parallel import train_together
    from pipelines.training.engine import why_numpy

    quiet = quiet or processes.rank > 0
    say(f"{processes.size} processes", quiet=quiet)
    observe = progress(spec, quiet=quiet)
    finished = train_together(spec, places, processes, now=datetime.now(), observe=observe, every=every)
    if reason := why_numpy(spec, data_parallel(processes)):
        say(reason, quiet=quiet)
    return finished


def _show_result(directory: Path, values: Mapping[str, object], files: ReportFiles | None, *, as_json: bool) -> None:
    if as_json:
        print_json({"run": str(directory), "report": None if files is None else str(files.html), **values})
        return
    from pipelines.runs.text import result_table

    print_text(result_table(values))
    if files is not None:
        print_text(printable(f"report: {files.html}"))
