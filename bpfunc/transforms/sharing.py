"""Work on flat arrays shared by threads: large arrays are cut, and each thread takes its part of all of them.

NumPy and compiled loops let go of Python's lock while they run, so threads run at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

WORTH_CUTTING = 32768
"""Numbers in an array from which on cutting it brings more than it costs."""
LINE = 16
"""Arrays are cut at multiples of this, where cache lines begin in either precision."""


def share(work: Callable[[int, slice | None], None], sizes: Sequence[int], threads: int) -> None:
    """Do a piece of work for each of several arrays, for the large ones in as many parts as there are threads.

    Args:
        work: ``(index, part)``: does it for one part of one array, None for all of it; at once and in any order.
        sizes: Of the arrays, in numbers.
        threads: How many, at least 1; the calling one is one of them.

    Returns:
        Nothing, as soon as all of it is done. What a part raises is raised here.

    Example:
        >>> import numpy as np
        >>> numbers, doubled = np.ones(100_000), np.empty(100_000)
        >>> share(lambda index, part: np.multiply(numbers[part], 2, out=doubled[part]), [len(numbers)], threads=2)
        >>> doubled.sum()
        np.float64(200000.0)
    """
    large = [index for index, size in enumerate(sizes) if threads > 1 and size >= WORTH_CUTTING]

    def part_of_all(thread: int) -> None:
        for index in large:
            work(index, _part(sizes[index], thread, threads))

    others = [_pool(threads - 1).submit(part_of_all, thread) for thread in range(1, threads)] if large else []
    for index in range(len(sizes)):
        if index not in large:
            work(index, None)
    part_of_all(0)
    for other in others:
        other.result()


def _part(size: int, thread: int, threads: int) -> slice:
    start, stop = (size * end // threads // LINE * LINE for end in (thread, thread + 1))
    return slice(start, stop if thread + 1 < threads else size)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads that wait for work from one step to the next; they hold nothing between steps."""
    return ThreadPoolExecutor(threads, thread_name_prefix="bpfunc-update")


# A forked process has none of its parent's threads: it makes its own.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
