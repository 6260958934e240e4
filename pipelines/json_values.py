"""What JSON has no way to write, brought into a form that it has."""

from __future__ import annotations

import math


def json_value(value: object) -> object:
    """Put None where a number is NaN or infinite: an epoch whose every step was left out, say, has no loss.

    Args:
        value: A plain value, or lists, tuples and dicts of such.

    Returns:
        The same with None in those places; tuples become lists.

    Example:
        >>> json_value({"loss": math.nan, "accuracy": (0.5, None)})
        {'loss': None, 'accuracy': [0.5, None]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: json_value(inner) for name, inner in value.items()}
    return [json_value(inner) for inner in value] if isinstance(value, list | tuple) else value
