"""Commands of one run: run, train, evaluate, report."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.cli.options import END, PLACES, TRAINING, DataParallel, Given, RunDirectory, shared
from pipelines.cli.terminal import describe_decision, print_json, print_text, progress, say
from pipelines.disk.untrusted.printable import in_lines, printable
from pipelines.report.drawing.wording import plural

if TYPE_CHECKING:
    from pipelines.artifacts import ReportFiles
    from pipelines.runs.data_parallel import MpiProcesses
    from pipelines.runs.directory import Finished
    from pipelines.runs.metrics import RunMetrics
    from pipelines.spec.run_spec import RunSpec


@shared(*TRAINING, *END)
def run(given: Given) -> None:
    """Prepare the data, train a network, evaluate it on the test split, and write the report.

    Example:
        bpfunc run --hidden 256,128 --epochs 20 --seed 1
        bpfunc run --classes "Bag,Coat,Shirt,Pullover"
        bpfunc run --recipe best --set train.learning_rate=0.001 --json
    """
    from pipelines.disk.ownership import check_new_directory
    from pipelines.runs.run import evaluate_run, report_run

    if given.out is not None:
        check_new_directory(given.out)
    spec = given.spec()
    finished = _train(spec, given)
    evaluation, values = evaluate_run(spec, finished)
    files = report_run(spec, finished, evaluation)
    _show_result(finished.directory, values, files, as_json=given.as_json)


@shared(*TRAINING, "stream", "data_parallel", *END)
def train(given: Given, data_parallel: DataParallel = False) -> None:
    """Prepare the data and train a network; the test split stays sealed.

    Example:
        bpfunc train --recipe report --out data/runs/first
    """
    with _processes(data_parallel) as processes:
        from pipelines.disk.ownership import check_new_directory

        if given.out is not None:
            check_new_directory(given.out)
        spec = given.spec()
        finished = _train(spec, given, sealed=True) if processes is None else _train_together(spec, given, processes)
        if finished is not None:
            _show_training(spec, finished, as_json=given.as_json)


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


@shared("run", "checkpoint_every", *PLACES, *END)
def resume(given: Given, run: RunDirectory) -> None:
    """Continue an interrupted run to its end; the result has the same bits as that of a run without interruption.

    Example:
        bpfunc resume data/runs/first
    """
    from pipelines.runs.directory import SEALED, read_config
    from pipelines.runs.run import evaluate_run, report_run, resume_run
    from pipelines.training.engine import telling

    observe = progress(read_config(run), quiet=given.quiet)
    with telling(given.say):
        spec, finished = resume_run(run, given.places(), observe=observe, tell=given.say, every=given.checkpoint_every)
    if (run / SEALED).is_file():
        _show_training(spec, finished, as_json=given.as_json)
        return
    evaluation, values = evaluate_run(spec, finished)
    _show_result(run, values, report_run(spec, finished, evaluation), as_json=given.as_json)


@shared("run", *PLACES, *END)
def evaluate(given: Given, run: RunDirectory) -> None:
    """Measure a trained run on the test split and write its metrics.json.

    Example:
        bpfunc evaluate data/runs/first --json
    """
    from pipelines.runs.run import evaluate_run, reopen_run

    spec, finished = reopen_run(run, given.places())
    given.say(_data_words(finished))
    _, values = evaluate_run(spec, finished)
    _show_result(run, values, None, as_json=given.as_json)


@shared("run", *PLACES, *END)
def report(given: Given, run: RunDirectory) -> None:
    """Draw the pictures and the page of a trained run again.

    Example:
        bpfunc report data/runs/first
    """
    from pipelines.runs.run import evaluate_run, reopen_run, report_run

    spec, finished = reopen_run(run, given.places())
    given.say(_data_words(finished))
    evaluation, values = evaluate_run(spec, finished)
    _show_result(run, values, report_run(spec, finished, evaluation), as_json=given.as_json)


def _data_words(finished: Finished) -> str:
    return f"data: {describe_decision(finished.decision)}, {finished.prepared.path}"


def _train(spec: RunSpec, given: Given, *, sealed: bool = False) -> Finished:
    from pipelines.runs.run import train_run
    from pipelines.training.engine import telling, why_numpy

    observe, every = progress(spec, quiet=given.quiet), given.checkpoint_every
    with telling(given.say):
        finished = train_run(spec, given.places(), now=datetime.now(), observe=observe, sealed=sealed, every=every)
    given.say(_data_words(finished))
    if reason := why_numpy(spec):
        given.say(reason)
    return finished


def _train_together(spec: RunSpec, given: Given, processes: MpiProcesses) -> Finished | None:
    from bpfunc.gradient.data_parallel import data_parallel
    from pipelines.runs.data_parallel import train_together
    from pipelines.training.engine import why_numpy

    quiet = given.quiet or processes.rank > 0
    say(f"{processes.size} processes", quiet=quiet)
    observe, every = progress(spec, quiet=quiet), given.checkpoint_every
    finished = train_together(spec, given.places(), processes, now=datetime.now(), observe=observe, every=every)
    if reason := why_numpy(spec, data_parallel(processes)):
        say(reason, quiet=quiet)
    return finished


def _show_result(directory: Path, values: RunMetrics, files: ReportFiles | None, *, as_json: bool) -> None:
    from pipelines.runs.metrics import metrics_table
    from pipelines.runs.text import result_table

    if as_json:
        shown = {"run": str(directory), "report": None if files is None else str(files.html)}
        print_json(shown | metrics_table(values))
        return
    print_text(result_table(values))
    if files is not None:
        print_text(printable(f"report: {files.html}"))
