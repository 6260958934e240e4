"""The one atomic writer: every file of the project reaches its name by a verified rename, or not at all.

A writer holds a lock on its temporary file or directory as long as it lives; the system takes the lock away with the
process. So whatever is temporary and not locked was left by a writer that died, and `remove_leftovers` removes it.

Removing has its home here as well: a directory is removed only while it is claimed, and only if every file in it has
a name that the project gives.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from pipelines.disk.untrusted.files import open_file, remedy_for
from pipelines.disk.waiting import lock_holder, wait_until
from pipelines.errors import PipelineError, UsageProblem, WorkFailed

TEMPORARY = ".tmp-"
"""Prefix of everything that is not published yet."""
TEMPORARY_NAME = re.compile(r"\.tmp-.+-[0-9]+-[0-9a-f]+(-old)?")
"""Whole names of what is not published yet: the final name, the writer's process, some random digits."""
NEWBORN_SECONDS = 60.0
"""A temporary file of this age at most is let alone: its writer may not have come to lock it."""


def sha256_of(path: Path) -> str:
    """Hash a file.

    Args:
        path: A regular file.

    Returns:
        Hex SHA-256 of its bytes.

    Raises:
        OSError: It cannot be read.
    """
    with open_file(path) as file:
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
    except FileExistsError:
        raise WorkFailed("this is not a directory", where=str(path), remedy="choose another directory") from None
    except OSError as error:
        raise WorkFailed(
            f"cannot make the directory: {error.strerror}",
            where=str(path),
            remedy=f"{remedy_for(error)}, or choose another place",
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
            raise WorkFailed("refusing to replace what is not a regular file", where=str(path), remedy="move it away")
        temporary = _temporary_name(path)
        try:
            with _locked(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)) as descriptor:
                digest = _write_verified(descriptor, temporary, data)
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
        keep: Asked where the name is taken: whether the directory that is there may stay instead of this one.

    Raises:
        WorkFailed: The disk refused, or does not hold what was written, or the directory to replace holds other files
            than these; nothing temporary stays behind.
    """
    with _readable_failure(path):
        temporary = _temporary_name(path)
        temporary.mkdir()
        try:
            with _locked(os.open(temporary, os.O_RDONLY)):
                for name, data in files.items():
                    descriptor = os.open(temporary / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
                    try:
                        _write_verified(descriptor, temporary / name, data)
                    finally:
                        os.close(descriptor)
                _sync_directory(temporary)
                _take_name(temporary, path, files, keep)
        except BaseException:
            _discard(temporary, files)
            raise
        _sync_directory(path.parent)


def _take_name(temporary: Path, path: Path, names: Collection[str], keep: Callable[[Path], bool]) -> None:
    """Rename; one writer at a time, so that where the name is taken only one looks whether to replace what is there."""
    with _locked(os.open(path.parent, os.O_RDONLY), wait_for=path.parent):
        try:
            os.rename(temporary, path)
        except OSError:
            if not os.path.lexists(path):
                raise
        else:
            return
        if path.is_symlink() or not path.is_dir():
            raise WorkFailed("refusing to replace what is not a directory", where=str(path), remedy="move it away")
        if keep(path):  # a sound one: another process published first
            _discard(temporary, names)
            return
        if foreign := foreign_files(path, [re.escape(name) for name in names]):
            raise WorkFailed(
                f"refusing to replace a directory with files that bpfunc did not make: {', '.join(foreign)}",
                where=str(path),
                remedy="move these files elsewhere",
            )
        aside = temporary.with_name(f"{temporary.name}-old")
        os.rename(path, aside)
        try:
            os.rename(temporary, path)
        except BaseException:
            os.rename(aside, path)
            raise
        _discard(aside, names)


@contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Work in a directory alone: as long as the block lasts, every other claim on it is refused.

    The system takes the claim away with the process, however that ends, so none is ever left behind.

    Args:
        directory: An existing one.

    Yields:
        Nothing.

    Raises:
        UsageProblem: Another process works in it.
        OSError: It cannot be opened.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageProblem(
                "another process is at work in this directory",
                where=str(directory),
                remedy="wait until it has ended, or choose another directory",
            ) from None
        except OSError:
            pass  # a file system without locks: results are still right, since names are taken by renames alone
        yield
    finally:
        os.close(descriptor)


def is_claimed(directory: Path) -> bool:
    """Ask whether another process works in a directory.

    Args:
        directory: An existing one.

    Returns:
        Whether `exclusive` would refuse it now.

    Raises:
        OSError: It cannot be opened.
    """
    try:
        with exclusive(directory):
            return False
    except UsageProblem:
        return True


def foreign_files(directory: Path, own: Collection[str]) -> tuple[str, ...]:
    """Find what lies in a directory and was not made by the project.

    Args:
        directory: Where to look.
        own: Regular expressions of the whole relative paths of the project's own files; a folder is its own where a
            file below it may be. Temporary files of its writers are its own as well.

    Returns:
        Relative paths of other files and folders, and of all links and special files.

    Raises:
        OSError: A folder cannot be read.
    """
    return tuple(str(path.relative_to(directory)) for path, is_own in _contents(directory, own) if not is_own)


def _contents(directory: Path, own: Collection[str]) -> Iterator[tuple[Path, bool]]:
    """Everything below a directory, what lies in a folder before the folder, and whether it is the project's own."""
    names = [re.compile(name) for name in own]
    folders = [re.compile(name.rpartition("/")[0]) for name in own if "/" in name]
    for place, below, files in os.walk(directory, topdown=False, onerror=_raise):
        for name in sorted([*files, *below]):
            path = Path(place, name)
            relative, mode = path.relative_to(directory).as_posix(), path.lstat().st_mode
            if stat.S_ISDIR(mode):
                yield path, any(folder.fullmatch(relative) for folder in folders)
            else:
                known = any(pattern.fullmatch(relative) for pattern in names) or TEMPORARY_NAME.fullmatch(name)
                yield path, bool(known) and stat.S_ISREG(mode)


def _raise(error: OSError) -> None:
    raise error


def remove_directory(directory: Path, own: Collection[str], *, last: str = "") -> None:
    """Remove a directory that the project made, file by file: the one way in which a published directory goes.

    Args:
        directory: Which one.
        own: Names of the project's own files, as `foreign_files` takes them.
        last: Name of the file that makes the directory what it is; it goes last, so that what a killed removal leaves
            is still known.

    Raises:
        UsageProblem: It is a link, another process works in it, or it holds a file that the project did not make.
            Nothing is removed then.
        OSError: Something cannot be removed.
    """
    if directory.is_symlink() or not directory.is_dir():
        raise UsageProblem(
            "this is a link or a file, not a directory", where=str(directory), remedy="remove it by hand"
        )
    with exclusive(directory):
        if foreign := foreign_files(directory, own):
            raise UsageProblem(
                f"it holds files that bpfunc did not make: {', '.join(foreign)}",
                where=str(directory),
                remedy="move these files elsewhere first",
            )
        contents = [path for path, is_own in _contents(directory, own) if is_own]
        for path in sorted(contents, key=lambda path: path == directory / last):
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)
        directory.rmdir()


def remove_leftovers(directory: Path, own: Collection[str] = ()) -> list[Path]:
    """Remove what writers left that died before they could publish: temporary files and directories.

    What a living writer holds stays, and so does what is younger than `NEWBORN_SECONDS`, and a temporary directory
    that holds other files than writers put into one.

    Args:
        directory: Where to look; may be missing.
        own: Names of the files of a directory that is published here.

    Returns:
        What was removed. What cannot be removed stays, and nothing takes it for a result.
    """
    if not directory.is_dir():
        return []
    found = [path for path in sorted(directory.glob(f"{TEMPORARY}*")) if TEMPORARY_NAME.fullmatch(path.name)]
    return [path for path in found if _remove_left(path, own)]


def _remove_left(path: Path, own: Collection[str]) -> bool:
    """Remove one leftover under its own lock; say whether it is gone."""
    with suppress(OSError, UsageProblem):
        mode, modified = path.lstat().st_mode, path.lstat().st_mtime
        if time.time() - modified <= NEWBORN_SECONDS:
            return False
        if stat.S_ISDIR(mode):
            remove_directory(path, own)
        elif stat.S_ISREG(mode):
            with exclusive(path):
                path.unlink(missing_ok=True)
    return not os.path.lexists(path)


def _discard(directory: Path, names: Collection[str]) -> None:
    """Remove a temporary directory with its files; what fails once may do the second time, and what stays is swept up
    later."""
    for _ in range(2):
        for name in names:
            with suppress(OSError):
                (directory / name).unlink(missing_ok=True)
        with suppress(OSError):
            directory.rmdir()


def _temporary_name(path: Path) -> Path:
    return path.parent / f"{TEMPORARY}{path.name[:100]}-{os.getpid()}-{secrets.token_hex(4)}"


@contextmanager
def _locked(descriptor: int, *, wait_for: Path | None = None) -> Iterator[int]:
    """Hold a lock on an open file or directory, and close it in the end.

    Where another process holds it, ``wait_for`` is what is waited for; without it nothing is waited for.
    """

    def taken() -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return wait_for is None
        except OSError:
            pass  # a file system without locks: the rename alone keeps things right
        return True

    def words() -> str:
        holder = lock_holder(os.fstat(descriptor))
        who = "another process" if holder is None else f"process {holder}"
        return f"waiting for the lock on {wait_for}, which {who} holds"

    try:
        wait_until(taken, words)
        yield descriptor
    finally:
        os.close(descriptor)


def _write_verified(descriptor: int, path: Path, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    remaining = memoryview(data)
    while remaining:
        remaining = remaining[os.write(descriptor, remaining) :]
    os.fsync(descriptor)
    if sha256_of(path) != digest:
        raise WorkFailed("the disk gives back other bytes than were written", where=str(path), remedy="check the disk")
    return digest


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _readable_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except PipelineError:
        raise
    except OSError as error:
        raise WorkFailed(
            f"cannot write: {error.strerror or error}", where=str(path), remedy=remedy_for(error)
        ) from None
