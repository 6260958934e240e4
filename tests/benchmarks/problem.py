"""The one problem that everybody solves: the same rows, the same first weights, the same order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.settings import CLASSES, INPUTS, Cell, Optimizer

if TYPE_CHECKING:
    from pipelines.spec.run_spec import DatasetSpec

Floats = NDArray[np.float32]
Layers = list[tuple[Floats, Floats]]
"""(D, H) weight and (H,) bias of each layer."""


def first_weights(widths: Sequence[int]) -> Layers:
    """Random weights, the same on every call, and biases of zero."""
    rng = np.random.default_rng(0)
    return [
        ((rng.standard_normal((d, h)) * math.sqrt(2 / d)).astype(np.float32), np.zeros(h, np.float32))
        for d, h in itertools.pairwise(widths)
    ]


@attrs.frozen(eq=False)
class Problem:
    """What a runner is built from.

    Args:
        cell: Network and batch size.
        optimizer: And its numbers.
        inputs: (N, 784) float32.
        labels: (N,) int64.
        threads: That the runner may use.
    """

    cell: Cell
    optimizer: Optimizer
    inputs: Floats
    labels: NDArray[np.int64]
    threads: int

    def first_weights(self) -> Layers:
        """Fresh arrays with the numbers that every runner starts from."""
        return first_weights(self.cell.widths)

    def fixed_order(self) -> NDArray[np.int64]:
        """The order of the rows in the epoch that all are compared by."""
        return np.random.default_rng(1).permutation(len(self.inputs))


@attrs.frozen
class Runner:
    """What is timed.

    Args:
        run: One epoch in the given order of rows, or in a fresh random one of its own; trains on from call to call.
        weights: What the training has come to.
    """

    run: Callable[[NDArray[np.int64] | None], None]
    weights: Callable[[], Layers]


class NotOfferedError(Exception):
    """The peer has no such thing, such as scikit-learn AdamW."""


def mean_loss(layers: Layers, inputs: Floats, labels: NDArray[np.int64]) -> float:
    """Mean cross-entropy in float64, in nats: the judge that no runner brings along."""
    x = inputs.astype(np.float64)
    for index, (weight, bias) in enumerate(layers):
        x = (x if index == 0 else np.maximum(x, 0)) @ weight.astype(np.float64) + bias
    x -= x.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(x).sum(axis=1)) - x[np.arange(len(x)), labels]))


def write_rows(folder: Path, rows: int | None) -> None:
    """Put the rows where every worker finds them: those of the bundle, or random ones of the same form."""
    if rows is None:
        inputs, labels = bundle()
    else:
        rng = np.random.default_rng(2)
        labels = rng.integers(0, CLASSES, rows)
        inputs = (rng.random((rows, INPUTS)) + labels[:, None] * 0.1).astype(np.float32)
    np.save(folder / "inputs.npy", inputs)
    np.save(folder / "labels.npy", labels)


def read_rows(folder: Path) -> tuple[Floats, NDArray[np.int64]]:
    """Read what `write_rows` wrote."""
    return np.load(folder / "inputs.npy"), np.load(folder / "labels.npy")


def bundle(spec: DatasetSpec | None = None) -> tuple[Floats, NDArray[np.int64]]:
    """Training rows of the bundle, scaled as a specification says: between 0 and 1 where there is none."""
    from pipelines.spec.run_spec import DatasetSpec
    from pipelines.stages.acquire import acquire
    from pipelines.stages.decode import decode
    from pipelines.stages.encode import encode
    from pipelines.stages.select import select

    spec = DatasetSpec() if spec is None else spec
    split = encode(select(decode(acquire(spec)), spec), spec).train
    return split.pixels, split.label.astype(np.int64)
