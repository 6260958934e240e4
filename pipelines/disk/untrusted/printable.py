"""Text from outside, escaped for where it is shown: a terminal, JSON, Markdown, a shell command.

Class, column, file, variant and run names, paths, keys and the messages of libraries may hold escape sequences, line
breaks, and characters that turn the direction of the text around. Pages have an escaping of their own, built on this
one (`pipelines.report.drawing.markup`).
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NewType

Printable = NewType("Printable", str)
"""Text without control characters, in one or more lines of the project's own making."""

_MARKDOWN = re.compile(r"[\\`*_\[\]<>|&~#]")


def _is_safe(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"


def printable(value: str) -> Printable:
    r"""Escape what a terminal or a browser would obey, or would not show, in one line of text.

    Args:
        value: Any text.

    Returns:
        The same text; control characters, line breaks, marks of direction, characters without width or meaning, and
        bytes that are not UTF-8 are shown by their numbers. A backslash stays as it is.

    Example:
        >>> printable("na\x1b[31mme\n"), printable("größe 鞋")
        ('na\\x1b[31mme\\n', 'größe 鞋')
    """
    if value.isprintable():
        return Printable(value)
    return Printable("".join(c if _is_safe(c) else c.encode("unicode_escape").decode() for c in value))


def in_lines(lines: Iterable[str]) -> Printable:
    r"""Put lines one below the other.

    Args:
        lines: Each is one line, whatever it holds.

    Returns:
        As many lines.

    Example:
        >>> in_lines(["run: a\nb", "done"])
        'run: a\\nb\ndone'
    """
    return Printable("\n".join(map(printable, lines)))


def printable_lines(text: str) -> Printable:
    r"""Escape a text whose line breaks and tabs are the project's own, such as a configuration.

    Args:
        text: Lines with ``\n`` between.

    Returns:
        The same lines.

    Example:
        >>> printable_lines("a = 1\n# \x07\n")
        'a = 1\n# \\x07\n'
    """
    return Printable("".join(c if c in "\n\t" else printable(c) for c in text))


def printable_json(text: str) -> Printable:
    r"""Escape JSON text: characters that are not printable become their numbers, as JSON writes them.

    Args:
        text: A document; such characters are inside its strings.

    Returns:
        A document of the same values.

    Example:
        >>> print(printable_json('{"name": "\u202e"}'))
        {"name": "\u202e"}
    """
    return Printable("".join(c if c == "\n" or _is_safe(c) else _json_units(c) for c in text))


def printable_toml(text: str) -> Printable:
    r"""Escape TOML text: characters that are not printable become their numbers, as TOML writes them.

    Args:
        text: A document; such characters are inside its quoted strings.

    Returns:
        A document of the same values.

    Example:
        >>> print(printable_toml('name = "\u202e"'))
        name = "\u202e"
    """
    return Printable("".join(c if c == "\n" or _is_safe(c) else _toml_number(c) for c in text))


def _json_units(character: str) -> str:
    code = ord(character) - 0x10000
    if code < 0:
        return f"\\u{ord(character):04x}"
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def _toml_number(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def markdown(value: str) -> Printable:
    r"""Escape text for a line of Markdown, a cell of a table among them.

    Args:
        value: Any text.

    Returns:
        Markdown that shows that text and nothing else.

    Example:
        >>> print(markdown("a|b <i> [x](y)"))
        a\|b \<i\> \[x\](y)
    """
    return Printable(_MARKDOWN.sub(r"\\\g<0>", printable(value)))


def shell(words: Sequence[str]) -> Printable:
    r"""Write a command that a person may copy.

    Args:
        words: The command and its arguments.

    Returns:
        One line; a word with characters that are not printable is quoted in the way of bash and zsh.

    Example:
        >>> shell(["bpfunc", "resume", "my runs/first"]), print(shell(["bpfunc", "resume", "a\nb"]))
        bpfunc resume $'a\x0ab'
        ("bpfunc resume 'my runs/first'", None)
    """
    return Printable(" ".join(shlex.quote(word) if all(map(_is_safe, word)) else _ansi_quoted(word) for word in words))


def _ansi_quoted(word: str) -> str:
    parts = []
    for character in word:
        if "\udc80" <= character <= "\udcff":  # a byte of a file name that is not UTF-8
            parts.append(f"\\x{ord(character) - 0xDC00:02x}")
        elif _is_safe(character):
            parts.append(f"\\{character}" if character in "\\'" else character)
        else:  # numbers of a byte would stand for bytes
            code = ord(character)
            parts.append(f"\\x{code:02x}" if code < 0x80 else _toml_number(character))
    return f"$'{''.join(parts)}'"


def is_file_name(name: str) -> bool:
    """Say whether a text from outside may be the name of one file.

    Args:
        name: Any text.

    Returns:
        Whether it names a file in its own directory, that is not hidden, in any shell and on any system.

    Example:
        >>> [is_file_name(name) for name in ("part-0.parquet", "../../x", "a/b", ".x", "", "a b", "con")]
        [True, False, False, False, False, True, True]
    """
    plain = name.isprintable() and len(name.encode(errors="replace")) <= 200
    return plain and bool(name) and name[0] not in ". -" and not set(name) & set('/\\:*?"<>|')
