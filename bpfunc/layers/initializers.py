"""How weights begin: pure functions of a key and a shape."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import numpy as np

from bpfunc.arrays.calls import hands_out
from bpfunc.arrays.ranges import FINITE, number
from bpfunc.arrays.types import BoolArray, FloatArray, Shape
from bpfunc.keys import Key, fold_in, normal, uniform

Initializer: TypeAlias = Callable[[Key, Shape], FloatArray]
"""``(key, shape) -> float32 array``; a weight's shape is (fan in, fan out), or (height, width,
channels, features) for images, where a channel or feature counts once for each pixel of the kernel."""


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
    return _normal(key, shape, 2.0 / _fan_in(shape))


def he_uniform(key: Key, shape: Shape) -> FloatArray:
    """Draw uniformly with variance ``2 / fan_in``.

    Args:
        key: Names the random stream.
        shape: (fan in, fan out).

    Returns:
        float32 array of that shape.

    Example:
        >>> bool(abs(he_uniform(Key(0), (600, 128))).max() < (6 / 600) ** 0.5 + 1e-6)
        True

    Reference: He, Zhang, Ren and Sun, "Delving deep into rectifiers" (2015).
    """
    return _uniform(key, shape, 2.0 / _fan_in(shape))


def glorot_normal(key: Key, shape: Shape) -> FloatArray:
    """Draw from a normal distribution with variance ``2 / (fan_in + fan_out)``.

    Args:
        key: Names the random stream.
        shape: (fan in, fan out).

    Returns:
        float32 array of that shape.

    Example:
        >>> glorot_normal(Key(0), (300, 100)).std().round(2)
        np.float32(0.07)

    Reference: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010).
    """
    return _normal(key, shape, 2.0 / (_fan_in(shape) + _fan_out(shape)))


def glorot_uniform(key: Key, shape: Shape) -> FloatArray:
    """Draw uniformly with variance ``2 / (fan_in + fan_out)``.

    Args:
        key: Names the random stream.
        shape: (fan in, fan out).

    Returns:
        float32 array of that shape.

    Example:
        >>> glorot_uniform(Key(0), (300, 100)).std().round(2)
        np.float32(0.07)

    Reference: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010).
    """
    return _uniform(key, shape, 2.0 / (_fan_in(shape) + _fan_out(shape)))


def lecun_normal(key: Key, shape: Shape) -> FloatArray:
    """Draw from a normal distribution with variance ``1 / fan_in``.

    Args:
        key: Names the random stream.
        shape: (fan in, fan out).

    Returns:
        float32 array of that shape.

    Example:
        >>> lecun_normal(Key(0), (400, 100)).std().round(2)
        np.float32(0.05)

    Reference: LeCun, Bottou, Orr and Mueller, "Efficient backprop" (1998).
    """
    return _normal(key, shape, 1.0 / _fan_in(shape))


def lecun_uniform(key: Key, shape: Shape) -> FloatArray:
    """Draw uniformly with variance ``1 / fan_in``.

    Args:
        key: Names the random stream.
        shape: (fan in, fan out).

    Returns:
        float32 array of that shape.

    Example:
        >>> lecun_uniform(Key(0), (400, 100)).std().round(2)
        np.float32(0.05)

    Reference: LeCun, Bottou, Orr and Mueller, "Efficient backprop" (1998).
    """
    return _uniform(key, shape, 1.0 / _fan_in(shape))


def orthogonal(key: Key, shape: Shape) -> FloatArray:
    """Draw a matrix with orthonormal columns (or rows, where there are fewer), uniformly among all.

    Args:
        key: Names the random stream.
        shape: (fan in, fan out).

    Returns:
        float32 array of that shape.

    Raises:
        ValueError: The shape has not two axes.

    Example:
        >>> weight = orthogonal(Key(0), (5, 3))
        >>> bool(np.allclose(weight.T @ weight, np.eye(3), atol=1e-6))
        True

    Reference: Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning" (2014).
    """
    if len(shape) != 2:
        raise ValueError(f"orthogonal makes matrices, got the shape {shape}")
    tall = (max(shape), min(shape))
    q, r = np.linalg.qr(normal(key, tall, dtype=np.float64))
    # The signs make the distribution uniform: QR alone favours positive diagonals.
    q = q * np.sign(np.diag(r))
    return np.ascontiguousarray(q if shape == tall else q.T, np.float32)


def truncated_normal(deviation: float, *, limit: float = 2.0) -> Initializer:
    """Make an initialiser that draws from a normal distribution and draws again what lies too far out.

    Args:
        deviation: Deviation of the distribution before it is cut, above 0.
        limit: How many deviations out the cut lies, above 0.

    Returns:
        An initialiser.

    Raises:
        ValueError: An argument is not above 0.

    Example:
        >>> bool(abs(truncated_normal(0.02)(Key(0), (100, 10))).max() <= 0.04)
        True

    Reference: Goodfellow, Bengio and Courville, "Deep learning" (2016), section 8.4.
    """
    deviation = number("truncated_normal", "deviation", deviation, "(0, inf)")
    limit = number("truncated_normal", "limit", limit, "(0, inf)")
    return partial(_truncated_normal, deviation, limit)


def _truncated_normal(deviation: float, limit: float, key: Key, shape: Shape) -> FloatArray:
    draw, accepted = _proposed(limit, key, shape)
    attempt = 0
    while not accepted.all():
        attempt += 1
        again, now = _proposed(limit, fold_in(key, attempt), shape)
        draw, accepted = np.where(accepted, draw, again), accepted | now
    draw *= deviation
    return draw


def _proposed(limit: float, key: Key, shape: Shape) -> tuple[FloatArray, BoolArray]:
    """Draw once for each number, and say which draws are taken."""
    if limit >= 1:
        draw = normal(key, shape)
        return draw, np.abs(draw) <= limit
    # A narrow window is nearly flat: even draws from it, thinned out to the normal density, are seldom refused.
    draw = uniform(fold_in(key, 0), shape, low=-limit, high=limit)
    return draw, uniform(fold_in(key, 1), shape) < np.exp(-draw * draw / 2)


def constant(value: float) -> Initializer:
    """Make an initialiser that starts everything at one value.

    Args:
        value: The value, finite.

    Returns:
        An initialiser.

    Raises:
        ValueError: It is not a finite number.

    Example:
        >>> constant(0.5)(Key(0), (2,))
        array([0.5, 0.5], dtype=float32)

    Reference: Jozefowicz, Zaremba and Sutskever, "An empirical exploration of recurrent network architectures" (2015),
    which starts a bias at 1.
    """
    return partial(_filled, number("constant", "value", value, FINITE))


def _filled(value: float, key: Key, shape: Shape) -> FloatArray:
    return np.full(shape, value, np.float32)


def _fan_in(shape: Shape) -> int:
    return max(math.prod(shape[:-1]), 1)


def _fan_out(shape: Shape) -> int:
    return max(math.prod(shape[:-2]) * shape[-1], 1)


def _normal(key: Key, shape: Shape, variance: float) -> FloatArray:
    draw = normal(key, shape)
    draw *= math.sqrt(variance)
    return draw


def _uniform(key: Key, shape: Shape, variance: float) -> FloatArray:
    bound = math.sqrt(3 * variance)
    return uniform(key, shape, low=-bound, high=bound)


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


hands_out(truncated_normal, initializer=_truncated_normal)
hands_out(constant, initializer=_filled)
