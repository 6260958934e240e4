"""The stages from source to encoded rows."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import attrs
import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.artifacts import Decoded, RawSplit
from pipelines.dataset.bundle import read_bundle_split
from pipelines.dataset.pins import official_sources
from pipelines.disk.atomic import sha256_of
from pipelines.errors import DataProblem, UsageProblem
from pipelines.spec.run_spec import DatasetSpec
from pipelines.stages import acquire as acquire_stage
from pipelines.stages.acquire import acquire
from pipelines.stages.decode import decode
from pipelines.stages.encode import encode, fit_scaling
from pipelines.stages.select import select

DEBIAN = official_sources().system_directories[0]
needs_official_files = pytest.mark.skipif(
    not DEBIAN.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed"
)
Cli = Callable[..., "subprocess.CompletedProcess[str]"]
OWN = DatasetSpec(classes=("0", "1", "2"), pinned=False)


@pytest.fixture(scope="module")
def bundle() -> Decoded:
    """The embedded subset."""
    return decode(acquire(DatasetSpec()))


def test_bundle_holds_what_the_design_says(bundle: Decoded) -> None:
    """18,000 and 3,000 rows, 6,000 and 1,000 of each of the three classes."""
    for split, each in ((bundle.train, 6000), (bundle.test, 1000)):
        numbers, counts = np.unique(split.labels, return_counts=True)
        assert numbers.tolist() == [1, 3, 7]
        assert counts.tolist() == [each] * 3
        assert np.all(np.diff(split.source_index.astype(int)) > 0)


@needs_official_files
def test_bundle_is_the_official_files_row_for_row(bundle: Decoded) -> None:
    """Every row of the bundle is the official row of its number, and none of the three classes is left out."""
    official = decode(acquire(DatasetSpec(), source=DEBIAN))
    known = official_sources()
    for ours, theirs, pin in (
        (bundle.test, official.test, known.bundle_test),
        (bundle.train, official.train, known.bundle_train),
    ):
        np.testing.assert_array_equal(ours.images, theirs.images[ours.source_index])
        np.testing.assert_array_equal(ours.labels, theirs.labels[ours.source_index])
        assert np.isin(theirs.labels, known.bundle_classes).sum() == len(ours.labels) == pin.rows


@needs_official_files
def test_bundle_command_rebuilds_the_bundle(cli: Cli, tmp_path: Path, bundle: Decoded) -> None:
    """`bpfunc data bundle` gives the embedded rows, and the pinned bytes where pyarrow is of the same version."""
    done = cli("data", "bundle", "--source", str(DEBIAN), "--out", "made", "--json")
    assert done.returncode == 0, done.stderr
    known = official_sources()
    for pin, rows in ((known.bundle_train, bundle.train), (known.bundle_test, bundle.test)):
        path = tmp_path / "made" / pin.path.name
        digest = sha256_of(path)
        assert json.loads(done.stdout)[path.name] == digest
        again = read_bundle_split(attrs.evolve(pin, path=path, sha256=digest))
        for field in ("images", "labels", "source_index"):
            np.testing.assert_array_equal(getattr(again, field), getattr(rows, field))
        if pq.read_metadata(path).created_by == pq.read_metadata(pin.path).created_by:
            assert digest == pin.sha256


@needs_official_files
def test_bundle_command_names_a_place_that_cannot_be(cli: Cli, tmp_path: Path) -> None:
    """A file in the way of --out: exit code 1 and the path."""
    (tmp_path / "file").write_text("")
    done = cli("data", "bundle", "--source", str(DEBIAN), "--out", "file/bundle")
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot make the directory: Not a directory\n  where: file/bundle\n")


def test_bundle_command_takes_official_files_only(cli: Cli, own_data: Path) -> None:
    """Other bytes never become the embedded bundle."""
    done = cli("data", "bundle", "--source", "own", "--out", "made")
    assert done.returncode == 3
    assert "not the official file" in done.stderr
    assert not (own_data.parent / "made").exists()


def test_damaged_bundle_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One flipped bit in the embedded bundle is an error that names the file and both hashes."""
    known = official_sources()
    data = bytearray(known.bundle_test.path.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "test.parquet").write_bytes(data)
    damaged = attrs.evolve(known.bundle_test, path=tmp_path / "test.parquet")
    monkeypatch.setattr(acquire_stage, "official_sources", lambda: attrs.evolve(known, bundle_test=damaged))
    with pytest.raises(DataProblem, match=f"expected SHA-256 {known.bundle_test.sha256}, found") as caught:
        acquire(DatasetSpec())
    assert caught.value.where == str(tmp_path / "test.parquet")


def test_sources_are_tried_in_order(tmp_path: Path, own_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's directory comes before downloads, a directory without the files counts as none."""
    empty, raw = tmp_path / "empty", tmp_path / "raw"
    empty.mkdir()
    for directories, raw_files, origin in (
        ((empty, own_data), None, "system"),
        ((empty,), own_data, "download"),
        ((), own_data, "download"),
    ):
        known = attrs.evolve(official_sources(), system_directories=directories)
        monkeypatch.setattr(acquire_stage, "official_sources", lambda known=known: known)
        assert acquire(OWN, raw=raw_files or raw).origin == origin
    with pytest.raises(DataProblem) as caught:
        acquire(OWN, raw=raw)
    for way in ("dataset-fashion-mnist", "bpfunc data download", "--source"):
        assert way in caught.value.remedy


@needs_official_files
def test_ten_classes_come_from_the_system_directory() -> None:
    """Classes that the bundle lacks are found where the distribution's package put them."""
    assert acquire(DatasetSpec(classes=("Bag", "Coat"))).origin == "system"


def test_own_data_is_let_in_when_asked(own_data: Path) -> None:
    """With pinned off, other bytes are accepted and their hashes recorded."""
    source = acquire(OWN, source=own_data)
    assert not source.pinned
    assert len({file.sha256 for file in source.files}) == 4
    assert decode(source).train.images.shape == (60, 784)


def test_own_data_is_refused_by_default(own_data: Path) -> None:
    """Other bytes under the official names are an error that names file, expected and found."""
    with pytest.raises(DataProblem, match="not the official file: expected SHA-256 c59f468a") as caught:
        acquire(DatasetSpec(), source=own_data)
    assert caught.value.where.endswith("train-images-idx3-ubyte")
    assert "--unpinned" in caught.value.remedy


def test_change_between_stages_is_noticed(own_data: Path) -> None:
    """A file that changes after its hash was taken is not decoded."""
    source = acquire(OWN, source=own_data)
    path = own_data / "train-labels-idx1-ubyte"
    data = bytearray(path.read_bytes())
    data[-1] = 0 if data[-1] else 1
    path.write_bytes(data)
    with pytest.raises(DataProblem, match="changed while it was being read"):
        decode(source)


@pytest.mark.parametrize(
    ("role", "make", "message"),
    [
        ("train-labels-idx1-ubyte", lambda idx: idx(np.zeros(59)), "train has 60 images and 59 labels"),
        ("test", lambda idx: idx(np.full(30, 11)), "test labels go up to 11"),
        ("train-images-idx3-ubyte", lambda idx: idx(np.zeros((60, 27, 28))), "27 x 28 pixels"),
    ],
)
def test_files_that_do_not_fit_are_named(own_data: Path, idx, role: str, make, message: str) -> None:
    """Images and labels of other lengths, other label numbers and other sizes are refused with the figures."""
    name = "t10k-labels-idx1-ubyte" if role == "test" else role
    (own_data / name).write_bytes(make(idx))
    with pytest.raises(DataProblem, match=message):
        decode(acquire(OWN, source=own_data))


def test_missing_directory_and_file_are_named(tmp_path: Path) -> None:
    """A source that is not there gives a message with the path."""
    with pytest.raises(DataProblem, match="no such directory"):
        acquire(DatasetSpec(), source=tmp_path / "none")
    with pytest.raises(DataProblem, match="there is no file train-images-idx3-ubyte or"):
        acquire(DatasetSpec(), source=tmp_path)


def test_classes_keep_their_order(bundle: Decoded) -> None:
    """Label k is the k-th class asked for, and rows stay in the source's order."""
    chosen = select(bundle, DatasetSpec(classes=("sneaker", "3")))
    assert chosen.class_names == ("Sneaker", "Dress")
    assert chosen.class_numbers == (7, 3)
    assert np.all(np.diff(chosen.train.source_index.astype(int)) > 0)
    original = dict(zip(bundle.test.source_index.tolist(), bundle.test.labels.tolist(), strict=True))
    renumbered = [chosen.class_numbers[label] for label in chosen.test.labels]
    assert renumbered == [original[row] for row in chosen.test.source_index.tolist()]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("Dres", "Coat"), r"unknown class 'Dres' \(did you mean Dress\?\)"),
        (("Dress", "11"), "unknown class '11'"),
        (("Dress", "3"), "is class 3, which is chosen already"),
    ],
)
def test_unknown_classes_are_named(classes: tuple[str, ...], message: str) -> None:
    """A class that is not there, or twice there, is named, with a near name where there is one."""
    with pytest.raises(UsageProblem, match=message):
        acquire(DatasetSpec(classes=classes))


def test_class_without_rows_is_named(own_data: Path) -> None:
    """A class that the source has no row of is an error, not an empty output."""
    spec = DatasetSpec(classes=("0", "9"), pinned=False)
    with pytest.raises(DataProblem, match="training split has no row of class 9"):
        select(decode(acquire(spec, source=own_data)), spec)


def test_unit_scaling_is_division_by_255(bundle: Decoded) -> None:
    """Pixels 0..255 become 0..1, and targets are one-hot rows of the labels."""
    spec = DatasetSpec()
    encoded = encode(select(bundle, spec), spec)
    np.testing.assert_array_equal(encoded.test.pixels, (select(bundle, spec).test.images / 255).astype(np.float32))
    np.testing.assert_array_equal(encoded.test.target, np.eye(3, dtype=np.float32)[encoded.test.label])
    assert encoded.test.pixels.dtype == encoded.test.target.dtype == np.float32


@pytest.mark.parametrize("scaling", ["standard", "pixel"])
def test_statistics_come_from_the_training_split_alone(own_data: Path, idx, scaling: str) -> None:
    """Other test images change no statistic and no training row."""
    spec = DatasetSpec(classes=("0", "1", "2"), pinned=False, scaling=scaling, scaling_offset=0.1)
    before = encode(select(decode(acquire(spec, source=own_data)), spec), spec)
    (own_data / "t10k-images-idx3-ubyte").write_bytes(idx(np.full((30, 28, 28), 255)))
    after = encode(select(decode(acquire(spec, source=own_data)), spec), spec)
    np.testing.assert_array_equal(before.scaling.mean, after.scaling.mean)
    np.testing.assert_array_equal(before.train.pixels, after.train.pixels)
    assert not np.array_equal(before.test.pixels, after.test.pixels)


@pytest.mark.parametrize("scaling", ["standard", "pixel"])
def test_statistics_are_mean_and_deviation(bundle: Decoded, scaling: str) -> None:
    """The statistics equal NumPy's in float64."""
    pixels = bundle.train.images / 255
    axis = 0 if scaling == "pixel" else None
    found = fit_scaling(bundle.train, DatasetSpec(scaling=scaling, scaling_offset=0.1))
    np.testing.assert_allclose(found.mean, np.broadcast_to(pixels.mean(axis=axis), 784), atol=1e-12)
    np.testing.assert_allclose(found.scale, np.broadcast_to(pixels.std(axis=axis) + 0.1, 784), atol=1e-12)


@pytest.mark.parametrize("scaling", ["standard", "pixel", "mirrored"])
@pytest.mark.parametrize("value", [0, 1, 7, 255])
def test_pixels_that_never_vary_are_not_divided_by_rounding_errors(scaling: str, value: int) -> None:
    """The deviation of a constant is exactly 0, whatever the constant; its scale is then 1."""
    rows = RawSplit(np.full((997, 784), value, np.uint8), np.zeros(997, np.uint8), np.zeros(997, np.uint32))
    found = fit_scaling(rows, DatasetSpec(scaling=scaling))
    np.testing.assert_array_equal(found.scale, np.ones(784))
    np.testing.assert_array_equal(found.mean, np.full(784, value / 255))


def test_mirrored_statistics_are_those_of_images_and_their_mirror_images(own_data: Path) -> None:
    """Scaling `mirrored` is scaling `pixel` over a split in which every image also stands mirrored."""
    train = decode(acquire(OWN, source=own_data)).train
    flipped = train.images.reshape(-1, 28, 28)[:, :, ::-1].reshape(-1, 784)
    both = RawSplit(np.concatenate([train.images, flipped]), np.tile(train.labels, 2), np.tile(train.source_index, 2))
    mirrored, pixel = (
        fit_scaling(rows, DatasetSpec(scaling=kind)) for rows, kind in ((train, "mirrored"), (both, "pixel"))
    )
    np.testing.assert_array_equal(mirrored.mean, pixel.mean)
    np.testing.assert_array_equal(mirrored.scale, pixel.scale)
