"""Refuses arrays that do not hold plain real numbers, before a computation uses them."""

from __future__ import annotations

import numpy as np


def plain_numbers(name: str, array: object) -> None:
    """Refuse an array that is not of real numbers.

    A masked array would lose its mask in silence, and complex numbers their imaginary part.

    Args:
        name: Name of the array, for the message.
        array: Any value; only NumPy arrays are checked.

    Returns:
        None.

    Raises:
        TypeError: It is masked, or of another kind than floating, whole numbers and truth values.

    Example:
        >>> plain_numbers("inputs", np.array([1]))
        >>> plain_numbers("inputs", np.array([1j]))
        Traceback (most recent call last):
            ...
        TypeError: inputs are floating, whole numbers or truth values, found complex128
    """
    if isinstance(array, np.ndarray):
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{name} are floating, whole numbers or truth values, found {array.dtype}")
        if isinstance(array, np.ma.MaskedArray):
            raise TypeError(
                f"{name} are a masked array, whose mask would be lost; leave the masked rows out, or fill them"
            )
