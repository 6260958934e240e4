"""A step of small convolutional networks beside torch's, in turns.

Forward, backward and update of SGD with momentum, float32, from the same weights on the same batches; the losses of the
first steps must agree. Peak memory is that of a process that did nothing else; what the imports take is told apart.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from tests.benchmarks.problem import Floats
from tests.benchmarks.settings import Settings
from tests.benchmarks.tasks import peak_bytes
from tests.benchmarks.turns import interleaved
from tests.benchmarks.worker import load, started, timed

RATE, MOMENTUM, BATCHES = 0.01, 0.9, 8
RUNNERS = {
    "bpfunc": "tests.benchmarks.images:ours",
    "torch eager": "tests.benchmarks.peers.with_torch:image_step",
}
Step = Callable[[int], float]
"""Trains on the batch of that number, and gives its loss."""


@attrs.frozen
class Network:
    """Two convolutions of 3 x 3, each with ReLU and max pooling of 2 x 2, and two dense layers, over 28 x 28 pixels.

    Args:
        filters: Of both convolutions.
        hidden: Of the first dense layer.
        norm: Whether the channels are normalised.
        batch: Images of a step.
    """

    filters: tuple[int, int]
    hidden: int
    norm: bool
    batch: int


NETWORKS = {
    "16-32-64": Network((16, 32), 64, norm=False, batch=64),
    "32-64-128, normalised": Network((32, 64), 128, norm=True, batch=128),
}


def weights(network: Network) -> list[Floats]:
    """Kernels (KH, KW, C, F), then matrices (in, out), the first by pixels; biases are 0 at first."""
    random, (first, second) = np.random.default_rng(0), network.filters
    shapes = ((3, 3, 1, first), (3, 3, first, second), (49 * second, network.hidden), (network.hidden, 10))
    return [(random.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1]))).astype(np.float32) for shape in shapes]


def batches(network: Network) -> list[tuple[Floats, np.ndarray[Any, np.dtype[np.int64]]]]:
    """Images (B, 28, 28) and their classes."""
    random = np.random.default_rng(1)
    return [
        (random.normal(size=(network.batch, 28, 28)).astype(np.float32), random.integers(0, 10, network.batch))
        for _ in range(BATCHES)
    ]


def ours(network: Network, threads: int) -> Step:
    """The composed step on NumPy."""
    import bpfunc as bp
    from bpfunc.layers import ConvParams, DenseParams, Layer, flatten
    from bpfunc.metrics.base import mean

    norm: tuple[Layer, ...] = (bp.batch_norm(),) if network.norm else ()
    blocks = [
        layer for filters in network.filters for layer in (bp.conv2d(filters), *norm, bp.relu(), bp.max_pool2d(2))
    ]
    model = bp.serial(bp.reshape((28, 28, 1)), *blocks, flatten(), bp.dense(network.hidden), bp.relu(), bp.dense(10))
    transform = bp.sgd(RATE, momentum=MOMENTUM)
    state: Any = bp.init_train_state(model, transform, bp.Key(0), (28, 28))
    given = iter(weights(network))

    def replaced(params: Any) -> Any:
        kind = type(params)
        return kind(next(given), params.bias) if kind in (ConvParams, DenseParams) else params

    params = attrs.evolve(state.params, layers=tuple(map(replaced, state.params.layers)))
    state = attrs.evolve(state, params=params)
    step, rows = bp.make_step(model, bp.cross_entropy(), transform), [bp.Batch(*batch) for batch in batches(network)]

    def run(number: int) -> float:
        nonlocal state
        state, metrics = step(state, rows[number % BATCHES])
        return mean(metrics.loss)

    return run


class ImageTasks:
    """Steps of one network by one runner."""

    def __init__(self, folder: Path, *, build: str, network: dict[str, Any], threads: int) -> None:
        make = load(build)
        self.imported, self.number = peak_bytes(), 0
        values = network | {"filters": tuple(network["filters"])}
        self.step: Step = make(Network(**values), threads)

    def losses(self, steps: int) -> list[float]:
        """Of the next steps."""
        return [self.run() for _ in range(steps)]

    def run(self) -> float:
        """Train on the next batch."""
        self.number += 1
        return self.step(self.number - 1)

    def turn(self, repeats: int) -> dict[str, float]:
        """Train on."""
        return timed(self.run, repeats)

    def memory(self) -> dict[str, int]:
        """Bytes after the imports, and the most since."""
        return {"imported": self.imported, "total": peak_bytes()}


def measure(settings: Settings) -> list[dict[str, object]]:
    """Time and weigh both in every network.

    Args:
        settings: Threads and rounds.

    Returns:
        For each network and runner seconds of a step, and bytes; nothing without torch.
    """
    if not settings.offers("torch eager"):
        return []
    found: list[dict[str, object]] = []
    for title, network in NETWORKS.items():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            with (
                started("bpfunc", folder, settings.threads) as first,
                started("torch eager", folder, settings.threads) as second,
            ):
                workers = (first, second)
                values = {"network": attrs.asdict(network), "threads": settings.threads}
                for worker in workers:
                    tasks = {"build": RUNNERS[worker.name], **values}
                    worker.ask("open", tasks="tests.benchmarks.images:ImageTasks", values=tasks)
                losses = [worker.ask("losses", steps=4) for worker in workers]
                np.testing.assert_allclose(*losses, rtol=1e-4)
                times = interleaved(workers, settings)
                for worker in workers:
                    seconds = times[worker.name]
                    facts = {"seconds": seconds.median, "rounds": seconds.rounds, "cores": seconds.cores}
                    found.append({"network": title, "runner": worker.name, **facts, **worker.ask("memory")})
    return found
