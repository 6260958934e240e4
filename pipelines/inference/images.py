"""Any picture as Fashion-MNIST's authors would have made an image of it: pure functions on arrays.

The authors' photographs show an article on a light background, and their images are bright on dark. The steps are
those of section 2 of their paper; where it leaves something open, the docstring of the step says what is done here.

Reference: Xiao, Rasul and Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
algorithms" (2017), section 2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bpfunc.arrays.types import FloatArray
from pipelines.artifacts import IMAGE_SIDE

CLOSE = 0.05
"""Largest distance from a corner's colour, as a fraction of that from black to white, at which a pixel is trimmed."""
BLOCK = 64
"""Rows of a picture compared at a time; bounds the memory that it takes."""
LUMA = np.array([0.2126, 0.7152, 0.0722])
"""What red, green and blue give to grey (ITU-R BT.709)."""


def is_ready(image: NDArray[np.uint8]) -> bool:
    """Return whether a picture is one of the data set's kind already: 28 x 28, grey, and dark in its corners.

    None of the 70,000 images of Fashion-MNIST fails this.

    Args:
        image: (H, W, 3) uint8.

    Returns:
        Whether the median of the four corners lies below 128, and size and colours are right.

    Example:
        >>> black = np.zeros((28, 28, 3), np.uint8)
        >>> is_ready(black), is_ready(255 - black), is_ready(black[:20])
        (True, False, False)
    """
    return is_small_and_grey(image) and bool(np.median(image[::27, ::27, 0]) < 128)


def is_small_and_grey(image: NDArray[np.uint8]) -> bool:
    """Return whether a picture is 28 x 28 and without colour.

    Args:
        image: (H, W, 3) uint8.

    Returns:
        Whether it is.

    Example:
        >>> is_small_and_grey(np.zeros((28, 28, 3), np.uint8))
        True
    """
    return image.shape == (IMAGE_SIDE, IMAGE_SIDE, 3) and bool((image == image[..., :1]).all())


def converted(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Make an image of the data set's kind: trim, subsample to 28, sharpen, centre, negate, turn grey.

    Args:
        image: (H, W, 3) uint8, an article on a light background; at least one pixel.

    Returns:
        (28, 28) uint8, bright on dark.

    Example:
        >>> photo = np.full((90, 60, 3), 250, np.uint8)
        >>> photo[20:70, 20:40] = 40
        >>> small = converted(photo)
        >>> small[14, 14], small[14, 0]
        (np.uint8(215), np.uint8(5))

    Reference: Xiao, Rasul and Vollgraf (2017), section 2.
    """
    centred = extended(sharpened(subsampled(trimmed(image))), image[0, 0])
    return grey(255 - centred)


def trimmed(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut off the rows and columns at the edges in which every pixel is close to the colour of a corner.

    Args:
        image: (H, W, 3) uint8.

    Returns:
        (h, w, 3), a view; the whole image where nothing else would remain.

    Example:
        >>> image = np.full((9, 9, 3), 255, np.uint8)
        >>> image[2:5, 3] = 0
        >>> trimmed(image).shape
        (3, 1, 3)
    """
    corners = np.unique(image[[0, 0, -1, -1], [0, -1, 0, -1]], axis=0)
    blocks = (image[start : start + BLOCK] for start in range(0, len(image), BLOCK))
    inside = np.concatenate([_far_from_all(block, corners) for block in blocks])
    if not inside.any():
        return image
    (top, bottom), (left, right) = (np.flatnonzero(inside.any(axis=axis))[[0, -1]] for axis in (1, 0))
    return image[top : bottom + 1, left : right + 1]


def _far_from_all(image: NDArray[np.uint8], corners: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(H, W): whether the colour is close to none of the corners', by the root mean square over red, green and blue."""
    far = np.ones(image.shape[:2], np.bool_)
    for away in (image.astype(np.int32) - corner for corner in corners):
        far &= np.einsum("hwc,hwc->hw", away, away) > 3 * (255 * CLOSE) ** 2
    return far


def subsampled(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bring the longest edge to 28 by leaving rows and columns out; a smaller image has some twice.

    Args:
        image: (H, W, 3) uint8.

    Returns:
        (h, w, 3), the larger of h and w 28, the other at least 1; each pixel from the middle of its share.

    Example:
        >>> subsampled(np.zeros((280, 100, 3), np.uint8)).shape
        (28, 10, 3)
    """
    height, width = image.shape[:2]
    longest = max(height, width)
    rows, columns = (_middles(edge, max(1, round(IMAGE_SIDE * edge / longest))) for edge in (height, width))
    return np.asarray(image[np.ix_(rows, columns)])


def _middles(edge: int, count: int) -> NDArray[np.int64]:
    return ((2 * np.arange(count) + 1) * edge) // (2 * count)


def sharpened(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Sharpen with a Gaussian of radius and deviation 1, the more the nearer to an outline.

    ``x + edge (x - gaussian(x))``, where ``edge`` is the Laplacian's size, blurred by the same Gaussian, over its
    largest value. The paper names radius, deviation and outlines; the formula is ours.

    Args:
        image: (H, W, 3) uint8.

    Returns:
        (H, W, 3) uint8.

    Example:
        >>> flat = np.full((5, 5, 3), 100, np.uint8)
        >>> bool((sharpened(flat) == flat).all())
        True
    """
    x = image.astype(np.float64)
    offsets = np.arange(-1, 2)
    gaussian = np.exp(-(offsets[:, None] ** 2 + offsets**2) / 2)
    gaussian /= gaussian.sum()
    laplacian = x - _filtered(x, np.full((3, 3), 1 / 9))
    edge = _filtered(np.abs(laplacian).max(axis=2, keepdims=True), gaussian)
    sharper = x + edge / max(edge.max(), 1e-9) * (x - _filtered(x, gaussian))
    return np.asarray(np.clip(np.rint(sharper), 0, 255), np.uint8)


def _filtered(x: FloatArray, kernel: FloatArray) -> FloatArray:
    """Correlate (H, W, C) with a 3 x 3 kernel; beyond the edge lies the edge's own pixel."""
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    return np.asarray(np.einsum("hwcij,ij->hwc", windows, kernel))


def extended(image: NDArray[np.uint8], colour: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put an image into the middle of 28 x 28 pixels.

    Args:
        image: (h, w, 3) uint8, neither edge above 28.
        colour: (3,) uint8, of what lies around it; the paper does not say which, and its photographs have white.

    Returns:
        (28, 28, 3) uint8.

    Example:
        >>> extended(np.zeros((28, 10, 3), np.uint8), np.full(3, 255, np.uint8))[0, [8, 9, 18, 19], 0].tolist()
        [255, 0, 0, 255]
    """
    height, width = image.shape[:2]
    top, left = (IMAGE_SIDE - height) // 2, (IMAGE_SIDE - width) // 2
    canvas = np.empty((IMAGE_SIDE, IMAGE_SIDE, 3), np.uint8)
    canvas[:] = colour
    canvas[top : top + height, left : left + width] = image
    return canvas


def grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn colours into grey: the luma of ITU-R BT.709.

    Args:
        image: (H, W, 3) uint8.

    Returns:
        (H, W) uint8.

    Example:
        >>> grey(np.array([[[255, 0, 0], [9, 9, 9]]], np.uint8)).tolist()
        [[54, 9]]
    """
    return np.asarray(np.rint(image @ LUMA), np.uint8)
