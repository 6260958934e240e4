"""Whatever is compared, averaged or resumed was made from the same rows: hashes decide, not places or names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

import attrs
import numpy as np
import pyarrow.parquet as pq
import pytest

from bpfunc.tree import Tree
from pipelines import checkpoints, network
from pipelines.artifacts import RawSplit
from pipelines.config import DatasetSpec, ModelSpec, RunSpec, TrainSpec
from pipelines.data_hashes import NAMED_PARTS, DataHashes, differences, from_text, to_text
from pipelines.errors import DataProblem
from pipelines.graph import prepare
from pipelines.partitions import MANIFEST, write_partitions
from pipelines.run import Places, reopen_run, resume_run, train_run
from pipelines.seals import sealed_tensors
from pipelines.stages.acquire import acquire
from pipelines.stages.decode import decode
from pipelines.stages.select import select
from tests.conftest import NAMES

SPEC = RunSpec(
    name="small",
    dataset=DatasetSpec(classes=("0", "1", "2"), pinned=False),
    model=ModelSpec(hidden=(8,)),
    train=TrainSpec(epochs=2, batch_size=8, learning_rate=0.1, validation_fraction=0.2),
)


@pytest.fixture
def places(tmp_path: Path, own_data: Path) -> Places:
    """Where a run takes from."""
    return Places(source=own_data, cache=tmp_path / "cache", raw=tmp_path)


def written(places: Places, place: Path, change: Callable[[np.ndarray], np.ndarray] = np.asarray) -> Path:
    """The training rows as four parts of two row groups, their pixels changed."""
    rows = select(decode(acquire(SPEC.dataset, source=places.source)), SPEC.dataset).train
    meta = prepare(SPEC.dataset, source=places.source, cache=places.cache, raw=places.raw)[0].meta
    changed = RawSplit(change(rows.images), rows.labels, rows.source_index)
    write_partitions(changed, meta, str(place), group_rows=8, groups_per_part=2)
    return place


def darker(images: np.ndarray) -> np.ndarray:
    """Every pixel but the black ones, one less bright: other rows of the same size."""
    return images - (images > 0).astype(np.uint8)


def streamed(place: Path) -> RunSpec:
    """A run that streams its rows."""
    return attrs.evolve(SPEC, dataset=attrs.evolve(SPEC.dataset, partitions=str(place)))


def trained(spec: RunSpec, places: Places, out: Path) -> Path:
    """A finished training."""
    return train_run(spec, attrs.evolve(places, out=out), now=datetime(2026, 1, 1)).directory


def interrupted(run: Path) -> Path:
    """The run as a kill leaves it after its last checkpoint."""
    (run / "params.safetensors").unlink()
    return run


def rewrite(place: Path, places: Places) -> None:
    """Write other rows to the same place."""
    shutil.rmtree(place)
    written(places, place, darker)


def change_one(place: Path, places: Places) -> None:
    """Put one part of other rows in place, manifest and all."""
    other = written(places, place.with_name("other"), darker)
    name = "part-00001.parquet"
    shutil.copy(other / name, place / name)
    ours, theirs = (json.loads((p / MANIFEST).read_text()) for p in (place, other))
    ours["parts"][name] = theirs["parts"][name]
    (place / MANIFEST).write_text(json.dumps(ours))


def change_silently(place: Path, places: Places) -> None:
    """Change a part behind the manifest's back: as many bytes, which even Parquet takes for whole."""
    part = place / "part-00001.parquet"
    data = bytearray(part.read_bytes())
    start = data.index(b"parquet-cpp-arrow")  # the name of the program that wrote it, which no checksum covers
    data[start : start + 7] = b"PARQUET"
    part.write_bytes(bytes(data))
    pq.read_table(part)


def edit_manifest(place: Path, edit: Callable[[dict[str, object]], dict[str, object]]) -> None:
    """Let the manifest name other parts."""
    manifest = json.loads((place / MANIFEST).read_text())
    manifest["parts"] = edit(manifest["parts"])
    (place / MANIFEST).write_text(json.dumps(manifest))


def remove_one(place: Path, places: Places) -> None:
    """Take one part away, from the manifest as well."""
    edit_manifest(place, lambda parts: {name: part for name, part in parts.items() if name != "part-00001.parquet"})


def add_one(place: Path, places: Places) -> None:
    """Add a copy of a part, to the manifest as well."""
    shutil.copy(place / "part-00001.parquet", place / "part-00009.parquet")
    edit_manifest(place, lambda parts: {**parts, "part-00009.parquet": parts["part-00001.parquet"]})


def reorder(place: Path, places: Places) -> None:
    """Name the same parts in another order, so that a seed draws other batches."""
    edit_manifest(place, lambda parts: dict(reversed(parts.items())))


HARMS = {
    rewrite: "part-00000.parquet was rewritten; part-00001.parquet was rewritten; part-00002.parquet was rewritten; "
    "and 1 more parts differ",
    change_one: "part-00001.parquet was rewritten",
    change_silently: "expected SHA-256",
    remove_one: "part-00001.parquet is missing",
    add_one: "part-00009.parquet was added",
    reorder: "partitions: expected SHA-256",
}


def resumed(spec: RunSpec, run: Path, places: Places) -> None:
    """Take an interrupted training up."""
    resume_run(interrupted(run), places)


def reopened(spec: RunSpec, run: Path, places: Places) -> None:
    """Open a finished training."""
    reopen_run(run, places)


@pytest.mark.parametrize("use", [resumed, reopened])
@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_other_parts_are_not_gone_on_with(
    tmp_path: Path,
    places: Places,
    harm: Callable[[Path, Places], None],
    use: Callable[[RunSpec, Path, Places], None],
) -> None:
    """A streamed run goes on with the parts that it began with, and with no others; the message names them."""
    place = written(places, tmp_path / "parts")
    run = trained(streamed(place), places, tmp_path / "run")
    shutil.copytree(run, tmp_path / "unharmed")
    use(streamed(place), tmp_path / "unharmed", places)
    harm(place, places)
    checkpoints = {path: path.read_bytes() for path in (run / "checkpoints").iterdir()}
    with pytest.raises(DataProblem) as caught:
        use(streamed(place), run, places)
    assert HARMS[harm] in caught.value.what
    assert {path: path.read_bytes() for path in (run / "checkpoints").iterdir()} == checkpoints


@pytest.mark.parametrize("use", [resumed, reopened])
def test_runs_of_earlier_versions_still_open(
    tmp_path: Path, places: Places, monkeypatch: pytest.MonkeyPatch, use: Callable[[RunSpec, Path, Places], None]
) -> None:
    """A checkpoint and a network that name no data are gone on with."""

    def without_hashes(tree: Tree, metadata: Mapping[str, str]) -> bytes:
        return sealed_tensors(tree, {name: text for name, text in metadata.items() if name != "hashes"})

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "sealed_tensors", without_hashes)
        patch.setattr(network, "sealed_tensors", without_hashes)
        run = trained(SPEC, places, tmp_path / "run")
    assert all(b"train_images" not in path.read_bytes() for path in run.rglob("*.safetensors"))
    use(SPEC, run, places)


@pytest.mark.parametrize("use", [resumed, reopened])
def test_parts_may_move(tmp_path: Path, places: Places, use: Callable[[RunSpec, Path, Places], None]) -> None:
    """The same parts written anew are the same rows: content counts."""
    place = written(places, tmp_path / "parts")
    run = trained(streamed(place), places, tmp_path / "run")
    shutil.rmtree(place)
    written(places, place)
    use(streamed(place), run, places)


def test_relative_partitions_from_another_directory(
    tmp_path: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resuming elsewhere is told that the path is relative, not that the partitions are to be written again."""
    written(places, tmp_path / "parts")
    monkeypatch.chdir(tmp_path)
    run = trained(streamed(Path("parts")), places, tmp_path / "run")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(DataProblem) as caught:
        resume_run(interrupted(run), places)
    assert caught.value.where == str(tmp_path / "elsewhere" / "parts")
    assert "'parts' is relative to the current directory: run the command where the training began" in str(caught.value)
    monkeypatch.chdir(tmp_path)
    resume_run(run, places)


def change_source(places: Places, role: str) -> None:
    """Let the last two bytes of a source file change places: no size, label or statistic of ``unit`` tells."""
    assert places.source is not None
    path = places.source / NAMES[role]
    data = path.read_bytes()
    path.write_bytes(data[:-2] + data[:-3:-1])


@pytest.mark.parametrize("role", NAMES)
def test_other_sources_are_not_reopened(tmp_path: Path, places: Places, role: str) -> None:
    """A scaling that needs no statistics is the same for all data; the sources' hashes are not."""
    run = trained(SPEC, places, tmp_path / "run")
    change_source(places, role)
    with pytest.raises(DataProblem, match=f"{role.replace('_', ' ')}: expected SHA-256 [0-9a-f]{{12}}, found [0-9a-f]"):
        reopen_run(run, places)
    with pytest.raises(DataProblem, match=f"{role.replace('_', ' ')}: expected SHA-256 [0-9a-f]{{12}}, found [0-9a-f]"):
        resume_run(interrupted(run), places)


def test_many_parts_are_one_hash() -> None:
    """Records of any number of parts fit a header; of very many, differences are seen and not named."""
    few, many = (
        DataHashes({"train_images": "a"}, "b", {f"{n:05d}": "c" for n in range(count)}) for count in (NAMED_PARTS, 0)
    )
    assert from_text(to_text(few)) == few
    assert len(to_text(attrs.evolve(few, parts=dict.fromkeys(few.parts, "0" * 16)))) < 100_000
    other = attrs.evolve(many, partitions="d")
    assert differences(many, other) == "partitions: expected SHA-256 b, found d"
    for text in ("[]", "{}", "1", '{"sources": 1, "partitions": "", "parts": {}}', "[" * 100_000):
        with pytest.raises(ValueError, match=r"damaged|Expecting"):
            from_text(text)
