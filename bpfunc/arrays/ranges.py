"""Ranges of numbers: checking those that functions are given, with one form of message; powers that leave float64's."""

from __future__ import annotations

import math
from functools import cache
from numbers import Integral, Real
from typing import Final

import numpy as np

FINITE: Final = "(-inf, inf)"
"""The interval of a setting that may be any number but NaN and the infinities."""


def number(function: str, name: str, value: object, interval: str, *, words: str = "") -> float:
    """Check a number, and hand it on as Python's own: NumPy's float64 would turn float32 arrays into float64.

    Args:
        function: Name of the function that was given it, for the message.
        name: Name of the argument.
        value: What was given.
        interval: Where it lies, such as ``[0, 1)``; an end ``inf`` is never reached.
        words: The interval in words, for the message, where ``interval`` does not say it all.

    Returns:
        The number.

    Raises:
        ValueError: It is outside, NaN, infinite, or not a number.

    Example:
        >>> number("momentum", "decay", np.float32(0.5), "[0, 1)")
        0.5
        >>> number("momentum", "decay", float("nan"), "[0, 1)")
        Traceback (most recent call last):
            ...
        ValueError: momentum takes a decay in [0, 1), got nan
    """
    plain = _plain(value)
    if not isinstance(plain, Real):
        raise _refusal(function, name, value, words or _in_words(interval), ", which is not a number")
    try:
        found = float(plain)
    except OverflowError:  # a whole number beyond float64
        found = math.inf
    if not _inside(interval, found):
        raise _refusal(function, name, value, words or _in_words(interval))
    return found


def whole(function: str, name: str, value: object, interval: str) -> int:
    """Check a whole number, and hand it on as Python's own.

    Args:
        function: Name of the function that was given it, for the message.
        name: Name of the argument.
        value: What was given.
        interval: Where it lies, such as ``[1, inf)``.

    Returns:
        The number.

    Raises:
        ValueError: It is outside, or not a whole number.

    Example:
        >>> whole("dense", "width", np.int64(3), "[1, inf)")
        3
        >>> whole("dense", "width", 2.5, "[1, inf)")
        Traceback (most recent call last):
            ...
        ValueError: dense takes a width of at least 1, got 2.5, which is not a whole number
    """
    plain = _plain(value)
    if not isinstance(plain, Integral):
        raise _refusal(function, name, value, _in_words(interval), ", which is not a whole number")
    if not _inside(interval, int(plain)):
        raise _refusal(function, name, value, _in_words(interval))
    return int(plain)


def times_power(value: float, base: float, exponent: float) -> float:
    """Multiply by a power that may itself be too large or too small for a number: ``value * base^exponent``.

    Args:
        value: Any number.
        base: Base of the power.
        exponent: Exponent of the power.

    Returns:
        The product; infinite where it is too large for a number.

    Example:
        >>> times_power(0.5, 2.0, 3), times_power(1.0, 10.0, 400), times_power(1e-300, 10.0, 400)
        (4.0, inf, 1e+100)
    """
    try:
        power = float(base) ** exponent
    except OverflowError:
        power = math.inf
    if value == 0 or not (power == 0 or math.isinf(power)):
        return 0.0 if value == 0 else float(value) * power
    with np.errstate(over="ignore", under="ignore"):
        return float(np.longdouble(value) * np.longdouble(base) ** np.longdouble(exponent))


def _plain(value: object) -> object:
    """The number inside an array without axes; None for a truth value, which is not a number here."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    return None if isinstance(value, bool) else value


def _inside(interval: str, value: float) -> bool:
    low, high = _ends(interval)
    above = value >= low if interval[0] == "[" else value > low
    return above and (value <= high if interval[-1] == "]" else value < high)


@cache
def _ends(interval: str) -> tuple[float, float]:
    low, high = interval[1:-1].split(", ")
    return float(low), float(high)


def _in_words(interval: str) -> str:
    low, high = interval[1:-1].split(", ")
    if interval == FINITE:
        return "that is finite"
    if high != "inf":
        return f"in {interval}"
    return f"of at least {low}" if interval[0] == "[" else f"above {low}"


def _refusal(function: str, name: str, value: object, range_in_words: str, why: str = "") -> ValueError:
    article = "" if name.endswith("s") else "an " if name[0] in "aeiou" else "a "
    shown = value.item() if isinstance(value, np.generic) else value
    return ValueError(f"{function} takes {article}{name} {range_in_words}, got {shown!r}{why}")
