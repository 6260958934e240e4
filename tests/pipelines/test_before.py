"""Run directories and caches that were written before the modules moved into wings open, resume and evaluate as before.

``before/`` holds a cache entry, a finished run and an unfinished one of `tests.conftest.write_own_data`, written by
version 0.1.0 at commit db398cf. Their files are never written again: tests work on copies.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import attrs
import numpy as np
import pytest

from bpfunc import tree_allclose
from pipelines.dataset.entry import damage
from pipelines.dataset.places import Places
from pipelines.runs.directory import read_history
from pipelines.runs.network import read_network
from pipelines.runs.predictions import read_predictions
from pipelines.runs.run import evaluate_run, reopen_run, resume_run
from pipelines.stages.prepare import prepare

BEFORE = Path(__file__).with_name("before")


@pytest.fixture
def places(tmp_path: Path, own_data: Path) -> Places:
    """Copies of the old cache and runs, and the data that they were made from."""
    for name in ("cache", "finished", "unfinished"):
        shutil.copytree(BEFORE / name, tmp_path / name)
    return Places(source=own_data, raw=tmp_path / "raw", cache=tmp_path / "cache", runs=tmp_path / "runs")


def test_an_old_entry_is_a_hit(places: Places) -> None:
    """The key of an entry and the checks of its files are the same as when it was written."""
    spec, finished = reopen_run(places.cache.with_name("finished"), places)
    prepared, decision = prepare(spec.dataset, source=places.source, cache=places.cache, raw=places.raw)
    assert decision == finished.decision
    assert type(decision).__name__ == "Hit"
    assert [damage(entry) for entry in places.cache.iterdir()] == [None]
    assert prepared.path.parent == places.cache


def test_an_old_run_is_evaluated_to_the_same_figures(places: Places) -> None:
    """Every figure and every prediction of the finished run comes out again."""
    run = places.cache.with_name("finished")
    wanted, predicted = json.loads((BEFORE / "finished" / "metrics.json").read_bytes()), read_predictions(run)
    evaluation, _ = evaluate_run(*reopen_run(run, places))
    found = json.loads((run / "metrics.json").read_bytes())
    assert 0.5 < wanted["test_accuracy"] == found["test_accuracy"]
    assert found["confusion_matrix"] == wanted["confusion_matrix"]
    assert found["test_loss"] == pytest.approx(wanted["test_loss"], rel=1e-6)
    np.testing.assert_allclose(evaluation.probabilities, predicted.probabilities, rtol=1e-5)


def test_an_old_unfinished_run_resumes_to_what_the_finished_one_is(places: Places) -> None:
    """The training goes on after the old checkpoint of epoch 7 and ends with the weights of the uninterrupted run."""
    said: list[str] = []
    run = places.cache.with_name("unfinished")
    resume_run(run, places, tell=said.append)
    assert said == ["going on after epoch 7"]
    one, other = (read_network(path) for path in (BEFORE / "finished", run))
    assert tree_allclose(one.params, other.params, rtol=1e-5, atol=1e-6)
    history = [attrs.evolve(record, seconds=0.0) for record in read_history(run)]
    assert [record.epoch for record in history] == list(range(1, 13))
