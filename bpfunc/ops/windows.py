"""Windows that slide over images: their geometry, and views of the pixels that they cover."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import numpy as np

from bpfunc.arrays.types import FloatArray, Shape

WINDOWS_BYTES = 2**22
"""Bytes that the copied windows of a part of a batch may take; a part holds at least one image."""


@attrs.frozen
class Windows:
    """Geometry of the windows: rows first, then columns.

    Args:
        kernel: Height and width, in pixels that are read.
        stride: Pixels from one window to the next.
        padding: ``same`` (the output has ``ceil(size / stride)`` pixels), or pixels (top, bottom, left, right).
        dilation: Pixels from one pixel that is read to the next.

    Example:
        >>> Windows((3, 3), (2, 2), "same", (1, 1)).out_size((7, 8))
        (4, 4)

    Reference: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (2016).
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: str | tuple[int, ...]
    dilation: tuple[int, int]

    def pads(self, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """Count the pixels of padding: ((top, bottom), (left, right)); of an odd sum the last side has more.

        Args:
            size: Height and width of the image.

        Returns:
            Before and after, along each axis.

        Example:
            >>> Windows((2, 3), (1, 1), "same", (1, 1)).pads((5, 5))
            ((0, 1), (1, 1))
        """
        if not isinstance(self.padding, str):
            top, bottom, left, right = self.padding
            return (top, bottom), (left, right)
        rows, columns = (
            max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
            for n, k, s, d in zip(size, self.kernel, self.stride, self.dilation, strict=True)
        )
        return (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)

    def out_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Count the windows along both axes; below 1 where none fits.

        Args:
            size: Height and width of the image.

        Returns:
            Height and width of the output.

        Example:
            >>> Windows((3, 3), (1, 1), (0, 0, 0, 0), (1, 1)).out_size((28, 28))
            (26, 26)
        """
        rows, columns = (
            (n + sum(p) - (k - 1) * d - 1) // s + 1
            for n, p, k, s, d in zip(size, self.pads(size), self.kernel, self.stride, self.dilation, strict=True)
        )
        return rows, columns

    def slices(self, size: tuple[int, int]) -> Iterator[tuple[slice, slice, slice]]:
        """Name, for each position in the kernel, the pixels of padded images (B, H, W, C) that all windows read there.

        Args:
            size: Height and width of the image without padding.

        Yields:
            One index for each position, row by row.

        Example:
            >>> [index[2] for index in Windows((1, 2), (1, 2), (0, 0, 0, 0), (1, 1)).slices((1, 4))]
            [slice(0, 3, 2), slice(1, 4, 2)]
        """
        out = self.out_size(size)
        for i in range(self.kernel[0]):
            for j in range(self.kernel[1]):
                low = (i * self.dilation[0], j * self.dilation[1])
                rows, columns = (
                    slice(n, n + s * (o - 1) + 1, s) for n, s, o in zip(low, self.stride, out, strict=True)
                )
                yield slice(None), rows, columns


def size_of(images: Shape) -> tuple[int, int]:
    """Take height and width out of a shape (B, H, W, C), as `Windows` takes them; see `Windows`.

    Args:
        images: The shape.

    Returns:
        (H, W).

    Example:
        >>> size_of((5, 28, 30, 1))
        (28, 30)
    """
    return images[1], images[2]


def padded(x: FloatArray, how: Windows, *, fill: float = 0.0) -> FloatArray:
    """Put the padding around images, where there is one; see `Windows`.

    Args:
        x: (B, H, W, C) floating.
        how: The geometry.
        fill: The padding's value.

    Returns:
        (B, H + top + bottom, W + left + right, C), to be read only: a new array, or ``x`` itself without padding.

    Example:
        >>> padded(np.ones((1, 1, 1, 1)), Windows((1, 3), (1, 1), "same", (1, 1))).ravel()
        array([0., 1., 0.])
    """
    (top, bottom), (left, right) = how.pads(size_of(x.shape))
    if not (top or bottom or left or right):
        return x
    b, h, w, c = x.shape
    wide = np.full((b, h + top + bottom, w + left + right, c), fill, x.dtype)
    wide[:, top : top + h, left : left + w] = x
    return wide


def windows(x: FloatArray, how: Windows) -> FloatArray:
    """Copy the pixels of every window into a row: windows by strides, one copy.

    In NHWC a row of a window is a run of ``kernel width * C`` numbers that lie side by side (without dilation), so that
    the copy moves runs and not single numbers.

    Args:
        x: (B, H, W, C) floating.
        how: The geometry.

    Returns:
        (B, OH, OW, KH, KW, C), a new array, contiguous.

    Example:
        >>> how = Windows((1, 2), (1, 1), (0, 0, 0, 0), (1, 1))
        >>> windows(np.arange(3.0).reshape(1, 1, 3, 1), how).reshape(2, 2)
        array([[0., 1.],
               [1., 2.]])

    Reference: Chellapilla, Puri and Simard, "High performance convolutional neural networks for document processing"
        (2006).
    """
    wide = padded(x, how)
    b, rows, columns, channels = wide.strides
    out = how.out_size(size_of(x.shape))
    view = np.lib.stride_tricks.as_strided(
        wide,
        (len(x), *out, *how.kernel, x.shape[3]),
        (
            b,
            rows * how.stride[0],
            columns * how.stride[1],
            rows * how.dilation[0],
            columns * how.dilation[1],
            channels,
        ),
        writeable=False,
    )
    return view.copy()


def unwindowed(dwindows: FloatArray, how: Windows, in_shape: Shape) -> FloatArray:
    """Cotangent of the images behind `windows`: the sum, over positions in the kernel, of slices; see `windows`.

    Args:
        dwindows: (B, OH, OW, KH, KW, C) floating.
        how: The geometry.
        in_shape: (B, H, W, C).

    Returns:
        (B, H, W, C), a new array.

    Example:
        >>> how = Windows((1, 2), (1, 1), (0, 0, 0, 0), (1, 1))
        >>> unwindowed(np.ones((1, 1, 2, 1, 2, 1)), how, (1, 1, 3, 1)).ravel()
        array([1., 2., 1.])
    """
    size = size_of(in_shape)
    (top, bottom), (left, right) = how.pads(size)
    b, h, w, c = in_shape
    wide = np.zeros((b, h + top + bottom, w + left + right, c), dwindows.dtype)
    flat = dwindows.reshape(*dwindows.shape[:3], -1, c)
    for position, index in enumerate(how.slices(size)):
        wide[index] += flat[:, :, :, position]
    return wide[:, top : top + h, left : left + w].copy()


def parts_of_batch(in_shape: Shape, how: Windows, itemsize: int) -> Iterator[slice]:
    """Cut a batch into parts whose windows take at most `WINDOWS_BYTES`, or one image each; see `windows`.

    Args:
        in_shape: (B, H, W, C).
        how: The geometry.
        itemsize: Bytes of a number.

    Yields:
        Slices of the batch; none for an empty batch.

    Example:
        >>> how = Windows((3, 3), (1, 1), "same", (1, 1))
        >>> list(parts_of_batch((100, 28, 28, 4), how, 8))[:2]
        [slice(0, 18, None), slice(18, 36, None)]
    """
    rows, columns = how.out_size(size_of(in_shape))
    image = rows * columns * how.kernel[0] * how.kernel[1] * in_shape[3] * itemsize
    count = max(WINDOWS_BYTES // max(image, 1), 1)
    for start in range(0, in_shape[0], count):
        yield slice(start, min(start + count, in_shape[0]))
