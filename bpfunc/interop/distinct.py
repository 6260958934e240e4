"""JSON objects that name each entry once: readers disagree on which of two equal names counts."""

from __future__ import annotations


def distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Make a dictionary of an object's entries, for ``json.loads(text, object_pairs_hook=distinct)``.

    Args:
        pairs: Names and values, in the order of the text.

    Returns:
        Name -> value.

    Raises:
        ValueError: A name is there twice.

    Example:
        >>> import json
        >>> json.loads('{"a": 1, "b": 2}', object_pairs_hook=distinct)
        {'a': 1, 'b': 2}
        >>> json.loads('{"a": 1, "a": 2}', object_pairs_hook=distinct)
        Traceback (most recent call last):
            ...
        ValueError: the name 'a' is there twice
    """
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the name {name[:200]!r} is there twice")
        found[name] = value
    return found
