"""The stages from source to encoded rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.artifacts import Decoded
from pipelines.bundle import bundle_bytes
from pipelines.config import DatasetSpec
from pipelines.errors import DataProblem, UsageProblem
from pipelines.sources import official_sources
from pipelines.stages.acquire import acquire
from pipelines.stages.decode import decode
from pipelines.stages.encode import encode, fit_scaling
from pipelines.stages.select import select

DEBIAN = official_sources().system_directories[0]
needs_official_files = pytest.mark.skipif(
    not DEBIAN.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed"
)
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
    """Every row of the bundle is the official row of its number, and rebuilding it gives the same bytes."""
    official = decode(acquire(DatasetSpec(), source=DEBIAN))
    known = official_sources()
    hashes = {file.role: file.sha256 for file in official.source.files}
    for ours, theirs, pin in (
        (bundle.test, official.test, known.bundle_test),
        (bundle.train, official.train, known.bundle_train),
    ):
        np.testing.assert_array_equal(ours.images, theirs.images[ours.source_index])
        np.testing.assert_array_equal(ours.labels, theirs.labels[ours.source_index])
        assert np.isin(theirs.labels, known.bundle_classes).sum() == len(ours.labels) == pin.rows
    rebuilt = bundle_bytes(official.test, known.bundle_classes, hashes)
    assert rebuilt == known.bundle_test.path.read_bytes()


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
    with pytest.raises(DataProblem, match="No such file"):
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
    """The statistics equal NumPy's in float64; pixels that never vary are not divided by zero."""
    pixels = bundle.train.images / 255
    axis = 0 if scaling == "pixel" else None
    found = fit_scaling(bundle.train, DatasetSpec(scaling=scaling, scaling_offset=0.1))
    np.testing.assert_allclose(found.mean, np.broadcast_to(pixels.mean(axis=axis), 784), atol=1e-12)
    np.testing.assert_allclose(found.scale, np.broadcast_to(pixels.std(axis=axis) + 0.1, 784), atol=1e-7)
    bare = fit_scaling(bundle.train, DatasetSpec(scaling=scaling))
    assert np.all(bare.scale > 0)
