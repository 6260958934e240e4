"""Files from outside: only regular ones are opened, and none takes more memory than its size warrants."""

from __future__ import annotations

import errno
import os
import re
import stat
from io import BufferedReader
from pathlib import Path

UNFOLD_FREE = 128 << 20
"""Bytes that any file may unfold to in memory, however small it is."""
UNFOLD_RATIO = 256
"""Most bytes in memory for each byte of a file, beyond `UNFOLD_FREE`. Photographs, images and tables of them stay below
a tenth of it; files made to fill the memory reach thousands."""

_HANDED_OVER = re.compile(r"/dev/stdin|/(?:dev|proc/self)/fd/([0-9]{1,6})")
_PIECE = 1 << 16
_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_file(path: Path) -> BufferedReader:
    """Open a regular file for reading; anything else is refused without being opened or waited for.

    Args:
        path: The file.

    Returns:
        Its bytes.

    Raises:
        OSError: It cannot be opened, or is not a regular file.
    """
    _check_regular(path, path.stat().st_mode)
    # Not blocking, should a pipe take the name just now.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _check_regular(path, os.fstat(descriptor).st_mode)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _check_regular(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for is_such, name in _KINDS if is_such(mode)), "something else")
        raise OSError(errno.EINVAL, f"it is {kind}, not a regular file", str(path))


def open_input(path: Path) -> BufferedReader:
    """Open what a person hands over to be read once: a regular file, or a pipe that this process was started with.

    Args:
        path: The file; ``/dev/stdin``, or such as ``/dev/fd/63``, which a shell puts for ``<(command)``.

    Returns:
        Its bytes; a pipe cannot be sought in.

    Raises:
        OSError: It cannot be opened, or is neither.
    """
    handed = _HANDED_OVER.fullmatch(str(path))
    if handed:
        number = int(handed[1] or 0)
        if stat.S_ISFIFO(os.fstat(number).st_mode) or stat.S_ISSOCK(os.fstat(number).st_mode):
            return os.fdopen(os.dup(number), "rb")
    return open_file(path)


def read_file(path: Path, *, limit: int) -> bytes:
    """Read a regular file whole.

    Args:
        path: The file.
        limit: Most bytes that it may have.

    Returns:
        Its bytes.

    Raises:
        OSError: It cannot be read, or is not a regular file.
        ValueError: It is larger.
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise ValueError(f"it is larger than {limit} bytes")
        data = file.read(size + 1)  # as much memory as the file has bytes, not as the limit allows
        return data if len(data) <= size else data + read_stream(file, limit=limit - len(data))


def read_stream(stream: BufferedReader, *, limit: int) -> bytes:
    """Read a stream whose length is not known to its end.

    Args:
        stream: Such as a pipe.
        limit: Most bytes that may come.

    Returns:
        Its bytes.

    Raises:
        OSError: It cannot be read.
        ValueError: More bytes come.
    """
    data = bytearray()
    while piece := stream.read(_PIECE):
        data += piece
        if len(data) > limit:
            raise ValueError(f"it is larger than {limit} bytes")
    return bytes(data)


def check_unfolding(size: int, unfolded: int, *, limit: int) -> None:
    """Refuse a file that would fill the memory, before it does.

    Args:
        size: Bytes of the file.
        unfolded: Bytes that it takes in memory, as it says itself.
        limit: Most of these, whatever the file's size.

    Raises:
        ValueError: It is too many.

    Example:
        >>> check_unfolding(1000, 10**9, limit=10**10)
        Traceback (most recent call last):
            ...
        ValueError: it unfolds to 1000000000 bytes in memory, and a file of 1000 bytes may to 134217728
    """
    most = min(limit, max(UNFOLD_FREE, UNFOLD_RATIO * size))
    if unfolded > most:
        raise ValueError(f"it unfolds to {unfolded} bytes in memory, and a file of {size} bytes may to {most}")


_REMEDIES = {
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.ELOOP: "check the path",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.EISDIR: "name a file",
    errno.EINVAL: "name a regular file",
    errno.EACCES: "check the permissions",
    errno.EPERM: "check the permissions",
    errno.EROFS: "choose a place that can be written to",
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
}


def remedy_for(error: OSError) -> str:
    """Return what to do about an error of the system: permissions are named only where these are the cause.

    Args:
        error: Any.

    Returns:
        Such as ``check the path``.

    Example:
        >>> remedy_for(FileNotFoundError(2, "No such file")), remedy_for(PermissionError(13, "Permission denied"))
        ('check the path', 'check the permissions')
    """
    return _REMEDIES.get(error.errno or 0, "check the path, its permissions and the disk")
