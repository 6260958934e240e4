"""How weights begin: pure functions of a key and a shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from bpfunc.keys import Key, normal
from bpfunc.types import FloatArray, Shape

Initializer: TypeAlias = Callable[[Key, Shape], FloatArray]
"""``(key, shape) -> float32 array``; a weight's shape is (fan in, fan out)."""


def he_normal(key: Key, shape: Shape) -> FloatArray:
    """Draw from a normal distribution with variance ``2 / fan_in``, which keeps the scale through ReLU.

    Args:
        key: Names the random stream.
        shape: (fan in, fan out).

    Returns:
        float32 array of that shape.

    Example:
        >>> he_normal(Key(0), (784, 128)).std().round(2)
        np.float32(0.05)

    Reference: He, Zhang, Ren and Sun, "Delving deep into rectifiers" (2015).
    """
    draw = normal(key, shape)
    draw *= np.sqrt(2.0 / max(shape[0], 1))
    return draw


def zeros(key: Key, shape: Shape) -> FloatArray:
    """Start at zero, as biases do.

    Args:
        key: Not used; every initialiser takes one.
        shape: Any shape.

    Returns:
        float32 zeros.

    Example:
        >>> zeros(Key(0), (2,))
        array([0., 0.], dtype=float32)
    """
    return np.zeros(shape, np.float32)
