"""What workers do. Imports nothing that is measured, so that a worker holds one library and no other."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.benchmarks.problem import Layers, Problem, Runner, first_weights, read_rows
from tests.benchmarks.settings import OPTIMIZERS, Cell
from tests.benchmarks.worker import load, timed


def problem_in(folder: Path, cell: dict[str, object], optimizer: str, threads: int) -> Problem:
    """Put together what a request says."""
    return Problem(Cell.from_json(cell), OPTIMIZERS[optimizer], *read_rows(folder), threads)


class EpochTasks:
    """Epochs: one that all are compared by, and turns of others."""

    def __init__(self, folder: Path, *, build: str, cell: dict[str, object], optimizer: str, threads: int) -> None:
        self.path = folder / f"{build.replace(':', '.')}.npz"
        self.problem = problem_in(folder, cell, optimizer, threads)
        self.runner: Runner = load(build)(self.problem)

    def fixed_epoch(self) -> str:
        """Train from the given weights in the given order, and save the weights."""
        self.runner.run(self.problem.fixed_order())
        layers = self.runner.weights()
        arrays = {f"weight{index}": weight for index, (weight, _) in enumerate(layers)}
        np.savez(self.path, **arrays, **{f"bias{index}": bias for index, (_, bias) in enumerate(layers)})
        return str(self.path)

    def turn(self, repeats: int) -> dict[str, float]:
        """Train on in random orders."""
        return timed(lambda: self.runner.run(None), repeats)


def read_weights(path: str) -> Layers:
    """Read what `EpochTasks.fixed_epoch` saved."""
    with np.load(path) as arrays:
        return [(arrays[f"weight{index}"], arrays[f"bias{index}"]) for index in range(len(arrays) // 2)]


class PredictionTasks:
    """Predictions of a number of rows."""

    def __init__(self, folder: Path, *, build: str, widths: Sequence[int], rows: int, threads: int) -> None:
        self.inputs = np.random.default_rng(3).random((rows, widths[0])).astype(np.float32)
        self.layers = first_weights(widths)
        self.predict = load(build)(self.layers, threads)

    def error(self) -> float:
        """Largest difference from the logits in float64, relative to the largest logit."""
        x = self.inputs.astype(np.float64)
        for index, (weight, bias) in enumerate(self.layers):
            x = (x if index == 0 else np.maximum(x, 0)) @ weight + bias
        return float(abs(self.predict(self.inputs) - x).max() / abs(x).max())

    def turn(self, repeats: int) -> dict[str, float]:
        """Predict again and again."""
        return timed(lambda: self.predict(self.inputs), repeats)


class MemoryTasks:
    """The largest memory this process ever held: after the import alone, and after training."""

    def __init__(self, folder: Path, *, build: str) -> None:
        self.folder, self.build = folder, build
        load(build)
        self.imported = peak_bytes()

    def train(self, cell: dict[str, object], optimizer: str, threads: int, epochs: int) -> dict[str, int]:
        """Bytes after the import, and after some epochs on the rows read from a file."""
        runner: Runner = load(self.build)(problem_in(self.folder, cell, optimizer, threads))
        for _ in range(epochs):
            runner.run(None)
        return {"imported": self.imported, "total": peak_bytes()}


def peak_bytes() -> int:
    """Largest resident memory of this program so far.

    Linux hands a parent's ``ru_maxrss`` down to the programs that it starts; its ``VmHWM`` begins anew.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
