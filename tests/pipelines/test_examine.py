"""What training rows say of a trained network: its temperature, and how its gradient flows."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import attrs
import numpy as np
import pytest

from bpfunc import Batch, tree_map
from bpfunc.tree import tree_leaves_with_path
from pipelines.dataset.places import Places
from pipelines.runs.directory import Finished
from pipelines.runs.run import evaluate_run, examined_run, reopen_run, train_run
from pipelines.spec.run_spec import DatasetSpec, ModelSpec, RunSpec, TrainSpec
from pipelines.stages.examine import gradient_flow, reliability, temperature
from pipelines.stages.train import fit
from pipelines.training.replay import standings, training_on

SPEC = RunSpec(
    name="small",
    dataset=DatasetSpec(classes=("0", "1", "2"), pinned=False),
    model=ModelSpec(hidden=(8,), dropout=0.25),
    train=TrainSpec(epochs=1, batch_size=64, learning_rate=0.5, validation_fraction=0.25),
)


def rows(count: int = 48, *, seed: int = 0) -> Batch:
    """Noisy rows of three classes that cannot all be named right."""
    rng = np.random.default_rng(seed)
    label = np.arange(count) % 3
    inputs = rng.normal(size=(count, 784)) + 0.05 * label[:, None]
    return Batch(inputs.astype(np.float32), np.eye(3, dtype=np.float32)[label])


@pytest.fixture
def places(tmp_path: Path, own_data: Path) -> Places:
    """Where a run takes from."""
    return Places(source=own_data, cache=tmp_path / "cache", raw=tmp_path, out=tmp_path / "run")


def trained_run(spec: RunSpec, places: Places) -> Finished:
    """Train a small run."""
    return train_run(spec, places, now=datetime(2026, 1, 1))


@pytest.mark.parametrize("flip", [False, True], ids=["plain", "flipped"])
def test_gradient_at_the_start_is_the_one_that_training_takes(flip: bool) -> None:
    """One epoch of one batch moves each array by rate times gradient, dropout and mirroring included."""
    spec = attrs.evolve(SPEC, train=attrs.evolve(SPEC.train, flip=flip))
    train_rows = rows()
    start, batch = next(standings(train_rows, training_on(train_rows, spec), (0,)))
    trained = fit(train_rows, None, spec)
    moved = tree_map(lambda before, after: (before - after) / 0.5, start.params, trained.params)
    taken = [np.sqrt(np.mean(np.square(leaf))) for _, leaf in tree_leaves_with_path(moved)]
    flow = gradient_flow(train_rows, spec, trained)
    np.testing.assert_allclose([f.gradient[0] for f in flow], taken, rtol=1e-4)
    assert [f.name for f in flow] == ["layers[0].weight", "layers[0].bias", "layers[3].weight", "layers[3].bias"]
    assert [f.size for f in flow] == [8 * 784, 8, 24, 3]
    assert len(batch.inputs) == 48
    assert all(f.gradient[0] != f.gradient[1] for f in flow)


def test_temperature_lowers_the_loss_of_the_rows_it_was_fitted_on() -> None:
    """It is best on the validation rows, and the figures before it are of the logits as they are."""
    train_rows, validation_rows = rows(), rows(30, seed=1)
    spec = attrs.evolve(SPEC, train=attrs.evolve(SPEC.train, epochs=3))
    found = temperature(validation_rows, spec, fit(train_rows, validation_rows, spec))
    assert found.value is not None
    assert found.before is not None
    assert found.after is not None
    assert found.after.loss < found.before.loss
    assert found.rows == 30 == found.before.rows.sum()


def test_reliability_worked_by_hand() -> None:
    """Two rows sure by 0.9, one of them right; two sure by 0.6, both right."""
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    found = reliability(np.log(p), np.array([0, 1, 1, 1]), bins=10)
    assert found.rows.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 2, 0]
    np.testing.assert_allclose(found.confidence[[5, 8]], [0.6, 0.9])
    np.testing.assert_allclose(found.accuracy[[5, 8]], [1.0, 0.5])
    assert np.isnan(found.accuracy[0])
    assert found.error == pytest.approx((2 * 0.4 + 2 * 0.4) / 4)
    assert found.loss == pytest.approx(-np.log([0.9, 0.1, 0.6, 0.6]).mean())


def test_temperature_needs_no_test_split(places: Places) -> None:
    """With the test file gone the training rows are still examined, and come to the same when they are read again."""
    finished = trained_run(SPEC, places)
    spec, again = reopen_run(finished.directory, places)
    finished.prepared.test.path.unlink()
    found = examined_run(spec, again)
    assert finished.examined is not None
    assert found.flow == finished.examined.flow
    assert found.temperature.value == finished.examined.temperature.value


def test_metrics_tell_calibration_before_and_after(places: Places) -> None:
    """metrics.json holds temperature, error and loss; the loss before is the test loss of the network as trained."""
    noisy = attrs.evolve(SPEC, train=attrs.evolve(SPEC.train, learning_rate=1e-4))
    finished = trained_run(noisy, places)
    evaluation, _ = evaluate_run(noisy, finished)
    told = json.loads((finished.directory / "metrics.json").read_text())["calibration"]
    assert told["temperature"] > 0
    assert told["why_none"] is None
    assert told["validation_rows"] == 15
    assert told["validation"]["after"]["loss"] < told["validation"]["before"]["loss"]
    assert told["test"]["before"]["loss"] == pytest.approx(evaluation.loss, rel=1e-5)
    assert told["test"]["after"]["loss"] != told["test"]["before"]["loss"]
    cooled = np.log(evaluation.probabilities.astype(np.float64)) / told["temperature"]
    after = np.exp(cooled) / np.exp(cooled).sum(axis=1, keepdims=True)
    truth = after[np.arange(30), evaluation.label]
    assert told["test"]["after"]["loss"] == pytest.approx(-np.log(truth).mean(), rel=1e-4)


def test_without_validation_rows_there_is_no_temperature(places: Places) -> None:
    """Nothing is fitted on other rows in their place: the figures are of the network as trained, and it says why."""
    spec = attrs.evolve(SPEC, train=attrs.evolve(SPEC.train, validation_fraction=0.0))
    _, values = evaluate_run(spec, trained_run(spec, places))
    told = values.calibration
    assert isinstance(told, dict)
    assert told["temperature"] is None
    assert told["why_none"].startswith("No validation images are held out")
    assert told["validation"] == {"before": None, "after": None}
    assert told["test"]["after"] is None
    assert told["test"]["before"]["loss"] > 0


def test_where_every_validation_row_is_right_there_is_no_temperature() -> None:
    """No finite temperature is best there, and none is made up."""
    validation_rows = Batch(np.eye(3, 784, dtype=np.float32) * 50, np.eye(3, dtype=np.float32))
    spec = attrs.evolve(SPEC, train=attrs.evolve(SPEC.train, epochs=30), model=ModelSpec(hidden=()))
    found = temperature(validation_rows, spec, fit(validation_rows, None, spec))
    assert found.value is None
    assert found.why_none.startswith("Every validation image is named right")
    assert found.after is None
