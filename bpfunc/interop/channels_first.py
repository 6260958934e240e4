"""Parameters of image layers in the axis order of torch and ONNX: channels first, where bpfunc has them last.

A row that was flattened from an image holds its numbers in the order (H, W, C) here and (C, H, W) there, so that the
parameters of the layer after it change their order too. For that the number of channels is enough.
"""

from __future__ import annotations

from bpfunc.arrays.types import FloatArray


def kernels_first(weight: FloatArray) -> FloatArray:
    """Bring the weight of `conv2d` to the order of torch and ONNX.

    Args:
        weight: (KH, KW, C / groups, F).

    Returns:
        (F, C / groups, KH, KW), a view.

    Example:
        >>> import numpy as np
        >>> kernels_first(np.zeros((5, 3, 1, 8))).shape
        (8, 1, 5, 3)
    """
    return weight.transpose(3, 2, 0, 1)


def kernels_last(weight: FloatArray) -> FloatArray:
    """Bring a weight of torch or ONNX to the order of `conv2d`: the way back of `kernels_first`.

    Args:
        weight: (F, C / groups, KH, KW).

    Returns:
        (KH, KW, C / groups, F), a view.

    Example:
        >>> import numpy as np
        >>> kernels_last(np.zeros((8, 1, 5, 3))).shape
        (5, 3, 1, 8)
    """
    return weight.transpose(2, 3, 1, 0)


def rows_first(array: FloatArray, channels: int) -> FloatArray:
    """Reorder the first axis, which runs over a flattened image, from (H, W, C) to (C, H, W).

    Args:
        array: (H W C, ...).
        channels: C.

    Returns:
        (C H W, ...), a new array unless C is 1.

    Raises:
        ValueError: The first axis is not a multiple of C.

    Example:
        >>> import numpy as np
        >>> rows_first(np.array([1, 10, 2, 20, 3, 30]), 2)
        array([ 1,  2,  3, 10, 20, 30])
    """
    return array.reshape(-1, channels, *array.shape[1:]).swapaxes(0, 1).reshape(array.shape)


def rows_last(array: FloatArray, channels: int) -> FloatArray:
    """Reorder the first axis from (C, H, W) to (H, W, C): the way back of `rows_first`.

    Args:
        array: (C H W, ...).
        channels: C.

    Returns:
        (H W C, ...), a new array unless C is 1.

    Raises:
        ValueError: The first axis is not a multiple of C.

    Example:
        >>> import numpy as np
        >>> rows_last(np.array([1, 2, 3, 10, 20, 30]), 2)
        array([ 1, 10,  2, 20,  3, 30])
    """
    return array.reshape(channels, -1, *array.shape[1:]).swapaxes(0, 1).reshape(array.shape)
