"""What a person wants predicted: pictures, arrays, tables, or directories of them, as batches of 28 x 28 pixels."""

from __future__ import annotations

import errno
import io
import math
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bpfunc.arrays.types import readonly_arrays
from pipelines.artifacts import IMAGE_SIDE, PIXELS
from pipelines.dataset.entry import parse_meta
from pipelines.disk.parquet import matrix_of, open_parquet, row_bytes
from pipelines.disk.untrusted.files import check_unfolding, open_input, read_stream, remedy_for
from pipelines.errors import DataProblem, first_line
from pipelines.inference.images import converted, is_ready, is_small_and_grey
from pipelines.stages.encode import scaled, unscaled

if TYPE_CHECKING:
    from PIL import Image

Convert = Literal["auto", "always", "never"]
Conversion = Literal["as is", "converted"]

PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
"""Endings of the pictures that are looked for in a directory."""
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
"""What is read as a picture, whatever its name: formats whose reading starts no other program."""
PIXEL_LIMIT = 50_000_000
"""Most pixels of a picture: a small file may unfold to any size."""
PIXEL_BYTES = 12
"""Bytes in memory for each pixel of a picture while it is read: as decoded, turned upright, and in three colours."""
WEBP_BYTES = 20
"""The same for a WebP picture, whose decoder keeps two more copies."""
STRIP = 64
"""Rows of a picture whose colours are converted at a time."""
PIPE_LIMIT = 1 << 28
"""Most bytes that are read from a pipe."""
TABLE_LIMIT = 1 << 40
"""Most bytes of pixels in a table; they are not in memory together."""
NPY_HEADER_LIMIT = 10_000
"""Largest header of an array, in bytes."""
TEXTS = {".csv", ".tsv", ".txt", ".json", ".jsonl", ".arff"}
"""Endings of tables that are written as text."""
ROWS = 4096
"""Rows of an array or a table that are read at a time."""

Source: TypeAlias = BufferedReader | io.BytesIO
_NPY = b"\x93NUMPY"


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class Images:
    """Some images of one file."""

    file: str
    first: int
    """Row of the first of them in the file."""
    pixels: NDArray[np.uint8]
    """(B, 784) uint8, bright on dark."""
    conversion: Conversion
    """What was done to them."""


def read_images(
    paths: Iterable[Path], convert: Convert = "auto", *, refused: Callable[[DataProblem], object] | None = None
) -> Iterator[Images]:
    """Read images, a batch at a time.

    Args:
        paths: Pictures, ``.npy`` arrays, ``.parquet`` tables, directories of such files, and pipes such as
            ``/dev/stdin`` that hold one of these.
        convert: ``auto`` converts pictures that are not 28 x 28, grey and dark in the corners, and takes the rest as it
            is; ``always`` and ``never`` do what they say.
        refused: Takes the problem of each file that cannot be read, and reading goes on with the next; without it the
            first problem is raised.

    Yields:
        Batches, in the order of the paths; a directory's files in natural order.

    Raises:
        DataProblem: A file is missing, damaged, too large, or holds something else; the message names it.
    """
    for path in paths:
        try:
            for file in input_files([path]):
                try:
                    yield from _read(file, convert)
                except DataProblem as problem:
                    if refused is None:
                        raise
                    refused(problem)
        except DataProblem as problem:  # the directory itself
            if refused is None:
                raise
            refused(problem)


def input_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Replace a directory by its files.

    Args:
        paths: Files and directories.

    Yields:
        Files; those in a directory that end as pictures, arrays and tables do, ``image-9`` before ``image-10``.
        Directories below it are left out.

    Raises:
        DataProblem: A directory has no such file, or cannot be read.
    """
    for path in paths:
        yield from _files(path) if path.is_dir() else [path]


def _files(path: Path) -> list[Path]:
    known = {*PICTURES, ".npy", ".parquet"}
    try:
        here = [f for f in path.iterdir() if f.suffix.lower() in known and f.name[0] != "." and not f.is_dir()]
    except OSError as error:
        raise DataProblem(f"cannot read: {error.strerror}", where=str(path), remedy=remedy_for(error)) from None
    if not here:
        raise DataProblem(
            "the directory has no picture, array or table", where=str(path), remedy="name another directory"
        )
    return sorted(here, key=_natural)


def _read(path: Path, convert: Convert) -> Iterator[Images]:
    """Read a file as what its name says it is; one whose name says nothing, as a pipe's, as what it begins with."""
    try:
        with open_input(path) as file:
            source = file if file.seekable() else _drained(file)
            head = source.read(len(_NPY))
            source.seek(0)
            if path.suffix.lower() in (".npy", ".npz") or head == _NPY:
                yield from _read_array(source, path, convert)
            elif path.suffix.lower() == ".parquet" or head[:4] == b"PAR1":
                yield from _read_table(source, path, convert)
            else:
                yield from _read_picture_file(source, path, convert)
    except OSError as error:
        words = "there is no such file" if isinstance(error, FileNotFoundError) else f"cannot read: {error.strerror}"
        remedy = "name a picture, array, table, or directory"
        raise DataProblem(words, where=str(path), remedy=remedy) from None


def _drained(pipe: BufferedReader) -> io.BytesIO:
    try:
        data = read_stream(pipe, limit=PIPE_LIMIT)
    except ValueError as error:
        raise OSError(errno.EFBIG, str(error)) from None
    if not data:
        raise OSError(errno.ENODATA, "it is empty")
    return io.BytesIO(data)


def _natural(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Numbers by their size; names that differ in leading zeros alone, by their letters."""
    parts = [part.lstrip("0") if part.isdecimal() else part for part in re.split("([0-9]+)", path.name)]
    return [(len(part) if index % 2 else 0, part) for index, part in enumerate(parts)], path.name


def _read_picture_file(file: Source, path: Path, convert: Convert) -> Iterator[Images]:
    picture = read_picture(file, path)
    if convert == "never" and not is_small_and_grey(picture):
        height, width, _ = picture.shape
        raise DataProblem(
            f"expected 28 x 28 grey pixels, found a picture of {height} x {width}, or with colours",
            where=str(path),
            remedy="leave out --convert never",
        )
    if convert == "never" or (convert == "auto" and is_ready(picture)):
        yield Images(str(path), 0, picture[..., 0].reshape(1, PIXELS), "as is")
    else:
        yield Images(str(path), 0, converted(picture).reshape(1, PIXELS), "converted")


def read_picture(file: Source, path: Path) -> NDArray[np.uint8]:
    """Read a picture upright, in red, green and blue; the first one of an animation.

    Args:
        file: The open file, seekable.
        path: Its path, for messages.

    Returns:
        (H, W, 3) uint8; what is transparent lies on white, 16 bits become 8.

    Raises:
        DataProblem: It is not a picture, damaged, has more than `PIXEL_LIMIT` pixels, or has so many more pixels than
            its file has bytes that it was made to fill the memory.
    """
    from PIL import Image, ImageOps

    try:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        _check_pixels(size, webp_size(file.read(30)), WEBP_BYTES)  # its decoder takes memory before it says a size
        file.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata that is not used
            with Image.open(file, formats=FORMATS) as image:
                _check_pixels(size, image.size, PIXEL_BYTES)
                return _colours(ImageOps.exif_transpose(image))
    except Exception as error:  # a decoder of a damaged file raises what it likes
        raise _no_picture(path, error) from None


def _no_picture(path: Path, error: Exception) -> DataProblem:
    from PIL import UnidentifiedImageError

    if path.suffix.lower() in TEXTS:
        return DataProblem(
            "a table that is written as text is not read",
            where=str(path),
            remedy="save its pixels with numpy.save as (N, 784) uint8, or as Parquet: fixed_size_list<uint8>[784]",
        )
    text = f"cannot identify one of {', '.join(FORMATS)}" if isinstance(error, UnidentifiedImageError) else ""
    remedy = "remove it, or save it anew as PNG"
    return DataProblem(f"cannot read the picture: {text or first_line(error)}", where=str(path), remedy=remedy)


def _check_pixels(size: int, shape: tuple[int, int], each: int) -> None:
    width, height = shape
    if width * height > PIXEL_LIMIT:
        raise ValueError(f"a picture of {width} x {height} has more than {PIXEL_LIMIT} pixels")
    check_unfolding(size, width * height * each, limit=PIXEL_LIMIT * each)


def webp_size(head: bytes) -> tuple[int, int]:
    """Read the size of a WebP picture from its first bytes.

    Args:
        beginning: 30 bytes of a file.

    Returns:
        Width and height; (0, 0) for a file of another kind.

    Example:
        >>> webp_size(b"RIFF----WEBPVP8X--------" + bytes([9, 0, 0, 7, 0, 0]))
        (10, 8)

    Reference: Zern, Massimino and Alakuijala, "WebP image format", RFC 9649 (2024).
    """
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP" or len(head) < 30:
        return 0, 0
    little = partial(int.from_bytes, byteorder="little")
    kind = head[12:16]
    if kind == b"VP8X":
        return 1 + little(head[24:27]), 1 + little(head[27:30])
    if kind == b"VP8L":
        bits = little(head[21:25])
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return little(head[26:28]) & 0x3FFF, little(head[28:30]) & 0x3FFF


def _colours(image: Image.Image) -> NDArray[np.uint8]:
    """Turn a picture into an array strip by strip, so that it is in memory twice and no more."""
    if image.mode == "F":
        raise ValueError("its numbers have a decimal point and no known range")
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, STRIP):
        pixels[top : top + STRIP] = _strip(image.crop((0, top, width, min(top + STRIP, height))))
    return pixels


def _strip(image: Image.Image) -> NDArray[np.uint8]:
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits, of which a byte is left by division, as 65535 = 257 * 255
        deep = np.asarray(image).clip(0, 65535)
        return np.repeat(np.rint(deep / 257).astype(np.uint8)[..., None], 3, axis=2)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        image = white
    return np.asarray(image.convert("RGB"))


def _read_array(file: Source, path: Path, convert: Convert) -> Iterator[Images]:
    remedy = "save (N, 784) or (N, 28, 28) uint8 with numpy.save"
    try:
        values = read_npy(file)
    except ValueError as error:
        raise DataProblem(f"cannot read the array: {first_line(error)}", where=str(path), remedy=remedy) from None
    square = values.ndim in (2, 3) and values.shape[-2:] == (IMAGE_SIDE, IMAGE_SIDE)
    if not square and (values.ndim != 2 or values.shape[1] != PIXELS):
        raise DataProblem(
            f"expected (N, 784), (N, 28, 28) or (28, 28) pixels, found {values.shape}", where=str(path), remedy=remedy
        )
    rows = values.reshape(-1, PIXELS)
    blocks = (rows[start : start + ROWS] for start in range(0, len(rows), ROWS))
    if rows.dtype == np.uint8:
        yield from _numbered(path, blocks, convert)
    elif rows.dtype.kind == "f" and _is_zero_to_one(rows):
        yield from _numbered(path, (np.rint(255 * block).astype(np.uint8) for block in blocks), convert)
    else:
        raise DataProblem(
            f"expected uint8, or numbers in 0..1 with some between, found {rows.dtype}", where=str(path), remedy=remedy
        )


def read_npy(file: Source) -> NDArray[Any]:
    """Read an array of numbers from a ``.npy`` file; one on a disk is mapped, not read.

    Args:
        file: Its bytes, from the beginning.

    Returns:
        The array, read-only.

    Raises:
        ValueError: It is not such a file, holds objects, or promises more numbers than it has bytes for.
    """
    head = file.read(12)
    if head[:4] == b"PK\x03\x04":
        raise ValueError("it is a zip archive, as numpy.savez writes them: save one array with numpy.save")
    if head[:6] != _NPY:
        raise ValueError("it does not begin as numpy.save begins a file")
    width = 2 if head[6] == 1 else 4
    if int.from_bytes(head[8 : 8 + width], "little") > NPY_HEADER_LIMIT:
        raise ValueError(f"its header is larger than {NPY_HEADER_LIMIT} bytes")
    file.seek(8)
    read = np.lib.format.read_array_header_1_0 if width == 2 else np.lib.format.read_array_header_2_0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers as Python 2 wrote them
            shape, column_major, dtype = read(file)
    except Exception as error:  # of a damaged header NumPy raises what Python's own parsers do
        raise ValueError(f"its header is damaged: {first_line(error)}") from None
    start, size = file.tell(), file.seek(0, os.SEEK_END)
    if dtype.kind not in "biuf" or any(type(edge) is not int or edge < 0 for edge in shape):
        raise ValueError(f"expected an array of numbers, found {dtype} of shape {shape}"[:200])
    if math.prod(shape) * dtype.itemsize > size - start:
        raise ValueError(f"its header promises {dtype} of shape {shape}, and {size - start} bytes follow")
    order: Literal["C", "F"] = "F" if column_major else "C"
    if 0 in shape:
        return np.empty(shape, dtype)
    if isinstance(file, io.BytesIO):
        return np.frombuffer(file.getbuffer(), dtype, math.prod(shape), start).reshape(shape, order=order)
    return np.memmap(file, dtype, "r", start, shape, order)


def _is_zero_to_one(rows: NDArray[np.floating]) -> bool:
    """Whether these are surely bytes over 255: none outside 0..1, some between (0 and 1 alone could be bytes)."""
    if not (len(rows) and rows.min() >= 0 and rows.max() <= 1):
        return False
    return any(bool(((row > 0) & (row < 1)).any()) for row in rows)


def _numbered(path: Path, blocks: Iterable[NDArray[np.uint8]], convert: Convert) -> Iterator[Images]:
    first = 0
    for block in blocks:
        pixels = np.ascontiguousarray(block)
        if convert == "always":
            coloured = np.repeat(pixels.reshape(-1, IMAGE_SIDE, IMAGE_SIDE, 1), 3, axis=3)
            pixels = np.stack([converted(image).reshape(PIXELS) for image in coloured])
        yield Images(str(path), first, pixels, "converted" if convert == "always" else "as is")
        first += len(pixels)


def _read_table(file: Source, path: Path, convert: Convert) -> Iterator[Images]:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    try:
        with open_parquet(file) as table:
            name = _pixel_column(table.schema_arrow, path)
            width = row_bytes(pa.schema([table.schema_arrow.field(name)]))
            check_unfolding(size, table.metadata.num_rows * width, limit=TABLE_LIMIT)
            batches = (
                pa.chunked_array([batch.column(0)]) for batch in table.iter_batches(batch_size=ROWS, columns=[name])
            )
            yield from _numbered(path, _blocks(batches, table.schema_arrow.metadata, path), convert)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise DataProblem(f"damaged Parquet: {first_line(error)}", where=str(path), remedy="make it again") from None


def _pixel_column(schema: pa.Schema, path: Path) -> str:
    """Name the column of images: the only one of 784 bytes, or the normalised one of a prepared split."""
    rows = {
        field.name: field.type.value_type
        for field in schema
        if pa.types.is_fixed_size_list(field.type) and field.type.list_size == PIXELS
    }
    names = [name for name, kind in rows.items() if kind == pa.uint8()]
    if not names and rows.get("pixels") == pa.float32() and b"bpfunc" in (schema.metadata or {}):
        return "pixels"
    if len(names) != 1:
        raise DataProblem(
            f"expected one column of 784 bytes, or `pixels` as `bpfunc data prepare` writes it, found {len(names)} in "
            f"{', '.join(schema.names)[:200]}",
            where=str(path),
            remedy="write the pixels as fixed_size_list<uint8>[784]",
        )
    return str(names[0])


def _blocks(
    batches: Iterable[pa.ChunkedArray], metadata: Mapping[bytes, bytes] | None, path: Path
) -> Iterator[NDArray[np.uint8]]:
    """Turn columns into bytes; what was normalised is brought back by the statistics in the file's own metadata."""
    scaling = None
    for column in batches:
        if column.null_count or column.combine_chunks().flatten().null_count:
            raise DataProblem("a row has no pixels", where=str(path), remedy="leave such rows out")
        if column.type.value_type == pa.uint8():
            yield matrix_of(column, np.uint8)
            continue
        scaling = scaling or parse_meta(metadata, path).scaling
        pixels = matrix_of(column, np.float32)
        images = unscaled(pixels, scaling)
        if not np.allclose(scaled(images, scaling), pixels, rtol=1e-4, atol=1e-4):
            raise DataProblem(
                "its pixels do not come from bytes by the scaling that it names",
                where=str(path),
                remedy="run `bpfunc data prepare` again",
            )
        yield images
