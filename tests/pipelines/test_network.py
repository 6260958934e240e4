"""A run's network is whole in one file, and what is made of that file is the same network elsewhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import attrs
import numpy as np
import pytest
from safetensors.numpy import load_file

from bpfunc.interop import network_file
from bpfunc.interop.safetensors import safetensors_metadata
from bpfunc.tree import tree_leaves_with_path
from pipelines.dataset.places import Places
from pipelines.disk.tensors import sealed_tensors
from pipelines.errors import DataProblem, UsageProblem
from pipelines.inference.export import export, npz_bytes, safetensors_bytes
from pipelines.runs.metrics import read_metrics
from pipelines.runs.network import PARAMS_FORMAT, Network, probabilities, read_network, write_network
from pipelines.runs.predictions import read_predictions
from pipelines.runs.run import evaluate_run, reopen_run, resume_run, train_run
from tests.faults.scene import SPEC, places_in, whole_run

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
MIRRORED = attrs.evolve(
    SPEC,
    dataset=attrs.evolve(SPEC.dataset, scaling="mirrored", scaling_offset=0.1),
    model=attrs.evolve(SPEC.model, mirror=True),
    train=attrs.evolve(SPEC.train, epochs=2),
)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    """A small data set, and where its runs lie."""
    return places_in(tmp_path_factory.mktemp("network"))


@pytest.fixture(scope="module")
def run(places: Places) -> Path:
    """A finished run whose network has dropout, an average, a scaling of each pixel, and mirror images."""
    return whole_run(places, places.runs / "first", MIRRORED)


@pytest.fixture(scope="module")
def network(run: Path) -> Network:
    """Its network."""
    return read_network(run)


def test_network_is_self_sufficient(run: Path, network: Network, places: Places) -> None:
    """From raw bytes alone it says what `evaluate` said with the prepared cache."""
    _, finished = reopen_run(run, places)
    evaluation = evaluate_run(MIRRORED, finished)[0]
    assert network.class_names == evaluation.class_names == ("0", "1", "2")
    assert network.spec == MIRRORED
    found = probabilities(network, evaluation.images)
    np.testing.assert_allclose(found, read_predictions(run).probabilities, rtol=0, atol=1e-6)


def test_tensors_have_readable_names(run: Path) -> None:
    """Any reader of safetensors finds the tensors by their tree paths, and the classes in the header."""
    names = set(load_file(run / "params.safetensors"))
    weights = {f"params.layers[{index}].{part}" for index in (0, 3, 6) for part in ("weight", "bias")}
    assert names == {*weights, "scaling.mean", "scaling.scale"}
    assert safetensors_metadata((run / "params.safetensors").read_bytes())["class_names"].split() == ["0", "1", "2"]


def test_same_seed_same_bytes(run: Path, network: Network, places: Places, tmp_path: Path) -> None:
    """Two trainings of one seed leave the same file, and writing what was read gives it once more."""
    again = train_run(MIRRORED, attrs.evolve(places, out=tmp_path / "again"), now=datetime(2026, 1, 2)).directory
    expected = (run / "params.safetensors").read_bytes()
    assert (again / "params.safetensors").read_bytes() == expected
    write_network(tmp_path, network)
    assert (tmp_path / "params.safetensors").read_bytes() == expected


def test_older_format_is_one_error_and_resume_brings_it_back(places: Places, tmp_path: Path) -> None:
    """A file without the scaling names its format; removed, it is written anew from the last checkpoint."""
    out = whole_run(places, tmp_path / "old", MIRRORED)
    path, data = out / "params.safetensors", (out / "params.safetensors").read_bytes()
    network = read_network(out)
    older = {**safetensors_metadata(data), "format": "bpfunc-params-2"}
    del older["sha256"]
    path.write_bytes(sealed_tensors((network.params, network.layer_state), older))
    with pytest.raises(DataProblem, match=f"expected the format {PARAMS_FORMAT}, found 'bpfunc-params-2'") as caught:
        read_network(out)
    assert "bpfunc resume" in caught.value.remedy
    path.unlink()
    resume_run(out, places)
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_names": "a\nb"}, "it names 2 classes, not 3"),
        ({"scaling": 0.0}, "cannot be divided by"),
        ({"scaling": np.nan}, "cannot be divided by"),
    ],
)
def test_a_seal_does_not_make_it_right(
    run: Path, network: Network, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    """Names and statistics that make no sense are refused, sealed or not."""
    (tmp_path / "config.toml").write_bytes((run / "config.toml").read_bytes())
    metadata = safetensors_metadata((run / "params.safetensors").read_bytes())
    del metadata["sha256"]
    if "scaling" in change:
        scaling = attrs.evolve(network.scaling, scale=np.full(784, change["scaling"]))
        network = attrs.evolve(network, scaling=scaling)
    else:
        metadata |= change  # type: ignore[arg-type]
    (tmp_path / "params.safetensors").write_bytes(sealed_tensors(network, metadata))
    with pytest.raises(DataProblem, match=message):
        read_network(tmp_path)


def test_other_data_is_not_scaled_by_its_own_statistics(run: Path, places: Places, tmp_path: Path) -> None:
    """A network that learned from one data set is not measured on inputs that another one's statistics made."""
    assert places.source is not None
    other = tmp_path / "other"
    other.mkdir()
    for path in places.source.iterdir():
        data = path.read_bytes()
        (other / path.name).write_bytes(data[:-1] + bytes([data[-1] ^ ("images" in path.name)]))
    with pytest.raises(DataProblem, match="not the data that this network was trained on"):
        reopen_run(run, attrs.evolve(places, source=other))


def card_of(run: Path) -> tuple[dict[str, object], str]:
    """Front matter and text of a run's card."""
    yaml = pytest.importorskip("yaml", reason="needs a reader of YAML")
    _, front, text = (run / "model_card.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(front), text


def test_card_says_what_the_run_found(run: Path, network: Network) -> None:
    """Accuracy, confusion matrix, recall, parameters and hashes are those of metrics.json."""
    front, text = card_of(run)
    figures = read_metrics(run)
    result = front["model-index"][0]["results"][0]["metrics"][0]  # type: ignore[index]
    assert result == {"type": "accuracy", "value": figures.test_accuracy}
    assert front["license"] == "unknown"
    for name, row in zip(network.class_names, figures.confusion_matrix, strict=True):
        recall = figures.recall[name]
        assert f"| {name} | {' | '.join(map(str, row))} | {100 * recall:.2f} % |" in text
    assert f"| Parameters | {figures.parameters:,} |" in text
    assert figures.command in text
    for sha in figures.data.sources.values():
        assert sha in text
    assert "averaged over the image and its mirror image" in text


def test_card_of_the_official_data_names_its_licence(places: Places, tmp_path: Path) -> None:
    """The bundle is Zalando's, MIT; a sealed run's card has no result, and says how to get one."""
    spec = attrs.evolve(MIRRORED, dataset=attrs.evolve(MIRRORED.dataset, classes=("1", "dress"), pinned=True))
    spec = attrs.evolve(spec, train=attrs.evolve(spec.train, epochs=1, batch_size=500))
    train_run(spec, attrs.evolve(places, source=None, out=tmp_path / "run"), now=datetime(2026, 1, 1))
    front, text = card_of(tmp_path / "run")
    assert front["license"] == "mit"
    assert front["datasets"] == ["zalando-datasets/fashion_mnist"]
    assert "model-index" not in front
    assert "The test split has not been opened" in text
    assert "Fashion-MNIST (Trouser, Dress), MIT licence" in text


def test_card_can_be_followed(run: Path, network: Network, tmp_path: Path) -> None:
    """Its Python runs beside the network's file, where `pipelines` cannot be imported, and says what the run says."""
    for name in ("params.safetensors", "model_card.md"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    own, plain = re.findall(r"^```python\n(.*?)^```$", (tmp_path / "model_card.md").read_text(), re.M | re.S)
    blocked = "import sys; sys.modules['pipelines'] = None\n"
    shown = "print(shares.tolist())\n"
    done = subprocess.run(
        [sys.executable, "-c", blocked + own + shown], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    answer, figures = done.stdout.splitlines()
    expected = probabilities(network, np.zeros((1, 784), np.uint8))
    np.testing.assert_array_equal(np.array(json.loads(figures), np.float32), expected)
    assert answer.split()[0] == network.class_names[int(expected[0].argmax())]
    done = subprocess.run(
        [sys.executable, "-c", f"{plain}print(x.shape)"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "(1, 784)\n"


def test_export_of_arrays(run: Path, network: Network, tmp_path: Path) -> None:
    """safetensors and npz hold every array under its tree path, with the class names, and the same bytes each time."""
    expected = dict(tree_leaves_with_path(network))
    files = export(run, "safetensors", tmp_path / "a.safetensors")
    assert files == (tmp_path / "a.safetensors", tmp_path / "a.md")
    card = (run / "model_card.md").read_text(encoding="utf-8")
    assert 'load_file("params.safetensors")' in card
    copy = card.replace('("params.safetensors")', '("a.safetensors")')
    assert (tmp_path / "a.md").read_text(encoding="utf-8") == copy
    assert export(run, "npz", tmp_path / "a.npz") == (tmp_path / "a.npz",)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        packed = dict(archive)
    with zipfile.ZipFile(tmp_path / "a.npz") as members:  # two of one second would be equal by chance
        assert {member.date_time for member in members.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert packed.pop("class_names").tolist() == ["0", "1", "2"]
    assert "[model]" in str(packed.pop("config"))
    for found in (load_file(tmp_path / "a.safetensors"), packed):
        assert found.keys() == expected.keys()
        for name, array in found.items():
            np.testing.assert_array_equal(array, expected[name])
            assert array.dtype == expected[name].dtype
    header = safetensors_metadata((tmp_path / "a.safetensors").read_bytes())
    assert json.loads(header["class_names"]) == ["0", "1", "2"]
    exported = network_file.read_network((tmp_path / "a.safetensors").read_bytes())
    assert exported.class_names == network.class_names
    again = read_network(run)
    assert safetensors_bytes(again) == (tmp_path / "a.safetensors").read_bytes()
    assert npz_bytes(again) == (tmp_path / "a.npz").read_bytes()


def test_export_to_torch(run: Path, network: Network, tmp_path: Path) -> None:
    """A Sequential of the same layers takes the file as it is, and gives the logits of each of the two passes."""
    torch = pytest.importorskip("torch", reason="needs the oracles")
    from safetensors.torch import load_file as load_tensors

    export(run, "torch-state-dict", tmp_path / "a.safetensors")
    layers = [torch.nn.Linear(784, 8), torch.nn.ReLU(), torch.nn.Dropout(), torch.nn.Linear(8, 8), torch.nn.ReLU()]
    module = torch.nn.Sequential(*layers, torch.nn.Dropout(), torch.nn.Linear(8, 3)).eval()
    module.load_state_dict(load_tensors(tmp_path / "a.safetensors"))
    scaling = json.loads(safetensors_metadata((tmp_path / "a.safetensors").read_bytes())["scaling"])
    images = np.random.default_rng(0).integers(0, 256, (7, 28, 28)).astype(np.uint8)
    found = 0.0
    for view in (images, images[:, :, ::-1]):
        inputs = (view.reshape(7, 784) / 255 - scaling["mean"]) / scaling["scale"]
        with torch.no_grad():
            found = found + module(torch.from_numpy(inputs.astype(np.float32))).softmax(dim=1).numpy() / 2
    np.testing.assert_allclose(found, probabilities(network, images.reshape(7, 784)), rtol=0, atol=1e-6)


def test_export_to_onnx(run: Path, network: Network, tmp_path: Path) -> None:
    """Raw pixels go in, and what `predict` says comes out; the same bytes each time."""
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")
    export(run, "onnx", tmp_path / "a.onnx")
    export(run, "onnx", tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    images = np.random.default_rng(0).integers(0, 256, (7, 784)).astype(np.uint8)
    session = runtime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    logits, found = session.run(None, {"input": images})
    assert logits.shape == found.shape == (7, 3)
    np.testing.assert_allclose(found, probabilities(network, images), rtol=0, atol=1e-6)
    assert json.loads(session.get_modelmeta().custom_metadata_map["class_names"]) == ["0", "1", "2"]


def test_export_without_onnx(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has not got the extra is told how to add it, and nothing is written."""
    monkeypatch.setitem(sys.modules, "bpfunc.interop.onnx", None)
    with pytest.raises(UsageProblem, match="needs the optional extra `onnx`") as caught:
        export(run, "onnx", tmp_path / "a.onnx")
    assert caught.value.remedy == "pip install 'bpfunc[onnx]'"
    assert not list(tmp_path.iterdir())


def test_export_command(cli: Cli, run: Path, tmp_path: Path) -> None:
    """Without --out the file has the run's name, in the working directory; a kind that is none is wrong usage."""
    done = cli("export", str(run), "--to", "npz")
    assert (done.returncode, done.stdout, done.stderr) == (0, "npz: first.npz\n", "")
    document = json.loads(cli("export", str(run), "--to", "safetensors", "--json").stdout)
    assert document == {"run": str(run), "to": "safetensors", "files": ["first.safetensors", "first.md"]}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.md", "first.npz", "first.safetensors"]
    for words, code in (
        (("export", str(run), "--to", "pickle"), 2),
        (("export", "nowhere", "--to", "npz"), 2),
        (("export", str(run), "--to", "npz", "--out", "no/such/a.npz"), 1),
    ):
        done = cli(*words)
        assert (done.returncode, done.stdout) == (code, "")
        assert "Traceback" not in done.stderr
