"""The IDX format, read strictly: magic, type code, dimensions and exact length are checked, memory is bounded.

Format: four bytes of magic (two zeros, a type code, the number of dimensions), a big-endian 32-bit size for each
dimension, then the values (LeCun, Cortes and Burges, "The MNIST database", 1998).
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from pipelines.disk.untrusted.files import open_file, remedy_for
from pipelines.errors import DataProblem

UINT8 = 0x08
SIZE_LIMIT = 1 << 29
"""Largest decompressed file that is read, in bytes: 680,000 images of 28 x 28."""
DEFLATE_RATIO = 1032
"""Most bytes that one byte of a gzip stream can unfold to (Deutsch, RFC 1951, 1996: 258 bytes in two bits)."""


def read_idx(path: Path, *, dimensions: int) -> tuple[bytes, NDArray[np.uint8]]:
    """Read an IDX file of unsigned bytes, gzipped or not.

    Args:
        path: The file; gzipped where its name ends in ``.gz``.
        dimensions: How many there must be: 1 for labels, 3 for images.

    Returns:
        The decompressed bytes of the whole file (to hash), and the values as a read-only uint8 array.

    Raises:
        DataProblem: The file cannot be read, or is not exactly such an IDX file; the message names what was expected
            and what was found.
    """
    try:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            if path.suffix == ".gz":
                with gzip.GzipFile(fileobj=file) as stream:
                    return _read_stream(stream, path, dimensions, size * DEFLATE_RATIO)
            return _read_stream(file, path, dimensions, size)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(path, f"the gzip stream is damaged or cut off ({error})") from None
    except OSError as error:
        raise DataProblem(
            f"cannot read: {error.strerror or error}", where=str(path), remedy=remedy_for(error)
        ) from None


def _read_stream(
    stream: IO[bytes] | gzip.GzipFile, path: Path, dimensions: int, most: int
) -> tuple[bytes, NDArray[np.uint8]]:
    header = stream.read(4 + 4 * dimensions)
    if len(header) < 4 or header[:2] != b"\0\0":
        raise _damaged(
            path, f"expected IDX magic 0000{UINT8:02x}{dimensions:02x}, found {header[:4].hex() or 'nothing'}"
        )
    if header[2] != UINT8 or header[3] != dimensions:
        raise _damaged(
            path,
            f"expected type code 0x{UINT8:02x} and {dimensions} dimensions (magic 0000{UINT8:02x}{dimensions:02x}), "
            f"found magic {header[:4].hex()}",
        )
    if len(header) < 4 + 4 * dimensions:
        raise _damaged(path, f"the header is cut off after {len(header)} bytes")
    shape = tuple(int.from_bytes(header[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions))
    size = math.prod(shape)
    if size > SIZE_LIMIT:
        raise _damaged(path, f"the header promises {size} bytes, more than the limit of {SIZE_LIMIT}")
    if size > most:
        raise _damaged(path, f"the header promises {size} bytes of values {shape}, the file holds {most} at most")
    stream.seek(0)  # so that header and values are read into one piece of memory
    whole = stream.read(len(header) + size + 1)
    found = len(whole) - len(header)
    if found != size:
        holds = "more" if found > size else str(found)
        raise _damaged(path, f"the header promises {size} bytes of values {shape}, the file holds {holds}")
    return whole, np.frombuffer(whole, np.uint8, offset=len(header)).reshape(shape)


def _damaged(path: Path, what: str) -> DataProblem:
    return DataProblem(what, where=str(path), remedy="get the file again; see data/README.md for sources")
