"""Standard input, output and error, in any state that a command finds them in: closed, full, or without a reader.

Results are collected and written once, at the end: the work is done before a full disk or a reader that has left can
end it, and a failure is known in time for the exit code.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import IO

from pipelines.disk.untrusted.printable import printable_lines

_NAMES = ("stdin", "stdout", "stderr")


def open_closed_streams() -> None:
    """Open the standard streams that were closed, as by ``>&-``.

    Without this the next file that is opened gets the number of a standard stream, and messages go into it. Standard
    input is then empty, standard output refuses to be written to, and standard error takes everything and keeps
    nothing. Worker processes inherit them.
    """
    for number, name in enumerate(_NAMES):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number: those below it are open.
            os.set_inheritable(os.open(os.devnull, os.O_WRONLY if name == "stderr" else os.O_RDONLY), True)
        if getattr(sys, name) is None:
            stream = open(number, "r" if name == "stdin" else "w", encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


class _Messages(io.TextIOWrapper):
    """Standard error, where a message that cannot be written is lost and ends nothing."""

    def write(self, text: str, /) -> int:
        """Write a text, or lose it."""
        if not isinstance(text, str):  # by this, click tells a stream of text from one of bytes
            raise TypeError(f"expected a text, found {type(text).__name__}")
        with contextlib.suppress(OSError):
            super().write(printable_lines(text))
        return len(text)

    def flush(self) -> None:
        """Flush what was written, or lose it."""
        with contextlib.suppress(OSError):
            super().flush()


@contextlib.contextmanager
def messages() -> Iterator[None]:
    """Let messages to standard error fail without a word, as long as the block lasts.

    A terminal that has few letters shows the others by their numbers.

    Yields:
        Nothing.
    """
    stream = sys.stderr
    if not isinstance(stream, io.TextIOWrapper):  # a caller in this process listens
        yield
        return
    stream.flush()
    raw = io.BufferedWriter(io.FileIO(stream.fileno(), "w", closefd=False))
    tolerant = _Messages(raw, encoding=stream.encoding, errors="backslashreplace", line_buffering=True)
    with contextlib.redirect_stderr(tolerant):
        yield
        tolerant.flush()


def write_results(text: str) -> OSError | None:
    """Write all results to standard output.

    Args:
        text: What the command printed; nothing is touched where that is nothing.

    Returns:
        Why they could not be written, or None.
    """
    if not text:
        return None
    stream = sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    try:
        stream.write(printable_lines(text))
        stream.flush()
    except OSError as error:
        _silence(stream)
        return error
    return None


def _silence(stream: IO[str]) -> None:
    """Let whatever is flushed later, at the end of the process, go nowhere."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, stream.fileno())
    os.close(silence)
