"""What runs many trainings: processes of this machine, or a Dask cluster; both are a `concurrent.futures.Executor`."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import CancelledError, Executor
from contextlib import contextmanager

from pipelines.errors import UsageProblem, WorkFailed
from pipelines.workers import ProcessExecutor, WorkerLost

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
        with _worker_deaths(), ProcessExecutor(jobs, threads) as pool:
            yield pool
    elif name.startswith("dask://") and len(name) > len("dask://"):
        with _dask_executor(name) as pool:
            yield pool
    else:
        raise UsageProblem(
            f"unknown executor {name!r}", where="--executor", remedy="write processes, or dask://HOST:PORT"
        )


@contextmanager
def _worker_deaths() -> Iterator[None]:
    try:
        yield
    except WorkerLost as lost:
        again = "run the same command again: it goes on with what is finished"
        guard = 'in a script, put what starts the work below `if __name__ == "__main__":`'
        raise WorkFailed(str(lost), where="--jobs", remedy=again if lost.again else guard) from None


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
            f"no Dask scheduler answers: {str(error).splitlines()[0]}",
            where=name,
            remedy="start one with `dask scheduler`, and workers with `dask worker HOST:PORT --nthreads 1`",
        ) from None
    try:
        executor = client.get_executor(pure=False, retries=RETRIES)
        with client, executor as pool:
            yield pool
    except (KilledWorker, CancelledError) as error:
        raise WorkFailed(
            f"the cluster lost the work: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            where=name,
            remedy="look at the workers' logs, and run the same command again: what is finished stays",
        ) from None
