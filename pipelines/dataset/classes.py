"""The ten classes, and how a person may name them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from pipelines.errors import UsageProblem

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
"""In the order of their numbers, 0..9, as the data set's authors (Xiao, Rasul and Vollgraf, 2017) give them."""


def class_numbers(classes: Sequence[str], *, pinned: bool) -> tuple[int, ...]:
    """Find the numbers of classes, which may be given by name (in any case) or by number.

    Args:
        classes: Names or numbers, in the order wanted.
        pinned: Whether this is the official data; your own data has numbers only.

    Returns:
        Numbers in 0..9, in the same order.

    Raises:
        UsageProblem: A name is unknown (the message suggests a near one), or two entries mean one class.

    Example:
        >>> class_numbers(["dress", "1"], pinned=True)
        (3, 1)
    """
    numbers = tuple(_class_number(name, pinned=pinned) for name in classes)
    for position, number in enumerate(numbers):
        if number in numbers[:position]:
            raise UsageProblem(
                f"{classes[position]!r} is class {number}, which is chosen already",
                where="dataset.classes",
                remedy="name each class once",
            )
    return numbers


def _class_number(name: str, *, pinned: bool) -> int:
    if name in {str(number) for number in range(10)}:
        return int(name)
    if not pinned:
        raise UsageProblem(
            f"{name!r} names a class of the official data, and the source is your own",
            where="dataset.classes",
            remedy="choose classes by number, 0 to 9",
        )
    known = {known.casefold(): number for number, known in enumerate(CLASS_NAMES)}
    if name.casefold() in known:
        return known[name.casefold()]
    near = difflib.get_close_matches(name.casefold(), known, n=1)
    hint = f" (did you mean {CLASS_NAMES[known[near[0]]]}?)" if near else ""
    raise UsageProblem(
        f"unknown class {name!r}{hint}",
        where="dataset.classes",
        remedy=f"choose from {', '.join(CLASS_NAMES)}, or a number from 0 to 9",
    )


def class_names(numbers: Sequence[int], *, pinned: bool) -> tuple[str, ...]:
    """Name classes for tables and pictures.

    Args:
        numbers: In 0..9.
        pinned: Whether this is the official data, whose classes have names.

    Returns:
        Names; the numbers as text for your own data.

    Example:
        >>> class_names((3, 1), pinned=True), class_names((3, 1), pinned=False)
        (('Dress', 'Trouser'), ('3', '1'))
    """
    return tuple(CLASS_NAMES[number] if pinned else str(number) for number in numbers)
