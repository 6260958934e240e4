"""What the person sees: messages and bars on standard error, results on standard output."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import typer

from pipelines.disk.untrusted.printable import Printable, in_lines, printable, printable_json

LINE_LIMIT = 2000
"""Characters of a line of a message; text from outside may have any number."""

if TYPE_CHECKING:
    from pipelines.spec.run_spec import RunSpec
    from pipelines.studies.executors import Told
    from pipelines.training.progress import Observer, Progress


def complain(what: str, where: str, remedy: str) -> None:
    """Print an error: what, where, and what to do.

    Args:
        what: Happened.
        where: A file, field or option.
        remedy: What the person can do.
    """
    text = str(in_lines(map(_short, [f"error: {what}", f"  where: {where}", f"  what to do: {remedy}"])))
    if coloured():
        with contextlib.suppress(OSError):  # the terminal may have gone
            # Past the filter of `pipelines.cli.streams`, which takes away what a terminal obeys.
            print("\x1b[1;31merror:\x1b[0m" + text.removeprefix("error:"), file=sys.__stderr__, flush=True)
        return
    print(text, file=sys.stderr)


def _short(line: str) -> str:
    """A line of a message without the middle of a very long text from outside."""
    left_out = len(line) - LINE_LIMIT
    return line if left_out <= 0 else f"{line[: LINE_LIMIT - 200]} ... ({left_out} characters) ... {line[-200:]}"


def coloured() -> bool:
    """Return whether messages have colours: on a terminal that shows them, unless ``NO_COLOR`` is set.

    Returns:
        False where standard error is redirected.
    """
    stream = sys.__stderr__
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream is not None and stream.isatty()


def say(text: str, *, quiet: bool) -> None:
    """Print a message that does not belong to the result.

    Args:
        text: The message: one line.
        quiet: Whether to say nothing.
    """
    if not quiet:
        print(printable(text), file=sys.stderr, flush=True)


class WarningLines(logging.Handler):
    """Shows the warnings of the project's own modules, such as what is waited for, as messages."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show one."""
        say(record.getMessage(), quiet=False)


def print_text(text: Printable) -> None:
    """Print a part of the result.

    Args:
        text: One line or several, as `pipelines.disk.untrusted.printable` makes them.
    """
    print(text)


def print_result(document: object, text: Printable, *, as_json: bool) -> None:
    """Print the result of a command.

    Args:
        document: The result as plain values.
        text: The result for a person.
        as_json: Whether the document is printed, and not the text.
    """
    if as_json:
        print_json(document)
    else:
        print_text(text)


def print_json(document: object) -> None:
    """Print the one JSON document of ``--json``.

    Args:
        document: Plain values; a number that does not exist is null.
    """
    from pipelines.disk.json_text import json_text, json_value

    encoding = "" if sys.__stdout__ is None else sys.__stdout__.encoding
    speaks_all = encoding.lower().replace("-", "") == "utf8"
    print(printable_json(json_text(json_value(document), indent=2, ascii_only=not speaks_all)))


def print_version(wanted: bool) -> None:
    """Print the version and exit, if ``--version`` is given.

    Args:
        wanted: Value of ``--version``.

    Raises:
        Exit: After printing.
    """
    if wanted:
        from bpfunc import __version__

        print_text(printable(f"bpfunc {__version__}"))
        raise typer.Exit


def progress(spec: RunSpec, *, quiet: bool) -> Observer:
    """Make a watcher that shows a bar on a terminal, and nothing elsewhere.

    Args:
        spec: Gives the number of epochs.
        quiet: Whether to show nothing.

    Returns:
        A wrapper of the iterator of epochs.
    """
    from pipelines.training.progress import no_observer

    return no_observer if quiet or not sys.stderr.isatty() else partial(_bar, total=spec.train.epochs)


def _bar(epochs: Iterator[Progress], *, total: int) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress as Bar, TextColumn, TimeRemainingColumn

    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Bar(*columns, TimeRemainingColumn(), console=Console(file=sys.__stderr__), transient=True) as bar:
        task = bar.add_task("", total=total)
        for moment in epochs:
            accuracy = moment.record.validation_accuracy
            figure = f"validation {accuracy:.2%}" if accuracy is not None else ""
            bar.update(task, advance=1, description=f"loss {moment.record.train_loss:.4f} {figure}")
            yield moment


@contextlib.contextmanager
def overall(name: str, total: int, *, quiet: bool) -> Iterator[Told]:
    """Show one bar for many trainings on a terminal: done of all, mean so far, time left. Elsewhere, lines alone.

    Args:
        name: Name of the work, before the bar.
        total: Number of its pieces.
        quiet: Whether to show nothing.

    Yields:
        What takes each finished piece.
    """
    if quiet or sys.__stderr__ is None or not sys.__stderr__.isatty():
        yield lambda line, accuracy, done=None: say(line, quiet=quiet)
    else:
        with _overall_bar(name, total) as told:
            yield told


@contextlib.contextmanager
def _overall_bar(name: str, total: int) -> Iterator[Told]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress as Bar, TextColumn, TimeRemainingColumn

    console = Console(file=sys.__stderr__)
    columns = (TextColumn(name), BarColumn(bar_width=None), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Bar(*columns, TimeRemainingColumn(), console=console, transient=True, expand=True) as bar:
        task, accuracies, count = bar.add_task("", total=total), list[float](), 0

        def told(line: str, accuracy: float | None, done: int | None = None) -> None:
            nonlocal count
            count = count + 1 if done is None else max(count, done)
            if accuracy is not None:
                accuracies.append(accuracy)
            mean = f"mean {100 * sum(accuracies) / len(accuracies):.2f} %" if accuracies else ""
            console.print(printable(line), markup=False, highlight=False)
            bar.update(task, completed=count, description=mean)

        yield told


def terminal_width() -> int | None:
    """Measure the terminal that results go to.

    Returns:
        Letters in a line; None where standard output is not a terminal, so that nothing is left out.
    """
    stream = sys.__stdout__
    if stream is None or not stream.isatty():
        return None
    return shutil.get_terminal_size().columns


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
