"""What runs many trainings: processes of this machine, or a Dask cluster; both are a `concurrent.futures.Executor`."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

from pipelines.errors import UsageProblem, WorkFailed, first_line
from pipelines.training.threads import use_threads

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
        context = get_context("spawn")
        with _worker_deaths(), ProcessPoolExecutor(jobs, context, use_threads, (threads,)) as pool:
            try:
                yield pool
            except BaseException:
                # Whoever is interrupted does not wait for a training to end: workers save where they stand and leave.
                for process in multiprocessing.active_children():
                    process.terminate()
                raise
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
    except BrokenExecutor:
        raise WorkFailed(
            "a worker process died", where="--jobs", remedy="run the same command again: what is finished stays"
        ) from None


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
