"""Worker processes of this machine, each with a pipe of its own: one that dies, stops or is killed ends its job alone.

`concurrent.futures.ProcessPoolExecutor` gives all workers one pipe for their answers. A worker that is killed in the
middle of an answer leaves the pool waiting for the rest of it, and one that is stopped leaves it waiting for ever.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import ParamSpec, TypeVar

from pipelines.training.interrupts import EXIT_CODE, Interrupted
from pipelines.training.threads import use_threads

CONTEXT = multiprocessing.get_context("spawn")
LOOK_SECONDS = 0.5
"""How often the parent looks whether a worker is stopped."""
STOPPED_SECONDS = 5.0
"""A worker that was stopped for as long, while the parent was not, counts as lost."""
LEAVE_SECONDS = 20.0
"""How long a worker that was told to leave may take to save where it stands; then it is killed."""

P = ParamSpec("P")
T = TypeVar("T")


class WorkerLost(BrokenExecutor):
    """A worker process ended, or was stopped, with its job undone.

    Args:
        what: What happened to it.
        again: Whether the same command can help.
    """

    def __init__(self, what: str, *, again: bool = True) -> None:
        """Keep both."""
        super().__init__(what)
        self.again = again


class _Remote(Exception):
    """Where in a worker its error came from, for a traceback."""


class ProcessExecutor(Executor):
    """An executor of processes, each of which a thread here does nothing but wait for.

    Where a worker is lost, the others are told to leave, and every job that is not done ends with `WorkerLost`. As a
    context manager it waits for all jobs where its block ends well; where the block ends with an error, the workers are
    told to leave. A training that is told to leave saves where it stands.

    Args:
        jobs: Processes at a time.
        threads: Threads of the matrix products in each process.
    """

    def __init__(self, jobs: int, threads: int = 1) -> None:
        """Start nothing: a process is started when a job finds none that is idle."""
        self._waiting = ThreadPoolExecutor(jobs)
        self._threads = threads
        self._guard = threading.Lock()
        self._workers: list[_Worker] = []
        self._idle: list[_Worker] = []
        self._lost: WorkerLost | None = None
        self._closed = threading.Event()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Hand a job to a worker.

        Args:
            fn: A function of a module.
            *args: Its arguments; they are pickled, and so is the result.
            **kwargs: Its named arguments.

        Returns:
            The job's future; its error is the job's own, or `WorkerLost`.
        """
        return self._waiting.submit(self._run, partial(fn, *args, **kwargs))

    def _run(self, job: Callable[[], T]) -> T:
        data = pickle.dumps(job)
        try:
            worker = self._taken()
            answer = worker.answer(data)
        except WorkerLost as lost:
            raise self._broken(lost) from None
        self._idle.append(worker)
        result, error, where = pickle.loads(answer)
        if error is not None:
            raise error from _Remote(where)
        return result  # type: ignore[no-any-return]

    def _taken(self) -> _Worker:
        with self._guard:
            if self._lost is not None:
                raise self._lost
            if self._idle:
                return self._idle.pop()
            if not self._workers:
                threading.Thread(target=self._watch, daemon=True).start()
            self._workers.append(_Worker(self._threads))
            return self._workers[-1]

    def _broken(self, lost: WorkerLost) -> WorkerLost:
        """Tell all workers to leave; return the loss that came first."""
        with self._guard:
            self._lost = self._lost or lost
        for worker in self._workers:
            worker.tell_to_leave()
        return self._lost

    def _watch(self) -> None:
        while not self._closed.wait(LOOK_SECONDS):
            for worker in list(self._workers):
                worker.look()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for all jobs, and let the workers go. An interruption meanwhile kills them.

        Args:
            wait: Whether to wait; without waiting, the workers leave with this process.
            cancel_futures: Whether jobs that have not begun are dropped.
        """
        if not wait:
            self._waiting.shutdown(wait=False, cancel_futures=cancel_futures)
            return
        try:
            self._waiting.shutdown(cancel_futures=cancel_futures)
            for worker in self._workers:
                worker.pipe.close()
            for worker in self._workers:
                worker.process.join(LEAVE_SECONDS)
        finally:
            self._closed.set()
            for worker in self._workers:
                worker.send(signal.SIGKILL)
                worker.process.join(LEAVE_SECONDS)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for all jobs; after an error, for none."""
        if kind is not None:
            self._broken(WorkerLost("the workers were told to leave"))
        self.shutdown(cancel_futures=kind is not None)


@contextmanager
def _safe_path() -> Iterator[None]:
    """Keep a Python that is started from importing a person's ``signal.py`` out of the current directory.

    A new process imports modules before it is told the path of this one, which it takes over.
    """
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before


class _Worker:
    """A process and the pipe to it."""

    def __init__(self, threads: int) -> None:
        self.pipe, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=_serve, args=(theirs, threads), daemon=True)
        with _safe_path():
            self.process.start()
        theirs.close()
        self._begun = False
        self._stopped = 0.0
        self._patience_ends: float | None = None

    def answer(self, job: bytes) -> bytes:
        """Hand a job over, and wait for what comes of it."""
        try:
            if not self._begun:
                self._begun = self.pipe.recv_bytes() == b"begun"
            self.pipe.send_bytes(job)
            return self.pipe.recv_bytes()
        except (EOFError, OSError):  # at any byte of any message
            raise self._loss() from None

    def _loss(self) -> WorkerLost:
        """Describe how the process ended, once it has."""
        if not wait([self.process.sentinel], LEAVE_SECONDS):
            self.send(signal.SIGKILL)
        self.process.join()
        code = self.process.exitcode
        if self._stopped >= STOPPED_SECONDS:
            how = f"it was stopped for {self._stopped:.0f} seconds, as by SIGSTOP"
        elif code is not None and code < 0:
            how = f"killed by {signal.Signals(-code).name}"
        else:
            how = "it ended by itself" if code is None else f"exit code {code}"
        if self._begun:
            return WorkerLost(f"a worker process died: {how}")
        return WorkerLost(f"a worker process did not start: {how}", again=code is not None and code < 0)

    def look(self) -> None:
        """Tell the process to leave where it stays stopped, and kill it where it was told to and has not left.

        While the parent is suspended it does not look, so workers that are suspended with it are not counted.
        """
        if self._patience_ends is not None:
            if time.monotonic() > self._patience_ends:
                self.send(signal.SIGKILL)
            return
        self._stopped = self._stopped + LOOK_SECONDS if _is_stopped(self.process.pid) else 0.0
        if self._stopped >= STOPPED_SECONDS:
            self.tell_to_leave()

    def tell_to_leave(self) -> None:
        """Ask the process once to save where it stands and leave; a stopped one has to go on for that."""
        if self._patience_ends is None:
            self._patience_ends = time.monotonic() + LEAVE_SECONDS
            self.send(signal.SIGTERM)
            self.send(signal.SIGCONT)

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        if self.process.pid is not None and self.process.exitcode is None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, number)


def _is_stopped(process: int | None) -> bool:
    if process is None or not hasattr(os, "waitid"):  # macOS has it since Python 3.13
        return False
    try:
        return os.waitid(os.P_PID, process, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


def _serve(pipe: Connection, threads: int) -> None:
    """Be a worker: take one job after another until told to leave, or until the parent is gone."""
    use_threads(threads)
    # Outside a training there is nothing to save, so a signal ends the process without a word.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    try:
        pipe.send_bytes(b"begun")
        while True:
            pipe.send_bytes(_done(pipe.recv_bytes()))
    except (EOFError, OSError):
        pass
    except Interrupted:
        sys.exit(EXIT_CODE)


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LEAVE_SECONDS)
    os._exit(EXIT_CODE)


def _done(job: bytes) -> bytes:
    """Do a job; pickle its result, or its error and where that came from."""
    try:
        return pickle.dumps((pickle.loads(job)(), None, ""))
    except Interrupted:
        raise
    except BaseException as error:
        where = traceback.format_exc()
        try:
            answer = pickle.dumps((None, error, where))
            pickle.loads(answer)
        except Exception:  # an error that cannot be taken apart, or not be put together
            answer = pickle.dumps((None, RuntimeError(f"{type(error).__name__}: {error}"), where))
        return answer
