"""Seconds for a prediction, of one row and of many, beside onnxruntime and torch on the same network."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

import attrs

from tests.benchmarks.ours import PREDICTORS as OURS
from tests.benchmarks.peers import PREDICTORS as PEERS
from tests.benchmarks.settings import GRID, Settings
from tests.benchmarks.turns import interleaved
from tests.benchmarks.worker import WorkerFailedError, started

ROWS = (1, 32, 1024, 3000)
NETWORKS = (GRID[0], GRID[3])
TOLERANCE = 1e-5
"""Of the logits, relative to the largest."""


@attrs.frozen
class Latency:
    """One runner on one network and number of rows.

    Args:
        network: Hidden widths.
        rows: In one call.
        runner: Name.
        kind: ``ours`` or ``peer``.
        seconds: Of a call, median over rounds; None where it did not run.
        rounds: Every round's mean.
        cores: Kept busy.
        note: Why it did not run.
    """

    network: str
    rows: int
    runner: str
    kind: str
    seconds: float | None = None
    rounds: tuple[float, ...] = ()
    cores: float | None = None
    note: str = ""


def measure(settings: Settings) -> tuple[Latency, ...]:
    """Measure predictions from array to array.

    Args:
        settings: Peers, threads, rounds.

    Returns:
        Latency of every runner.

    Raises:
        WorkerFailedError: One of ours failed, or somebody predicts something else.
    """
    builds = {**OURS, **{name: build for name, build in PEERS.items() if settings.offers(name)}}
    found = []
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        workers = [stack.enter_context(started(name_, Path(name), settings.threads)) for name_ in builds]
        for cell in NETWORKS[: 1 if settings.quick else None]:
            for rows in ROWS:
                print(f"prediction: {cell.hidden} {rows} rows", flush=True)
                ready, notes = [], {}
                for worker in workers:
                    values = {"build": builds[worker.name], "widths": cell.widths, "rows": rows}
                    try:
                        worker.ask(
                            "open",
                            tasks="tests.benchmarks.tasks:PredictionTasks",
                            values={**values, "threads": settings.threads},
                        )
                        ready.append(worker)
                    except WorkerFailedError as error:
                        if worker.name in OURS:
                            raise
                        notes[worker.name] = str(error)
                for worker in ready:
                    if not worker.ask("error") <= TOLERANCE:
                        raise WorkerFailedError(f"{worker.name} predicts something else")
                times = interleaved(ready, settings)
                for runner in builds:
                    kind, took = "ours" if runner in OURS else "peer", times.get(runner)
                    common = Latency(str(cell.hidden), rows, runner, kind, note=notes.get(runner, ""))
                    if took is not None:
                        common = attrs.evolve(common, seconds=took.median, rounds=took.rounds, cores=took.cores)
                    found.append(common)
    return tuple(found)
