"""What the person sees: messages and bars on standard error, results on standard output."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pipelines.spec.run_spec import RunSpec
    from pipelines.training.progress import Progress, Watch


def complain(what: str, where: str, remedy: str) -> None:
    """Print an error: what, where, and what to do.

    Args:
        what: Happened.
        where: A file, field or option.
        remedy: What the person can do.
    """
    print(f"error: {what}\n  where: {where}\n  what to do: {remedy}", file=sys.stderr)


def say(text: str, *, quiet: bool) -> None:
    """Print a message that is no result.

    Args:
        text: The message.
        quiet: Whether to say nothing.
    """
    if not quiet:
        # Nobody listens any more: no reason to end a training.
        with contextlib.suppress(BrokenPipeError):
            print(text, file=sys.stderr, flush=True)


def print_json(document: object) -> None:
    """Print the one JSON document of ``--json``.

    Args:
        document: Plain values; a number that does not exist is null.
    """
    from pipelines.disk.json_text import json_text, json_value

    speaks_all = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(json_text(json_value(document), indent=2, ascii_only=not speaks_all))


def print_version(wanted: bool) -> None:
    """Print the version and leave, if that is wanted.

    Args:
        wanted: Value of ``--version``.

    Raises:
        Exit: After printing.
    """
    if wanted:
        from bpfunc import __version__

        print(f"bpfunc {__version__}")
        raise typer.Exit


def speak_any_encoding() -> None:
    """Let a terminal that knows few letters show the others by their numbers, in place of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def close_output() -> None:
    """Write out what is left to say; where nobody listens any more (``| head -1``), say nothing and exit with 1.

    Raises:
        SystemExit: The reader has left.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Whatever is flushed later, at the end of the process, goes nowhere.
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, sys.stdout.fileno())
        os.close(silence)
        sys.exit(1)


def progress(spec: RunSpec, *, quiet: bool) -> Watch:
    """Make a watcher that shows a bar on a terminal, and nothing elsewhere.

    Args:
        spec: Gives the number of epochs.
        quiet: Whether to show nothing.

    Returns:
        A wrapper of the iterator of epochs.
    """
    from pipelines.training.progress import unwatched

    return unwatched if quiet or not sys.stderr.isatty() else partial(_bar, total=spec.train.epochs)


def _bar(epochs: Iterator[Progress], *, total: int) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        for moment in epochs:
            accuracy = moment.record.validation_accuracy
            figure = f"validation {accuracy:.2%}" if accuracy is not None else ""
            bar.update(task, advance=1, description=f"loss {moment.record.train_loss:.4f} {figure}")
            yield moment


def describe_decision(decision: object) -> str:
    """Put a cache decision into words.

    Args:
        decision: `Hit`, `Miss` or `Stale`.

    Returns:
        Such as ``hit`` or ``stale: ...``.
    """
    from pipelines.dataset.cache_key import Hit, Stale

    if isinstance(decision, Stale):
        return f"stale: {decision.why}"
    return "hit" if isinstance(decision, Hit) else "miss"
