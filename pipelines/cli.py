"""The command line: it parses, calls and prints. What it calls is importable, and what it prints is computed elsewhere.

Heavy imports stand inside the commands, so that ``bpfunc --help`` pays for none of them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.errors import PipelineError, UsageProblem
from pipelines.threads import use_threads

if TYPE_CHECKING:
    from pipelines.artifacts import ReportFiles
    from pipelines.config import RunSpec
    from pipelines.run import Finished, Places
    from pipelines.stages.train import Progress, Watch

app = typer.Typer(
    name="bpfunc",
    help="Backpropagation as pure functions: prepare the data, train, evaluate, report.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(
    help="Prepared data: make it, look at it, check it.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(data_app, name="data")

Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="TOML file laid over the recipe.")]
Recipe = Annotated[str, typer.Option("--recipe", metavar="NAME", help="Named configuration to start from.")]
Classes = Annotated[str | None, typer.Option("--classes", metavar="A,B,C", help="Class names or numbers, 2 to 10.")]
Hidden = Annotated[str | None, typer.Option("--hidden", metavar="256,128", help="Widths of the hidden layers.")]
Epochs = Annotated[int | None, typer.Option("--epochs", metavar="N", help="Passes over the training rows.")]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="Seed of everything random.")]
Source = Annotated[Path | None, typer.Option("--source", metavar="DIR", help="Directory of IDX files, gzipped or not.")]
Cache = Annotated[Path, typer.Option("--cache", metavar="DIR", help="Where prepared data is kept.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="New directory for the run.")]
Raw = Annotated[Path, typer.Option("--raw", metavar="DIR", help="Where downloaded files lie.")]
Unpinned = Annotated[bool, typer.Option("--unpinned", help="Take IDX files of one's own; classes by number.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document on standard output.")]
Threads = Annotated[int, typer.Option("--threads", metavar="N", min=1, help="Threads for matrix products.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Say nothing but the result.")]
RunDirectory = Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a run.")]

DEFAULT_CACHE, DEFAULT_RAW = Path("data/cache"), Path("data/raw")


def main() -> None:
    """Run the command line; the one place where failures become messages and exit codes."""
    try:
        app(prog_name="bpfunc")
    except PipelineError as problem:
        if _debugging():
            raise
        _complain(problem.what, problem.where, problem.remedy)
        sys.exit(problem.exit_code)
    except OSError as error:
        if _debugging():
            raise
        where = "bpfunc" if error.filename is None else os.fsdecode(error.filename)
        _complain(error.strerror or str(error), where, "check the path, its permissions and the free space")
        sys.exit(1)
    except Exception as error:
        if _debugging():
            raise
        _complain(
            f"unexpected {type(error).__name__}: {error}", "bpfunc", "set BPFUNC_DEBUG=1 to see where, and report it"
        )
        sys.exit(1)


def _debugging() -> bool:
    return os.environ.get("BPFUNC_DEBUG") == "1"


def _complain(what: str, where: str, remedy: str) -> None:
    print(f"error: {what}\n  where: {where}\n  what to do: {remedy}", file=sys.stderr)


def _say(text: str, *, quiet: bool) -> None:
    if not quiet:
        print(text, file=sys.stderr)


def _print_json(document: object) -> None:
    print(json.dumps(document, indent=2, ensure_ascii=False))


def _spec(
    recipe: str,
    config: Path | None,
    *,
    classes: str | None = None,
    hidden: str | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    unpinned: bool = False,
) -> RunSpec:
    """Merge recipe, file and flags, in that order."""
    from pipelines.config import load_config, load_recipe, merged

    spec = load_recipe(recipe)
    if config is not None:
        spec = load_config(config, spec)
    flags: dict[str, dict[str, object]] = {"dataset": {}, "model": {}, "train": {}}
    if classes is not None:
        flags["dataset"]["classes"] = [name.strip() for name in classes.split(",") if name.strip()]
    if unpinned:
        flags["dataset"]["pinned"] = False
    if hidden is not None:
        flags["model"]["hidden"] = _whole_numbers(hidden, "--hidden")
    if epochs is not None:
        flags["train"]["epochs"] = epochs
    if seed is not None:
        flags["train"]["seed"] = seed
    return merged(spec, flags, where="command line")


def _whole_numbers(text: str, option: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise UsageProblem(
            f"expected whole numbers with commas between, found {text!r}", where=option, remedy="write such as 256,128"
        ) from None


@app.command()
def run(
    config: Config = None,
    recipe: Recipe = "report",
    classes: Classes = None,
    hidden: Hidden = None,
    epochs: Epochs = None,
    seed: Seed = None,
    source: Source = None,
    cache: Cache = DEFAULT_CACHE,
    raw: Raw = DEFAULT_RAW,
    out: Out = None,
    unpinned: Unpinned = False,
    threads: Threads = 1,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Prepare the data, train a network, evaluate it on the test split, and write the report."""
    use_threads(threads)
    from pipelines.run import Places, evaluate_run, report_run

    spec = _spec(recipe, config, classes=classes, hidden=hidden, epochs=epochs, seed=seed, unpinned=unpinned)
    finished = _train(spec, Places(source=source, cache=cache, raw=raw, out=out), quiet=quiet)
    evaluation, values = evaluate_run(spec, finished)
    files = report_run(spec, finished, evaluation)
    _show_result(finished.directory, values, files, as_json=as_json)


@app.command()
def train(
    config: Config = None,
    recipe: Recipe = "report",
    classes: Classes = None,
    hidden: Hidden = None,
    epochs: Epochs = None,
    seed: Seed = None,
    source: Source = None,
    cache: Cache = DEFAULT_CACHE,
    raw: Raw = DEFAULT_RAW,
    out: Out = None,
    unpinned: Unpinned = False,
    threads: Threads = 1,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Prepare the data and train a network; the test split stays sealed."""
    use_threads(threads)
    from pipelines.config import to_table
    from pipelines.run import Places

    spec = _spec(recipe, config, classes=classes, hidden=hidden, epochs=epochs, seed=seed, unpinned=unpinned)
    finished = _train(spec, Places(source=source, cache=cache, raw=raw, out=out), quiet=quiet)
    last = finished.trained.history[finished.trained.epoch - 1]
    if as_json:
        _print_json(
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
        print(f"trained {len(trained.history)} epochs in {trained.train_seconds:.1f} s")
        print(f"kept epoch {last.epoch}, validation accuracy {shown}")
        print(f"run: {finished.directory}")


@app.command()
def study(
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", min=1, help="Train seeds 0 to N-1.")] = 10,
    jobs: Annotated[int, typer.Option("--jobs", metavar="M", min=1, help="Processes at a time.")] = 1,
    config: Config = None,
    recipe: Recipe = "report",
    classes: Classes = None,
    hidden: Hidden = None,
    epochs: Epochs = None,
    source: Source = None,
    cache: Cache = DEFAULT_CACHE,
    raw: Raw = DEFAULT_RAW,
    out: Out = None,
    unpinned: Unpinned = False,
    threads: Threads = 1,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train many seeds of one recipe and sum them up; a finished seed is never trained again."""
    use_threads(threads)
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from pipelines.graph import prepare
    from pipelines.run import Places
    from pipelines.study import run_study, study_table, summarised, write_study
    from pipelines.tabulate import study_lines

    spec = _spec(recipe, config, classes=classes, hidden=hidden, epochs=epochs, unpinned=unpinned)
    directory = out or Path("data/runs") / f"study-{spec.name}"
    places = Places(source=source, cache=cache, raw=raw)
    # Prepared once, here: the workers then find it.
    prepared, _ = prepare(spec.dataset, source=source, cache=cache, raw=raw)
    results = []
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for result in run_study(spec, range(seeds), directory, places, pool):
            results.append(result)
            _say(f"seed {result.seed}: {100 * result.test_accuracy:.2f} %, {result.train_seconds:.1f} s", quiet=quiet)
    found = summarised(spec.name, prepared.meta.class_names, results)
    write_study(directory, found)
    if as_json:
        _print_json({"study": str(directory), **study_table(found)})
    else:
        print(study_lines(found))
        print(f"study: {directory / 'study.json'}")


@app.command()
def search(
    space: Annotated[Path, typer.Argument(metavar="SEARCH.toml", help="Recipe, folds and variants to try.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the log is kept; resumes what is there.")],
    jobs: Annotated[int, typer.Option("--jobs", metavar="M", min=1, help="Processes at a time.")] = 1,
    source: Source = None,
    cache: Cache = DEFAULT_CACHE,
    raw: Raw = DEFAULT_RAW,
    threads: Threads = 1,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Choose settings by cross-validation over the training split; the test split is never opened."""
    use_threads(threads)
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from pipelines.files import write_bytes
    from pipelines.run import Places
    from pipelines.search import load_search, run_search, search_table

    plan = load_search(space)
    trials = []
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for trial in run_search(plan, out, Places(source=source, cache=cache, raw=raw), pool):
            trials.append(trial)
            _say(
                f"{trial.variant}, fold {trial.fold}: {100 * trial.validation_accuracy:.2f} %, "
                f"loss {trial.validation_loss:.4f}, {trial.train_seconds:.0f} s",
                quiet=quiet,
            )
    table = search_table(trials)
    write_bytes(out / "search.json", (json.dumps(table, indent=2) + "\n").encode())
    if as_json:
        _print_json(table)
    else:
        for row in table:
            accuracy = 100 * float(str(row["validation_accuracy"]))
            print(f"{accuracy:.3f} %  loss {row['validation_loss']:.4f}  {row['variant']}")


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="A run's directory, or a study's.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another.")],
    as_json: AsJson = False,
) -> None:
    """Compare two runs or studies on the same test rows: difference, interval, McNemar's test."""
    import attrs

    from pipelines.compare import compare as compared
    from pipelines.tabulate import comparison_lines

    found = compared(a, b)
    if as_json:
        _print_json(attrs.asdict(found))
    else:
        print(comparison_lines(found))


@app.command()
def evaluate(
    run: RunDirectory,
    source: Source = None,
    cache: Cache = DEFAULT_CACHE,
    raw: Raw = DEFAULT_RAW,
    threads: Threads = 1,
    as_json: AsJson = False,
) -> None:
    """Measure a trained run on the test split and write its metrics.json."""
    use_threads(threads)
    from pipelines.run import Places, evaluate_run, reopen_run

    spec, finished = reopen_run(run, Places(source=source, cache=cache, raw=raw))
    _, values = evaluate_run(spec, finished)
    _show_result(run, values, None, as_json=as_json)


@app.command()
def report(
    run: RunDirectory,
    source: Source = None,
    cache: Cache = DEFAULT_CACHE,
    raw: Raw = DEFAULT_RAW,
    threads: Threads = 1,
    as_json: AsJson = False,
) -> None:
    """Draw the pictures and the page of a trained run again."""
    use_threads(threads)
    from pipelines.run import Places, evaluate_run, reopen_run, report_run

    spec, finished = reopen_run(run, Places(source=source, cache=cache, raw=raw))
    evaluation, values = evaluate_run(spec, finished)
    _show_result(run, values, report_run(spec, finished, evaluation), as_json=as_json)


def _train(spec: RunSpec, places: Places, *, quiet: bool) -> Finished:
    from pipelines.run import train_run

    finished = train_run(spec, places, now=datetime.now(), watch=_progress(spec, quiet=quiet))
    _say(f"data: {describe_decision(finished.decision)}, {finished.prepared.path}", quiet=quiet)
    return finished


def _progress(spec: RunSpec, *, quiet: bool) -> Watch:
    """Make a watcher that shows a bar on a terminal, and nothing elsewhere."""
    from pipelines.stages.train import unwatched

    return unwatched if quiet or not sys.stderr.isatty() else partial(_bar, total=spec.train.epochs)


def _bar(epochs: Iterator[Progress], *, total: int) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        for moment in epochs:
            accuracy = moment.record.validation_accuracy
            figure = f"validation {accuracy:.2%}" if accuracy is not None else ""
            bar.update(task, advance=1, description=f"loss {moment.record.train_loss:.4f} {figure}")
            yield moment


def _show_result(directory: Path, values: Mapping[str, object], files: ReportFiles | None, *, as_json: bool) -> None:
    if as_json:
        _print_json({"run": str(directory), "report": None if files is None else str(files.html), **values})
        return
    from pipelines.tabulate import result_table

    print(result_table(values))
    if files is not None:
        print(f"report: {files.html}")


def describe_decision(decision: object) -> str:
    """Put a cache decision into words.

    Args:
        decision: `Hit`, `Miss` or `Stale`.

    Returns:
        Such as ``hit`` or ``stale: ...``.
    """
    from pipelines.graph import Hit, Stale

    if isinstance(decision, Stale):
        return f"stale: {decision.why}"
    return "hit" if isinstance(decision, Hit) else "miss"


@data_app.command("prepare")
def data_prepare(
    config: Config = None,
    recipe: Recipe = "report",
    classes: Classes = None,
    source: Source = None,
    cache: Cache = DEFAULT_CACHE,
    raw: Raw = DEFAULT_RAW,
    unpinned: Unpinned = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Bring filtered, normalised, one-hot data into the cache, unless it is there."""
    from pipelines.graph import prepare
    from pipelines.runs import lineage

    spec = _spec(recipe, config, classes=classes, unpinned=unpinned)
    prepared, decision = prepare(spec.dataset, source=source, cache=cache, raw=raw)
    if as_json:
        _print_json(
            {
                "decision": describe_decision(decision),
                "entry": str(prepared.path),
                "class_names": list(prepared.meta.class_names),
                "rows": {"train": prepared.train.rows, "test": prepared.test.rows},
                **lineage(prepared),
            }
        )
        return
    _say(f"{describe_decision(decision)}", quiet=quiet)
    _say(f"{prepared.train.rows} training and {prepared.test.rows} test rows", quiet=quiet)
    print(prepared.path)


@data_app.command("status")
def data_status(
    config: Config = None,
    recipe: Recipe = "report",
    classes: Classes = None,
    source: Source = None,
    cache: Cache = DEFAULT_CACHE,
    raw: Raw = DEFAULT_RAW,
    unpinned: Unpinned = False,
    as_json: AsJson = False,
) -> None:
    """Say what `data prepare` would do, and why; nothing is written."""
    from pipelines.graph import entry_paths, plan

    spec = _spec(recipe, config, classes=classes, unpinned=unpinned)
    found = plan(spec.dataset, source=source, cache=cache, raw=raw)
    document = {
        "decision": describe_decision(found.decision),
        "source": found.source.origin,
        "location": str(found.source.location),
        "official": found.source.pinned,
        "entry": str(found.entry),
        "entries_in_cache": len(entry_paths(cache)),
    }
    if as_json:
        _print_json(document)
    else:
        print("\n".join(f"{name.replace('_', ' ')}: {value}" for name, value in document.items()))


@data_app.command("verify")
def data_verify(cache: Cache = DEFAULT_CACHE, as_json: AsJson = False) -> None:
    """Hash the bundle and every cache entry again, and name what differs."""
    from pipelines.graph import verify

    findings = verify(cache)
    if as_json:
        _print_json({"checked": len(findings), "damaged": {k: v for k, v in findings.items() if v is not None}})
    else:
        for name, problem in findings.items():
            print(f"{'damaged' if problem else 'intact'}: {name}{f': {problem}' if problem else ''}")
    if any(findings.values()):
        raise typer.Exit(3)


@data_app.command("bundle")
def data_bundle(
    source: Annotated[Path, typer.Option("--source", metavar="DIR", help="Directory of the official IDX files.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the two Parquet files go.")],
    as_json: AsJson = False,
) -> None:
    """Make the embedded three-class subset from the official files."""
    from pipelines.bundle import write_bundle
    from pipelines.config import DatasetSpec
    from pipelines.stages.acquire import acquire
    from pipelines.stages.decode import decode

    hashes = write_bundle(decode(acquire(DatasetSpec(), source=source)), out)
    if as_json:
        _print_json(dict(hashes))
    else:
        print("\n".join(f"{digest}  {out / name}" for name, digest in hashes.items()))


@data_app.command("download")
def data_download(raw: Raw = DEFAULT_RAW, as_json: AsJson = False) -> None:
    """Download the official files from the public mirrors, checked against their pins."""
    from pipelines.download import download

    paths = download(raw)
    if as_json:
        _print_json({"files": [str(path) for path in paths]})
    else:
        print("\n".join(map(str, paths)))
