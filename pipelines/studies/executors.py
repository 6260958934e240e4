"""What runs many trainings: processes of this machine, or a Dask cluster; both are a `concurrent.futures.Executor`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, as_completed, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import urlsplit

import attrs

from pipelines.disk.waiting import wait_until
from pipelines.errors import UsageProblem, WorkFailed, first_line
from pipelines.spec.run_spec import RunSpec
from pipelines.studies.workers import ProcessExecutor, WorkerLost
from pipelines.training.engine import make_machine_code, telling

if TYPE_CHECKING:
    from distributed import Client

RETRIES = 2
"""How often Dask runs a training again that failed; a training whose worker was lost is run again besides."""
CONNECT_SECONDS = 10
WORKER_SECONDS = 60
"""How long a scheduler without workers is waited for."""

T = TypeVar("T")


class Told(Protocol):
    """Takes one finished training: its line, its accuracy, and how many are done where that is not one more."""

    def __call__(self, line: str, accuracy: float | None, done: int | None = None) -> None:
        """Take it."""


def _nobody(line: str, accuracy: float | None, done: int | None = None) -> None:
    pass


@attrs.frozen(kw_only=True)
class Workers:
    """What runs many trainings, and who is told of them."""

    executor: str = "processes"
    """See `open_executor`."""
    jobs: int = 1
    """Processes at a time."""
    threads: int = 1
    """Threads of a process's matrix products."""
    say: Callable[[str], None] = lambda message: None
    """Takes a message, such as that machine code is being made."""
    progress: Callable[[int], AbstractContextManager[Told]] = lambda total: nullcontext(_nobody)
    """Takes the number of trainings; gives what is told of each as it ends."""

    @contextmanager
    def begin(self, spec: RunSpec, total: int) -> Iterator[tuple[Executor, Told]]:
        """Open the executor; before that, make machine code once that all processes of this machine then find.

        Args:
            spec: The first training, with its engine chosen; its data is prepared already.
            total: Number of trainings.

        Yields:
            The executor, and what is told of each training.

        Raises:
            PipelineError: See `open_executor`.
        """
        if self.executor == "processes":
            with telling(self.say):
                make_machine_code(spec)
        pool = open_executor(self.executor, jobs=self.jobs, threads=self.threads)
        with self.progress(total) as told, pool as executor:
            yield executor, told


@contextmanager
def open_executor(name: str, *, jobs: int = 1, threads: int = 1) -> Iterator[Executor]:
    """Open an executor for as long as the block lasts.

    Args:
        name: ``processes``, or ``dask://HOST:PORT`` of a scheduler whose workers have this package installed.
        jobs: Processes at a time; a cluster's own size counts instead.
        threads: Threads of the matrix products of a process; a cluster's workers take one (Dask sets that first).

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


def run_jobs(
    executor: Executor,
    jobs: Iterable[Callable[[], T | None]],
    unfinished: Callable[[], str],
    *,
    where: str,
    at_a_time: int | None = None,
) -> Iterator[T]:
    """Run jobs, and yield the result of each as it ends.

    Args:
        executor: Any; its workers may be on other machines.
        jobs: Functions that can be pickled, in the order in which they begin. After a result of None no more begin.
        unfinished: Says what is not finished, where a worker was lost; called when all workers have left.
        where: The directory or the name of the work, for messages.
        at_a_time: How many are handed to the executor before one of them has ended; all of them where None.

    Yields:
        The results but None; of jobs that ended together, in the order in which they began.

    Raises:
        WorkFailed: A worker was lost; the results of all jobs that ended well are yielded before.
        Exception: That of a job; the jobs that have not begun are dropped.

    Example:
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> with ThreadPoolExecutor(1) as pool:
        ...     list(run_jobs(pool, [lambda: 1, lambda: 2, lambda: None], lambda: "some", where="here"))
        [1, 2]
    """
    waiting, running = iter(jobs), dict[Future[T | None], None]()
    try:
        while True:
            for job in islice(waiting, None if at_a_time is None else at_a_time - len(running)):
                running[executor.submit(job)] = None
            if not running:
                return
            done = wait(running, return_when=FIRST_COMPLETED).done
            for future in sorted((future for future in running if future in done), key=_failed):
                del running[future]
                result = future.result()
                if result is None:
                    waiting = iter(())
                else:
                    yield result
    except BrokenExecutor as lost:
        for future in as_completed(running):  # until all workers have left
            if not _failed(future) and (result := future.result()) is not None:
                yield result
        raise work_lost(lost, unfinished(), where=where) from None
    finally:
        for future in running:
            future.cancel()


def _failed(future: Future[T]) -> bool:
    return future.cancelled() or future.exception() is not None


def work_lost(lost: BrokenExecutor, left: str, *, where: str) -> WorkFailed:
    """Make the error for a lost worker.

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
    start = "start one with `dask scheduler`, and workers with `dask worker HOST:PORT --nthreads 1`"
    try:
        client = Client(f"tcp://{_host_and_port(name)}", timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise WorkFailed(f"no Dask scheduler answers: {first_line(error)}", where=name, remedy=start) from None
    over, deserted = threading.Event(), threading.Event()
    try:
        executor = client.get_executor(pure=False, retries=RETRIES)
        with client, executor as pool:
            watcher = threading.Thread(target=_watch, args=(client, executor, name, over, deserted), daemon=True)
            watcher.start()
            try:
                yield pool
            finally:
                over.set()
    except (KilledWorker, CancelledError, RuntimeError) as error:
        if deserted.is_set():
            what = f"no worker came to the scheduler within {WORKER_SECONDS} seconds"
            raise WorkFailed(what, where=name, remedy=start.partition(", and ")[2]) from None
        if isinstance(error, RuntimeError):
            raise
        raise WorkFailed(
            f"the cluster lost the work: {first_line(error)}",
            where=name,
            remedy="look at the workers' logs, and run the same command again: what is finished stays",
        ) from None


def _host_and_port(name: str) -> str:
    """Take the address off ``dask://HOST:PORT``."""
    try:
        found = urlsplit(name)
        complete = found.hostname and found.port and found.netloc.count("@") == 0 and not found.path + found.query
    except ValueError:  # a port that is not one
        complete = False
    if not complete:
        raise UsageProblem(
            "expected the host and the port of a scheduler",
            where=f"--executor {name}",
            remedy="write dask://HOST:PORT; `dask scheduler` prints both, and 8786 is its usual port",
        )
    return found.netloc


def _watch(client: Client, executor: Executor, name: str, over: threading.Event, deserted: threading.Event) -> None:
    """Report that a scheduler has no workers, and cancel all work where none comes."""

    def is_attended() -> bool:
        try:
            return over.is_set() or bool(client.nthreads())
        except Exception:  # the scheduler is gone, which the client tells by itself
            return True

    while not over.wait(1):
        words = f"waiting for a worker of {name}, at most {WORKER_SECONDS} seconds"
        if not wait_until(is_attended, lambda: words, most=WORKER_SECONDS):  # noqa: B023 - asked for at once
            deserted.set()
            executor.shutdown(wait=False)
            return
