"""The largest memory that a training process ever holds, and what of it the import alone takes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import attrs

from tests.benchmarks.ours import CONFIGURATIONS
from tests.benchmarks.peers import PEERS
from tests.benchmarks.problem import write_rows
from tests.benchmarks.settings import GRID, Settings
from tests.benchmarks.worker import WorkerFailedError, started

CELLS = (GRID[1], GRID[4])
OPTIMIZER = "Adam"
EPOCHS = 2
LEFT_OUT = ("torch compile", "jax step")
"""A compiler's own memory says nothing about training."""


@attrs.frozen
class PeakMemory:
    """One runner in one cell.

    Args:
        cell: Of the grid.
        optimizer: Name.
        runner: Name.
        kind: ``ours`` or ``peer``.
        imported: Bytes after the imports; None where it did not run.
        total: Bytes after rows were read and epochs trained.
        note: Why it did not run.
    """

    cell: str
    optimizer: str
    runner: str
    kind: str
    imported: int | None = None
    total: int | None = None
    note: str = ""


def measure(settings: Settings) -> tuple[PeakMemory, ...]:
    """Train in a process of its own for each runner and cell.

    Args:
        settings: Peers, threads.

    Returns:
        Peaks.

    Raises:
        WorkerFailedError: One of ours failed.
    """
    peers = {name: build for name, build in PEERS.items() if settings.offers(name) and name not in LEFT_OUT}
    found = []
    with tempfile.TemporaryDirectory() as name:
        write_rows(Path(name), settings.rows)
        for cell in CELLS[: 1 if settings.quick else None]:
            for runner, build in {**CONFIGURATIONS, **peers}.items():
                print(f"memory: {cell} {runner}", flush=True)
                kind = "ours" if runner in CONFIGURATIONS else "peer"
                common = PeakMemory(str(cell), OPTIMIZER, runner, kind)
                with started(runner, Path(name), settings.threads) as worker:
                    try:
                        worker.ask("open", tasks="tests.benchmarks.tasks:MemoryTasks", values={"build": build})
                        task = {"cell": attrs.asdict(cell), "optimizer": OPTIMIZER, "epochs": EPOCHS}
                        peak = worker.ask("train", threads=settings.threads, **task)
                        found.append(attrs.evolve(common, **peak))
                    except WorkerFailedError as error:
                        if kind == "ours":
                            raise
                        found.append(attrs.evolve(common, note=str(error)))
    return tuple(found)
