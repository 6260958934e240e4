"""A search and a sweep are one engine: one call each, one judge, one rule for a training that diverges."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import attrs
import numpy as np
import pytest

from bpfunc.training.not_finite import NotFiniteError
from pipelines.artifacts import Trained
from pipelines.dataset.places import Places
from pipelines.disk.json_text import json_value
from pipelines.disk.ownership import PROGRESS, Progress, kind_of, read_progress, write_progress
from pipelines.errors import DataProblem, PipelineError, WorkFailed
from pipelines.runs.listing import list_tunings
from pipelines.spec.run_spec import DatasetSpec
from pipelines.stages.prepare import prepare as stage_prepare
from pipelines.studies import executors
from pipelines.studies.executors import run_jobs
from pipelines.studies.tuning import conduct, cross_validation, judge
from pipelines.studies.tuning.sweep import sweep_table
from pipelines.training.progress import Observer, Progress as Epoch

SETTINGS = """
recipe = "report"
[{table}.dataset]
classes = ["0", "1", "2"]
pinned = false
[{table}.model]
hidden = [8]
[{table}.train]
epochs = 3
batch_size = 8
"""
SEARCH = "folds = 2\ntake = 2\n" + SETTINGS.format(table="base") + "[variant.a]\n[variant.b.train]\nmomentum = 0.5\n"
SWEEP = (
    'pruner = "none"\n'
    + SETTINGS.format(table="fixed")
    + 'validation_fraction = 0.2\n[parameters]\n"train.momentum" = { float = [0, 0.9] }\n'
)
CALLS = {"search": (SEARCH, 4), "sweep": (SWEEP, 3)}
"""What each reads, and how many trainings it makes of that."""


@pytest.fixture
def places(tmp_path: Path, own_data: Path) -> Places:
    """Where trials take from."""
    return Places(source=own_data, cache=tmp_path / "cache", raw=tmp_path)


@pytest.fixture(params=CALLS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each of the two; a sweep where Optuna is installed."""
    if request.param == "sweep":
        pytest.importorskip("optuna")
    return str(request.param)


def conducted(
    kind: str, tmp_path: Path, places: Places, workers: executors.Workers, storage: str | None = None
) -> object:
    """Conduct one of the two in ``tmp_path / "out"``; return what its table holds."""
    (tmp_path / "given.toml").write_text(CALLS[kind][0])
    if kind == "search":
        return conduct.conduct_search(tmp_path / "given.toml", tmp_path / "out", places, workers)
    path, out, count = tmp_path / "given.toml", tmp_path / "out", CALLS[kind][1]
    return sweep_table(conduct.conduct_sweep(path, out, count, places, workers, storage=storage).results)


@pytest.fixture
def in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run trainings in this process, so that a test can look at them."""
    monkeypatch.setattr(executors, "open_executor", lambda *_, **__: ThreadPoolExecutor(1))


@pytest.mark.usefixtures("in_threads")
def test_each_is_one_call(kind: str, tmp_path: Path, places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data is prepared once here, and refused before machine code and directories are made; the file is the result."""
    made, told, totals, prepared = list[str](), list[int | None](), list[int](), list[DatasetSpec]()

    @contextmanager
    def progress(total: int) -> Iterator[Callable[..., None]]:
        totals.append(total)
        yield lambda line, accuracy, done=None: told.append(done)

    def prepare(spec: DatasetSpec, **named: Path) -> object:
        if not totals:
            prepared.append(spec)
        return stage_prepare(spec, **named)

    monkeypatch.setattr(executors, "make_machine_code", lambda spec: made.append(spec.name))
    monkeypatch.setattr(judge, "prepare", prepare)
    workers = executors.Workers(progress=progress)
    with pytest.raises(DataProblem):
        conducted(kind, tmp_path, attrs.evolve(places, source=tmp_path / "nowhere"), workers)
    assert (made, told, totals, (tmp_path / "out").exists()) == ([], [], [], False)
    prepared.clear()
    count = CALLS[kind][1]
    table = conducted(kind, tmp_path, places, workers)
    assert (made, totals, told, len(prepared)) == (["report"], [count], list(range(1, count + 1)), 1)
    assert json.loads((tmp_path / "out" / f"{kind}.json").read_text()) == json_value(table)
    told.clear()
    assert conducted(kind, tmp_path, places, workers) == table
    assert told == ([count] * count if kind == "search" else []), "what was there is not counted as done again"


def not_finite_at_once(epochs: Iterator[Epoch]) -> Iterator[Epoch]:
    """A gradient overflows in the first epoch."""
    raise NotFiniteError("loss", 1)
    yield from epochs


def judged_infinite(number: int) -> Observer:
    """The weights are finite, and what they make of the rows left out is not, after this epoch alone."""

    def spoiled(epochs: Iterator[Epoch]) -> Iterator[Epoch]:
        for progress in epochs:
            wrong = attrs.evolve(progress.record, validation_loss=np.inf if number < 3 else np.nan)
            lost = progress.record.epoch == number
            yield attrs.evolve(progress, history=(*progress.history[:-1], wrong)) if lost else progress

    return spoiled


WAYS = {"at once": not_finite_at_once, "and comes back": judged_infinite(2), "in the end": judged_infinite(3)}
TOLD = {
    "at once": str(NotFiniteError("loss", 1)),
    "and comes back": "the validation loss is not finite after epoch 2",
    "in the end": "the validation loss is not finite after epoch 3",
}


@pytest.mark.usefixtures("in_threads")
@pytest.mark.parametrize("way", WAYS)
def test_a_diverged_training_is_the_same_to_both(
    kind: str, tmp_path: Path, places: Places, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """However the second training diverges: no figures, the same problem in the table, and the others are ranked."""
    fit, count = judge.fit, iter(range(1, 100))

    def fitted(*rows: object, observe: Observer, **named: object) -> Trained:
        harm = WAYS[way] if next(count) == 2 else iter
        return fit(*rows, observe=lambda epochs: observe(harm(epochs)), **named)  # type: ignore[arg-type]

    monkeypatch.setattr(judge, "fit", fitted)
    table = conducted(kind, tmp_path, places, executors.Workers())
    assert isinstance(table, list)
    (lost,) = [row for row in table if row["problem"] is not None]
    assert lost["problem"] == ("fold 0: " if kind == "search" else "") + TOLD[way]
    assert (lost["validation_accuracy"], lost["validation_loss"]) == (None, None)
    assert all(row["validation_accuracy"] > 0 for row in table if row is not lost)


@pytest.mark.usefixtures("in_threads")
def test_where_all_diverge_the_table_is_written(
    kind: str, tmp_path: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One message that names the first problem, and a file that names all of them."""

    def overflow(*_: object, **__: object) -> Trained:
        raise NotFiniteError("loss", 1)

    monkeypatch.setattr(judge, "fit", overflow)
    with pytest.raises(PipelineError) as caught:
        conducted(kind, tmp_path, places, executors.Workers())
    assert TOLD["at once"] in caught.value.what
    rows = json.loads((tmp_path / "out" / f"{kind}.json").read_text())
    assert all(row["problem"] for row in rows)


class LosesTheSecond(ThreadPoolExecutor):
    """An executor whose second job is lost with its worker; the first and the third end well, the third later."""

    def submit(self, fn: Callable[[], int], /, *_: object, **__: object) -> Future[int]:  # type: ignore[override]
        future = Future[int]()
        number = fn()
        if number == 2:
            future.set_exception(BrokenExecutor("a worker process died"))
        elif number == 1:
            future.set_result(number)
        else:
            super().submit(lambda: future.set_result(number))
        return future


def test_no_finished_result_is_lost_with_a_worker() -> None:
    """What ended well is handed out before the loss is told, whether it ended before or meanwhile."""
    found = list[int]()

    def one() -> int:
        return 1

    def two() -> int:
        return 2

    def three() -> int:
        return 3

    with LosesTheSecond(1) as pool, pytest.raises(WorkFailed, match=r"not finished: \[1, 3\]"):
        for result in run_jobs(pool, [two, one, three], lambda: str(found), where="here"):
            found.append(result)


def test_a_search_needs_no_common_disk(tmp_path: Path, places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that cannot see the log hands its trial back, and the log is written here; other data are refused."""
    (tmp_path / "given.toml").write_text(SEARCH)
    search = cross_validation.load_search(tmp_path / "given.toml")
    log, run_fold = tmp_path / "log" / "trials", cross_validation.run_fold

    def elsewhere(name: str, spec: object, fold: object, there: object, data: object, path: Path) -> object:
        return run_fold(name, spec, fold, there, data, tmp_path / "elsewhere" / path.name)  # type: ignore[arg-type]

    monkeypatch.setattr(cross_validation, "run_fold", elsewhere)
    with ThreadPoolExecutor(2) as pool:
        first = list(cross_validation.run_search(search, tmp_path / "log", places, pool))
    assert len(list(log.iterdir())) == len(first) == 4
    assert not (tmp_path / "elsewhere").exists()
    monkeypatch.setattr(cross_validation, "run_fold", lambda *_: pytest.fail("a kept trial was trained again"))
    with ThreadPoolExecutor(2) as pool:
        again = list(cross_validation.run_search(search, tmp_path / "log", places, pool))
    assert {(t.variant, t.fold): t for t in again} == {(t.variant, t.fold): t for t in first}
    data = judge.train_data(search.variants["a"].dataset, places)[1]
    other = attrs.evolve(data, sources=dict.fromkeys(data.sources, "0" * 64))
    with pytest.raises(DataProblem, match="this worker has other rows than the search: train images"):
        run_fold("a", search.variants["a"], (0, 2), places, other, log / "a-0-none.json")


@pytest.mark.usefixtures("in_threads")
def test_interrupted_it_is_known_and_goes_on(kind: str, tmp_path: Path, places: Places) -> None:
    """After one trial, and with the trials kept elsewhere, the directory is known, listed, and gone on with."""

    @contextmanager
    def interrupted(total: int) -> Iterator[Callable[..., None]]:
        def told(line: str, accuracy: float | None, done: int | None = None) -> None:
            raise KeyboardInterrupt

        yield told

    storage = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    count, out = CALLS[kind][1], tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        conducted(kind, tmp_path, places, executors.Workers(progress=interrupted), storage)
    assert kind_of(out) == kind
    (entry,) = list_tunings(tmp_path)
    done = len(list(out.glob("trials/*.json"))) if kind == "search" else 1  # one thread more may end meanwhile
    assert 1 <= done < count
    assert (entry.state, entry.recipe) == (f"unfinished {done}/{count}", "report")
    table = conducted(kind, tmp_path, places, executors.Workers(), storage)
    assert isinstance(table, list)
    (again,) = list_tunings(tmp_path)
    assert (again.state, again.trials, again.began) == (kind, count, entry.began)
    (out / PROGRESS).unlink()  # as former versions left it
    assert kind_of(out) == kind
    (old,) = list_tunings(tmp_path)
    assert (old.state, old.trials, old.asked) == (kind, None, None)
    assert conducted(kind, tmp_path, places, executors.Workers(), storage) == table
    if kind == "search":
        (out / PROGRESS).unlink()
        (out / "search.json").unlink()
        assert list_tunings(tmp_path)[0].state == "unfinished search"


@pytest.mark.parametrize("recipe", ["report", "", "a, begun b", "a\nb", "\x1b[31m", "x" * 5000, "größe"])
def test_how_far_it_has_come_is_read_back(kind: str, tmp_path: Path, recipe: str) -> None:
    """Whatever the recipe is called, one line of text says how far a search or sweep has come."""
    progress = Progress("search" if kind == "search" else "sweep", 3, 10, recipe, 1_795_604_142.25)
    write_progress(tmp_path, progress)
    found = read_progress(tmp_path)
    assert found is not None
    assert attrs.evolve(found, recipe=recipe) == progress
    assert found.recipe.isprintable()
    assert kind_of(tmp_path) == kind


@pytest.mark.parametrize(
    "text",
    [
        "",
        "search 3/10",
        "run 3/10 of a, begun 2026-11-25T15:00:00\n",
        "search 3/10 of a, begun today\n",
        "search -3/10 of a, begun 2026-11-25\n",
        "search 3/10 of a, begun 2026-11-25T15:00:00",
        "search 3/\u0661 of a, begun 2026-11-25\n",
        "search 3/10 of a" + 100_000 * ", begun ",
        "sweep 3/9999999999 of a, begun 2026-11-25\n",
        "sweep 1/2 of a, begun 2026-11-25\nand more",
    ],
)
def test_a_file_that_says_something_else_makes_no_search(tmp_path: Path, text: str) -> None:
    """A directory of another program is left alone."""
    (tmp_path / PROGRESS).write_text(text)
    assert read_progress(tmp_path) is None
    assert kind_of(tmp_path) is None
