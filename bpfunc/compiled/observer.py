"""Who is told that machine code is being made: apart from what makes it, so that nothing is imported to listen."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path

_observer: ContextVar[Callable[[Path], None] | None] = ContextVar("_observer", default=None)


@contextlib.contextmanager
def observed(observer: Callable[[Path], None]) -> Iterator[None]:
    """Call a function the first time within the block that machine code is made because none is kept.

    Args:
        observer: Takes the directory where the code will be kept, before it is made.

    Yields:
        Nothing.

    Example:
        >>> with observed(print):
        ...     pass
    """
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


def told(directory: Path) -> None:
    """Tell the observer, and only once.

    Args:
        directory: Where the code will be kept.

    Returns:
        None.

    Example:
        >>> with observed(lambda directory: print(directory.name)):
        ...     told(Path("machine-code"))
        ...     told(Path("machine-code"))
        machine-code
    """
    observer = _observer.get()
    if observer is not None:
        _observer.set(None)
        observer(directory)
