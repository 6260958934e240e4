"""TOML and JSON, read with one limit on size and depth: the one place where either is parsed.

Parsers take far more time and memory than a document's size where it nests deeply: a TOML key of 45,000 parts in a file
of 90 kB takes gigabytes. Nothing of the project's nests deeper than a handful of levels.
"""

from __future__ import annotations

import codecs
import json
import re
import tomllib
from pathlib import Path

from bpfunc.interop.distinct import distinct
from pipelines.disk.untrusted.files import read_file, remedy_for
from pipelines.errors import UsageProblem, first_line

TOML_LIMIT = 100_000
"""Largest TOML document that is read, in bytes."""
JSON_LIMIT = 1_000_000
"""Largest JSON document that is read where its reader says no other limit, in bytes."""
DEPTH_LIMIT = 32
"""Most levels of tables and lists, and most parts of a dotted key."""

_WORDS = re.compile(
    r"""
    \"{3} (?:\\.|[^\\])*? (?:\"{3,5}|\Z)  # strings of several lines
    | '{3} .*? (?:'{3,5}|\Z)
    | " (?:\\.|[^"\\\n])* "?  # strings of one line
    | ' [^'\n]* '?
    | \# [^\n]*  # comments
    """,
    re.DOTALL | re.VERBOSE,
)
_WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def parse_toml(text: str) -> dict[str, object]:
    """Parse TOML.

    Args:
        text: The document.

    Returns:
        Its table.

    Raises:
        ValueError: It is too large, nests too deeply, or is not TOML; the message says which.

    Example:
        >>> parse_toml("[train]\\nepochs = 3")
        {'train': {'epochs': 3}}
    """
    if len(text) > TOML_LIMIT:
        raise ValueError(f"it is larger than {TOML_LIMIT} bytes")
    _check_before(_WORDS.sub(lambda word: "" if word[0][0] == "#" else "s", text))
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise _too_deep() from None
    _check_depth(table)
    return table


def _check_before(bare: str) -> None:
    """Refuse deep nesting in a text without strings and comments, in linear time, before a parser meets it."""
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", bare):
        depth += 1 if bracket in "[{" else -1
        if depth > DEPTH_LIMIT:
            raise _too_deep()
    if any(part.count(".") >= DEPTH_LIMIT for part in re.split(r"[=,\[\]{}\n]", bare)):
        raise ValueError(f"a key has more than {DEPTH_LIMIT} parts")


def _check_depth(document: object) -> None:
    level: list[dict[str, object] | list[object]] = [[document]]
    for _ in range(DEPTH_LIMIT + 1):
        inside = (value for group in level for value in (group.values() if isinstance(group, dict) else group))
        level = [value for value in inside if isinstance(value, dict | list)]
    if level:
        raise _too_deep()


def _too_deep() -> ValueError:
    return ValueError(f"it nests deeper than {DEPTH_LIMIT} levels")


def parse_json(data: bytes | str, *, limit: int = JSON_LIMIT) -> object:
    """Parse JSON.

    Args:
        data: The document, in UTF-8.
        limit: Most bytes that it may have.

    Returns:
        Its value.

    Raises:
        ValueError: It is too large, nests too deeply, names an entry twice, or is not JSON; the message says which.

    Example:
        >>> parse_json(b'{"a": [1, null]}')
        {'a': [1, None]}
    """
    if len(data) > limit:
        raise ValueError(f"it is larger than {limit} bytes")
    text = decoded(data) if isinstance(data, bytes) else data
    try:
        document = json.loads(text, object_pairs_hook=distinct)
    except RecursionError:
        raise _too_deep() from None
    _check_depth(document)
    return document


def decoded(data: bytes) -> str:
    """Decode a document; a byte order mark, as some editors put before UTF-8, is left out.

    Args:
        data: The bytes of a file.

    Returns:
        Its text.

    Raises:
        ValueError: It is not UTF-8.

    Example:
        >>> decoded(b"\\xef\\xbb\\xbfa = 1")
        'a = 1'
    """
    if data.startswith(_WIDE_MARKS):
        raise ValueError("it is UTF-16 text: save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 text: byte {error.start} is 0x{data[error.start]:02x}") from None


def read_json(path: Path, *, limit: int = JSON_LIMIT) -> object:
    """Read a JSON file.

    Args:
        path: The file.
        limit: Most bytes that it may have.

    Returns:
        Its value.

    Raises:
        OSError: It cannot be read, or is not a regular file.
        ValueError: It is too large, nests too deeply, or is not JSON.
    """
    return parse_json(read_file(path, limit=limit), limit=limit)


def read_toml(path: Path, noun: str) -> dict[str, object]:
    """Read a TOML file that a person named.

    Args:
        path: The file.
        noun: What it is, such as ``configuration``.

    Returns:
        Its table.

    Raises:
        UsageProblem: It cannot be read, is not a regular file, is too large, nests too deeply, or is not TOML.
    """
    try:
        text = decoded(read_file(path, limit=TOML_LIMIT))
    except OSError as error:
        raise UsageProblem(
            f"cannot read the {noun}: {error.strerror}", where=str(path), remedy=remedy_for(error)
        ) from None
    except ValueError as error:
        raise UsageProblem(f"cannot read the {noun}: {error}", where=str(path), remedy="name another file") from None
    try:
        return parse_toml(text)
    except ValueError as error:  # bad syntax, a number without end
        raise UsageProblem(
            f"cannot read the {noun}: {_not_toml(error)}", where=str(path), remedy="fix the file"
        ) from None


def toml_table(text: str, *, where: str) -> dict[str, object]:
    """Parse TOML that a person wrote.

    Args:
        text: The document.
        where: Names it in messages.

    Returns:
        Its table.

    Raises:
        UsageProblem: It is too large, nests too deeply, or is not TOML.
    """
    try:
        return parse_toml(text)
    except ValueError as error:
        raise UsageProblem(_not_toml(error), where=where, remedy="fix the file") from None


def _not_toml(error: ValueError) -> str:
    return f"this is not valid TOML: {first_line(error)}"
