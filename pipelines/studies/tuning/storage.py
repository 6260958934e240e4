"""Where the trials of a sweep are kept: a database that several processes share."""

from __future__ import annotations

import os
import secrets
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from pipelines.disk.atomic import TEMPORARY
from pipelines.disk.waiting import lock_holder, wait_until
from pipelines.errors import UsageProblem, WorkFailed, first_line

if TYPE_CHECKING:
    import optuna


_FILE = "sqlite:///"
BUSY_SECONDS = 60
"""How long a database file is waited for that another process writes to."""
HEARTBEAT_SECONDS = 15
"""How often a running trial gives a sign of life; one that was silent for four times as long counts as lost."""


def storage_url(directory: Path) -> str:
    """Name the storage that a sweep keeps in its own directory, and make it where there is none.

    Args:
        directory: Directory of the sweep; must exist.

    Returns:
        A database URL of an SQLite file.

    Raises:
        UsageProblem: The extra `sweep` is not installed.
    """
    path = directory / "sweep.db"
    if not path.exists():
        # Two processes that start at once would both create the tables: the file appears whole, by one link.
        temporary = directory / f"{TEMPORARY}{secrets.token_hex(8)}.db"
        open_storage(_file_url(temporary)).engine.dispose()
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    return _file_url(path)


def _file_url(path: Path) -> str:
    """Name a database file by a URL in which no character of its path means something else."""
    return _FILE + quote(os.fsencode(path.absolute()))


def file_of(url: str) -> Path | None:
    """Find the file that a database URL names.

    Args:
        url: Such as ``sqlite:////data/sweep.db``; a character may stand as its number, such as ``%3F``.

    Returns:
        The path; None where the database is not a plain SQLite file.

    Example:
        >>> print(file_of("sqlite:////data/what%3F.db"), file_of("postgresql://user@host/name"))
        /data/what?.db None
    """
    path = url.removeprefix(_FILE)
    if path in (url, "", ":memory:") or "?" in path:
        return None
    return Path(os.fsdecode(unquote_to_bytes(path)))


def _connected(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False)


def _wait_for_file(path: Path) -> None:
    """Wait until a database file can be written to; another process may be writing to it, or be suspended."""

    def free() -> bool:
        try:
            with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:  # all but a lock is told when the storage is opened
            return "locked" not in str(error)
        return True

    def words() -> str:
        holder = lock_holder(path.stat())
        who = "another process" if holder is None else f"process {holder}"
        return f"waiting for the lock on {path}, which {who} holds"

    if not wait_until(free, words, most=BUSY_SECONDS):
        raise WorkFailed(
            f"the database is locked since {BUSY_SECONDS} seconds: {words()}",
            where=str(path),
            remedy="end that process, or let it go on; the same command goes on with the sweep",
        )


def _check_owner(path: Path) -> None:
    """Refuse a database file that holds tables of something else: Optuna would add its own to them."""
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error:  # told when the storage is opened
        return
    if tables and "studies" not in tables:
        raise UsageProblem(
            f"this database is not a sweep's: it holds the table {min(tables)!r}",
            where=str(path),
            remedy="name a new file, or the storage of a sweep",
        )


@contextmanager
def storage_failures(url: str) -> Iterator[None]:
    """Turn failures of a database into a message, as long as the block lasts.

    Args:
        url: URL of the storage.

    Yields:
        Nothing.

    Raises:
        WorkFailed: The database is locked, damaged, full or gone.
    """
    try:
        from optuna.exceptions import StorageInternalError
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError:  # told by `open_storage`
        yield
        return
    try:
        yield
    except (StorageInternalError, SQLAlchemyError, sqlite3.Error) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
        raise WorkFailed(
            f"the storage failed: {first_line(cause)}",
            where=url,
            remedy="check the database; the same command goes on with the sweep",
        ) from None


def open_storage(url: str) -> optuna.storages.RDBStorage:
    """Open a storage.

    Args:
        url: A database URL, such as ``postgresql://user@host/name``.

    Returns:
        Optuna's storage, in which running trials give signs of life.

    Raises:
        UsageProblem: The extra `sweep` is not installed, or the database does not open.
    """
    try:
        import optuna
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError:
        raise UsageProblem("a sweep needs Optuna", where="bpfunc sweep", remedy="pip install 'bpfunc[sweep]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path, place = file_of(url), url
    options: dict[str, object] = {"pool_pre_ping": True}
    if path is not None:
        if path.exists():
            _wait_for_file(path)
            _check_owner(path)
        # Optuna reads braces in a URL as fields of a template: it is not given the path.
        place, options = f"{_FILE}file", {"creator": partial(_connected, path)}
    elif url.startswith("sqlite:"):
        options = {"connect_args": {"timeout": BUSY_SECONDS}}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # heartbeats
            return optuna.storages.RDBStorage(
                place, options, heartbeat_interval=HEARTBEAT_SECONDS, grace_period=4 * HEARTBEAT_SECONDS
            )
    except (SQLAlchemyError, sqlite3.Error, ImportError, ValueError, KeyError) as error:
        raise UsageProblem(
            f"cannot open the storage: {first_line(error)}",
            where=url,
            remedy="write such as sqlite:////path/sweep.db or postgresql://user@host/name, and install its driver",
        ) from None
