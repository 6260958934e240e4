"""Training and evaluation as stages: repeatable, honest about the test split, and whole when read back."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import numpy as np
import pytest

from bpfunc.tree import tree_allclose, tree_leaves, tree_map
from pipelines.artifacts import Prepared, PreparedTrain, SealedTest, Trained
from pipelines.dataset.places import Places
from pipelines.dataset.sealed_split import read_test
from pipelines.dataset.split_rows import read_rows
from pipelines.dataset.train_split import read_train
from pipelines.errors import DataProblem
from pipelines.report.findings import behind, mistakes
from pipelines.runs.checkpoints import checkpoint_paths, read_checkpoint
from pipelines.runs.directory import read_history
from pipelines.runs.metrics import RunMetrics
from pipelines.runs.network import read_network, with_history, write_network
from pipelines.runs.predictions import read_predictions, write_predictions
from pipelines.runs.run import evaluate_run, reopen_run, report_run, train_run
from pipelines.runs.text import result_table
from pipelines.spec.run_spec import DatasetSpec, ModelSpec, RunSpec, TrainSpec
from pipelines.stages.encode import unscaled
from pipelines.stages.evaluate import evaluate
from pipelines.stages.prepare import prepare
from pipelines.stages.train import fit
from pipelines.training.build import build_model
from pipelines.training.progress import Observer, no_observer
from pipelines.training.rows import read_training_rows, training_rows, training_split

ROOT = Path(__file__).parents[2]
DATA = DatasetSpec(classes=("0", "1", "2"), pinned=False)
SPEC = RunSpec(
    name="small",
    dataset=DATA,
    model=ModelSpec(hidden=(8, 4)),
    train=TrainSpec(epochs=3, batch_size=16, learning_rate=0.1, validation_fraction=0.2),
)


def changed(**train: object) -> RunSpec:
    """The small run with another training."""
    return attrs.evolve(SPEC, train=attrs.evolve(SPEC.train, **train))


@pytest.fixture
def prepared(tmp_path: Path, own_data: Path) -> Prepared:
    """One's own data, prepared."""
    return prepare(DATA, source=own_data, cache=tmp_path / "cache", raw=tmp_path)[0]


@pytest.fixture
def places(tmp_path: Path, own_data: Path) -> Places:
    """Where a run takes from and puts to."""
    return Places(source=own_data, cache=tmp_path / "cache", raw=tmp_path, runs=tmp_path / "runs")


def train(prepared: PreparedTrain, spec: RunSpec = SPEC, observe: Observer = no_observer) -> Trained:
    """Train on the rows of a prepared split, as a run does."""
    return fit(*training_rows(prepared, spec), spec, observe=observe)


def run_small(spec: RunSpec, places: Places) -> tuple[Path, RunMetrics]:
    """Train and evaluate; return the directory and its metrics."""
    from datetime import datetime

    finished = train_run(spec, places, now=datetime(2026, 1, 1))
    _, values = evaluate_run(spec, finished)
    return finished.directory, values


def test_same_seed_gives_the_same_bits(prepared: Prepared) -> None:
    """Parameters and figures are equal to the last bit; another seed's are not."""
    one, two, other = (train(prepared.train, changed(seed=seed)) for seed in (1, 1, 2))
    assert tree_allclose(one.params, two.params, rtol=0, atol=0)
    assert [r.train_loss for r in one.history] == [r.train_loss for r in two.history]
    assert not tree_allclose(one.params, other.params)


def test_history_has_a_row_for_each_epoch(prepared: Prepared) -> None:
    """Epochs from 1, steps that count updates, losses that fall on data that can be learned."""
    trained = train(prepared.train, changed(epochs=40))
    assert [record.epoch for record in trained.history] == list(range(1, 41))
    assert [record.step for record in trained.history] == [3 * epoch for epoch in range(1, 41)]
    assert trained.history[-1].train_loss < trained.history[0].train_loss / 2
    assert trained.epoch == 40


def test_best_epoch_is_kept_when_asked(prepared: Prepared) -> None:
    """The kept network is the one of the lowest validation loss, and its parameters are that epoch's."""
    best = train(prepared.train, changed(epochs=12, learning_rate=2.0, keep="best"))
    losses = [record.validation_loss for record in best.history]
    assert best.epoch == 1 + int(np.argmin(losses))
    shorter = train(prepared.train, changed(epochs=best.epoch, learning_rate=2.0, keep="last"))
    assert tree_allclose(best.params, shorter.params, rtol=0, atol=0)


def test_validation_rows_are_not_learned_from(prepared: Prepared) -> None:
    """The two parts of the training split share no row and make the whole; other validation rows change no weight."""
    rows = read_training_rows(prepared.train)
    train_rows, validation_rows = training_split(rows, SPEC.train)
    assert (len(train_rows.inputs), len(validation_rows.inputs)) == (48, 12)
    assert not {row.tobytes() for row in train_rows.inputs} & {row.tobytes() for row in validation_rows.inputs}
    spoiled = attrs.evolve(validation_rows, inputs=1 - validation_rows.inputs)
    assert tree_allclose(
        fit(train_rows, validation_rows, SPEC).params, fit(train_rows, spoiled, SPEC).params, rtol=0, atol=0
    )


def test_without_validation_all_rows_are_learned(prepared: Prepared) -> None:
    """A fraction of 0 holds nothing out, and the history says so."""
    trained = train(prepared.train, changed(validation_fraction=0.0))
    assert trained.history[-1].validation_loss is None
    assert trained.history[-1].step == 3 * 4


@pytest.mark.parametrize(
    ("model", "training"),
    [
        ({"dropout": 0.3, "input_dropout": 0.1, "activation": "gelu"}, {"optimizer": "adamw", "weight_decay": 0.05}),
        ({"mirror": True}, {"flip": True, "schedule": "one_cycle", "average": 0.9, "label_smoothing": 0.1}),
        ({}, {"momentum": 0.9, "weight_decay": 0.01, "schedule": "cosine"}),
        ({"activation": "silu"}, {"optimizer": "adam"}),
    ],
)
def test_every_setting_trains(prepared: Prepared, model: dict[str, object], training: dict[str, object]) -> None:
    """Each setting of the specification reaches the training: it runs, learns, and differs from the plain one."""
    spec = attrs.evolve(changed(epochs=8, **training), model=attrs.evolve(SPEC.model, **model))
    trained = train(prepared.train, spec)
    assert np.isfinite([record.train_loss for record in trained.history]).all()
    assert trained.history[-1].train_loss < trained.history[0].train_loss
    assert not tree_allclose(trained.params, train(prepared.train, changed(epochs=8)).params)


def test_averaged_weights_are_the_result(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an average, the network that is kept and measured is the averaged one, not the last step's."""
    seen = []
    trained = train(prepared.train, changed(average=0.9), observe=lambda epochs: (seen.append(e) or e for e in epochs))
    assert tree_allclose(trained.params, seen[-1].kept.params, rtol=0, atol=0)
    assert not tree_allclose(trained.params, seen[-1].state.params)


def test_evaluation_counts_every_test_row(prepared: Prepared) -> None:
    """Matrix, accuracy and probabilities agree with one another and with the rows."""
    found = evaluate(prepared.test, prepared.meta, train(prepared.train))
    assert found.confusion_matrix.sum() == 30
    np.testing.assert_array_equal(found.confusion_matrix.sum(axis=1), np.bincount(found.label))
    assert found.accuracy == np.mean(found.probabilities.argmax(axis=1) == found.label)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-5)
    wanted = -np.log(found.probabilities[np.arange(30), found.label]).mean()
    assert found.loss == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("scaling", ["unit", "standard", "pixel", "mirrored"])
def test_original_pixels_come_back(tmp_path: Path, own_data: Path, scaling: str) -> None:
    """Every scaling can be undone to the very bytes of the source."""
    spec = attrs.evolve(DATA, scaling=scaling, scaling_offset=0.1)
    prepared, _ = prepare(spec, source=own_data, cache=tmp_path / "cache", raw=tmp_path)
    raw = np.frombuffer((own_data / "t10k-images-idx3-ubyte").read_bytes()[16:], np.uint8).reshape(30, 784)
    np.testing.assert_array_equal(unscaled(read_test(prepared.test).pixels, prepared.meta.scaling), raw)


def test_mirrored_scaling_commutes_with_a_flip(tmp_path: Path, own_data: Path, idx) -> None:
    """Normalising a mirror image is mirroring the normalised image; with one scale for each pixel it is not."""
    gaps = {}
    for scaling in ("mirrored", "pixel"):
        spec = attrs.evolve(DATA, scaling=scaling, scaling_offset=0.1)
        plain, _ = prepare(spec, source=own_data, cache=tmp_path / "cache", raw=tmp_path)
        one = read_train(plain.train).pixels.reshape(-1, 28, 28)[:, :, ::-1]
        raw = np.frombuffer((own_data / "train-images-idx3-ubyte").read_bytes()[16:], np.uint8).reshape(-1, 28, 28)
        scale, mean = (x.reshape(28, 28) for x in (plain.meta.scaling.scale, plain.meta.scaling.mean))
        gaps[scaling] = np.abs(one - (raw[:, :, ::-1] / 255 - mean) / scale).max()
    assert gaps["mirrored"] < 1e-5
    assert gaps["pixel"] > 0.1


def test_run_reads_back_whole(places: Places) -> None:
    """Parameters, history, figures and predictions of a run directory are those of the run."""
    directory, values = run_small(changed(keep="best"), places)
    spec, again = reopen_run(directory, places)
    assert spec == changed(keep="best")
    _, repeated = evaluate_run(spec, again)
    assert repeated.test_loss == values.test_loss
    assert json.loads((directory / "metrics.json").read_text())["test_accuracy"] == values.test_accuracy
    assert len(read_history(directory)) == 3
    table = read_predictions(directory)
    assert table.right.mean() == values.test_accuracy
    np.testing.assert_array_equal(table.source_index, np.arange(30))


def test_checkpoint_reads_back(places: Places) -> None:
    """The last checkpoint is the training's last state, step count and optimiser state included."""
    directory, _ = run_small(changed(momentum=0.9), places)
    path = checkpoint_paths(directory)[0]
    data = prepare(DATA, source=places.source, cache=places.cache, raw=places.raw)[0].train.sha256
    moment = read_checkpoint(path, changed(momentum=0.9), data)
    state = moment.state
    assert state.step == 9
    assert moment.history == read_history(directory)
    assert tree_allclose(state.params, read_network(directory).params, rtol=0, atol=0)
    assert any(leaf.any() for leaf in tree_leaves(state.optimizer_state))


@pytest.mark.parametrize("name", ["params.safetensors", "history.parquet", "predictions.parquet"])
def test_damaged_run_files_are_named(places: Places, name: str) -> None:
    """A file that is cut off gives one error with its path."""
    directory, _ = run_small(SPEC, places)
    (directory / name).write_bytes((directory / name).read_bytes()[:-30])
    with pytest.raises(DataProblem) as caught:
        with_history(directory, read_network(directory))
        read_predictions(directory)
    assert caught.value.where.endswith(name)


def test_parameters_of_another_network_are_refused(places: Places) -> None:
    """Weights of other shapes are named, not believed."""
    directory, _ = run_small(SPEC, places)
    config = directory / "config.toml"
    config.write_text(config.read_text().replace("hidden = [8, 4]", "hidden = [9, 4]"))
    with pytest.raises(DataProblem, match="is not the configuration that"):
        read_network(directory)


def test_mirror_model_builds() -> None:
    """The specification's mirror wraps the whole network."""
    assert build_model(ModelSpec(mirror=True), 3).name.startswith("mirror_averaged(serial(")


def test_training_never_opens_the_test_file(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    """While training runs, the only Parquet file read is the training split's; a planted leak is caught."""
    opened: list[object] = []

    def watched(handle: PreparedTrain | SealedTest) -> object:
        opened.append(handle)
        return read_rows(handle)

    monkeypatch.setattr("pipelines.dataset.train_split.read_rows", watched)
    monkeypatch.setattr("pipelines.dataset.sealed_split.read_rows", watched)
    train(prepared.train)
    assert opened == [prepared.train]
    prepared.test.path.unlink()
    train(prepared.train)
    # The planted leak: training that is handed the test split fails, since there is nothing there to open.
    with pytest.raises(DataProblem, match=r"cannot read"):
        train(PreparedTrain(*attrs.astuple(prepared.test)))


def test_a_network_whose_outputs_are_not_numbers_is_right_nowhere(
    tmp_path: Path, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its accuracy, nor its confusion matrix, nor its predictions count such a row as the first class."""
    trained = train(prepared.train)
    whole = evaluate(prepared.test, prepared.meta, trained)
    broken = attrs.evolve(trained, params=tree_map(lambda leaf: leaf * np.float32(1e30), trained.params))
    found = evaluate(prepared.test, prepared.meta, broken)
    assert np.isnan(found.probabilities).any()
    nan = np.isnan(found.probabilities).any(axis=1)
    assert found.accuracy == np.mean((found.probabilities.argmax(axis=1) == found.label) & ~nan)
    assert found.confusion_matrix.sum() == whole.confusion_matrix.sum()
    assert {sample.source_index for sample in mistakes(found)} >= set(found.source_index[nan].tolist())
    write_predictions(tmp_path, found)
    assert not read_predictions(tmp_path).right[nan].any()
    behind_all = [behind(found, true, guess) for true in range(3) for guess in range(3)]
    assert list(map(len, behind_all)) == found.confusion_matrix.ravel().tolist()


def test_a_network_whose_outputs_are_not_numbers_is_reported(
    places: Places,
) -> None:
    """Its figures that do not exist are told as such, on the terminal and on the page."""
    directory, _ = run_small(SPEC, places)
    whole = read_network(directory)
    write_network(directory, attrs.evolve(whole, params=tree_map(lambda leaf: leaf * np.float32(1e30), whole.params)))
    spec, finished = reopen_run(directory, places)
    evaluation, values = evaluate_run(spec, finished)
    assert report_run(spec, finished, evaluation).html.is_file()
    assert values.test_loss is None
    assert ", loss not finite, trained in" in result_table(values)
