"""Small images as PNG bytes: grey for pictures, a diverging palette for weights.

Both are indexed or grey PNGs of eight bits with no metadata, so equal pixels give equal bytes. The diverging
palette fades to transparent at zero: one image suits a light page and a dark one.
"""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bpfunc.arrays.types import FloatArray

NEGATIVE_RGB: Final = (217, 84, 30)
"""The colour of weights below zero: the page's accent, bright enough for a dark page."""
POSITIVE_RGB: Final = (47, 127, 214)
"""The colour of weights above zero."""

_GREY, _INDEXED = 0, 3
_ZERO = 127
"""Palette entry of zero; 0 is the most negative and 254 the most positive."""


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(pixels: NDArray[np.uint8], colour_type: int, extra: bytes) -> bytes:
    height, width = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    # Each row begins with its filter type; 0 stores the row as it is.
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels], axis=1)
    body = _chunk(b"IHDR", header) + extra + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 9))
    return b"\x89PNG\r\n\x1a\n" + body + _chunk(b"IEND", b"")


def grey_png(pixels: NDArray[np.uint8]) -> bytes:
    r"""Encode a grey picture.

    Args:
        pixels: (height, width) uint8, 0 black .. 255 white.

    Returns:
        The PNG file.

    Example:
        >>> import numpy as np
        >>> grey_png(np.zeros((28, 28), np.uint8))[:8]
        b'\x89PNG\r\n\x1a\n'
    """
    return _png(pixels, _GREY, b"")


def diverging_png(values: FloatArray, *, limit: float) -> bytes:
    r"""Encode numbers of both signs: one colour below zero, another above, transparent at zero.

    ``opacity = min(|value| / limit, 1)``

    Args:
        values: (height, width) float; what is not finite is drawn as zero.
        limit: The magnitude that is drawn opaque, on either side; above zero.

    Returns:
        The PNG file.

    Raises:
        ValueError: ``limit`` is not a finite number above zero.

    Example:
        >>> import numpy as np
        >>> diverging_png(np.eye(28), limit=1.0)[:8]
        b'\x89PNG\r\n\x1a\n'
    """
    if not 0 < limit < np.inf:
        raise ValueError(f"the limit of the colour scale is {limit}; give a finite number above zero")
    finite = np.where(np.isfinite(values), values, 0)
    index = np.rint(np.clip(finite / limit, -1, 1) * _ZERO).astype(np.int16) + _ZERO
    distance = np.arange(2 * _ZERO + 1) - _ZERO
    colours = np.where(distance[:, None] < 0, NEGATIVE_RGB, POSITIVE_RGB).astype(np.uint8)
    opacity = np.rint(np.abs(distance) / _ZERO * 255).astype(np.uint8)
    palette = _chunk(b"PLTE", colours.tobytes()) + _chunk(b"tRNS", opacity.tobytes())
    return _png(index.astype(np.uint8), _INDEXED, palette)


def data_uri(png: bytes) -> str:
    """Write a PNG as a URI that holds the image itself.

    Args:
        png: The file.

    Returns:
        ``data:image/png;base64,...``

    Example:
        >>> data_uri(b"png")
        'data:image/png;base64,cG5n'
    """
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
