"""The cache: an entry is used only if every reason and every byte agrees, and a refusal says why."""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import shutil
from pathlib import Path

import attrs
import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines import graph
from pipelines.artifacts import Prepared
from pipelines.config import DatasetSpec
from pipelines.errors import DataProblem
from pipelines.graph import CACHED_STAGES, Hit, Miss, Stale, cache_key, key_reasons, plan, prepare, verify
from pipelines.sources import official_sources
from pipelines.stages.acquire import acquire
from pipelines.stages.store import open_prepared, read_split

DEBIAN = official_sources().system_directories[0]
OWN = DatasetSpec(classes=("0", "1", "2"), pinned=False)
RECORDED = Path(__file__).with_name("stage_sources.json")


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
    newer = tuple(attrs.evolve(s, version=2) if s.name == "encode" else s for s in CACHED_STAGES)
    monkeypatch.setattr(graph, "CACHED_STAGES", newer)
    decision = plan(OWN, source=own_data, cache=tmp_path / "cache", raw=tmp_path).decision
    assert decision == Stale(f"entry {entry.key[:12]}: stage encode changed, version 1 -> 2")


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
            read_split(entry.train)


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
    rows = read_split(entry.train)
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

    To record: ``python tests/pipelines/test_graph.py``.
    """
    recorded = json.loads(RECORDED.read_text())
    for name, (version, digest) in current_sources().items():
        assert recorded.get(name) is not None, f"stage {name} is not recorded"
        if digest != recorded[name][1]:
            assert version > recorded[name][0], f"stage {name} changed: raise its VERSION, then record"
        assert [version, digest] == recorded[name], f"stage {name}: record its new version"


def current_sources() -> dict[str, tuple[int, str]]:
    """Version and hash of the code of each cached stage; comments and docstrings do not count."""
    return {stage.name: (stage.version, _code_hash(stage.name)) for stage in CACHED_STAGES}


def _code_hash(stage: str) -> str:
    tree = ast.parse(inspect.getsource(getattr(graph, f"{stage}_stage")))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [line for line in body if not _is_text(line)]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()[:16]


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


if __name__ == "__main__":
    RECORDED.write_text(json.dumps(current_sources(), indent=2) + "\n")
