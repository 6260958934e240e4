"""Where the time of one training step goes, by timing the functions that the step is composed of.

Layers, losses, metrics and transforms are records of functions, so each can be taken out and put back with a clock
around it. The matrix products alone, same shapes and layouts, say what of a layer's time is something else. This sees
the composed step; a fused path that recognises layers by identity is not taken.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import attrs
import numpy as np

import bpfunc as bp
import bpfunc.training.step
from tests.benchmarks.ours import network, params_of, transform_of
from tests.benchmarks.problem import Problem, read_rows, write_rows
from tests.benchmarks.settings import CLASSES, OPTIMIZERS, Cell, Settings
from tests.benchmarks.worker import started


@attrs.frozen
class Part:
    """One part of a step.

    Args:
        cell: Of the grid.
        optimizer: Name.
        part: What.
        microseconds: Median of a step.
    """

    cell: str
    optimizer: str
    part: str
    microseconds: float


def measure(settings: Settings) -> tuple[Part, ...]:
    """Profile the composed step in the first and the last cell, with every other optimiser.

    Args:
        settings: Cells, optimisers, threads.

    Returns:
        Parts; ``whole step`` and ``rest`` among them.
    """
    with tempfile.TemporaryDirectory() as name, started("profile", Path(name), settings.threads) as worker:
        write_rows(Path(name), settings.rows)
        worker.ask("open", tasks="tests.benchmarks.step_profile:ProfileTasks", values={"steps": settings.rounds * 30})
        parts = []
        for cell in dict.fromkeys((settings.cells[0], settings.cells[-1])):
            for optimizer in settings.optimizers[::2]:
                print(f"profile: {cell} {optimizer}", flush=True)
                found = worker.ask("profile", cell=attrs.asdict(cell), optimizer=optimizer)
                parts += [Part(str(cell), optimizer, part, took) for part, took in found.items()]
    return tuple(parts)


class Clock:
    """Sums the time spent below names; of nested calls, the outer one does not count the inner."""

    def __init__(self) -> None:
        self.spent: dict[str, int] = defaultdict(int)
        self._inner = [0]

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function with a clock around it."""

        def timed(*arguments: Any, **options: Any) -> Any:
            self._inner.append(0)
            began = time.perf_counter_ns()
            result = function(*arguments, **options)
            took = time.perf_counter_ns() - began
            self.spent[name] += took - self._inner.pop()
            self._inner[-1] += took
            return result

        return timed

    def drained(self) -> dict[str, int]:
        """What was spent since the last time."""
        spent, self.spent = dict(self.spent), defaultdict(int)
        return spent


class ProfileTasks:
    """What the worker does for this benchmark."""

    def __init__(self, folder: Path, *, steps: int) -> None:
        self.rows, self.steps = read_rows(folder), steps

    def profile(self, cell: dict[str, Any], optimizer: str) -> dict[str, float]:
        """Median microseconds of each part."""
        problem = Problem(Cell.from_json(cell), OPTIMIZERS[optimizer], *self.rows, 1)
        seen: dict[str, list[float]] = defaultdict(list)
        for spent in _steps(problem, self.steps):
            for part, nanoseconds in spent.items():
                seen[part].append(nanoseconds / 1000)
        parts = {part: statistics.median(times) for part, times in seen.items()}
        return parts | _products(problem, self.steps)


def _steps(problem: Problem, steps: int) -> Iterator[dict[str, int]]:
    clock = Clock()
    # The update is the one part that is no argument of `make_step`.
    with patch.object(bpfunc.training.step, "updated", clock.around("update", bpfunc.training.step.updated)):
        yield from _clocked(problem, steps, clock)


def _clocked(problem: Problem, steps: int, clock: Clock) -> Iterator[dict[str, int]]:
    model, step = _clocked_step(problem, clock)
    data = bp.Batch(problem.inputs, np.eye(CLASSES, dtype=np.float32)[problem.labels])
    transform = transform_of(problem.optimizer)
    params = params_of(problem.first_weights())
    start = bp.init_train_state(model, transform, bp.Key(0), data.inputs.shape[1:])
    state = bp.TrainState(params, start.layer_state, transform.init(params), 0, start.key)
    step = clock.around("tree, keys, rest of the step", step)
    full = len(problem.inputs) // problem.cell.batch
    batches: Iterator[bp.Batch] = iter(())
    for number in range(steps + 5):
        if number % full == 0:
            batches = bp.epoch_batches(data, bp.Key(1), number, problem.cell.batch)
        began = time.perf_counter_ns()
        batch = clock.around("gather", next)(batches)
        state, _ = step(state, batch)
        whole = time.perf_counter_ns() - began
        if number >= 5:
            yield {"whole step": whole, **clock.drained()}
        clock.drained()


def _clocked_step(problem: Problem, clock: Clock) -> tuple[bp.Layer, bp.StepFn]:
    """`make_step` from parts with clocks."""
    plain = network(problem.cell.hidden)
    layers = []
    for index, (_, layer) in enumerate(plain.parts):
        kind = f"dense {index // 2 + 1}" if layer.name.startswith("dense") else f"relu {index // 2 + 1}"
        layers.append(
            attrs.evolve(
                layer,
                forward=clock.around(f"{kind} forward", layer.forward),
                backward=clock.around(f"{kind} backward", layer.backward),
                backward_params=clock.around(f"{kind} backward", layer.backward_params),
            )
        )
    model, loss, metric = bp.serial(*layers), bp.cross_entropy(), bp.accuracy()
    loss = attrs.evolve(loss, forward=clock.around("loss", loss.forward), vjp=clock.around("loss", loss.vjp))
    metric = attrs.evolve(metric, measure=clock.around("metric", metric.measure))
    return model, bp.make_step(model, loss, transform_of(problem.optimizer), metric=metric)


def _products(problem: Problem, steps: int) -> dict[str, float]:
    """Each product alone, into a buffer and into a fresh array."""
    rng = np.random.default_rng(0)
    found: dict[str, float] = {}
    rows = problem.cell.batch
    for index, (weight, _) in enumerate(problem.first_weights()):
        x = rng.standard_normal((rows, weight.shape[0])).astype(np.float32)
        dy = rng.standard_normal((rows, weight.shape[1])).astype(np.float32)
        pairs = {"forward": (x, weight), "weight gradient": (x.T, dy)}
        if index:
            pairs["input gradient"] = (dy, weight.T)
        for kind, (left, right) in pairs.items():
            out = left @ right
            found[f"product alone, dense {index + 1} {kind}"] = _median(
                lambda a=left, b=right, c=out: np.matmul(a, b, c), steps
            )
    found["products alone"] = sum(found.values())
    return found


def _median(function: Callable[[], object], times: int) -> float:
    took = []
    for _ in range(times):
        began = time.perf_counter_ns()
        function()
        took.append(time.perf_counter_ns() - began)
    return statistics.median(took) / 1000
