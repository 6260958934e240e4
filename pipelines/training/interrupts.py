"""Signals: the first one asks a training to stop where it can be taken up again, the second one ends it at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODE = 130


class Interrupted(BaseException):
    """The work was asked to stop; what can be taken up again has been saved."""


def terminate_as_interrupt() -> None:
    """Let SIGTERM do what SIGINT does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@contextmanager
def stop_requested() -> Iterator[Callable[[], bool]]:
    """Turn SIGINT and SIGTERM into a question that a loop may ask, as long as the block lasts.

    A second signal ends the process at once: every file is published by one rename, so nothing published is lost.
    A signal that came after the last question is delivered again when the block ends, so none is lost. In a worker
    process (of `multiprocessing`) every signal is delivered again: the signal asks the worker to leave, and the block
    was only one of its jobs; there, SIGINT from the terminal and SIGTERM from the pool are one request. A worker
    process whose parent is gone is asked to stop as well; a command that outlives the shell it was started from is
    not. Outside the main thread no signal is taken.

    Yields:
        A function that says whether to stop.
    """
    parent = None if multiprocessing.parent_process() is None else os.getppid()
    asked: list[int] = []
    heard = False

    def ask(number: int, frame: FrameType | None) -> None:
        if number in asked or (asked and parent is None):
            os._exit(EXIT_CODE)
        asked.append(number)

    def pending() -> bool:
        nonlocal heard
        heard = bool(asked)
        return heard or (parent is not None and os.getppid() != parent)

    if threading.current_thread() is not threading.main_thread():
        yield pending
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield pending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if asked and (parent is not None or not heard):
            signal.raise_signal(asked[0])
