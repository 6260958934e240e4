"""Files made to harm: an error with its place, bounded memory, and never code."""

from __future__ import annotations

import ast
import gzip
import json
import math
import os
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bpfunc.interop.safetensors import HEADER_LIMIT, from_safetensors, safetensors_metadata
from pipelines.dataset.idx import SIZE_LIMIT, read_idx
from pipelines.disk.json_text import sealed_json
from pipelines.disk.parquet import numpy_dtype, sealed_table
from pipelines.disk.tensors import read_sealed_tensors, sealed_tensors
from pipelines.errors import DataProblem, UsageProblem
from pipelines.runs.checkpoints import checkpoint_paths, read_checkpoint, write_checkpoint
from pipelines.runs.directory import read_history
from pipelines.runs.metrics import metrics_table, read_metrics, write_metrics
from pipelines.runs.network import PARAMS_FORMAT, read_network
from pipelines.spec.run_spec import PARAMETER_LIMIT, RunSpec, TrainSpec
from pipelines.spec.toml import from_toml, load_config, to_toml
from pipelines.stages.prepare import prepare
from tests.faults.scene import SPEC, places_in, whole_run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    base = tmp_path_factory.mktemp("hostile")
    return whole_run(places_in(base), base / "run")


@contextmanager
def changed(path: Path, data: bytes) -> Iterator[None]:
    """Let a file have other bytes for a while."""
    good = path.read_bytes()
    path.write_bytes(data)
    try:
        yield
    finally:
        path.write_bytes(good)


@contextmanager
def memory(limit: int) -> Iterator[None]:
    """Fail where a block takes more memory than it should."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def test_a_promise_that_the_file_cannot_keep_is_refused_unread(tmp_path: Path) -> None:
    """A header may promise no more than the file can hold, packed or not, and never more than the limit."""
    header = bytes([0, 0, 8, 1])
    for size, name in ((10_000_000, "images"), (SIZE_LIMIT, "images.gz"), (SIZE_LIMIT + 1, "images.gz")):
        data = header + size.to_bytes(4, "big") + bytes(1000)
        path = tmp_path / name
        path.write_bytes(gzip.compress(data, 0) if name.endswith("gz") else data)
        with memory(1_000_000), pytest.raises(DataProblem, match="the header promises"):
            read_idx(path, dimensions=1)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe in the place of a file is refused; reading it would wait for ever."""
    os.mkfifo(tmp_path / "labels")
    with pytest.raises(DataProblem, match="not a regular file"):
        read_idx(tmp_path / "labels", dimensions=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[model]\nhidden = [1000000000]", "weights"),
        ("[model]\nhidden = [" + "20000, " * 20 + "]", "weights"),
        ("[train]\nseed = 0x" + "f" * 9000, "at most 64 bits, found a number without end"),
        ("[train]\nepochs = " + "9" * 5000, "this is not valid TOML"),
        ("[train]\nepochs = 9999999999999999999999", "at most 64 bits"),
        ("[train]\nepochs = '" + "x" * 90_000 + "'", "expected a whole number"),
        ("x = " + "[" * 50_000, "this is not valid TOML"),
        ("y" * 5000 + " = 1", "unknown field"),
        ("#" * 200_000, "larger than"),
    ],
)
def test_configurations_ask_for_no_more_than_there_is(text: str, message: str, tmp_path: Path) -> None:
    """Sizes, numbers and brackets without end are one short message."""
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(UsageProblem, match=message) as caught:
        load_config(path, RunSpec())
    assert len(str(caught.value)) < 1000


def test_largest_network_is_let_in() -> None:
    """The limit refuses slips of a digit, not large networks."""
    assert from_toml("[model]\nhidden = [8192, 8192]", RunSpec(), where="here").model.hidden == (8192, 8192)
    assert PARAMETER_LIMIT > 784 * 8192 + 8192**2


def test_network_is_not_made_before_the_file_can_hold_it(finished: Path) -> None:
    """A configuration and a header that agree on a huge network, in a small file, take no memory."""
    spec = attrs.evolve(SPEC, model=attrs.evolve(SPEC.model, hidden=(100_000,)))
    data = sealed_tensors((), {"format": PARAMS_FORMAT, "epoch": "1", "config": to_toml(spec)})
    with (
        changed(finished / "config.toml", to_toml(spec).encode()),
        changed(finished / "params.safetensors", data),
        memory(5_000_000),
        pytest.raises(DataProblem, match="smaller than such a network"),
    ):
        read_network(finished)


def test_every_flipped_byte_of_tensors_is_noticed(finished: Path) -> None:
    """The format has no checksum of its own; the seal finds a changed weight wherever it is."""
    path = finished / "params.safetensors"
    good, whole = path.read_bytes(), read_network(finished)
    start = 8 + int.from_bytes(good[:8], "little")
    for position in range(start, len(good), len(good) // 40):
        data = bytearray(good)
        data[position] ^= 1
        with changed(path, bytes(data)), pytest.raises(DataProblem, match="not what was written"):
            read_network(finished)
    assert read_network(finished).epoch == whole.epoch


def test_a_seal_does_not_make_shapes_right(finished: Path) -> None:
    """What was sealed anew by somebody else is still checked for names, types, shapes and sizes."""
    path = finished / "params.safetensors"
    metadata = {"format": PARAMS_FORMAT, "epoch": "1", "config": to_toml(SPEC)}
    for tree, message in ((np.zeros(4000), "tensor names differ"), ({"a": np.zeros(9000, np.float32)}, "tensor names")):
        with changed(path, sealed_tensors(tree, metadata)), pytest.raises(DataProblem, match=message):
            read_network(finished)
    with pytest.raises(DataProblem, match="larger than such a network"):
        read_sealed_tensors(_written(finished, bytes(HEADER_LIMIT + 1000)), (np.zeros(3),), remedy="none")


def _written(directory: Path, data: bytes) -> Path:
    path = directory / "written"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", ["BF16", "F8_E4M3", "NOTHING"])
def test_numbers_that_numpy_has_not_are_refused(kind: str) -> None:
    """A type that is valid in the format and unknown to NumPy is an error, not a KeyError."""
    header = json.dumps({"w": {"dtype": kind, "shape": [2], "data_offsets": [0, 4]}}).encode()
    with pytest.raises(ValueError, match="not a safetensors file"):
        from_safetensors(len(header).to_bytes(8, "little") + header + bytes(4), {"w": np.zeros(2, np.float32)})


def test_brackets_without_end_are_no_header() -> None:
    """A header that nests for ever is refused, not followed."""
    header = b'{"__metadata__":' + b"[" * 300_000
    with pytest.raises(ValueError, match="not JSON"):
        safetensors_metadata(len(header).to_bytes(8, "little") + header)


def test_long_histories_are_read_back(tmp_path: Path, finished: Path) -> None:
    """A checkpoint is whole however many epochs there were; its header does not grow with them."""
    spec = attrs.evolve(SPEC, train=attrs.evolve(SPEC.train, epochs=20_000))
    data = "0" * 64
    moment = read_first(finished)
    many = tuple(attrs.evolve(moment.history[-1], epoch=epoch) for epoch in range(1, 20_001))
    (tmp_path / "checkpoints").mkdir()
    path = write_checkpoint(tmp_path, spec, data, attrs.evolve(moment, history=many))
    assert read_checkpoint(path, spec, data).history == many
    with pytest.raises(DataProblem, match="not the configuration"):
        read_checkpoint(path, SPEC, data)
    with pytest.raises(DataProblem, match="the training split is not the one"):
        read_checkpoint(path, spec, "1" * 64)


def read_first(run: Path):  # type: ignore[no-untyped-def]
    """The newest checkpoint of a run, on the data it names itself."""
    path = checkpoint_paths(run)[0]
    return read_checkpoint(path, SPEC, safetensors_metadata(path.read_bytes())["data"])


def bomb(rows: int, schema: pa.Schema) -> bytes:
    """A small Parquet file of many rows."""
    columns = [pa.array(np.zeros(rows, numpy_dtype(kind)), kind) for kind in schema.types]
    return sealed_table(pa.table(columns, schema=schema))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bomb(10_000_000, pa.schema([("epoch", pa.int8())])), "unfolds to more than"),
        (lambda: bomb(3, pa.schema([("epoch", pa.int8())])), "other columns"),
        (lambda: _table({"text": ["x" * 1000]}), "its columns are other ones"),
        (lambda: _table({"nested": [[1, 2]]}), "its columns are other ones"),
        (lambda: _table({"unsealed": [1]}), "not what was written"),
        (lambda: b"PAR1" + b"\xff" * 100 + b"PAR1", "cannot read"),
        (lambda: b"", "cannot read"),
    ],
)
def test_tables_unfold_to_no_more_than_they_may(finished: Path, make: Callable[[], bytes], message: str) -> None:
    """Rows without end, texts, nesting, no seal: refused before they fill the memory."""
    data = make()
    assert len(data) < 1_000_000
    before = pa.total_allocated_bytes()
    with changed(finished / "history.parquet", data), pytest.raises(DataProblem, match=message):
        read_history(finished)
    assert pa.total_allocated_bytes() - before < 1_000_000


def _table(columns: dict[str, list[object]]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    "data", [b"[" * 90_000, b"{" * 5, b"[]", b"\xff\xff", b"{}", b" " * 2_000_000, b'{"sha256": 1}']
)
def test_metrics_that_are_none(finished: Path, data: bytes) -> None:
    """Whatever stands in metrics.json is its own figures or an error with the path."""
    with changed(finished / "metrics.json", data), pytest.raises(DataProblem) as caught:
        read_metrics(finished)
    assert caught.value.where == str(finished / "metrics.json")


def test_metrics_come_back(finished: Path, tmp_path: Path) -> None:
    """What is written is what is read, and a changed figure is noticed."""
    values = read_metrics(finished)
    write_metrics(tmp_path, values)
    assert read_metrics(tmp_path) == values
    text = (tmp_path / "metrics.json").read_text().replace('"test_rows": 30', '"test_rows": 31')
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(DataProblem, match="not what was written"):
        read_metrics(tmp_path)
    write_metrics(tmp_path, attrs.evolve(values, test_loss=math.nan))
    assert read_metrics(tmp_path).test_loss is None
    with pytest.raises(ValueError, match="not JSON compliant"):
        sealed_json({"loss": math.nan})


DANGEROUS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "pickle",
    "marshal",
    "shelve",
    "dill",
    "cloudpickle",
    "yaml",
    "joblib",
}


def runs_code(text: str) -> list[str]:
    """Names in a source text by which what is read could be run."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", "") or ""}
            found += [name for name in names if name.split(".")[0] in DANGEROUS]
        elif isinstance(node, ast.Call):
            call = ast.unparse(node.func)
            safe = any(word.arg == "allow_pickle" and ast.unparse(word.value) == "False" for word in node.keywords)
            if call in DANGEROUS or (call == "np.load" and not safe) or call == "os.system":
                found.append(call)
    return found


WRITTEN_HERE = {
    "bpfunc/compiled/loops.py": ["exec"],
    "bpfunc/compiled/kept.py": ["pickle"],
    "pipelines/studies/workers.py": ["pickle"],
}
"""They run what they have themselves written: loops of NumPy's own functions, by NumPy's names; machine code, which
numba keeps as pickles, from a directory that no other user can write to (tests/bpfunc/compiled/test_kept.py); and jobs
and answers that travel through a pipe between a command and a worker that it started itself."""


@pytest.mark.parametrize("package", ["bpfunc", "pipelines"])
def test_nothing_that_is_read_is_run(package: str) -> None:
    """No pickle, no eval, no loader that runs code, anywhere."""
    for path in (ROOT / package).rglob("*.py"):
        known = WRITTEN_HERE.get(path.relative_to(ROOT).as_posix(), [])
        assert runs_code(path.read_text(encoding="utf-8")) == known, path


@pytest.mark.parametrize("planted", ["import pickle", "from yaml import load", "eval(x)", "np.load(path)"])
def test_planted_danger_is_found(planted: str) -> None:
    """The check above can fail."""
    assert runs_code(planted)


def test_study_names_the_damaged_seed(finished: Path, tmp_path: Path) -> None:
    """A seed whose figures were changed is not summed up."""
    from pipelines.studies.study import read_seed

    (tmp_path / "seed-000").mkdir()
    values = read_metrics(finished)
    write_metrics(tmp_path / "seed-000", values)
    assert read_seed(tmp_path, 0) is not None
    for name, wrong in (("seed", None), ("test_accuracy", "1"), ("confusion_matrix", 3), ("train_seconds", True)):
        (tmp_path / "seed-000" / "metrics.json").write_bytes(sealed_json({**metrics_table(values), name: wrong}))
        with pytest.raises(DataProblem, match=f"damaged figures: {name}: expected"):
            read_seed(tmp_path, 0)


def test_plain_settings_still_pass() -> None:
    """The limits leave every recipe as it was."""
    assert from_toml(to_toml(SPEC), RunSpec(), where="here") == SPEC
    assert TrainSpec(seed=2**62).seed == 2**62


def test_prepared_data_is_what_a_run_names(finished: Path) -> None:
    """The checkpoint's data is the cache entry's training split."""
    places = places_in(finished.parent)
    prepared, _ = prepare(SPEC.dataset, source=places.source, cache=places.cache, raw=places.raw)
    path = checkpoint_paths(finished)[0]
    assert safetensors_metadata(path.read_bytes())["data"] == prepared.train.sha256
