"""Randomness as a value: a key names a stream of random numbers, and the same key gives the same numbers.

A `Key` is a seed and the path that was taken from it. No generator lives longer than the call that draws from it,
so nothing random has to be saved to resume a training run.

Reference: counter-based generators, Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3"
(2011); splitting as in Claessen and Palka, "Splittable pseudorandom number generators using cryptographic hashing"
(2013).
"""

from __future__ import annotations

import hashlib

import attrs
import numpy as np

from bpfunc.arrays.arguments import expected
from bpfunc.arrays.ranges import FINITE, number, whole
from bpfunc.arrays.types import FloatArray, FloatDType, IntArray, Shape
from bpfunc.tree import STATIC


@attrs.frozen
class Key:
    """A name for a stream of random numbers; equal keys give equal numbers.

    Args:
        seed: Whole number of at least 0, of any size.
        path: What `fold_in` (numbers from 0) and `split` (numbers below 0) have added.

    Raises:
        ValueError: The seed is negative or no whole number.

    Example:
        >>> fold_in(Key(0), 3)
        Key(seed=0, path=(3,))
    """

    seed: int = attrs.field(metadata=STATIC)
    path: tuple[int, ...] = attrs.field(default=(), metadata=STATIC)

    def __attrs_post_init__(self) -> None:
        """Check the seed."""
        if type(self.seed) is not int or self.seed < 0:
            object.__setattr__(self, "seed", whole("Key", "seed", self.seed, "[0, inf)"))


def fold_in(key: Key, number: int) -> Key:
    """Derive the key for a step, an epoch or a layer by its number.

    Args:
        key: The key to derive from.
        number: Whole number of at least 0.

    Returns:
        A key whose numbers are independent of those of ``key`` and of every other number's.

    Raises:
        ValueError: The number is negative, or not a whole number.

    Example:
        >>> fold_in(Key(7), 0) == fold_in(Key(7), 1)
        False
    """
    if type(key) is not Key:
        expected("fold_in", "key", key, Key)
    if type(number) is not int or number < 0:
        number = whole("fold_in", "number", number, "[0, inf)")
    return Key(key.seed, (*key.path, number))


def split(key: Key, count: int = 2) -> tuple[Key, ...]:
    """Derive several keys at once, distinct from all that `fold_in` gives.

    Args:
        key: The key to derive from.
        count: How many, at least 0.

    Returns:
        ``count`` keys with independent streams.

    Raises:
        ValueError: The count is negative, or not a whole number.

    Example:
        >>> weights, noise = split(Key(0))
        >>> weights == noise
        False
    """
    expected("split", "key", key, Key)
    count = whole("split", "count", count, "[0, inf)")
    return tuple(Key(key.seed, (*key.path, -1 - index)) for index in range(count))


def generator(key: Key) -> np.random.Generator:
    """Make the NumPy generator of a key: Philox, keyed by a BLAKE2 hash of seed and path.

    Args:
        key: Any key.

    Returns:
        A fresh generator at the start of the key's stream; draw from it and drop it.

    Example:
        >>> bool(generator(Key(0)).random() == generator(Key(0)).random())
        True
    """
    return np.random.Generator(np.random.Philox(key=philox_key(expected("a draw", "key", key, Key))))


def philox_key(key: Key) -> int:
    """Hash a key to what Philox is keyed by.

    Args:
        key: Any key.

    Returns:
        A whole number below 2^128.

    Example:
        >>> philox_key(Key(0)) == philox_key(Key(1))
        False
    """
    name = "/".join(map(str, (key.seed, *key.path))).encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=16).digest(), "little")


def uniform(
    key: Key, shape: Shape, *, low: float = 0.0, high: float = 1.0, dtype: FloatDType = np.float32
) -> FloatArray:
    """Draw numbers uniformly from [low, high); both ends are kept where numbers are rounded.

    Args:
        key: Names the stream.
        shape: Shape of the result.
        low: Lower bound, finite.
        high: Upper bound, finite, at least ``low``; where the two are equal all numbers are.
        dtype: float32 or float64.

    Returns:
        An array of that shape and dtype.

    Raises:
        ValueError: A bound is not finite, they are out of order, or the dtype has no number between them.

    Example:
        >>> uniform(Key(0), (2, 3)).shape
        (2, 3)
    """
    low, high = number("uniform", "low", low, FINITE), number("uniform", "high", high, FINITE)
    unit = generator(key).random(shape, dtype=dtype)
    if low == 0 and high == 1:
        return unit
    least, most = _ends(low, high, dtype)
    if high - low > float(np.finfo(dtype).max):
        unit = unit * dtype(high) + (1 - unit) * dtype(low)
    else:
        unit *= high - low
        unit += low
    return np.clip(unit, least, most, out=unit)


def _ends(low: float, high: float, dtype: FloatDType) -> tuple[np.floating, np.floating]:
    """The smallest number of a dtype that is not below ``low``, and the largest that is below ``high``."""
    least, most = dtype(low), dtype(high)
    if low == high:
        return least, least
    if float(least) < low:
        least = np.nextafter(least, dtype(np.inf))
    if float(most) >= high:
        most = np.nextafter(most, dtype(-np.inf))
    if not least <= most:
        raise ValueError(f"uniform takes a low below high with a {dtype.__name__} between them, got {low} and {high}")
    return least, most


def normal(key: Key, shape: Shape, *, dtype: FloatDType = np.float32) -> FloatArray:
    """Draw numbers from the standard normal distribution.

    Args:
        key: Names the stream.
        shape: Shape of the result.
        dtype: float32 or float64.

    Returns:
        An array of that shape and dtype.

    Example:
        >>> normal(Key(0), (4,)).dtype
        dtype('float32')
    """
    draw: FloatArray = generator(key).standard_normal(shape, dtype=dtype)
    return draw


def permutation(key: Key, count: int) -> IntArray:
    """Shuffle the numbers 0..count-1.

    Args:
        key: Names the stream.
        count: How many numbers, at least 0.

    Returns:
        (count,) int64.

    Raises:
        ValueError: The count is negative, or not a whole number.

    Example:
        >>> sorted(permutation(Key(0), 4).tolist())
        [0, 1, 2, 3]
    """
    return generator(key).permutation(whole("permutation", "count", count, "[0, inf)"))
