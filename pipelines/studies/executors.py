"""What runs many trainings: processes of this machine, or a Dask cluster; both are a `concurrent.futures.Executor`."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor
from contextlib import contextmanager

from pipelines.errors import UsageProblem, WorkFailed, first_line
from pipelines.studies.workers import ProcessExecutor, WorkerLost

RETRIES = 2
"""How often Dask runs a training again that failed; a training whose worker was lost is run again besides."""
CONNECT_SECONDS = 10


@contextmanager
def open_executor(name: str, *, jobs: int = 1, threads: int = 1) -> Iterator[Executor]:
    """Open an executor for as long as the block lasts.

    Args:
        name: ``processes``, or ``dask://HOST:PORT`` of a scheduler whose workers have this package installed.
        jobs: Processes at a time; a cluster's own size counts in its place.
        threads: Of a process's matrix products; a cluster's workers take one (Dask sets that before they start).

    Yields:
        The executor.

    Raises:
        UsageProblem: The name is neither, or the extra `dask` is not installed.
        WorkFailed: No scheduler answers there, or a worker died with its work undone.
    """
    if name == "processes":
        with ProcessExecutor(jobs, threads) as pool:
            try:
                yield pool
            except WorkerLost as lost:
                raise work_lost(lost, "its job", where="--jobs") from None
    elif name.startswith("dask://") and len(name) > len("dask://"):
        with _dask_executor(name) as pool:
            yield pool
    else:
        raise UsageProblem(
            f"unknown executor {name!r}", where="--executor", remedy="write processes, or dask://HOST:PORT"
        )


def work_lost(lost: BrokenExecutor, left: str, *, where: str) -> WorkFailed:
    """Say what is lost with a worker.

    Args:
        lost: What the executor raised.
        left: What is not finished.
        where: The directory of the work.

    Returns:
        The error to raise.

    Example:
        >>> str(work_lost(WorkerLost("a worker process died"), "seed 3", where="study"))
        'a worker process died; not finished: seed 3 (study): run the same command again: what is finished stays'
    """
    again = "run the same command again: what is finished stays"
    guard = 'in a script, put what starts the work below `if __name__ == "__main__":`'
    can_help = not isinstance(lost, WorkerLost) or lost.again
    return WorkFailed(f"{lost}; not finished: {left}", where=where, remedy=again if can_help else guard)


@contextmanager
def _dask_executor(name: str) -> Iterator[Executor]:
    try:
        from distributed import Client, KilledWorker
    except ImportError:
        raise UsageProblem(
            "a Dask cluster needs the package distributed", where="--executor", remedy="pip install 'bpfunc[dask]'"
        ) from None
    try:
        address = f"tcp://{name.removeprefix('dask://')}"
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise WorkFailed(
            f"no Dask scheduler answers: {first_line(error)}",
            where=name,
            remedy="start one with `dask scheduler`, and workers with `dask worker HOST:PORT --nthreads 1`",
        ) from None
    try:
        executor = client.get_executor(pure=False, retries=RETRIES)
        with client, executor as pool:
            yield pool
    except (KilledWorker, CancelledError) as error:
        raise WorkFailed(
            f"the cluster lost the work: {first_line(error)}",
            where=name,
            remedy="look at the workers' logs, and run the same command again: what is finished stays",
        ) from None
