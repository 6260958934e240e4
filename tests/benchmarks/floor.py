"""What cannot be saved: the matrix products of an epoch alone, and a copy of the bytes that an epoch must move."""

from __future__ import annotations

import numpy as np

from tests.benchmarks.problem import Floats, NotOfferedError, Problem, Runner

FLOORS = {"products": "tests.benchmarks.floor:products", "copy": "tests.benchmarks.floor:copy"}
COPIES = {"SGD": 1, "momentum": 2, "Adam": 3, "AdamW": 3}
"""Arrays as large as the parameters that a step must read and write: the parameters, and what the optimiser keeps."""


def _sizes(problem: Problem) -> list[int]:
    rows, size = len(problem.inputs), problem.cell.batch
    return [min(size, rows - start) for start in range(0, rows, size)]


def products(problem: Problem) -> Runner:
    """Forward, weight gradients, and input gradients but not for the first layer; every result into its own buffer."""
    weights = [weight for weight, _ in problem.first_weights()]
    gradients = [np.empty_like(weight) for weight in weights]
    values = [problem.inputs[: problem.cell.batch].copy()]
    values += [np.full((problem.cell.batch, weight.shape[1]), 0.5, np.float32) for weight in weights]
    outputs = [np.empty_like(value) for value in values]
    sizes = _sizes(problem)

    def run(order: object | None) -> None:
        for size in sizes:
            for index, weight in enumerate(weights):
                np.matmul(values[index][:size], weight, out=outputs[index + 1][:size])
            for index in reversed(range(len(weights))):
                np.matmul(values[index][:size].T, values[index + 1][:size], out=gradients[index])
                if index:
                    np.matmul(values[index + 1][:size], weights[index].T, out=outputs[index][:size])

    return Runner(run, _no_weights)


def copy(problem: Problem) -> Runner:
    """Every row into a batch once, and in every step the parameters and what the optimiser keeps once."""
    batch = np.empty((problem.cell.batch, problem.inputs.shape[1]), np.float32)
    total = sum(weight.size + bias.size for weight, bias in problem.first_weights())
    sources = [np.ones(total, np.float32) for _ in range(COPIES[problem.optimizer.name])]
    targets = [np.empty_like(source) for source in sources]
    sizes = _sizes(problem)

    def run(order: object | None) -> None:
        start = 0
        for size in sizes:
            np.copyto(batch[:size], problem.inputs[start : start + size])
            start += size
            for source, target in zip(sources, targets, strict=True):
                np.copyto(target, source)

    return Runner(run, _no_weights)


def _no_weights() -> list[tuple[Floats, Floats]]:
    raise NotOfferedError("the floor trains nothing")
