"""Sweeps split their trials between all who take part, run none twice, go on, and never see the test split."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bpfunc.training.not_finite import NotFiniteError
from pipelines.artifacts import PreparedTrain, SealedTest
from pipelines.dataset.places import Places
from pipelines.dataset.split_rows import read_rows
from pipelines.disk import waiting
from pipelines.errors import DataProblem, UsageProblem, WorkFailed
from pipelines.spec.toml import load_config, load_recipe
from pipelines.studies.tuning import judge, storage as storage_module, sweep
from pipelines.studies.tuning.space import Space, load_space, with_settings
from pipelines.studies.tuning.storage import file_of, open_storage, storage_failures, storage_url
from pipelines.studies.tuning.sweep import TrialResult, best_trial, run_sweep, sweep_results
from tests.conftest import ROOT

optuna = pytest.importorskip("optuna")

SPACE = """
recipe = "report"
[fixed.dataset]
classes = ["0", "1", "2"]
pinned = false
[fixed.model]
hidden = [8]
[fixed.train]
epochs = 3
batch_size = 8
validation_fraction = 0.2
[parameters]
"train.learning_rate" = { log = [0.001, 0.5] }
"train.momentum" = { float = [0.0, 0.9] }
"train.batch_size" = { int = [4, 16] }
"model.hidden" = { choice = [[8], [8, 4]] }
"""


@pytest.fixture
def places(tmp_path: Path, own_data: Path) -> Places:
    """Where trials take from."""
    return Places(source=own_data, cache=tmp_path / "cache", raw=tmp_path)


@pytest.fixture
def space(tmp_path: Path) -> Space:
    """The space above."""
    (tmp_path / "space.toml").write_text(SPACE)
    return load_space(tmp_path / "space.toml")


def swept(space: Space, directory: Path, trials: int, places: Places) -> list[TrialResult]:
    """Run a sweep in this process."""
    directory.mkdir(exist_ok=True)
    with ThreadPoolExecutor(1) as pool:
        return list(run_sweep(space, storage_url(directory), trials, places, pool))


def states(database: Path) -> list[str]:
    """What the storage says of each trial."""
    with sqlite3.connect(database) as connection:
        return [state for (state,) in connection.execute("select state from trials order by number")]


def test_two_processes_split_the_trials(tmp_path: Path, own_data: Path, space: Space, places: Places) -> None:
    """Started together on one storage, each runs some of the trials, none is run twice, and none is missing."""
    flags = ("--trials", "8", "--out", "sweep", "--source", str(own_data), "--cache", "cache")
    command = [sys.executable, "-m", "pipelines", "sweep", "space.toml", *flags]
    both = [
        subprocess.Popen(
            command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    numbers = []
    for process in both:
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors
        numbers.append([int(number) for number in re.findall(r"^trial (\d+)", errors, re.MULTILINE)])
    assert all(numbers)
    kept = [number for number, state in enumerate(states(tmp_path / "sweep" / "sweep.db")) if state != "FAIL"]
    assert sorted(numbers[0] + numbers[1]) == kept
    assert len(kept) == 8
    results = sweep_results(space, storage_url(tmp_path / "sweep"), places)
    assert len({json.dumps(result.settings) for result in results}) == 8
    best = load_config(tmp_path / "sweep" / "best.toml", load_recipe("report"))
    assert best == with_settings(space.base, best_trial(results).settings, where="test")


def test_goes_on_and_repeats(tmp_path: Path, space: Space, places: Places) -> None:
    """Four trials in two calls are those of one call; a call that finds enough runs none."""
    first = swept(space, tmp_path / "a", 2, places) + swept(space, tmp_path / "a", 4, places)
    assert swept(space, tmp_path / "a", 4, places) == []
    assert first == swept(space, tmp_path / "b", 4, places)
    assert [result.number for result in first] == list(range(4))
    assert len({json.dumps(result.settings) for result in first}) == 4


def test_a_lost_trial_is_replaced(tmp_path: Path, space: Space, places: Places) -> None:
    """A trial whose process died gives no sign of life: it counts as failed, and another is run."""
    swept(space, tmp_path / "s", 2, places)
    storage = open_storage(storage_url(tmp_path / "s"))
    (study,) = optuna.get_all_study_names(storage)
    with pytest.warns(UserWarning, match="Heartbeat"):
        lost = optuna.load_study(study_name=study, storage=storage).ask()
    storage.record_heartbeat(lost._trial_id)
    assert swept(space, tmp_path / "s", 3, places) == []
    with sqlite3.connect(tmp_path / "s" / "sweep.db") as connection:
        connection.execute("update trial_heartbeats set heartbeat = datetime('now', '-1 hour')")
    (replaced,) = swept(space, tmp_path / "s", 3, places)
    assert replaced.number == 3
    assert states(tmp_path / "s" / "sweep.db")[2:] == ["FAIL", replaced.state.upper()]


@pytest.mark.parametrize("moment", ["before the first epoch", "after the last epoch", "before it diverges"])
def test_a_sweep_that_was_suspended_goes_on(
    tmp_path: Path, space: Space, places: Places, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """While it gave no sign of life, another sweep gave its trial up: that is lost, and the next one is run."""
    swept(space, tmp_path / "s", 2, places)
    storage = open_storage(storage_url(tmp_path / "s"))
    (name,) = optuna.get_all_study_names(storage)
    fit, suspended = judge.fit, iter([True])

    def given_up() -> None:
        if next(suspended, False):
            optuna.load_study(study_name=name, storage=storage).tell(2, state=optuna.trial.TrialState.FAIL)

    def suspended_fit(*given: object, **named: object) -> object:
        if moment == "after the last epoch":
            trained = fit(*given, **named)  # type: ignore[arg-type]
            given_up()
            return trained
        given_up()
        if moment == "before it diverges":
            raise NotFiniteError("loss", 1)
        return fit(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(judge, "fit", suspended_fit)
    results = swept(space, tmp_path / "s", 4, places)
    assert [result.number for result in results] == [3, 4]
    assert states(tmp_path / "s" / "sweep.db")[2] == "FAIL"


def test_an_error_of_a_lost_trial_is_told(
    tmp_path: Path, space: Space, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What went wrong in the trial is not hidden by its having been given up."""
    swept(space, tmp_path / "s", 1, places)
    storage = open_storage(storage_url(tmp_path / "s"))
    (name,) = optuna.get_all_study_names(storage)

    def damaged(*_: object, **__: object) -> object:
        optuna.load_study(study_name=name, storage=storage).tell(1, state=optuna.trial.TrialState.FAIL)
        raise DataProblem("damaged rows", where="here", remedy="prepare again")

    monkeypatch.setattr(judge, "fit", damaged)
    with pytest.raises(DataProblem, match="damaged rows"):
        swept(space, tmp_path / "s", 2, places)


def test_whoever_comes_too_late_gives_the_number_back(
    tmp_path: Path, space: Space, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where two see one trial missing at the same moment, the second one to take a number runs nothing."""
    swept(space, tmp_path / "s", 2, places)
    counted, answers = sweep._counted, iter([1])
    monkeypatch.setattr(sweep, "_counted", lambda trials: next(answers, None) or counted(trials))
    assert swept(space, tmp_path / "s", 2, places) == []
    assert states(tmp_path / "s" / "sweep.db")[2:] == ["FAIL"]


def test_the_test_split_stays_closed(
    tmp_path: Path, space: Space, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No trial reads the sealed handle."""
    opened: list[type] = []

    def watched(handle: PreparedTrain | SealedTest) -> object:
        opened.append(type(handle))
        return read_rows(handle)

    monkeypatch.setattr("pipelines.dataset.train_split.read_rows", watched)
    monkeypatch.setattr("pipelines.dataset.sealed_split.read_rows", watched)
    swept(space, tmp_path / "s", 2, places)
    assert opened == [PreparedTrain, PreparedTrain]


def test_what_cannot_be_trained_is_pruned(tmp_path: Path, places: Places) -> None:
    """Settings that do not go together, and a training that diverges, end their trial and not the sweep."""
    (tmp_path / "space.toml").write_text(
        SPACE.split("[parameters]")[0]
        + '[parameters]\n"train.optimizer" = { choice = ["adam", "sgd"] }\n'
        + '"train.weight_decay" = { choice = [0.5] }\n"train.learning_rate" = { choice = [0.01, 1000.0] }\n'
    )
    results = swept(load_space(tmp_path / "space.toml"), tmp_path / "s", 8, places)
    impossible = [result for result in results if result.settings["train.optimizer"] == "adam"]
    wild = [result for result in results if result not in impossible and result.settings["train.learning_rate"] > 1]
    assert impossible
    assert wild
    assert all(result.state == "pruned" for result in (*impossible, *wild))
    assert all(result.epochs == 0 for result in impossible)
    assert best_trial(results).validation_loss == min(r.validation_loss for r in results if r.state == "complete")


def test_pruned_where_others_were_better(tmp_path: Path, places: Places) -> None:
    """The median rule stops trials early, by validation loss at the same epoch, and what is stopped never wins."""
    (tmp_path / "space.toml").write_text(SPACE.replace("epochs = 3", "epochs = 8"))
    results = swept(load_space(tmp_path / "space.toml"), tmp_path / "s", 10, places)
    pruned = [result for result in results if result.state == "pruned"]
    assert pruned
    assert all(2 <= result.epochs < 8 for result in pruned)
    assert best_trial(results).state == "complete"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"train.momentum"', '"train.momentun"', "did you mean momentum"),
        ("{ int = [4, 16] }", "{ int = [16, 4] }", "the lower first"),
        ("{ int = [4, 16] }", "{ int = [0.5, 16] }", "two bounds"),
        ("{ int = [4, 16] }", "{ int = [0, 16] }", "at least 1"),
        ("{ log = [0.001, 0.5] }", "{ log = [0, 0.5] }", "above 0"),
        ("{ float = [0.0, 0.9] }", "{ float = [0.0, 1.9] }", "momentum"),
        ("[[8], [8, 4]]", '["wide"]', "expected a list"),
        ("validation_fraction = 0.2", "validation_fraction = 0\nkeep = 'last'", "none are held out"),
        ('recipe = "report"', 'recipe = "report"\npruner = "shears"', "pruner"),
        ('recipe = "report"', 'recipe = "report"\nspeed = 3', "unknown field speed"),
        ('recipe = "report"', "recipe = ", "cannot read the space"),
    ],
)
def test_a_wrong_space_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    """Before anything is trained, each bound and choice is tried on the recipe."""
    assert old in SPACE
    (tmp_path / "space.toml").write_text(SPACE.replace(old, new, 1))
    with pytest.raises(UsageProblem, match=re.escape(message)):
        load_space(tmp_path / "space.toml")


def test_a_storage_that_does_not_open() -> None:
    """A URL of no database is one message."""
    for url in ("nonsense", "sqlite:////nowhere/at/all.db", "oracle+nothing://x"):
        with pytest.raises(UsageProblem, match="cannot open the storage"):
            open_storage(url)


def test_the_example_in_the_documentation(tmp_path: Path) -> None:
    """The space that docs/scale.md shows is one."""
    text = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    example = text.split("```toml\n")[1].split("```")[0]
    assert tomllib.loads(example)["parameters"]
    (tmp_path / "space.toml").write_text(example)
    assert load_space(tmp_path / "space.toml").parameters


PLACES = ["a?b", "a%b", "a%3Fb", "a#b", "a b", "a{b}c", "a'b", 'a"b', "a&b=c", "größe", "a\nb", "a\\b", "a\udcffb"]


@pytest.mark.parametrize("name", PLACES)
def test_a_storage_lies_where_its_directory_is(tmp_path: Path, name: str) -> None:
    """No character of a path means something in the URL: the file is there, and trials are kept in it."""
    (tmp_path / name).mkdir()
    url = storage_url(tmp_path / name)
    assert [path.name for path in (tmp_path / name).iterdir()] == ["sweep.db"]
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert file_of(url) == tmp_path / name / "sweep.db"
    storage = open_storage(url)
    study = optuna.create_study(storage=storage, study_name="a")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    storage.engine.dispose()
    again = open_storage(storage_url(tmp_path / name))
    assert len(optuna.load_study(storage=again, study_name="a").trials) == 1
    again.engine.dispose()


def test_a_database_that_is_locked_is_waited_for_aloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A message names the file and who holds it; in the end the wait is given up."""
    url = storage_url(tmp_path)
    monkeypatch.setattr(waiting, "SILENCE_SECONDS", 0.05)
    monkeypatch.setattr(storage_module, "BUSY_SECONDS", 0.5)
    with contextlib.closing(sqlite3.connect(tmp_path / "sweep.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(WorkFailed, match="the database is locked"):
            open_storage(url)
    assert caplog.messages == [f"waiting for the lock on {tmp_path}/sweep.db, which process {os.getpid()} holds"]
    open_storage(url).engine.dispose()


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    """Optuna would add its tables to any SQLite file; an empty file and a sweep's own are taken."""
    path = tmp_path / "contacts.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE people (name TEXT)")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(UsageProblem, match="not a sweep's: it holds the table 'people'"):
        open_storage(f"sqlite:///{path}")
    assert path.read_bytes() == before
    (tmp_path / "empty.db").touch()
    for _ in range(2):
        open_storage(f"sqlite:///{tmp_path / 'empty.db'}").engine.dispose()


def test_a_storage_that_fails_is_one_message(tmp_path: Path) -> None:
    """A file that is no database, found when a sweep goes on."""
    (tmp_path / "sweep.db").write_bytes(b"SQLite format 3\0" + bytes(5000))
    with pytest.raises((UsageProblem, WorkFailed), match=r"cannot open the storage|the storage failed"):
        open_storage(storage_url(tmp_path))
    with pytest.raises(WorkFailed, match="the storage failed: no such table"), storage_failures("here"):
        raise sqlite3.OperationalError("no such table")
