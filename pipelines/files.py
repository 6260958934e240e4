"""The one atomic writer: every file of the project reaches its name by a verified rename, or not at all."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pipelines.errors import PipelineError, WorkFailed

TEMPORARY = ".tmp-"
"""Prefix of everything that is not published yet."""


def sha256_of(path: Path) -> str:
    """Hash a file.

    Args:
        path: A regular file.

    Returns:
        Hex SHA-256 of its bytes.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_directory(path: Path) -> None:
    """Make a directory and those above it; where it is there, leave it.

    Args:
        path: The directory.

    Raises:
        WorkFailed: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorkFailed(
            f"cannot make the directory: {error.strerror}",
            where=str(path),
            remedy="choose another place, or check permissions",
        ) from None


def write_bytes(path: Path, data: bytes) -> str:
    """Publish a file: afterwards the name holds these bytes; after a failure, what it held before.

    Args:
        path: Where to; its directory must exist. A regular file or nothing.
        data: What to write.

    Returns:
        Hex SHA-256 of the bytes.

    Raises:
        WorkFailed: The disk refused, or does not hold what was written; no temporary file stays behind.
    """
    with _readable_failure(path):
        if path.is_symlink() or (path.exists() and not stat.S_ISREG(path.stat().st_mode)):
            raise WorkFailed("refusing to replace what is no regular file", where=str(path), remedy="move it away")
        temporary = path.parent / f"{TEMPORARY}{path.name}-{os.getpid()}-{secrets.token_hex(4)}"
        try:
            digest = _write_verified(temporary, data)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_directory(path.parent)
    return digest


def publish_directory(path: Path, files: Mapping[str, bytes], *, keep: Callable[[Path], bool]) -> None:
    """Publish a directory of files by one rename: it appears whole, or not at all.

    Args:
        path: Where to; its parent must exist.
        files: Name -> bytes. The last one is written last.
        keep: Asked where the name is taken: whether the directory that is there may stay in place of this one.

    Raises:
        WorkFailed: The disk refused, or does not hold what was written; nothing temporary stays behind.
    """
    with _readable_failure(path):
        temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=path.parent))
        try:
            temporary.chmod(0o777 & ~_umask())
            for name, data in files.items():
                _write_verified(temporary / name, data)
            _sync_directory(temporary)
            _take_name(temporary, path, keep)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _sync_directory(path.parent)


def _take_name(temporary: Path, path: Path, keep: Callable[[Path], bool]) -> None:
    try:
        os.rename(temporary, path)
    except OSError:
        if not os.path.lexists(path):
            raise
    else:
        return
    if path.is_symlink() or not path.is_dir():
        raise WorkFailed("refusing to replace what is no directory", where=str(path), remedy="move it away")
    if keep(path):  # a sound one: somebody else published first
        shutil.rmtree(temporary)
        return
    aside = temporary.with_name(f"{temporary.name}-old")
    os.rename(path, aside)
    try:
        os.rename(temporary, path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write_verified(path: Path, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if sha256_of(path) != digest:
        raise WorkFailed("the disk gives back other bytes than were written", where=str(path), remedy="check the disk")
    return digest


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


@contextmanager
def _readable_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except PipelineError:
        raise
    except OSError as error:
        raise WorkFailed(
            f"cannot write: {error.strerror or error}", where=str(path), remedy="check permissions and free space"
        ) from None
