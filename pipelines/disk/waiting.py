"""Waiting for what another process holds, never in silence: after a second a message says what is waited for."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from pipelines.disk.untrusted.printable import printable

LOG = logging.getLogger("pipelines")
"""Where such messages go: to standard error, unless a program says otherwise."""
SILENCE_SECONDS = 1.0


def wait_until(done: Callable[[], bool], words: Callable[[], str], *, most: float | None = None) -> bool:
    """Wait until a condition holds.

    Args:
        done: Asked again and again whether it does.
        words: Gives the message for a person who waits: what is waited for, in one line.
        most: Seconds after which to give up; None waits for ever.

    Returns:
        Whether the condition holds.

    Example:
        >>> wait_until(lambda: True, lambda: "waiting for nothing")
        True
    """
    begun, told = time.monotonic(), False
    while not done():
        waited = time.monotonic() - begun
        if most is not None and waited > most:
            return False
        if waited > SILENCE_SECONDS and not told:
            LOG.warning("%s", printable(words()))
            told = True
        time.sleep(0.01 if waited < SILENCE_SECONDS else 0.1)
    return True


def lock_holder(found: os.stat_result) -> int | None:
    """Find the process that holds a lock on a file.

    Args:
        found: What the system says of the file or directory.

    Returns:
        Number of the process; None where the system does not say.
    """
    device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    try:
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    words = [line.split() for line in lines]
    numbers = [int(word[4]) for word in words if len(word) > 5 and word[1] != "->" and word[5] == device]
    return next((number for number in numbers if number > 0), None)
