"""Where the trials of a sweep are kept: a database that several processes share."""

from __future__ import annotations

import os
import secrets
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.disk.atomic import TEMPORARY
from pipelines.errors import UsageProblem, first_line

if TYPE_CHECKING:
    import optuna


HEARTBEAT_SECONDS = 15
"""How often a running trial gives a sign of life; one that was silent for four times as long counts as lost."""


def storage_url(directory: Path) -> str:
    """Name the storage that a sweep keeps in its own directory, and make it where there is none.

    Args:
        directory: Of the sweep; must exist.

    Returns:
        A database URL of an SQLite file.

    Raises:
        UsageProblem: The extra `sweep` is not installed.
    """
    path = directory / "sweep.db"
    if not path.exists():
        # Two processes that start at once would both create the tables: the file appears whole, by one link.
        temporary = directory / f"{TEMPORARY}{secrets.token_hex(8)}.db"
        open_storage(f"sqlite:///{temporary.absolute()}").engine.dispose()
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    return f"sqlite:///{path.absolute()}"


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
    options = {"connect_args": {"timeout": 60}} if url.startswith("sqlite:") else {"pool_pre_ping": True}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # heartbeats
            return optuna.storages.RDBStorage(
                url, options, heartbeat_interval=HEARTBEAT_SECONDS, grace_period=4 * HEARTBEAT_SECONDS
            )
    except (SQLAlchemyError, ImportError, ValueError) as error:
        raise UsageProblem(
            f"cannot open the storage: {first_line(error)}",
            where=url,
            remedy="write such as sqlite:////path/sweep.db or postgresql://user@host/name, and install its driver",
        ) from None
