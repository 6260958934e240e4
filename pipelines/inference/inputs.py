"""What a person wants predicted: pictures, arrays, tables, or directories of them, as batches of 28 x 28 pixels."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bpfunc.arrays.types import readonly_arrays
from pipelines.artifacts import IMAGE_SIDE, PIXELS
from pipelines.dataset.entry import read_meta
from pipelines.disk.parquet import matrix_of
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
ROWS = 4096
"""Rows of an array or a table that are read at a time."""


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


def read_images(paths: Iterable[Path], convert: Convert = "auto") -> Iterator[Images]:
    """Read images, a batch at a time.

    Args:
        paths: Pictures, ``.npy`` arrays, ``.parquet`` tables, and directories of such files.
        convert: ``auto`` converts pictures that are not 28 x 28, grey and dark in the corners, and takes the rest as it
            is; ``always`` and ``never`` do what they say.

    Yields:
        Batches, in the order of the paths; a directory's files in natural order.

    Raises:
        DataProblem: A file is missing, damaged, too large, or holds something else; the message names it.
    """
    readers = {".npy": _read_array, ".parquet": _read_table}
    for path in input_files(paths):
        if not path.is_file():
            raise DataProblem(
                "there is no such file", where=str(path), remedy="name a picture, array, table, or directory"
            )
        yield from readers.get(path.suffix.lower(), _read_picture_file)(path, convert)


def input_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Put the files of a directory in its place.

    Args:
        paths: Files and directories.

    Yields:
        Files; those of a directory that end as pictures, arrays and tables do, ``image-9`` before ``image-10``.

    Raises:
        DataProblem: A directory has no such file.
    """
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        known = {*PICTURES, ".npy", ".parquet"}
        here = [file for file in path.iterdir() if file.suffix.lower() in known and file.name[0] != "."]
        if not here:
            raise DataProblem(
                "the directory has no picture, array or table", where=str(path), remedy="name another directory"
            )
        yield from sorted(here, key=_natural)


def _natural(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Numbers by their size; names that differ in leading zeros alone, by their letters."""
    parts = [part.lstrip("0") if part.isdecimal() else part for part in re.split("([0-9]+)", path.name)]
    return [(len(part) if index % 2 else 0, part) for index, part in enumerate(parts)], path.name


def _read_picture_file(path: Path, convert: Convert) -> Iterator[Images]:
    picture = read_picture(path)
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


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Read a picture upright, in red, green and blue; the first one of an animation.

    Args:
        path: The file.

    Returns:
        (H, W, 3) uint8; what is transparent lies on white, 16 bits become 8.

    Raises:
        DataProblem: It is no picture, damaged, or has more than `PIXEL_LIMIT` pixels.
    """
    from PIL import Image, ImageOps

    remedy = "remove it, or save it anew as PNG"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata that nobody reads
            with Image.open(path, formats=FORMATS) as image:
                width, height = image.size
                if width * height > PIXEL_LIMIT:
                    raise DataProblem(
                        f"a picture of {width} x {height} has more than {PIXEL_LIMIT} pixels",
                        where=str(path),
                        remedy="make it smaller",
                    )
                return _colours(ImageOps.exif_transpose(image))
    except DataProblem:
        raise
    except Exception as error:  # a decoder of a damaged file raises what it likes
        raise DataProblem(f"cannot read the picture: {first_line(error)}", where=str(path), remedy=remedy) from None


def _colours(image: Image.Image) -> NDArray[np.uint8]:
    from PIL import Image

    if image.mode == "F":
        raise ValueError("its numbers have a decimal point and no known range")
    if image.mode.startswith("I"):  # 16 bits, of which a byte is left by division, as 65535 = 257 * 255
        deep = np.asarray(image).clip(0, 65535)
        return np.repeat(np.rint(deep / 257).astype(np.uint8)[..., None], 3, axis=2)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        image = white
    return np.asarray(image.convert("RGB"))


def _read_array(path: Path, convert: Convert) -> Iterator[Images]:
    remedy = "save (N, 784) or (N, 28, 28) uint8 with numpy.save"
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
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


def _read_table(path: Path, convert: Convert) -> Iterator[Images]:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            name = _pixel_column(file.schema_arrow, path)
            batches = (
                pa.chunked_array([batch.column(0)]) for batch in file.iter_batches(batch_size=ROWS, columns=[name])
            )
            yield from _numbered(path, _blocks(batches, path), convert)
    except (pa.ArrowException, OSError) as error:
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


def _blocks(batches: Iterable[pa.ChunkedArray], path: Path) -> Iterator[NDArray[np.uint8]]:
    """Turn columns into bytes; what was normalised is brought back by the statistics in the file's own metadata."""
    scaling = None
    for column in batches:
        if column.null_count or column.combine_chunks().flatten().null_count:
            raise DataProblem("a row has no pixels", where=str(path), remedy="leave such rows out")
        if column.type.value_type == pa.uint8():
            yield matrix_of(column, np.uint8)
            continue
        scaling = scaling or read_meta(path).scaling
        pixels = matrix_of(column, np.float32)
        images = unscaled(pixels, scaling)
        if not np.allclose(scaled(images, scaling), pixels, rtol=1e-4, atol=1e-4):
            raise DataProblem(
                "its pixels do not come from bytes by the scaling that it names",
                where=str(path),
                remedy="run `bpfunc data prepare` again",
            )
        yield images
