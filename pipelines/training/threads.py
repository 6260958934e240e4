"""How many threads the matrix products take."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
MOST_THREADS = 1024
"""As many as the compiled engine starts; files name no larger number."""


def use_threads(count: int) -> None:
    """Tell the BLAS libraries how many threads to use; they listen only before NumPy is first imported.

    A variable that is set already stays: the person who set it knows better. One thread is the command line's
    default: at these sizes a second one gains little on an idle machine, and on a busy one the two wait for each
    other, which was seen to make an epoch twenty times slower. It also fixes the order of summation, so results
    do not depend on the number of cores.

    Args:
        count: 1 to `MOST_THREADS`.
    """
    if "numpy" in sys.modules:
        return
    for name in VARIABLES:
        os.environ.setdefault(name, str(count))


def threads_told() -> int:
    """Read from the environment how many threads a training takes; it never depends on the number of cores.

    Returns:
        What `use_threads` or a person set, else 1.

    Example:
        >>> threads_told() >= 1
        True
    """
    told = next((os.environ[name] for name in VARIABLES if name in os.environ), "")
    known = told.isascii() and told.isdecimal() and len(told) <= len(str(MOST_THREADS))
    return min(max(int(told), 1), MOST_THREADS) if known else 1


def matrix_threads() -> int | None:
    """Ask how many threads NumPy's matrix products take.

    Returns:
        At least 1, or None where threadpoolctl, which knows, is not installed, and the environment does not say.

    Example:
        >>> matrix_threads() == 0
        False
    """
    if find_spec("threadpoolctl") is not None:
        from threadpoolctl import threadpool_info

        return max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=None)
    return threads_told() if any(name in os.environ for name in VARIABLES) else None
