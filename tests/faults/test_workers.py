"""Workers that are killed, stopped or told to leave: the parent always ends, and nothing finished is lost."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from pipelines.signals import Interrupted, stop_requested


def asks_for_ever(begun: Path) -> None:
    """Stand for a training: ask before each step whether to stop, and leave when told."""
    with stop_requested() as stop:
        begun.write_text(str(os.getpid()))
        while not stop():
            time.sleep(0.005)
        raise Interrupted


def read_when_there(path: Path) -> int:
    """Wait for a file that holds a process id."""
    for _ in range(3000):
        if path.exists() and path.read_text():
            return int(path.read_text())
        time.sleep(0.01)
    raise AssertionError(f"{path} never came")


def test_worker_of_any_pool_leaves_when_told(tmp_path: Path) -> None:
    """The pool asks all workers to leave when one is killed; one that takes the next job instead hangs the pool."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(asks_for_ever, tmp_path / name) for name in "abcd"]
        killed, other = [read_when_there(tmp_path / name) for name in "ab"]
        os.kill(killed, signal.SIGKILL)
        try:
            assert len(wait(jobs, 30).done) == 4
            assert all(isinstance(job.exception(), BrokenProcessPool) for job in jobs)
            assert gone(other)
        finally:
            if not gone(other, seconds=0):
                os.kill(other, signal.SIGKILL)


def gone(process: int, *, seconds: float = 20) -> bool:
    """Wait until a process has ended and was reaped."""
    for _ in range(int(seconds * 100) + 1):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_after_the_last_question_is_not_lost(number: int) -> None:
    """What nobody asked about any more is delivered when the block ends, to the handler that was there before."""
    came: list[int] = []
    before = signal.signal(number, lambda *given: came.append(given[0]))
    try:
        with stop_requested() as stop:
            assert not stop()
            signal.raise_signal(number)
            assert came == []
        assert came == [number]
        with pytest.raises(Interrupted), stop_requested() as stop:
            signal.raise_signal(number)
            if stop():
                raise Interrupted
        assert came == [number]
    finally:
        signal.signal(number, before)
