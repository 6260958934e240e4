"""What JSON has no way to write, brought into a form that it has."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path

from pipelines.disk.seal import SEAL, _canonical
from pipelines.errors import DataProblem, first_line
from pipelines.untrusted.documents import read_json


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


def sealed_json(values: Mapping[str, object]) -> bytes:
    """Write a JSON object with its seal.

    Args:
        values: What JSON can hold.

    Returns:
        The text, in UTF-8.

    Raises:
        ValueError: A number is NaN or infinite.

    Example:
        >>> json.loads(sealed_json({"a": 1}))["sha256"][:8]
        '015abd7f'
    """
    json.dumps(values, allow_nan=False)
    sealed = {**values, SEAL: hashlib.sha256(_canonical(values)).hexdigest()}
    return (json.dumps(sealed, indent=2, ensure_ascii=False) + "\n").encode()


def read_sealed_json(path: Path, *, remedy: str) -> dict[str, object]:
    """Read a JSON object and check its seal.

    Args:
        path: The file.
        remedy: What to do where it is damaged.

    Returns:
        The values, without the seal.

    Raises:
        DataProblem: It cannot be read, is too large, no JSON object, or not what was written.
    """
    try:
        values = read_json(path)
        if not isinstance(values, dict):
            raise ValueError("it is not a JSON object")
        if values.pop(SEAL, None) != hashlib.sha256(_canonical(values)).hexdigest():
            raise ValueError("its content is not what was written")
        return values
    except OSError as error:
        raise DataProblem(f"cannot read: {error.strerror}", where=str(path), remedy=remedy) from None
    except ValueError as error:
        raise DataProblem(f"damaged {path.name}: {first_line(error)}", where=str(path), remedy=remedy) from None
