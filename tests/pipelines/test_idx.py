"""The IDX reader refuses everything that is not exactly such a file."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipelines.dataset.idx import SIZE_LIMIT, read_idx
from pipelines.errors import DataProblem
from pipelines.spec.run_spec import DatasetSpec
from pipelines.stages.acquire import acquire
from pipelines.stages.decode import decode

VALUES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


def _good(idx: Callable[[np.ndarray], bytes]) -> bytes:
    return idx(VALUES)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_values_come_back(tmp_path: Path, idx: Callable[[np.ndarray], bytes], suffix: str) -> None:
    """What was written is read, gzipped or not, with the bytes to hash beside it."""
    data = _good(idx)
    path = tmp_path / f"images{suffix}"
    path.write_bytes(gzip.compress(data) if suffix else data)
    raw, values = read_idx(path, dimensions=3)
    assert raw == data
    np.testing.assert_array_equal(values, VALUES)
    assert not values.flags.writeable


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "found nothing"),
        (lambda data: b"\x1f" + data[1:], "expected IDX magic 00000803, found 1f000803"),
        (lambda data: data[:2] + b"\x09" + data[3:], "found magic 00000903"),
        (lambda data: data[:3] + b"\x01" + data[4:], "found magic 00000801"),
        (lambda data: data[:9], "the header is cut off after 9 bytes"),
        (lambda data: data[:-1], "promises 24 bytes of values (2, 3, 4), the file holds 23"),
        (lambda data: data + b"x", "the file holds more"),
        (lambda data: data[:4] + b"\xff" * 12, f"more than the limit of {SIZE_LIMIT}"),
    ],
)
def test_damage_is_named(
    tmp_path: Path, idx: Callable[[np.ndarray], bytes], damage: Callable[[bytes], bytes], message: str
) -> None:
    """Each kind of damage gives one error with what was expected and what was found."""
    path = tmp_path / "images"
    path.write_bytes(damage(_good(idx)))
    with pytest.raises(DataProblem) as caught:
        read_idx(path, dimensions=3)
    assert message in caught.value.what
    assert caught.value.where == str(path)


def test_cut_gzip_is_named(tmp_path: Path, idx: Callable[[np.ndarray], bytes]) -> None:
    """A gzip stream that ends early is damage, not a traceback."""
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(_good(idx))[:-9])
    with pytest.raises(DataProblem, match="gzip stream is damaged or cut off"):
        read_idx(path, dimensions=3)


def test_flipped_bit_in_gzip_never_gives_other_bytes(tmp_path: Path, idx: Callable[[np.ndarray], bytes]) -> None:
    """A flipped bit is noticed (by the stream, its checksum or the IDX header), or changes nothing that is read."""
    data = bytearray(gzip.compress(_good(idx), mtime=0))
    path = tmp_path / "images.gz"
    good = read_and_forget(path, bytes(data))
    noticed = 0
    for position in range(len(data)):
        flipped = data.copy()
        flipped[position] ^= 0x10
        try:
            assert read_and_forget(path, bytes(flipped)) == good
        except DataProblem:
            noticed += 1
    assert noticed > len(data) / 2


def read_and_forget(path: Path, data: bytes) -> bytes:
    """Write, read, and return the decompressed bytes."""
    path.write_bytes(data)
    return read_idx(path, dimensions=3)[0]


def test_gzip_bomb_stops_at_the_promised_size(tmp_path: Path, idx: Callable[[np.ndarray], bytes]) -> None:
    """A small file that unfolds without end is read one byte past what its header promises, and no further."""
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(_good(idx) + bytes(200_000_000)))
    assert path.stat().st_size < 300_000
    with pytest.raises(DataProblem, match="the file holds more"):
        read_idx(path, dimensions=3)


def test_missing_file_is_named(tmp_path: Path) -> None:
    """A path without a file gives a message with the path."""
    with pytest.raises(DataProblem, match="No such file"):
        read_idx(tmp_path / "nothing", dimensions=1)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("dotted", [False, True])
def test_both_spellings_are_found(own_data: Path, zipped: bool, dotted: bool) -> None:
    """Other copies of the data set write a full stop before `idx`; the rows are the same."""
    spec = DatasetSpec(classes=("0", "1"), pinned=False)
    before = decode(acquire(spec, source=own_data))
    for path in sorted(own_data.iterdir()):
        data = path.read_bytes()
        path.unlink()
        name = path.name.replace("-idx", ".idx") if dotted else path.name
        (own_data / (f"{name}.gz" if zipped else name)).write_bytes(gzip.compress(data) if zipped else data)
    after = decode(acquire(spec, source=own_data))
    np.testing.assert_array_equal(after.train.images, before.train.images)
    np.testing.assert_array_equal(after.test.labels, before.test.labels)


def test_a_missing_file_is_named_by_all_its_names(own_data: Path) -> None:
    """The message says what was looked for, and nothing of permissions."""
    (own_data / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(
        DataProblem, match=r"no file train-labels-idx1-ubyte or train-labels\.idx1-ubyte, gzipped or not"
    ) as caught:
        acquire(DatasetSpec(classes=("0", "1"), pinned=False), source=own_data)
    assert "permission" not in str(caught.value)
    with pytest.raises(DataProblem, match="No such file") as caught:
        read_idx(own_data / "none", dimensions=1)
    assert "permission" not in str(caught.value)
