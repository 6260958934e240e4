"""Denormal numbers taken for zero while an update is computed, where the processor can be told to.

An average that decays towards zero (a momentum, or Adam's mean, of an input that stays zero) ends among the
denormal numbers, and rounding keeps it there. Each operation on one takes a hundred times as long: training would
become slower from epoch to epoch.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

FLUSH = 0x8040
"""Bits of x86's control register: take denormal numbers for zero, and make none."""
_Environment = ctypes.c_uint32 * 8
"""glibc's ``fenv_t`` on x86-64; its last word is the control register."""


def _library() -> Any:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    try:
        library = ctypes.PyDLL("libm.so.6")  # these calls are too short to let other threads in
    except OSError:  # another C library, whose record of the environment we do not know
        return None
    for function in (library.fegetenv, library.fesetenv):
        function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_int
    return library


_floating_point = _library()


@contextmanager
def denormals_as_zero() -> Iterator[None]:
    """Let the calling thread take denormal numbers for zero, as XLA does and torch can be told to.

    So on x86-64 with glibc. Elsewhere nothing happens, which costs time alone: float32 numbers below 1.2e-38 change no
    parameter that is not as small itself.

    Yields:
        Nothing. Afterwards the thread computes as before.

    Example:
        >>> import numpy as np
        >>> with denormals_as_zero():
        ...     inside = np.full(3, 1e-40, np.float32) * np.float32(1)
        >>> bool((np.full(3, 1e-40, np.float32) * np.float32(1)).all())
        True

    Reference: Intel, "64 and IA-32 architectures software developer's manual", on MXCSR (2024).
    """
    if _floating_point is None:
        yield
        return
    before = _Environment()
    _floating_point.fegetenv(before)
    now = _Environment.from_buffer_copy(before)
    now[-1] |= FLUSH
    _floating_point.fesetenv(now)
    try:
        yield
    finally:
        _floating_point.fesetenv(before)
