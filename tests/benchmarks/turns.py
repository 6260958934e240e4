"""Taking turns: every worker once a round, in an order that rotates, so that no one is always the first."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence

import attrs

from tests.benchmarks.settings import Settings
from tests.benchmarks.worker import Worker

PAUSE = 0.15
"""Seconds between turns: idle threads of a matrix library spin for about this long before they sleep."""


@attrs.frozen
class Times:
    """What a runner took.

    Args:
        rounds: Seconds for one repeat, in each round.
        cores: Median of the cores kept busy: processor time over wall time.
    """

    rounds: tuple[float, ...]
    cores: float

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(self.rounds)


def interleaved(workers: Sequence[Worker], settings: Settings, **values: object) -> dict[str, Times]:
    """Time open workers in turns.

    Args:
        workers: Each with open tasks that answer ``turn``.
        settings: Rounds, warm-up and length of a turn.
        values: Passed on to ``turn``.

    Returns:
        Name -> times.
    """
    repeats, seen = dict.fromkeys((worker.name for worker in workers), 1), {worker.name: [] for worker in workers}
    for number in range(settings.warm_up + settings.rounds):
        shift = number % len(workers)
        for worker in (*workers[shift:], *workers[:shift]):
            time.sleep(0 if settings.quick else PAUSE)
            turn = worker.ask("turn", repeats=repeats[worker.name], **values)
            if number >= settings.warm_up:
                seen[worker.name].append(turn)
            else:
                repeats[worker.name] = max(1, math.ceil(settings.turn_seconds / turn["seconds"]))
    return {
        name: Times(tuple(turn["seconds"] for turn in turns), statistics.median(turn["cores"] for turn in turns))
        for name, turns in seen.items()
    }
