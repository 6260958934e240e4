"""How numbers are written, in the page and in the pictures alike."""

from __future__ import annotations

import math
from collections.abc import Sequence

NO_VALUE = "\N{EN DASH}"
"""Where a ratio has no denominator, or a quantity diverged."""


def percent(fraction: float | None, *, digits: int = 2) -> str:
    """Write a fraction in percent, never rounding all but a few to all, nor a few to none.

    Args:
        fraction: 0..1, or None or nan where there is none.
        digits: Decimals.

    Returns:
        Such as ``98.48 %``, with a space that does not break; ``>99.99 %`` just below the whole, ``<0.01 %`` just
        above nothing.

    Example:
        >>> percent(0.98483), percent(None), percent(0.9999, digits=1), percent(1.0, digits=1)
        ('98.48\\xa0%', '–', '>99.9\\xa0%', '100.0\\xa0%')
    """
    if fraction is None or not math.isfinite(fraction):
        return NO_VALUE
    step = 10.0**-digits
    value = 100 * fraction
    sign = ""
    if 0 < value < step / 2:
        sign, value = "<", step
    elif 100 - step / 2 <= value < 100:
        sign, value = ">", 100 - step
    return f"{sign}{value:.{digits}f}\N{NO-BREAK SPACE}%"


def count(number: float) -> str:
    """Write a count with its thousands set apart; a mean of counts with one decimal, unless it is whole.

    Args:
        number: A whole number, or a mean of such.

    Returns:
        Such as ``3,000`` or ``17.5``.

    Example:
        >>> count(3000), count(17.54), count(17.0)
        ('3,000', '17.5', '17')
    """
    return f"{number:,.0f}" if number == round(number) else f"{number:,.1f}"


def signed(number: float) -> str:
    """Write a difference of counts, its sign always shown.

    Args:
        number: A whole number, or a difference of means.

    Returns:
        Such as ``+12`` or ``0``, with a minus sign instead of a hyphen.

    Example:
        >>> signed(12), signed(-2.5), signed(0)
        ('+12', '−2.5', '0')
    """
    sign = "+" if number > 0 else "\N{MINUS SIGN}" if number < 0 else ""
    return sign + count(abs(number))


def plural(number: float, singular: str, several: str) -> str:
    """Write a count with its noun.

    Args:
        number: How many.
        singular: The noun for one.
        several: The noun for none or many.

    Returns:
        Such as ``1 mistake`` or ``3,000 images``.

    Example:
        >>> plural(1, "mistake", "mistakes"), plural(0, "mistake", "mistakes")
        ('1 mistake', '0 mistakes')
    """
    return f"{count(number)} {singular if number == 1 else several}"


def nats(loss: float | None) -> str:
    """Write a loss.

    Args:
        loss: Mean cross-entropy in nats, or None or nan where there is none.

    Returns:
        Three significant digits, such as ``0.0512``.

    Example:
        >>> nats(0.05123), nats(float("inf"))
        ('0.0512', '–')
    """
    return NO_VALUE if loss is None or not math.isfinite(loss) else f"{loss:#.3g}"


def tick_labels(ticks: tuple[float, ...]) -> tuple[str, ...]:
    """Write the numbers along an axis, all with the same decimals.

    Args:
        ticks: Finite numbers.

    Returns:
        One label for each, with a true minus sign; powers of ten where the numbers are huge or tiny.

    Example:
        >>> tick_labels((0.0, 0.25, 0.5)), tick_labels((0.0, 2e30))
        (('0.00', '0.25', '0.50'), ('0', '2e30'))
    """
    short = [f"{tick:g}" for tick in ticks]
    if any("e" in label for label in short):
        labels = [label.replace("e+", "e").replace("e-0", "e-") for label in short]
    else:
        digits = max(len(label.partition(".")[2]) for label in short)
        labels = [f"{tick:.{digits}f}" for tick in ticks]
    return tuple(f"\N{MINUS SIGN}{label[1:]}" if label.startswith("-") else label for label in labels)


def points(difference: float | None, *, digits: int = 2) -> str:
    """Write a difference of fractions in percentage points, its sign always shown.

    Args:
        difference: -1..1, or None or nan where there is none.
        digits: Decimals.

    Returns:
        Such as ``+0.12``, with a minus sign instead of a hyphen.

    Example:
        >>> points(0.0012), points(-0.0012), points(float("nan"))
        ('+0.12', '−0.12', '–')
    """
    if difference is None or not math.isfinite(difference):
        return NO_VALUE
    return f"{100 * difference:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def shape_in_words(shape: Sequence[int]) -> str:
    """Write the shape of an array.

    Args:
        shape: Any.

    Returns:
        Sizes with a cross between.

    Example:
        >>> shape_in_words((32, 784)), shape_in_words(())
        ('32 x 784', 'scalar')
    """
    return " x ".join(map(str, shape)) or "scalar"


def time_in_words(seconds: float) -> str:
    """Write a short time.

    Args:
        seconds: At least 0.

    Returns:
        In the unit that leaves a whole part; microseconds are ``us``, which any terminal can show.

    Example:
        >>> time_in_words(0.0000123), time_in_words(0.0045), time_in_words(2.0)
        ('12.3 us', '4.5 ms', '2.0 s')
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 1e-6:.1f} us"
