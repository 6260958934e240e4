"""Seconds for an epoch over the grid, ours beside every peer and the floor, and whether all compute the same."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import attrs

from tests.benchmarks.floor import FLOORS
from tests.benchmarks.ours import CONFIGURATIONS
from tests.benchmarks.peers import PEERS
from tests.benchmarks.problem import mean_loss, read_rows, write_rows
from tests.benchmarks.settings import Cell, Settings
from tests.benchmarks.tasks import read_weights
from tests.benchmarks.turns import Times, interleaved
from tests.benchmarks.worker import Worker, WorkerFailedError, started

TOLERANCES = {"SGD": 1e-3, "momentum": 1e-3, "Adam": 0.02, "AdamW": 0.02}
"""Of the loss after one epoch from the same weights in the same order, relative. Adam divides by the root of the mean
square, so a gradient that is all rounding still makes a whole step: two right answers go further apart."""


@attrs.frozen
class EpochTime:
    """One runner in one cell.

    Args:
        cell: Of the grid.
        optimizer: Name.
        runner: Name.
        kind: ``ours``, ``peer`` or ``floor``.
        seconds: Median for an epoch; None where it did not run.
        rounds: Every round's.
        cores: Kept busy.
        loss: After one epoch from the same weights in the same order, in nats.
        note: Why it did not run or does not count.
    """

    cell: str
    optimizer: str
    runner: str
    kind: str
    seconds: float | None = None
    rounds: tuple[float, ...] = ()
    cores: float | None = None
    loss: float | None = None
    note: str = ""


@attrs.frozen
class Comparison:
    """One of our configurations in one cell.

    Args:
        cell: Of the grid.
        optimizer: Name.
        ours: Name of the configuration.
        fastest: The fastest peer here; empty where none ran.
        ratio: Our median over the fastest peer's.
        low: Smallest ratio of a round.
        high: Largest ratio of a round.
        floor: Our median over the matrix products'.
        floor_copy: Our median over products and copy together.
    """

    cell: str
    optimizer: str
    ours: str
    fastest: str
    ratio: float | None
    low: float | None
    high: float | None
    floor: float | None
    floor_copy: float | None


@attrs.frozen
class Epochs:
    """Everything measured, and what follows from it."""

    times: tuple[EpochTime, ...]
    comparisons: tuple[Comparison, ...]


def measure(settings: Settings) -> Epochs:
    """Measure the grid.

    Args:
        settings: Cells, optimisers, peers, threads.

    Returns:
        Times of every runner, and our ratios.

    Raises:
        WorkerFailedError: One of ours failed; peers that fail are noted.
    """
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        write_rows(folder, settings.rows)
        peers = {name: build for name, build in PEERS.items() if settings.offers(name)}
        builds = {**CONFIGURATIONS, **peers, **FLOORS}
        workers = [stack.enter_context(started(name, folder, settings.threads)) for name in builds]
        times = tuple(
            time
            for cell in settings.cells
            for optimizer in settings.optimizers
            for time in _cell(workers, builds, cell, optimizer, folder, settings)
        )
    return Epochs(times, tuple(compared(times)))


def _cell(
    workers: Sequence[Worker],
    builds: Mapping[str, str],
    cell: Cell,
    optimizer: str,
    folder: Path,
    settings: Settings,
) -> Iterator[EpochTime]:
    """Build everybody, let each compute the same epoch, then take turns."""
    print(f"epochs: {cell} {optimizer}", flush=True)
    inputs, labels = read_rows(folder)
    ready, losses, notes = [], {}, {}
    for worker in workers:
        values = {"build": builds[worker.name], "cell": attrs.asdict(cell), "optimizer": optimizer}
        try:
            worker.ask(
                "open", tasks="tests.benchmarks.tasks:EpochTasks", values={**values, "threads": settings.threads}
            )
            if worker.name not in FLOORS:
                losses[worker.name] = mean_loss(read_weights(worker.ask("fixed_epoch")), inputs, labels)
            ready.append(worker)
        except WorkerFailedError as error:
            if worker.name in CONFIGURATIONS or worker.name in FLOORS:
                raise
            notes[worker.name] = str(error)
    reference = losses[next(iter(CONFIGURATIONS))]
    for name, loss in losses.items():
        if not abs(loss - reference) <= TOLERANCES[optimizer] * reference:
            notes[name] = f"computes something else: loss {loss:.5f} where {reference:.5f} was expected"
            if name in CONFIGURATIONS:
                raise WorkerFailedError(f"{name}: {notes[name]}")
    times = interleaved([worker for worker in ready if worker.name not in notes], settings)
    for worker in workers:
        yield _record(worker.name, str(cell), optimizer, times.get(worker.name), losses, notes)


def _record(
    runner: str,
    cell: str,
    optimizer: str,
    times: Times | None,
    losses: Mapping[str, float],
    notes: Mapping[str, str],
) -> EpochTime:
    kind = "ours" if runner in CONFIGURATIONS else "floor" if runner in FLOORS else "peer"
    note, loss = notes.get(runner, ""), losses.get(runner)
    if times is None:
        return EpochTime(cell, optimizer, runner, kind, loss=loss, note=note)
    return EpochTime(cell, optimizer, runner, kind, times.median, times.rounds, times.cores, loss, note)


def compared(times: Sequence[EpochTime]) -> Iterator[Comparison]:
    """Set each of our configurations against the fastest peer and the floor of its cell.

    Args:
        times: Of whole cells.

    Yields:
        A comparison for each of ours in each cell.
    """
    for cell, optimizer in dict.fromkeys((time.cell, time.optimizer) for time in times):
        ran = [time for time in times if (time.cell, time.optimizer) == (cell, optimizer) and time.seconds is not None]
        fastest = min((time for time in ran if time.kind == "peer"), key=lambda time: time.seconds, default=None)
        floor = {time.runner: time.seconds for time in ran if time.kind == "floor"}
        for ours in (time for time in ran if time.kind == "ours"):
            pairs = [] if fastest is None else [a / b for a, b in zip(ours.rounds, fastest.rounds, strict=True)]
            yield Comparison(
                cell=cell,
                optimizer=optimizer,
                ours=ours.runner,
                fastest="" if fastest is None else fastest.runner,
                ratio=None if fastest is None else ours.seconds / fastest.seconds,
                low=min(pairs, default=None),
                high=max(pairs, default=None),
                floor=ours.seconds / floor["products"] if "products" in floor else None,
                floor_copy=ours.seconds / sum(floor.values()) if floor else None,
            )
