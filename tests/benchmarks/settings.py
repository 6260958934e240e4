"""What is measured: the cells of the grid, the optimisers with their numbers, and how long to look."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import attrs

ROOT = Path(__file__).parents[2]
INPUTS, CLASSES = 784, 3


@attrs.frozen
class Cell:
    """A network 784-h1-h2-3 and the rows of a mini-batch."""

    hidden: tuple[int, ...]
    batch: int

    @property
    def widths(self) -> tuple[int, ...]:
        """From the inputs to the classes."""
        return (INPUTS, *self.hidden, CLASSES)

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.hidden))}) b{self.batch}"

    @classmethod
    def parse(cls, text: str) -> Cell:
        """Read ``256,128:128``: hidden widths, a colon, the batch size."""
        hidden, _, batch = text.partition(":")
        return cls(tuple(int(width) for width in hidden.split(",")), int(batch))

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Cell:
        """Make a cell of what ``attrs.asdict`` made of one."""
        return cls(tuple(values["hidden"]), values["batch"])


GRID = tuple(Cell.parse(text) for text in ("128,64:32", "128,64:128", "256,128:128", "512,256:256", "1024,1024:256"))


@attrs.frozen
class Optimizer:
    """An optimiser and its numbers, the same for everybody; every peer reads them from here."""

    name: str
    rate: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8


OPTIMIZERS = {
    optimizer.name: optimizer
    for optimizer in (
        Optimizer("SGD", 0.02),
        Optimizer("momentum", 0.005, momentum=0.9),
        Optimizer("Adam", 1e-4),
        Optimizer("AdamW", 1e-4, weight_decay=0.01),
    )
}


@attrs.frozen
class Settings:
    """How a run of the suite measures.

    Args:
        threads: For everybody, 1 or 2 here.
        cells: Of the grid.
        optimizers: Names in `OPTIMIZERS`.
        peers: Names of peers to leave everyone else out; all where empty. Our own configurations always run.
        quick: Fewer rounds, and less of each.
        rows: Random rows in place of the real ones; None for the 18,000 of the bundle.
    """

    threads: int = 2
    cells: tuple[Cell, ...] = GRID
    optimizers: tuple[str, ...] = tuple(OPTIMIZERS)
    peers: tuple[str, ...] = ()
    quick: bool = False
    rows: int | None = None

    @property
    def rounds(self) -> int:
        """Turns that count, for each runner."""
        return 3 if self.quick else 7

    @property
    def warm_up(self) -> int:
        """Turns that do not."""
        return 1 if self.quick else 2

    @property
    def turn_seconds(self) -> float:
        """A turn repeats what it times until about this much time is filled."""
        return 0.02 if self.quick else 0.2

    def offers(self, name: str) -> bool:
        """Whether a peer takes part."""
        return not self.peers or name in self.peers


THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "PJRT_NPROC", "NPROC")
WORKAROUNDS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "PYTHONDONTWRITEBYTECODE")
"""Some machines set these, for the sake of old OpenBLAS builds or of clean disks; all are slower so, and a person's own
computer has none of them."""


def child_environment(threads: int) -> dict[str, str]:
    """Make the environment of every process that is measured: the same number of threads for all of them."""
    kept = {name: value for name, value in os.environ.items() if name not in WORKAROUNDS}
    paths = [str(ROOT), *filter(None, [kept.get("PYTHONPATH")])]
    return {
        **kept,
        **dict.fromkeys(THREAD_VARIABLES, str(threads)),
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONWARNINGS": "ignore",
        "BENCHMARK_THREADS": str(threads),
    }


def python(*arguments: str) -> list[str]:
    """Start a command line with this Python."""
    return [sys.executable, *arguments]
