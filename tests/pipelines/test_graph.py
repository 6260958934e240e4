"""The cache: an entry is used only if every reason and every byte agrees, and a refusal says why."""

from __future__ import annotations

import ast
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import attrs
import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.artifacts import Prepared
from pipelines.dataset.cache_key import Hit, Miss, Stale, cache_key
from pipelines.dataset.entry import open_prepared, read_manifest
from pipelines.dataset.pins import official_sources
from pipelines.dataset.train_split import read_train
from pipelines.errors import DataProblem
from pipelines.spec.run_spec import DatasetSpec
from pipelines.stages import encode as encode_stage, prepare as graph
from pipelines.stages.acquire import acquire
from pipelines.stages.decode import decode
from pipelines.stages.encode import encode
from pipelines.stages.prepare import CACHED_STAGES, key_reasons, plan, prepare, verify
from pipelines.stages.select import select
from pipelines.stages.store import store

DEBIAN = official_sources().system_directories[0]
OWN = DatasetSpec(classes=("0", "1", "2"), pinned=False)
RECORDED = Path(__file__).with_name("stage_sources.json")
ROOT = Path(__file__).parents[2]
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
PASSIVE = {
    "artifacts",
    "atomic",
    "documents",
    "errors",
    "files",
    "json_text",
    "printable",
    "run_spec",
    "seal",
    "values",
}
"""Modules that stages import and that compute nothing an entry holds: types, messages, the way to the disk."""


def _prepare(cache: Path, spec: DatasetSpec = OWN, source: Path | None = None) -> tuple[Prepared, object]:
    return prepare(spec, source=source, cache=cache, raw=cache / "raw")


@pytest.fixture
def entry(tmp_path: Path, own_data: Path) -> Prepared:
    """A prepared entry of one's own data."""
    return _prepare(tmp_path / "cache", source=own_data)[0]


def test_second_time_is_a_hit(tmp_path: Path, own_data: Path, entry: Prepared) -> None:
    """The same data and choices find the entry."""
    again, decision = _prepare(tmp_path / "cache", source=own_data)
    assert decision == Hit()
    assert again.key == entry.key


def test_other_classes_make_another_entry(tmp_path: Path, own_data: Path, entry: Prepared) -> None:
    """A changed class list is a miss beside the old entry, which stays."""
    other, decision = _prepare(tmp_path / "cache", attrs.evolve(OWN, classes=("1", "0", "2")), own_data)
    assert decision == Miss()
    assert other.key != entry.key
    assert open_prepared(entry.path).key == entry.key


def test_changed_source_is_stale_with_its_reason(tmp_path: Path, own_data: Path, entry: Prepared) -> None:
    """Other bytes in the same place name the file and both hashes."""
    labels = own_data / "train-labels-idx1-ubyte"
    data = bytearray(labels.read_bytes())
    data[-1] ^= 1
    labels.write_bytes(data)
    _, decision = _prepare(tmp_path / "cache", source=own_data)
    assert isinstance(decision, Stale)
    assert "the source train_labels changed, SHA-256" in decision.why
    assert hashlib.sha256(data).hexdigest()[:12] in decision.why


def test_changed_stage_is_stale_with_its_reason(
    tmp_path: Path, own_data: Path, entry: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage of another version does not use what the old one made."""
    newer = CACHED_STAGES | {"encode": CACHED_STAGES["encode"] + 1}
    monkeypatch.setattr(graph, "CACHED_STAGES", newer)
    decision = plan(OWN, source=own_data, cache=tmp_path / "cache", raw=tmp_path).decision
    version = encode_stage.VERSION
    assert decision == Stale(f"entry {entry.key[:12]}: stage encode changed, version {version} -> {version + 1}")


@pytest.mark.parametrize("name", ["train.parquet", "test.parquet", "manifest.json"])
def test_damaged_entry_is_stale_and_made_again(tmp_path: Path, own_data: Path, entry: Prepared, name: str) -> None:
    """A flipped bit in any file of an entry is noticed, named, and mended."""
    path = entry.path / name
    good = path.read_bytes()
    data = bytearray(good)
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    again, decision = _prepare(tmp_path / "cache", source=own_data)
    assert isinstance(decision, Stale)
    assert name in decision.why or "manifest" in decision.why
    assert path.read_bytes() == good
    assert again.key == entry.key


def test_missing_file_is_stale(tmp_path: Path, own_data: Path, entry: Prepared) -> None:
    """An entry without one of its files is not an entry."""
    (entry.path / "test.parquet").unlink()
    decision = plan(OWN, source=own_data, cache=tmp_path / "cache", raw=tmp_path).decision
    assert isinstance(decision, Stale)
    assert "test.parquet" in decision.why


def test_no_flipped_bit_in_a_manifest_changes_what_it_says(entry: Prepared) -> None:
    """The manifest carries its own hash: a changed row count, reason or place is noticed, not believed."""
    path = entry.path / "manifest.json"
    good = path.read_bytes()
    told = read_manifest(entry.path)
    noticed = 0
    for position in range(len(good)):
        path.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
        try:
            assert read_manifest(entry.path) == told
        except DataProblem:
            noticed += 1
    assert noticed > 0.8 * len(good)


def test_place_is_the_same_however_it_is_named(
    tmp_path: Path, own_data: Path, entry: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A changed source is stale by whatever path it is named, and one elsewhere of the same relative name is not."""
    labels = own_data / "train-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1] + b"\1")
    (tmp_path / "elsewhere").mkdir()
    shutil.copytree(own_data, tmp_path / "elsewhere" / "own")
    for place, kind in ((tmp_path, Stale), (tmp_path / "elsewhere", Miss)):
        monkeypatch.chdir(place)
        found = plan(OWN, source=Path("own"), cache=tmp_path / "cache", raw=tmp_path)
        assert isinstance(found.decision, kind)


def test_damaged_entry_stands_until_its_successor_is_there(
    tmp_path: Path, own_data: Path, entry: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where making the entry again fails, nothing is removed; a sound entry of another writer is kept."""
    (entry.path / "test.parquet").write_bytes(b"damaged")
    with monkeypatch.context() as patch, pytest.raises(DataProblem, match="no luck"):
        patch.setattr(graph, "encode", _no_luck)
        _prepare(tmp_path / "cache", source=own_data)
    assert (entry.path / "test.parquet").read_bytes() == b"damaged"
    _prepare(tmp_path / "cache", source=own_data)
    made = (entry.path / "manifest.json").stat().st_ino
    encoded = encode(select(decode(acquire(OWN, source=own_data)), OWN), OWN)
    store(encoded, tmp_path / "cache", entry.key, read_manifest(entry.path).reasons)
    assert (entry.path / "manifest.json").stat().st_ino == made
    assert len(list((tmp_path / "cache").iterdir())) == 1


def _no_luck(*_: object) -> None:
    raise DataProblem("no luck", where="test", remedy="none")


def test_two_writers_at_once_make_one_entry(tmp_path: Path, own_data: Path) -> None:
    """Processes that prepare the same data at the same time all succeed, and leave one entry and nothing else."""
    command = [sys.executable, "-m", "pipelines", "data", "prepare", "--unpinned", "--classes", "0,1,2"]
    running = [
        subprocess.Popen([*command, "--source", str(own_data), "--cache", str(tmp_path / "cache")], cwd=ROOT, **PIPES)
        for _ in range(4)
    ]
    results = [(*process.communicate(timeout=60), process.returncode) for process in running]
    assert [code for *_, code in results] == [0] * 4, results
    assert len({out for out, *_ in results}) == 1
    (left,) = (tmp_path / "cache").iterdir()
    assert open_prepared(left).train.rows == 60


def test_renamed_entry_is_refused(entry: Prepared) -> None:
    """An entry under another key's name is not taken for that key."""
    other = entry.path.with_name("0" * 64)
    shutil.move(entry.path, other)
    with pytest.raises(DataProblem, match="the entry is of key"):
        open_prepared(other)


def test_every_flipped_byte_of_a_split_is_noticed(entry: Prepared) -> None:
    """Reading a split checks the whole file, wherever the damage is."""
    path = entry.train.path
    good = path.read_bytes()
    for position in range(0, len(good), max(1, len(good) // 60)):
        data = bytearray(good)
        data[position] ^= 4
        path.write_bytes(data)
        with pytest.raises(DataProblem, match="expected SHA-256"):
            read_train(entry.train)


def test_pages_carry_checksums(tmp_path: Path, entry: Prepared) -> None:
    """Any Arrow reader that asks for it finds a damaged page by the page's own checksum."""
    data = bytearray(entry.train.path.read_bytes())
    data[len(data) // 3] ^= 1
    (tmp_path / "damaged.parquet").write_bytes(data)
    with pytest.raises(OSError, match=r"(?i)crc|corrupt"):
        pq.read_table(tmp_path / "damaged.parquet", page_checksum_verification=True)


def test_verify_names_what_differs(tmp_path: Path, entry: Prepared) -> None:
    """`data verify` lists every entry and the bundle, and says which file is damaged."""
    assert list(verify(tmp_path / "cache").values()) == [None, None, None]
    (entry.path / "train.parquet").write_bytes(b"x")
    findings = verify(tmp_path / "cache")
    assert "train.parquet: expected SHA-256" in str(findings[str(entry.path)])


def test_zipped_files_have_the_same_key(tmp_path: Path, own_data: Path, entry: Prepared) -> None:
    """Content makes the key, not the packing, the place or the time."""
    import gzip

    zipped = tmp_path / "elsewhere"
    zipped.mkdir()
    for path in own_data.iterdir():
        (zipped / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    again, decision = _prepare(tmp_path / "cache", source=zipped)
    assert (again.key, decision) == (entry.key, Hit())


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_bundle_and_official_files_give_the_same_bytes(tmp_path: Path) -> None:
    """The bundle and the distribution's package lead to one key and to files of one content."""
    ours, _ = _prepare(tmp_path / "a", DatasetSpec())
    theirs, _ = _prepare(tmp_path / "b", DatasetSpec(), DEBIAN)
    assert (ours.key, ours.train.sha256, ours.test.sha256) == (theirs.key, theirs.train.sha256, theirs.test.sha256)


def test_duckdb_counts_rows_per_class(tmp_path: Path) -> None:
    """Another reader opens the cache as it is."""
    prepared, _ = _prepare(tmp_path / "cache", DatasetSpec())
    query = f"select label, count(*), sum(list_sum(target)) from '{prepared.train.path}' group by label order by label"
    assert duckdb.sql(query).fetchall() == [(0, 6000, 6000.0), (1, 6000, 6000.0), (2, 6000, 6000.0)]
    width = duckdb.sql(f"select distinct len(pixels) from '{prepared.test.path}'").fetchall()
    assert width == [(784,)]


def test_splits_come_back_as_they_were(entry: Prepared, own_data: Path) -> None:
    """What is read from an entry is what the stages before made, bit for bit."""
    rows = read_train(entry.train)
    assert rows.pixels.shape == (60, 784)
    assert rows.pixels.dtype == rows.target.dtype == np.float32
    np.testing.assert_array_equal(rows.target.argmax(axis=1), rows.label)
    np.testing.assert_array_equal(rows.source_index, np.arange(60))


def test_every_choice_changes_the_key(own_data: Path) -> None:
    """No two different requests share a key."""
    source = acquire(OWN, source=own_data)
    specs = [
        OWN,
        attrs.evolve(OWN, classes=("1", "0", "2")),
        attrs.evolve(OWN, classes=("0", "1")),
        attrs.evolve(OWN, scaling="pixel"),
        attrs.evolve(OWN, scaling="standard"),
        attrs.evolve(OWN, scaling="pixel", scaling_offset=0.1),
    ]
    assert len({cache_key(key_reasons(spec, source)) for spec in specs}) == len(specs)


def test_what_json_cannot_hold_raises() -> None:
    """A reason that has no canonical form is an error, never a guess."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        cache_key({"rate": float("nan")})
    with pytest.raises(TypeError):
        cache_key({"rate": np.float32(1)})


def test_no_stage_changes_without_its_version() -> None:
    """A stage's code is recorded beside its version: change both, then run this file to record them.

    To record: ``python -m tests.pipelines.test_graph``.
    """
    recorded = json.loads(RECORDED.read_text())
    for name, (version, digest) in current_sources().items():
        assert recorded.get(name) is not None, f"stage {name} is not recorded"
        if digest != recorded[name][1]:
            assert version > recorded[name][0], f"stage {name} changed: raise its VERSION, then record"
        assert [version, digest] == recorded[name], f"stage {name}: record its new version"


def test_a_stage_answers_for_what_it_imports() -> None:
    """The code that is recorded for a stage is its own and that of the modules that compute for it."""
    assert modules_of("pipelines.stages.decode") == {
        "pipelines.stages.decode",
        "pipelines.dataset.bundle",
        "pipelines.dataset.idx",
        "pipelines.dataset.pins",
        "pipelines.disk.parquet",
    }


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("x = 1  # one", "x   =   1", True),
        ("def f():\n    'says'\n    return 1", "def f():\n    'tells'\n    return 1", True),
        ("x = 1", "x = 2", False),
        ("x = 1", "x = True", False),
        ("x = f'{a}b'", "x = f'{a}c'", False),
        ("x = a < b", "x = a <= b", False),
    ],
)
def test_code_hash_sees_code_alone(before: str, after: str, same: bool) -> None:
    """Comments, spaces and docstrings leave the hash as it is; anything that computes changes it."""
    assert (code_hash([before]) == code_hash([after])) is same


def current_sources() -> dict[str, tuple[int, str]]:
    """Version and hash of the code of each cached stage, with that of the modules it computes with."""
    return {
        name: (version, code_hash([source(module) for module in sorted(modules_of(stage_module(name)))]))
        for name, version in CACHED_STAGES.items()
    }


def stage_module(stage: str) -> str:
    """Dotted name of a stage's module."""
    return f"pipelines.stages.{stage}"


def source(module: str) -> str:
    """Text of a module of the project."""
    return (ROOT / module.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8")


def modules_of(module: str) -> set[str]:
    """Find a module and all of the pipeline's that it imports, however indirectly, but for the passive ones."""
    found, waiting = set(), {module}
    while waiting:
        name = waiting.pop()
        found.add(name)
        targets = {node.module for node in ast.walk(ast.parse(source(name))) if isinstance(node, ast.ImportFrom)}
        ours = {target for target in targets if target is not None and target.startswith("pipelines.")}
        waiting |= {target for target in ours if target.split(".")[-1] not in PASSIVE} - found
    return found


def code_hash(sources: list[str]) -> str:
    """Hash code as its syntax tree, without docstrings, in a form that does not depend on Python's version."""
    plain = [_plain(ast.parse(text)) for text in sources]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()[:16]


def _plain(node: object) -> object:
    if isinstance(node, ast.AST):
        # Newer versions add fields that are empty where older code is read.
        return [type(node).__name__, *((n, _plain(v)) for n, v in ast.iter_fields(node) if v is not None and v != [])]
    if isinstance(node, list):
        return [_plain(item) for item in node if not _is_text(item)]
    return f"{type(node).__name__} {node!r}"


def _is_text(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


if __name__ == "__main__":
    RECORDED.write_text(json.dumps(current_sources(), indent=2) + "\n")
