"""Whole processes in turns, timed from outside."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

import attrs

from tests.benchmarks.settings import ROOT, child_environment


class ProcessFailedError(Exception):
    """A process ended with an error; the message is the end of what it said."""


@attrs.frozen
class ProcessTime:
    """One command.

    Args:
        name: What it is called in tables.
        seconds: Median wall time; None where it did not run.
        rounds: Every round's.
        note: Why it did not run, or what was checked.
    """

    name: str
    seconds: float | None = None
    rounds: tuple[float, ...] = ()
    note: str = ""


def in_turns(
    commands: Mapping[str, Callable[[int], Sequence[str]]], *, threads: int, rounds: int, warm_up: int
) -> tuple[ProcessTime, ...]:
    """Run every command once a round, in an order that rotates.

    Args:
        commands: Name -> round -> arguments.
        threads: For everybody.
        rounds: That count.
        warm_up: Rounds that do not.

    Returns:
        Times in the order of the commands. A command that fails is noted, and not run again.
    """
    seen: dict[str, list[float]] = {name: [] for name in commands}
    notes: dict[str, str] = {}
    names = list(commands)
    for number in range(warm_up + rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            if name in notes:
                continue
            try:
                took = seconds_of(commands[name](number), threads)
            except ProcessFailedError as error:
                notes[name] = str(error)
                continue
            if number >= warm_up:
                seen[name].append(took)
    return tuple(
        ProcessTime(name, note=notes[name])
        if name in notes
        else ProcessTime(name, statistics.median(times), tuple(times))
        for name, times in seen.items()
    )


def seconds_of(command: Sequence[str], threads: int) -> float:
    """Run a command.

    Args:
        command: Program and arguments.
        threads: For it.

    Returns:
        Wall time.

    Raises:
        ProcessFailedError: It ended with an error.
    """
    began = time.perf_counter()
    done = subprocess.run(
        command, cwd=ROOT, env=child_environment(threads), capture_output=True, text=True, check=False
    )
    took = time.perf_counter() - began
    if done.returncode:
        raise ProcessFailedError(f"{' '.join(command[1:4])}: {done.stderr.strip()[-300:]}")
    return took
