"""Partitioned rows: written whole, opened with checks, streamed in an order that the seed decides."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st
from pyarrow import fs

import bpfunc as bp
from pipelines.artifacts import Prepared, RawSplit
from pipelines.dataset import streaming
from pipelines.dataset.partitions import MANIFEST, check_partitions, file_system, open_partitions, write_partitions
from pipelines.dataset.streaming import (
    RowGroup,
    Stream,
    open_stream,
    read_ahead,
    stream_batches,
    stream_rows,
    stream_validation,
)
from pipelines.errors import DataProblem, UsageProblem
from pipelines.spec.run_spec import DatasetSpec, ModelSpec, RunSpec, TrainSpec
from pipelines.stages.acquire import acquire
from pipelines.stages.decode import decode
from pipelines.stages.prepare import prepare
from pipelines.stages.select import select
from pipelines.stages.train import fit
from pipelines.training.rows import read_training_rows, training_rows

DATASET = DatasetSpec(classes=("0", "1", "2"), scaling="pixel", scaling_offset=0.1, pinned=False)
SPEC = RunSpec(
    name="small",
    dataset=DATASET,
    model=ModelSpec(hidden=(8,)),
    train=TrainSpec(epochs=4, batch_size=8, learning_rate=0.1, validation_fraction=0.2),
)


@pytest.fixture
def rows(own_data: Path) -> RawSplit:
    """Sixty training images."""
    return select(decode(acquire(DATASET, source=own_data)), DATASET).train


@pytest.fixture
def prepared(tmp_path: Path, own_data: Path) -> Prepared:
    """The same, in the cache."""
    return prepare(DATASET, source=own_data, cache=tmp_path / "cache", raw=tmp_path)[0]


@pytest.fixture
def place(tmp_path: Path, rows: RawSplit, prepared: Prepared) -> Path:
    """The same, in nine row groups (of 7 rows and one of 4) in five files."""
    write_partitions(rows, prepared.meta, str(tmp_path / "parts"), group_rows=7, groups_per_part=2)
    return tmp_path / "parts"


def opened(prepared: Prepared, place: Path | str, *, held_out: float = 0.0) -> Stream:
    return open_stream(prepared.train, str(place), held_out=held_out, key=bp.Key(5))


def test_every_row_once_and_as_in_the_cache(prepared: Prepared, place: Path) -> None:
    """An epoch holds exactly the cache's rows, inputs to within rounding, in full batches but for the last."""
    batches = list(stream_batches(opened(prepared, place), bp.Key(0), 0, 8))
    assert [len(batch.inputs) for batch in batches] == [8] * 7 + [4]
    data = read_training_rows(prepared.train)
    streamed = np.concatenate([np.hstack([batch.inputs, batch.targets]) for batch in batches])
    cached = np.hstack([data.inputs, data.targets])
    order = [np.lexsort(found.round(3).T) for found in (streamed, cached)]
    np.testing.assert_allclose(streamed[order[0]], cached[order[1]], atol=2e-6)


def test_order_is_the_seeds(prepared: Prepared, place: Path) -> None:
    """The same key and epoch give the same bits; another epoch another order, of groups and within them."""

    def epoch(key: int, number: int) -> bytes:
        return b"".join(b.inputs.tobytes() for b in stream_batches(opened(prepared, place), bp.Key(key), number, 8))

    assert epoch(0, 0) == epoch(0, 0)
    assert len({epoch(0, 0), epoch(0, 1), epoch(1, 0)}) == 3


def test_held_out_rows_are_never_learned_from(prepared: Prepared, place: Path) -> None:
    """Learning and validation rows make the whole, in every epoch, and number what was announced."""
    stream = opened(prepared, place, held_out=0.3)
    validation_rows = stream_validation(stream)
    assert validation_rows is not None
    held = {row.tobytes() for row in validation_rows.inputs}
    for number in range(2):
        learned = [row.tobytes() for batch in stream_batches(stream, bp.Key(0), number, 8) for row in batch.inputs]
        assert len(learned) == len(set(learned)) == stream_rows(stream) == 60 - len(held)
        assert not held & set(learned)
    assert len(held) == 18 == sum(stream.held_out)
    places = {tuple(np.flatnonzero(streaming._left_out(stream, index))) for index in range(8)}
    assert len(places) > 3  # of each group others
    assert stream_validation(opened(prepared, place)) is None


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=60),
    fraction=st.floats(1e-9, 0.9),
    seed=st.integers(0, 9),
)
def test_held_out_rows_are_shared_among_the_groups(sizes: list[int], fraction: float, seed: int) -> None:
    """Never none, never all, as many as asked for; each group gives its part of them to within one row."""
    groups, total = tuple(RowGroup("", number, rows) for number, rows in enumerate(sizes)), sum(sizes)
    if total == 1:
        with pytest.raises(DataProblem, match="the only row"):
            streaming._held_out(groups, fraction, bp.Key(seed), carried=True)
        return
    held = streaming._held_out(groups, fraction, bp.Key(seed), carried=True)
    assert sum(held) == min(max(round(fraction * total), 1), total - 1)
    for count, rows in zip(held, sizes, strict=True):
        assert abs(count - sum(held) * rows / total) < 1
        assert 0 <= count <= rows
    assert held == streaming._held_out(groups, fraction, bp.Key(seed), carried=True)


@pytest.mark.parametrize("fraction", [0.001, 0.1, 0.3, 0.5, 0.6, 0.9])
def test_groups_of_one_row(prepared: Prepared, rows: RawSplit, tmp_path: Path, fraction: float) -> None:
    """Any row may be held out, by the key; the others are all learned from, in full batches."""
    write_partitions(rows, prepared.meta, str(tmp_path / "ones"), group_rows=1, groups_per_part=60)
    held = []
    for seed in range(3):
        stream = open_stream(prepared.train, str(tmp_path / "ones"), held_out=fraction, key=bp.Key(seed))
        validation_rows = stream_validation(stream)
        assert validation_rows is not None
        sizes = [len(batch.inputs) for batch in stream_batches(stream, bp.Key(0), 0, 8)]
        assert len(validation_rows.inputs) == max(round(fraction * 60), 1)
        assert sum(sizes) == stream_rows(stream) == 60 - len(validation_rows.inputs)
        assert sizes[:-1] == [8] * (len(sizes) - 1)
        held.append(stream.held_out)
    assert len(set(held)) > 1


def test_large_groups_are_rounded_as_before() -> None:
    """The 18,000 rows of the three classes, written as `data partition` does, keep their validation rows."""
    groups = tuple(RowGroup("", number, rows) for number, rows in enumerate((8192, 8192, 1616)))
    for seed in range(20):
        found, before = (streaming._held_out(groups, 0.1, bp.Key(seed), carried=carried) for carried in (True, False))
        assert found == before == (819, 819, 162)


def test_memory_is_that_of_a_window(
    prepared: Prepared, rows: RawSplit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many row groups there are, few are read before the first of their rows is used."""
    write_partitions(rows, prepared.meta, str(tmp_path / "many"), group_rows=7, copies=20)
    read: list[int] = []
    original = streaming.read_group
    monkeypatch.setattr(streaming, "read_group", lambda stream, index: (read.append(index), original(stream, index))[1])
    batches = stream_batches(opened(prepared, tmp_path / "many"), bp.Key(0), 0, 8)
    next(batches)
    assert len(read) <= streaming.WINDOW + streaming.AHEAD + 1
    assert sum(len(batch.inputs) for batch in batches) == 20 * 60 - 8
    assert len(read) == 20 * 9
    assert sorted(read) == list(range(20 * 9)) != read


def test_an_error_while_reading_ahead_arrives() -> None:
    """What the thread meets is raised where the piece is asked for."""

    def broken(number: int) -> bp.Batch:
        if number == 2:
            raise DataProblem("damaged", where="here", remedy="none")
        return bp.Batch(np.zeros(1), np.zeros(1))

    pieces = read_ahead(broken, range(5))  # type: ignore[arg-type]
    next(pieces), next(pieces)
    with pytest.raises(DataProblem, match="damaged"):
        next(pieces)


def test_training_from_partitions(prepared: Prepared, place: Path) -> None:
    """A spec that names partitions trains from them, the same bits each time, and learns."""
    spec = attrs.evolve(SPEC, dataset=attrs.evolve(DATASET, partitions=str(place)))
    first, second = (fit(*training_rows(prepared.train, spec), spec) for _ in range(2))
    assert bp.ravel(first.params).tobytes() == bp.ravel(second.params).tobytes()
    assert first.history[-1].train_accuracy == 1.0
    assert first.history[-1].step == 4 * 6  # 9 row groups, 12 rows held out of them: 48 rows


def test_any_file_system(prepared: Prepared, place: Path) -> None:
    """A URI leads to the file system that pyarrow knows it by, and the bits are those of the path."""
    by_uri = opened(prepared, place.as_uri())
    for one, other in zip(
        stream_batches(by_uri, bp.Key(0), 0, 8), stream_batches(opened(prepared, place), bp.Key(0), 0, 8), strict=True
    ):
        assert one.inputs.tobytes() == other.inputs.tobytes()
    assert type(file_system("s3://bucket/rows?region=us-east-1")[0]) is fs.S3FileSystem
    with pytest.raises(UsageProblem, match="cannot open the file system"):
        file_system("nonsense://rows")


def test_what_was_not_written_by_the_same_data_is_refused(
    tmp_path: Path, prepared: Prepared, rows: RawSplit, own_data: Path
) -> None:
    """Partitions of another scaling would be judged on a test split that means something else."""
    other = attrs.evolve(DATASET, scaling="unit", scaling_offset=0.0)
    meta = prepare(other, source=own_data, cache=tmp_path / "cache", raw=tmp_path)[0].meta
    write_partitions(rows, meta, str(tmp_path / "unit"))
    with pytest.raises(DataProblem, match="other scaling"):
        opened(prepared, tmp_path / "unit")


def test_nothing_is_overwritten(prepared: Prepared, rows: RawSplit, place: Path) -> None:
    """A directory that holds partitions keeps them."""
    with pytest.raises(UsageProblem, match="partitions already"):
        write_partitions(rows, prepared.meta, str(place))


@pytest.mark.parametrize("harm", ["gone", "short", "page", "manifest", "rows", "outside", "label", "columns"])
def test_damage_is_named(prepared: Prepared, place: Path, harm: str) -> None:
    """A part that is missing, cut, altered or not what the manifest says ends in one error, at the latest when read."""
    part, manifest = place / "part-00001.parquet", json.loads((place / MANIFEST).read_text())
    if harm == "gone":
        part.unlink()
    elif harm == "short":
        part.write_bytes(part.read_bytes()[:-1])
    elif harm == "page":
        data = bytearray(part.read_bytes())
        data[len(data) // 8] ^= 1
        part.write_bytes(data)
        assert [
            path.endswith(part.name) for path, what in check_partitions(open_partitions(str(place))).items() if what
        ]
    elif harm == "rows":
        manifest["parts"][part.name]["groups"] = [7, 6]
        (place / MANIFEST).write_text(json.dumps(manifest))
    elif harm == "outside":
        manifest["parts"]["../secret"] = manifest["parts"].pop(part.name)
        (place / MANIFEST).write_text(json.dumps(manifest))
    elif harm == "manifest":
        (place / MANIFEST).write_text("{")
    else:
        table = pq.read_table(part)
        changed = pa.array(np.full(len(table), 9, np.uint8))
        table = table.set_column(1, "label" if harm == "label" else "other", changed)
        if harm == "label":
            table = table.cast(pq.read_schema(part))
        pq.write_table(table, part, row_group_size=7, write_page_checksum=True)
        manifest["parts"][part.name]["size"] = part.stat().st_size
        (place / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(DataProblem):
        list(stream_batches(opened(prepared, place), bp.Key(0), 0, 8))


def rewritten(place: Path, name: str, column: pa.Array | None) -> None:
    """A part as another writer leaves it: all columns nullable, one of them perhaps another."""
    part, manifest = place / name, json.loads((place / MANIFEST).read_text())
    table = pq.read_table(part)
    fields = [field.with_nullable(True) for field in table.schema]
    table = table.cast(pa.schema(fields, metadata=table.schema.metadata))
    if column is not None:
        place_of = 0 if len(column) and pa.types.is_fixed_size_binary(column.type) else 1
        table = table.set_column(place_of, fields[place_of], column)
    pq.write_table(table, part, row_group_size=7, write_page_checksum=True)
    manifest["parts"][name] |= {"size": part.stat().st_size, "sha256": hashlib.sha256(part.read_bytes()).hexdigest()}
    (place / MANIFEST).write_text(json.dumps(manifest))


def test_parts_of_another_writer_are_read(prepared: Prepared, place: Path) -> None:
    """Columns that are declared nullable and hold no null are what they should be."""
    before = [batch.inputs for batch in stream_batches(opened(prepared, place), bp.Key(0), 0, 8)]
    for part in sorted(place.glob("*.parquet")):
        rewritten(place, part.name, None)
    assert pq.read_schema(place / "part-00000.parquet").field("pixels").nullable
    after = [batch.inputs for batch in stream_batches(opened(prepared, place), bp.Key(0), 0, 8)]
    np.testing.assert_array_equal(np.concatenate(after), np.concatenate(before))


@pytest.mark.parametrize("name", ["pixels", "label"])
def test_nulls_are_named(prepared: Prepared, place: Path, name: str) -> None:
    """The message says which column has them, and that there may be none."""
    old = pq.read_table(place / "part-00000.parquet")[name].to_pylist()
    kind = pa.binary(784) if name == "pixels" else pa.uint8()
    rewritten(place, "part-00000.parquet", pa.array([None, *old[1:]], kind))
    with pytest.raises(DataProblem, match=f"the column {name} has 1 nulls, and a part may have none"):
        list(stream_batches(opened(prepared, place), bp.Key(0), 0, 8))


def test_other_types_are_named(prepared: Prepared, place: Path) -> None:
    """The message says which type is expected and which is there."""
    count = len(pq.read_table(place / "part-00000.parquet"))
    manifest = json.loads((place / MANIFEST).read_text())
    part = place / "part-00000.parquet"
    table = pq.read_table(part).set_column(1, "label", pa.array([0] * count, pa.int64()))
    pq.write_table(table, part, row_group_size=7)
    manifest["parts"][part.name]["size"] = part.stat().st_size
    (place / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(DataProblem, match="expected a column label of uint8, found one of int64"):
        list(stream_batches(opened(prepared, place), bp.Key(0), 0, 8))


def test_from_the_command_line(tmp_path: Path, own_data: Path, cli) -> None:  # type: ignore[no-untyped-def]
    """`data partition`, `train --stream` and `data verify --partitions`, and a run directory that says where from."""
    (tmp_path / "small.toml").write_text(
        '[dataset]\nclasses = ["0", "1", "2"]\npinned = false\n[model]\nhidden = [8]\n[train]\nepochs = 1\n'
    )
    shared = ("--config", "small.toml", "--source", str(own_data))
    done = cli("data", "partition", "rows", *shared, "--json")
    assert json.loads(done.stdout)["rows"] == 60, done.stderr
    done = cli("train", *shared, "--stream", "rows", "--out", "run", "--json")
    assert json.loads(done.stdout)["config"]["dataset"]["partitions"] == "rows", done.stderr
    assert 'partitions = "rows"' in (tmp_path / "run" / "config.toml").read_text()
    (tmp_path / "rows" / "part-00000.parquet").write_bytes(b"")
    done = cli("train", *shared, "--stream", "rows", "--out", "again")
    assert done.returncode == 3
    assert "expected" in done.stderr
