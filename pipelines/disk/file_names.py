"""Names from outside that become names of files."""

from __future__ import annotations

import unicodedata

LONGEST = 100
"""Bytes of UTF-8 that such a name may have; there is room for what the project puts before and behind it."""
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{digit}" for port in ("com", "lpt") for digit in range(1, 10))}
"""Names of devices on Windows, whatever follows their first dot."""


def file_name_fault(name: str) -> str | None:
    """Find what keeps a text from being the name of a file, on this system or on another one.

    Args:
        name: Any text.

    Returns:
        The fault, to be put behind the name, or None.

    Example:
        >>> file_name_fault("rate-0.03") is None
        True
        >>> file_name_fault("rate/0.03")
        'holds a slash or backslash'
    """
    if not name:
        return "is empty"
    if not name.isprintable():
        return "holds a character that cannot be printed"
    if "/" in name or "\\" in name:
        return "holds a slash or backslash"
    if name[0] == "." or name[-1] == "." or name.strip() != name:
        return "begins or ends with a dot or a blank"
    if len(name.encode()) > LONGEST:
        return f"is longer than {LONGEST} bytes"
    return "is reserved on Windows" if name.split(".")[0].strip().casefold() in RESERVED else None


def same_file_name(name: str) -> str:
    """Bring a name into the form that two names share which some file systems take for one.

    Args:
        name: Name of a file.

    Returns:
        The name without case, its letters composed.

    Example:
        >>> same_file_name("Wide") == same_file_name("wide")
        True
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
