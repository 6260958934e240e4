"""Convolutional networks from a configuration: what is refused, what is built, and a whole run."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import attrs
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from bpfunc import Batch, Key
from bpfunc.interop import network_file
from bpfunc.tree import tree_allclose, tree_leaves_with_path, tree_size
from pipelines.artifacts import PIXELS, EngineUsed, Trained
from pipelines.dataset.places import Places
from pipelines.errors import UsageProblem
from pipelines.inference import export
from pipelines.inspection.explain import explain
from pipelines.inspection.explain_numbers import EXAMPLES, NUMBERS, arrays_of, plan
from pipelines.inspection.gradcheck import check_model
from pipelines.runs.checkpoints import checkpoint_paths
from pipelines.runs.feature_maps import feature_maps
from pipelines.runs.network import Network, probabilities, read_network
from pipelines.runs.predictions import read_predictions
from pipelines.runs.run import evaluate_run, reopen_run, report_run, resume_run, train_run
from pipelines.spec.blocks import FORMS, block_shapes
from pipelines.spec.run_spec import LATER, DatasetSpec, ModelSpec, RunSpec, TrainSpec
from pipelines.spec.settings import field_names
from pipelines.spec.toml import from_toml, reasons_table, to_toml
from pipelines.stages.evaluate import images_of_rows
from pipelines.training.build import build_augmentation, build_model, parameter_count
from pipelines.training.engine import choose_engine, why_numpy
from pipelines.training.interrupts import Interrupted
from pipelines.training.outputs import PART, network_outputs
from pipelines.training.progress import Progress
from pipelines.training.rows import read_training_rows
from tests.conftest import Cli

MODEL = ModelSpec(blocks=("conv 4", "pool", "conv 3 5 2", "mean_pool"), hidden=(8,), batch_norm=True, mirror=True)
SPEC = RunSpec(
    name="tiny-conv",
    dataset=DatasetSpec(classes=("0", "1", "2"), pinned=False),
    model=MODEL,
    train=TrainSpec(
        epochs=2, batch_size=16, learning_rate=0.01, optimizer="adamw", schedule="one_cycle", validation_fraction=0.2,
        flip=True, shift=1, cutout=4, mixup=0.2, average=0.9,
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model.blocks = 'conv 32'", "model.blocks: expected a list, found 'conv 32'"),
        ("model.blocks = [32]", "model.blocks[0]: expected a text, found 32"),
        ("model.blocks = ['convolution 32']", "model.blocks[0]: expected one of 'conv FILTERS [SIZE [STRIDE]]', 'pool"),
        ("model.blocks = ['']", "model.blocks[0]: expected one of 'conv FILTERS"),
        (
            "model.blocks = ['conv 8', 'conv']",
            "model.blocks[1]: expected 'conv FILTERS [SIZE [STRIDE]]' in whole numbers",
        ),
        ("model.blocks = ['conv 8 3 1 1']", "at least 1, found 'conv 8 3 1 1'"),
        ("model.blocks = ['conv 0']", "at least 1, found 'conv 0'"),
        ("model.blocks = ['conv -8']", "at least 1, found 'conv -8'"),
        ("model.blocks = ['conv 8.5']", "at least 1, found 'conv 8.5'"),
        ("model.blocks = ['conv  8']", "at least 1, found 'conv  8'"),
        ("model.blocks = ['conv \u0663']", "at least 1, found 'conv \u0663'"),
        ("model.blocks = ['global_pool 2']", "expected 'global_pool' in whole numbers"),
        ("model.blocks = ['conv 8 29']", "'conv 8 29' takes windows of 29 x 29, and the image there is 28 x 28"),
        (
            "model.blocks = ['conv 8', 'pool 14', 'pool', 'pool']",
            "model.blocks[3]: 'pool' takes windows of 2 x 2, and the image there is 1 x 1",
        ),
        ("model.blocks = ['pool']", "model.blocks: expected a 'conv' among the blocks, found pool"),
        ("model.blocks = ['conv 99999']", "makes 28 x 28 x 99999 numbers of an image; at most 1048576"),
        ("model = {blocks = ['conv 1000'], hidden = [8192]}", "model.blocks, hidden: expected widths of at most"),
        (f"model.blocks = {['conv 1'] * 65}", "model.blocks: expected at most 64 blocks, found 65"),
        ("model.batch_norm = true", "model.batch_norm: follows convolutions, and blocks has none"),
        ("train.shift = 29", "train.shift: expected a whole number in [0, 28], found 29"),
        ("train.cutout = -1", "train.cutout: expected a whole number in [0, 28], found -1"),
        (
            "dataset.scaling = 'standard'\ntrain.cutout = 4",
            "dataset.scaling: what train.shift and train.cutout move in",
        ),
    ],
    ids=lambda text: text[:40],
)
def test_wrong_blocks_are_named(text: str, message: str) -> None:
    """One message names the field, what was expected and what was found."""
    with pytest.raises(UsageProblem) as caught:
        from_toml(text, RunSpec(), where="test.toml")
    assert message in caught.value.what
    assert caught.value.where == "test.toml"


BLOCKS = st.one_of(
    st.builds("conv {} {} {}".format, st.integers(1, 4), st.integers(1, 5), st.integers(1, 2)),
    st.sampled_from(["conv 3", "pool", "pool 3", "mean_pool", "global_pool"]),
)


@st.composite
def models(draw: st.DrawFn) -> ModelSpec:
    """Networks with a few blocks that fit one another."""
    blocks = ["conv 2"]
    for text in draw(st.lists(BLOCKS, max_size=4)):
        try:
            list(block_shapes([*blocks, text]))
        except ValueError:
            continue
        blocks.append(text)
    hidden = draw(st.lists(st.integers(1, 5), max_size=2))
    return ModelSpec(blocks=tuple(blocks), hidden=tuple(hidden), batch_norm=draw(st.booleans()))


@given(models(), st.integers(2, 10))
@settings(max_examples=25, deadline=None)
def test_shapes_and_counts_are_those_of_the_layers(spec: ModelSpec, classes: int) -> None:
    """What the blocks say of shapes and parameters is what the layers have, and a pass gives a row for each image."""
    model = build_model(spec, classes)
    params, state, out_shape = model.init(Key(0), (PIXELS,))
    assert out_shape == (classes,)
    assert parameter_count(spec, classes) == tree_size(params)
    assert network_outputs(spec, classes, params, state, np.zeros((2, PIXELS), np.float32)).shape == (2, classes)
    spec_read = from_toml(to_toml(RunSpec(model=spec)), RunSpec(), where="test").model
    assert spec_read == spec


def test_every_block_is_tried_above() -> None:
    """The strategy knows every name of a block."""
    tried = {"conv", "pool", "mean_pool", "global_pool"}
    assert set(FORMS) == tried


def test_records_of_dense_networks_keep_their_bytes() -> None:
    """A field that came later stands in no record at its default, and in every record where it is set."""
    later = [
        f"{part}.{field.name}"
        for part in ("dataset", "model", "train")
        for field in attrs.fields(type(getattr(RunSpec(), part)))
        if field.metadata.get("left out") == LATER["left out"]
    ]
    assert later == ["model.blocks", "model.batch_norm", "train.shift", "train.cutout"]
    assert set(later) <= set(field_names(RunSpec()))
    plain, rich = to_toml(RunSpec()), to_toml(SPEC)
    for name in (field.rpartition(".")[2] for field in later):
        assert f"\n{name} = " not in plain
        assert name not in str(reasons_table(RunSpec()))
        assert f"\n{name} = " in rich
        assert name in str(reasons_table(SPEC))


def test_images_are_moved_and_blanked() -> None:
    """Shift and cutout reach the training: pixels move, and a square of zeros appears."""
    batch = Batch(np.ones((8, PIXELS), np.float32), np.eye(3, dtype=np.float32)[[0] * 8])
    for train in (TrainSpec(shift=3), TrainSpec(cutout=6)):
        augmentation = build_augmentation(train)
        assert augmentation is not None
        changed = augmentation(Key(1), batch).inputs
        assert (changed == 0).any()
        assert (changed == 1).any()


def test_rows_are_run_in_parts() -> None:
    """A network with blocks takes a part of the rows at a time, and gives what it gives for each part alone."""
    params, state, _ = build_model(MODEL, 3).init(Key(0), (PIXELS,))
    inputs = np.random.default_rng(0).random((2 * PART + 5, PIXELS)).astype(np.float32)
    whole = network_outputs(MODEL, 3, params, state, inputs)
    parts = [network_outputs(MODEL, 3, params, state, inputs[i : i + PART]) for i in range(0, len(inputs), PART)]
    assert np.array_equal(whole, np.concatenate(parts))
    assert network_outputs(MODEL, 3, params, state, inputs[:0]).shape == (0, 3)


def test_the_engine_is_numpy() -> None:
    """``auto`` takes NumPy; ``compiled`` names the layer that it does not know, or what is not installed."""
    assert choose_engine(SPEC) == "numpy"
    if importlib.util.find_spec("numba") is not None:
        assert why_numpy(SPEC).startswith("NumPy trained this: the compiled engine does not know this training: ")
    assert why_numpy(RunSpec()) == ""
    with pytest.raises(UsageProblem, match=r"compiled engine (does not know .*reshape|is not installed)"):
        choose_engine(attrs.evolve(SPEC, train=attrs.evolve(SPEC.train, engine="compiled")))


def test_gradient_of_a_network_with_blocks() -> None:
    """The gradient of every array agrees with central differences."""
    found = list(check_model(SPEC, Key(3)))
    assert found
    assert all(one.found.passed for one in found)


@pytest.fixture
def places(tmp_path: Path, own_data: Path) -> Places:
    """Where a run takes from and puts to."""
    return Places(source=own_data, cache=tmp_path / "cache", raw=tmp_path, runs=tmp_path / "runs")


def test_a_run_from_training_to_page(places: Places) -> None:
    """Training, evaluation, report and model card; the file of the network is read by the library alone."""
    finished = train_run(SPEC, places, now=datetime(2026, 1, 1))
    evaluation, values = evaluate_run(SPEC, finished)
    page = report_run(SPEC, finished, evaluation).html.read_text()
    assert page.count('alt="Filter ') == 4
    assert page.count('alt="Map ') == 4 + 4 + 3 + 3
    assert "Block 3, conv 3 5 2: 3 maps of 7 x 7" in page
    card = (finished.directory / "model_card.md").read_text()
    assert "A convolutional network" in card
    assert values.engine == "numpy"
    images = images_of_rows(finished.prepared.test, finished.prepared.meta, evaluation.source_index)
    network = read_network(finished.directory)
    again = probabilities(network, images)
    assert np.array_equal(again, evaluation.probabilities)
    assert np.array_equal(read_predictions(finished.directory).probabilities, evaluation.probabilities)
    alone = network_file.read_network((finished.directory / "params.safetensors").read_bytes())
    np.testing.assert_allclose(network_file.probabilities(alone, images), again, rtol=1e-5, atol=1e-6)
    spec, reopened = reopen_run(finished.directory, places)
    assert spec == SPEC
    assert tree_allclose(reopened.trained.params, finished.trained.params, rtol=0, atol=0)


def test_a_resumed_run_has_the_same_bits(places: Places) -> None:
    """A run that stopped after its first epoch ends with the parameters and statistics of one that did not."""
    whole = train_run(SPEC, places, now=datetime(2026, 1, 1))
    stopped = places.runs / "stopped"

    def stop_after_one(epochs: Iterator[Progress]) -> Iterator[Progress]:
        yield next(epochs)
        raise Interrupted

    with pytest.raises(Interrupted):
        train_run(SPEC, attrs.evolve(places, out=stopped), now=datetime(2026, 1, 1), observe=stop_after_one, every=0)
    assert len(checkpoint_paths(stopped)) == 1
    trained = resume_run(stopped, places)[1].trained
    assert len(trained.history) == 2
    assert tree_allclose(trained.params, whole.trained.params, rtol=0, atol=0)
    assert tree_allclose(trained.layer_state, whole.trained.layer_state, rtol=0, atol=0)


def test_a_step_is_explained(places: Places) -> None:
    """Each layer of the blocks has formulas and FLOPs; backward, a convolution takes its products twice."""
    finished = train_run(SPEC, places, now=datetime(2026, 1, 1))
    model = ModelSpec(blocks=("conv 4", "conv 2"), hidden=())
    rows = read_training_rows(finished.prepared.train)
    found = explain(rows, RunSpec(model=model, train=TrainSpec(batch_size=8)), ("A", "B", "C"))
    operations = {(one.stage, one.layer): one for one in found.operations}
    places_of_map = 8 * 28 * 28
    first, second = 2 * 9 * 1 * 4 * places_of_map, 2 * 9 * 4 * 2 * places_of_map
    assert operations["forward", "conv2d(4, 3 x 3)"].flops == first + 4 * places_of_map
    assert operations["backward", "conv2d(2, 3 x 3)"].flops == 2 * second + 2 * places_of_map
    assert all(one.formulas for one in found.operations if one.stage == "forward")


def test_the_last_maps_are_what_the_dense_layer_reads() -> None:
    """The maps of the last block, laid out as a row, give the network's outputs; a dense network has no maps."""
    spec = ModelSpec(blocks=("conv 4", "pool", "conv 2 3 2", "mean_pool"), hidden=(), mirror=True)
    params, state, _ = build_model(spec, 3).init(Key(0), (PIXELS,))
    inputs = np.random.default_rng(0).random((1, PIXELS)).astype(np.float32)
    trained = Trained(spec, params, state, (), 1, 0.0, EngineUsed())
    maps = feature_maps(trained, inputs, 3)
    assert [(one.block, one.maps.shape) for one in maps] == [
        ("conv 4", (28, 28, 4)), ("pool", (14, 14, 4)), ("conv 2 3 2", (7, 7, 2)), ("mean_pool", (3, 3, 2)),
    ]  # fmt: skip
    leaves = [leaf for _, leaf in tree_leaves_with_path(params)]
    weight, bias = leaves[-2:]
    unmirrored = attrs.evolve(spec, mirror=False)
    outputs = network_outputs(unmirrored, 3, params, state, inputs)
    np.testing.assert_allclose(maps[-1].maps.reshape(1, -1) @ weight + bias, outputs, rtol=1e-5, atol=1e-6)
    dense = ModelSpec(hidden=(4,))
    params, state, _ = build_model(dense, 3).init(Key(0), (PIXELS,))
    assert feature_maps(Trained(dense, params, state, (), 1, 0.0, EngineUsed()), inputs, 3) == ()


def test_the_commands_take_such_a_network(cli: Cli, own_data: Path, tmp_path: Path) -> None:
    """run, evaluate, predict, explain and resume: each ends with 0, and the run says why NumPy trained it."""
    (tmp_path / "c.toml").write_text(to_toml(SPEC))
    own = ("--source", str(own_data))
    done = cli("run", "--recipe", "conv", "--config", "c.toml", *own, "--out", "r", "--json")
    assert done.returncode == 0, done.stderr
    if importlib.util.find_spec("numba") is not None:
        assert "NumPy trained this: " in done.stderr
    metrics = json.loads(done.stdout)
    assert metrics["engine"] == "numpy"
    np.save(tmp_path / "i.npy", np.zeros((2, 28, 28), np.uint8))
    for command in (
        ("evaluate", "r", *own),
        ("resume", "r", *own),
        ("predict", "r", "i.npy"),
        ("explain", "--config", "c.toml", *own, "--html", "step.html"),
        ("export", "r", "--to", "safetensors", "--out", "network.safetensors"),
    ):
        done = cli(*command)
        assert done.returncode == 0, (command, done.stderr)
    assert "conv2d" in (tmp_path / "step.html").read_text()
    refused = cli("train", "--config", "c.toml", *own, "--engine", "compiled")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: the compiled engine ")
    assert refused.stderr.count("\n") == 3


def test_the_page_of_a_step_stays_small() -> None:
    """Of a network that makes many numbers of an image, fewer examples are on the page; of a dense one all of them."""
    rows = Batch(
        np.random.default_rng(0).random((16, PIXELS)).astype(np.float32), np.eye(3, dtype=np.float32)[[0] * 16]
    )
    shown = {}
    for blocks in ((), ("conv 16", "pool", "conv 32")):
        spec = RunSpec(model=ModelSpec(blocks=blocks, hidden=(8,)), train=TrainSpec(batch_size=16))
        drawn = plan([explain(rows, spec, ("A", "B", "C"))])
        shown[blocks] = drawn.examples
        numbers = sum(array.size for array in arrays_of(drawn, drawn.first).values())
        assert numbers < 2 * NUMBERS
    assert shown[()] == EXAMPLES
    assert 1 <= shown["conv 16", "pool", "conv 32"] < EXAMPLES


def test_a_layer_that_another_format_lacks_is_named(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer's refusal becomes one message that says which format and what to choose; nothing is written."""
    finished = train_run(SPEC, places, now=datetime(2026, 1, 1))

    def refuse(network: Network) -> bytes:
        raise ValueError("layers[1]: conv2d(4, 3 x 3) is not known to the writer")

    monkeypatch.setattr(export, "_writers", lambda: {"onnx": refuse})
    out = places.runs / "network.onnx"
    with pytest.raises(UsageProblem, match=r"cannot be written as onnx: layers\[1\]: conv2d\(4, 3 x 3\) is not known"):
        export.export(finished.directory, "onnx", out)
    assert not out.exists()
