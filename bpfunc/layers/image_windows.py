"""Arguments of the layers that slide windows over images, and the shapes of these."""

from __future__ import annotations

from typing import TypeAlias

from bpfunc.arrays.ranges import whole
from bpfunc.arrays.types import FloatArray, Shape
from bpfunc.layers.base import ShapeError
from bpfunc.ops.windows import Windows, size_of

Pair: TypeAlias = int | tuple[int, int]
"""(down, across), or one number for both."""


def image_windows(
    name: str, kernel: Pair, stride: Pair, padding: str | int | tuple[int, ...], dilation: Pair = 1
) -> Windows:
    """Check the arguments of a layer, and make its windows.

    Args:
        name: Name of the layer, for messages.
        kernel: Height and width, at least 1.
        stride: Down and across, at least 1.
        padding: ``same``, ``valid``, or pixels: one number, (down, across), or (top, bottom, left, right).
        dilation: Down and across, at least 1.

    Returns:
        The geometry.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> image_windows("conv2d", 3, 1, (1, 2)).padding
        (1, 1, 2, 2)
    """
    pads: str | tuple[int, ...]
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(f"{name} takes a padding of 'same', 'valid' or whole numbers, got {padding!r}")
        pads = "same" if padding == "same" else (0, 0, 0, 0)
    else:
        given = tuple(padding) if isinstance(padding, tuple | list) else (padding,)
        if len(given) not in (1, 2, 4):
            raise ValueError(f"{name} takes a padding of 1, 2 or 4 numbers, got {padding!r}")
        numbers = tuple(whole(name, "padding", pixels, "[0, inf)") for pixels in given)
        pads = numbers if len(given) == 4 else (numbers[0], numbers[0], numbers[-1], numbers[-1])
    return Windows(
        _pair(name, "kernel", kernel), _pair(name, "stride", stride), pads, _pair(name, "dilation", dilation)
    )


def _pair(name: str, argument: str, value: Pair) -> tuple[int, int]:
    given = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(given) != 2:
        raise ValueError(f"{name} takes a {argument} of 1 or 2 numbers, got {value!r}")
    return whole(name, argument, given[0], "[1, inf)"), whole(name, argument, given[1], "[1, inf)")


def out_shape_of(name: str, how: Windows, in_shape: Shape) -> tuple[int, int]:
    """Find the size of a layer's output from the shape of an example.

    Args:
        name: Name of the layer, for messages.
        how: Its windows.
        in_shape: Shape of an example, (H, W, C).

    Returns:
        (OH, OW).

    Raises:
        ShapeError: The examples are not images, or no window fits.

    Example:
        >>> out_shape_of("conv2d", image_windows("conv2d", 3, 2, "same"), (28, 27, 1))
        (14, 14)
    """
    if len(in_shape) != 3:
        raise ShapeError(
            f"{name} takes examples of shape (H, W, C), found {in_shape}; put reshape((H, W, C)) before it"
        )
    out = how.out_size((in_shape[0], in_shape[1]))
    if min(in_shape) < 1 or min(out) < 1:
        raise ShapeError(f"{name} has a kernel of {how.kernel}, which does not fit into examples of shape {in_shape}")
    return out


def check_images(name: str, how: Windows, x: FloatArray, channels: int | None = None) -> None:
    """Check the input of a layer.

    Args:
        name: Name of the layer, for messages.
        how: Its windows.
        x: The input.
        channels: C, where the layer's parameters settle it.

    Returns:
        Nothing.

    Raises:
        ShapeError: It is not (B, H, W, C), or no window fits.

    Example:
        >>> import numpy as np
        >>> check_images("conv2d", image_windows("conv2d", 3, 1, "same"), np.zeros((5, 4, 4, 1)), 1)
    """
    if x.ndim != 4 or (channels is not None and x.shape[3] != channels):
        shown = "C" if channels is None else channels
        raise ShapeError(f"{name} expected an input of shape (B, H, W, {shown}), found {x.shape}")
    if min(how.out_size(size_of(x.shape))) < 1 or min(x.shape[1:]) < 1:
        raise ShapeError(f"{name} has a kernel of {how.kernel}, which does not fit into an input of shape {x.shape}")
