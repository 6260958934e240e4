"""JSON, written in one way: no NaN and no infinity, which JSON does not have."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path

from pipelines.disk.atomic import write_bytes
from pipelines.disk.seal import SEAL, _canonical
from pipelines.disk.untrusted.documents import read_json
from pipelines.errors import DataProblem, first_line


def json_text(
    value: object, *, indent: int | None = None, sort_keys: bool = False, compact: bool = False, ascii_only: bool = True
) -> str:
    """Write a value as JSON: the one way to do so above the disk.

    Args:
        value: What JSON can hold.
        indent: Spaces of a level, or None for one line.
        sort_keys: Whether names are sorted.
        compact: Whether blanks are left out.
        ascii_only: Whether other letters are written as their numbers.

    Returns:
        The text.

    Raises:
        ValueError: A number is NaN or infinite.
        TypeError: JSON cannot hold the value.

    Example:
        >>> json_text({"loss": None})
        '{"loss": null}'
    """
    return json.dumps(
        value,
        indent=indent,
        sort_keys=sort_keys,
        separators=(",", ":") if compact else None,
        ensure_ascii=ascii_only,
        allow_nan=False,
    )


def write_json(path: Path, value: object) -> None:
    """Publish a document; a number that does not exist is null in it.

    Args:
        path: Where to; its directory must exist.
        value: A plain value, or lists, tuples and dicts of such.

    Raises:
        WorkFailed: The disk refused.
    """
    write_bytes(path, (json_text(json_value(value), indent=2) + "\n").encode())


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
    sealed = {**values, SEAL: hashlib.sha256(_canonical(values)).hexdigest()}
    return (json_text(sealed, indent=2, ascii_only=False) + "\n").encode()


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
