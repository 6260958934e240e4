"""Rows read from Parquet while training, for data larger than memory: shuffled by row group and by window.

An epoch reads the row groups in random order, puts `WINDOW` of them together and shuffles the rows in that window. The
order depends on the key, the epoch and the sizes of the row groups alone. Memory is that of a window and of the groups
read ahead, whatever the number of rows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any, cast

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import fs

from bpfunc import Batch, Key, fold_in, split, take
from bpfunc.arrays.types import FloatArray, IntArray
from bpfunc.keys import permutation
from pipelines.artifacts import PIXELS, PreparedTrain
from pipelines.dataset.partitions import open_partitions
from pipelines.disk.parquet import numbers_of, open_parquet
from pipelines.disk.untrusted.documents import parse_json
from pipelines.disk.untrusted.files import check_unfolding
from pipelines.errors import DataProblem, first_line

WINDOW = 2
"""Row groups that are shuffled together."""
AHEAD = 1
"""Row groups that are read, by a thread, while the rows before them are learned from."""
VALIDATION_LIMIT = 4096
"""Most rows that are held out to choose by; they stay in memory."""
GROUP_LIMIT = 1 << 30
"""Most bytes that a row group may unfold to."""


@attrs.frozen
class RowGroup:
    """Rows that are read at once."""

    path: str
    """Of the file, within its file system."""
    number: int
    """Within the file."""
    rows: int


@attrs.frozen(eq=False)
class Stream:
    """Rows to learn from that stay where they are until they are needed."""

    filesystem: fs.FileSystem
    groups: tuple[RowGroup, ...]
    classes: int
    factor: NDArray[np.float32]
    """(784,) what a pixel of 0..255 is multiplied with."""
    offset: NDArray[np.float32]
    """(784,) what is then added."""
    held_out: tuple[int, ...]
    """Rows of each row group that are left out, to choose by."""
    key: Key
    """Names the rows left out."""


def open_stream(prepared: PreparedTrain, place: str, *, held_out: float, key: Key, carried: bool = True) -> Stream:
    """Open a partitioned directory for reading by row group.

    Args:
        prepared: The training split in the cache: gives classes and scaling, and its test split is what a network
            trained on the partitions will be judged on.
        place: The directory: a local path or a URI.
        held_out: Part of the rows to leave out, at least 0; what is above `VALIDATION_LIMIT` rows is not left out.
            Where it is above 0, at least one row is left out, and at least one is not.
        key: Names the rows left out.
        carried: Whether the fraction of a row that a group cannot leave out is carried to the next one. Runs of
            earlier versions rounded in each group, and are taken up with the rows that they began with.

    Returns:
        The stream; nothing but sizes and names has been read.

    Raises:
        DataProblem: The partitions are damaged, their classes or scaling are not those of the cache, or a row is to be
            left out and there is only one.
    """
    partitions = open_partitions(place)
    groups = tuple(RowGroup(part.path, i, rows) for part in partitions.parts for i, rows in enumerate(part.groups))
    ours = _meaning(fs.LocalFileSystem(), str(prepared.path.absolute()))
    theirs = _meaning(partitions.filesystem, groups[0].path)
    for name, value in ours.items():
        if theirs[name] != value:
            raise DataProblem(
                f"the partitions are of other {name.replace('_', ' ')} than the prepared data",
                where=groups[0].path,
                remedy="write the partitions from this data, or name their classes and scaling",
            )
    mean, scale = (np.array(ours["scaling"][name]) for name in ("mean", "scale"))
    return Stream(
        filesystem=partitions.filesystem,
        groups=groups,
        classes=prepared.classes,
        factor=(1 / (255 * scale)).astype(np.float32),
        offset=(-mean / scale).astype(np.float32),
        held_out=_held_out(groups, held_out, key, carried=carried),
        key=key,
    )


def _held_out(groups: tuple[RowGroup, ...], fraction: float, key: Key, *, carried: bool) -> tuple[int, ...]:
    """Share the rows to leave out among the groups, each its part of them to within one row.

    The groups are visited in an order that the key draws: of groups of one row, any may be left out.
    """
    rows = np.array([group.rows for group in groups], np.int64)
    total = int(rows.sum())
    if fraction == 0:
        return (0,) * len(groups)
    if not carried:
        return tuple(round(min(fraction, VALIDATION_LIMIT / total) * count) for count in rows.tolist())
    if total == 1:
        raise DataProblem(
            "the only row cannot be learned from and held out as well",
            where=groups[0].path,
            remedy="set train.validation_fraction to 0, or write more rows",
        )
    aside = min(max(round(fraction * total), 1), VALIDATION_LIMIT, total - 1)
    order = permutation(fold_in(key, len(groups)), len(groups))  # the groups' own keys are those of 0 to len - 1
    before = np.concatenate([[0], np.cumsum(rows[order])])
    counts = np.empty_like(rows)
    counts[order] = np.diff((2 * aside * before + total) // (2 * total))
    return tuple(counts.tolist())


def _meaning(filesystem: fs.FileSystem, path: str) -> dict[str, dict[str, object]]:
    try:
        with filesystem.open_input_file(path) as source:
            about = cast("dict[str, Any]", parse_json((open_parquet(source).schema_arrow.metadata or {})[b"bpfunc"]))
        return {name: about[name] for name in ("class_names", "scaling")}
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise DataProblem(
            f"the file does not say what its rows mean: {first_line(error)}",
            where=path,
            remedy="write the partitions again",
        ) from None


def stream_rows(stream: Stream) -> int:
    """Count the rows that an epoch learns from.

    Args:
        stream: Any stream.

    Returns:
        The rows that are not left out.
    """
    return sum(group.rows for group in stream.groups) - sum(stream.held_out)


def stream_batches(stream: Stream, key: Key, epoch: int, batch_size: int) -> Iterator[Batch]:
    """Read one epoch in mini-batches; the order depends on (key, epoch) and the row groups alone.

    Args:
        stream: Where to read.
        key: Names the order of all epochs.
        epoch: Number of the epoch, from 0.
        batch_size: Rows in a batch; the last batch takes what is left.

    Yields:
        Batches of fresh arrays: as many as `bpfunc.batches.batch.batches_per_epoch` says.

    Raises:
        DataProblem: A row group is damaged.
    """
    group_key, window_key = split(fold_in(key, epoch))
    order = permutation(group_key, len(stream.groups)).tolist()
    pieces = read_ahead(partial(_learning_rows, stream), order)
    left: list[Batch] = []
    remaining = len(order)
    for number in range(-(-len(order) // WINDOW)):
        window = _joined([*left, *islice(pieces, WINDOW)])
        remaining -= WINDOW
        rows = permutation(fold_in(window_key, number), len(window.inputs))
        full = len(rows) // batch_size * batch_size if remaining > 0 else len(rows)
        for start in range(0, full, batch_size):
            yield encoded(stream, take(window, rows[start : start + batch_size]))
        left = [take(window, rows[full:])]
        del window  # before the next one is put together


def stream_validation(stream: Stream) -> Batch | None:
    """Read the rows that are left out.

    Args:
        stream: Any stream.

    Returns:
        At most `VALIDATION_LIMIT` rows, or None where none is left out.

    Raises:
        DataProblem: A row group is damaged.
    """
    concerned = [index for index, count in enumerate(stream.held_out) if count]
    if not concerned:
        return None
    return encoded(stream, _joined(list(read_ahead(partial(_held_out_rows, stream), concerned))))


def encoded(stream: Stream, rows: Batch) -> Batch:
    """Turn pixels and labels into inputs and targets.

    Args:
        stream: Gives the scaling and the number of classes.
        rows: Inputs (B, 784) uint8, targets (B,) uint8.

    Returns:
        Inputs (B, 784) float32, those of the cache except for rounding; one-hot targets (B, K) float32.
    """
    inputs = rows.inputs * stream.factor
    inputs += stream.offset
    return Batch(inputs, np.eye(stream.classes, dtype=np.float32)[rows.targets])


def read_ahead(read: partial[Batch], numbers: Iterable[int]) -> Iterator[Batch]:
    """Read pieces in order, a few of them ahead of the reader, in a thread.

    Args:
        read: Reads the piece of a number.
        numbers: Which pieces.

    Yields:
        The pieces, in the order of the numbers.
    """
    with ThreadPoolExecutor(1) as thread:
        pending: deque[Future[Batch]] = deque()
        try:
            for number in numbers:
                pending.append(thread.submit(read, number))
                if len(pending) > AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _joined(pieces: list[Batch]) -> Batch:
    inputs = np.concatenate([piece.inputs for piece in pieces])
    return Batch(inputs, np.concatenate([piece.targets for piece in pieces]))


def _left_out(stream: Stream, index: int) -> NDArray[np.bool_]:
    """Mark the rows of a group that are left out."""
    group = stream.groups[index]
    mask = np.zeros(group.rows, np.bool_)
    mask[permutation(fold_in(stream.key, index), group.rows)[: stream.held_out[index]]] = True
    return mask


def _learning_rows(stream: Stream, index: int) -> Batch:
    rows = read_group(stream, index)
    return take(rows, ~_left_out(stream, index)) if stream.held_out[index] else rows


def _held_out_rows(stream: Stream, index: int) -> Batch:
    return take(read_group(stream, index), _left_out(stream, index))


def read_group(stream: Stream, index: int) -> Batch:
    """Read one row group; its pages' checksums are verified.

    Args:
        stream: Where to read.
        index: Index of the row group, from 0 over all files.

    Returns:
        Inputs (N, 784) uint8, and targets (N,) uint8 class indices.

    Raises:
        DataProblem: The file cannot be read, or columns, rows, labels or a page's checksum are not as expected.
    """
    group = stream.groups[index]
    try:
        with stream.filesystem.open_input_file(group.path) as source:
            file = open_parquet(source)
            _check(file, group, source.size())
            table = file.read_row_group(group.number, columns=["pixels", "label"], use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(group, f"damaged Parquet: {first_line(error)}") from None
    for name in ("pixels", "label"):
        if table[name].null_count:
            raise _damaged(group, f"the column {name} has {table[name].null_count} nulls, and a part may have none")
    pixels = table["pixels"].combine_chunks()
    start = pixels.offset * PIXELS
    flat = np.frombuffer(pixels.buffers()[1], np.uint8)[start : start + group.rows * PIXELS]
    label: IntArray = numbers_of(table["label"].combine_chunks())
    if label.max() >= stream.classes:
        raise _damaged(group, f"a label of {label.max()}, and there are {stream.classes} classes")
    return Batch(cast(FloatArray, flat.reshape(-1, PIXELS)), label)  # whole numbers until `encoded`


def _check(file: pq.ParquetFile, group: RowGroup, size: int) -> None:
    # Other writers declare columns nullable that hold no null: the values are looked at, not the declaration.
    found = {field.name: field.type for field in file.schema_arrow}
    for name, kind in (("pixels", pa.binary(PIXELS)), ("label", pa.uint8())):
        if found.get(name) != kind:
            there = f"found one of {found[name]}" if name in found else "there is none"
            raise _damaged(group, f"expected a column {name} of {kind}, {there}")
    try:
        check_unfolding(size, group.rows * (PIXELS + 1), limit=GROUP_LIMIT)
    except ValueError as error:
        raise _damaged(group, f"a row group of {group.rows} rows is too large: {error}") from None
    rows = file.metadata.row_group(group.number).num_rows if group.number < file.num_row_groups else 0
    if rows != group.rows:
        raise _damaged(group, f"expected {group.rows} rows in row group {group.number}, found {rows}")


def _damaged(group: RowGroup, what: str) -> DataProblem:
    return DataProblem(what, where=group.path, remedy="write the partitions again")
