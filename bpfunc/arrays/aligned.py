"""Where fresh arrays lie in memory: at the start of a cache line, where arithmetic on them is up to twice as fast."""

from __future__ import annotations

import ctypes
from math import prod

import numpy as np
from numpy.typing import DTypeLike

from bpfunc.arrays.types import FloatArray, Shape

CACHE_LINE = 64
"""Bytes."""
LARGEST_KEPT = 2**25
"""Bytes of a block, the most that glibc's allocator can keep for later."""
MOST_KEPT = 2**28
"""Bytes that it keeps altogether."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""What glibc calls ``M_TRIM_THRESHOLD`` and ``M_MMAP_THRESHOLD``."""
SMALL = 65536
"""Bytes below which finding the place costs more than it brings."""


def empty(shape: Shape | int, dtype: DTypeLike) -> FloatArray:
    """Allocate an array without filling it, its first byte at a multiple of 64.

    NumPy's own arrays begin at a multiple of 16, so that most of a processor's vector loads and stores straddle two
    cache lines.

    Args:
        shape: Shape of the array; its length where it has one axis.
        dtype: Data type of the array, floating.

    Returns:
        A C-contiguous array; its contents are whatever was there.

    Example:
        >>> array = empty((1000, 30), np.float32)
        >>> array.shape, array.ctypes.data % 64
        ((1000, 30), 0)

    Reference: Intel, "64 and IA-32 architectures optimization reference manual", on cache line splits (2024).
    """
    size = (shape if isinstance(shape, int) else prod(shape)) * np.dtype(dtype).itemsize
    if size < SMALL:
        return np.empty(shape, dtype)
    room = np.empty(size + CACHE_LINE, np.uint8)
    # The quickest way to an address; the stubs of Python 3.11 do not know that arrays are buffers.
    offset = -ctypes.addressof(ctypes.c_char.from_buffer(room)) % CACHE_LINE  # type: ignore[arg-type]
    return np.ndarray(shape, dtype, room, offset)


def keep_freed_memory() -> int:
    """Let the allocator keep what is freed, so that the next step's arrays need no new pages from the system.

    A step frees as much as it allocates. glibc hands blocks above 128 KiB back to the system, and what is free at the
    end of its heap above twice the largest block; new pages cost several times what filling them does. Another
    allocator stays as it is.

    Returns:
        The largest block that is kept, in bytes.

    Example:
        >>> keep_freed_memory() // 2**20
        32

    Reference: mallopt(3), Linux manual.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no glibc
        return LARGEST_KEPT
    mallopt(_MMAP_THRESHOLD, LARGEST_KEPT)
    mallopt(_TRIM_THRESHOLD, MOST_KEPT)
    return LARGEST_KEPT
