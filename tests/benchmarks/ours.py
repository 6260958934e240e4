"""The one place that builds "ours", in each configuration that is offered.

An engine of `ENGINES` is a function here that takes a `Problem`; the grid, memory and the checks measure it, recipes,
estimators and whole processes name it. `PREDICTORS` does the same for prediction.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, TypeAlias

import numpy as np

import bpfunc as bp
from tests.benchmarks.problem import Floats, Layers, Problem, Runner
from tests.benchmarks.settings import CLASSES, Optimizer

ENGINES = {"bpfunc": "numpy", **({"bpfunc compiled": "compiled"} if find_spec("numba") else {})}
"""Name in tables -> name of the engine; what needs an extra that is not installed is left out."""
CONFIGURATIONS = {name: f"tests.benchmarks.ours:{engine}" for name, engine in ENGINES.items()}
"""Name -> function that makes a `Runner`."""
Epoch: TypeAlias = Callable[..., tuple[bp.TrainState, bp.StepMetrics]]
"""``(state, *arguments of epoch_batches) -> (state, metrics)``."""
PREDICTORS = {
    "bpfunc": "tests.benchmarks.ours:predictor",
    "bpfunc predict": "tests.benchmarks.ours:not_prepared",
    **({"bpfunc compiled": "tests.benchmarks.ours:compiled_predictor"} if find_spec("numba") else {}),
}
"""Name -> function that makes ``inputs -> logits``."""
COMMANDS = {name: ("-m", "pipelines", "train", "--engine", engine) for name, engine in ENGINES.items()}
"""Name -> arguments of Python that train from the command line."""


def network(hidden: tuple[int, ...]) -> bp.Layer:
    """784-h1-h2-...-3 with rectified linear units."""
    parts = [part for width in hidden for part in (bp.dense(width), bp.relu())]
    return bp.serial(*parts, bp.dense(CLASSES))


def transform_of(optimizer: Optimizer) -> bp.GradientTransform:
    """The optimiser by its numbers."""
    adaptive = {"beta1": optimizer.beta1, "beta2": optimizer.beta2, "eps": optimizer.eps}
    if optimizer.name == "AdamW":
        return bp.adamw(optimizer.rate, weight_decay=optimizer.weight_decay, **adaptive)
    if optimizer.name == "Adam":
        return bp.adam(optimizer.rate, **adaptive)
    return bp.sgd(optimizer.rate, momentum=optimizer.momentum)


def params_of(layers: Layers) -> bp.SerialParams:
    """Put given weights into the parameters of `network`."""
    parts: list[bp.Tree] = []
    for weight, bias in layers:
        parts += [bp.DenseParams(weight, bias), ()]
    return bp.SerialParams(tuple(parts[:-1]))


def layers_of(params: bp.SerialParams) -> Layers:
    """Take the weights out again."""
    return [(part.weight, part.bias) for part in params.layers if part != ()]


def numpy(problem: Problem) -> Runner:
    """Plain NumPy, put together as the README does: an epoch as a fold of `make_step`'s step over `epoch_batches`."""
    model, transform = network(problem.cell.hidden), transform_of(problem.optimizer)
    step = bp.make_step(model, bp.cross_entropy(), transform)

    def epoch(state: bp.TrainState, *which: Any, **options: Any) -> tuple[bp.TrainState, bp.StepMetrics]:
        return bp.fold_steps(step, state, bp.epoch_batches(*which, **options))

    return _runner(model, transform, problem, epoch)


def compiled(problem: Problem) -> Runner:
    """Whole epochs of machine code."""
    from bpfunc.interop.numba import compiled_epoch

    model, transform = network(problem.cell.hidden), transform_of(problem.optimizer)
    return _runner(model, transform, problem, compiled_epoch(model, bp.cross_entropy(), transform))


def _runner(model: bp.Layer, transform: bp.GradientTransform, problem: Problem, epoch: Epoch) -> Runner:
    data = bp.Batch(problem.inputs, np.eye(CLASSES, dtype=np.float32)[problem.labels])
    start = bp.init_train_state(model, transform, bp.Key(0), data.inputs.shape[1:])
    params = params_of(problem.first_weights())
    state = bp.TrainState(params, start.layer_state, transform.init(params), 0, start.key)
    number = 0

    def run(order: bp.IntArray | None) -> None:
        nonlocal state, number
        sampler = bp.shuffled if order is None else lambda key, count: order
        state, _ = epoch(state, data, bp.Key(1), number, problem.cell.batch, sampler=sampler)
        number += 1

    return Runner(run, lambda: layers_of(state.params))


def predictor(layers: Layers, threads: int) -> Callable[[Floats], Floats]:
    """The library's predictor, by NumPy."""
    return bp.predictor(*_trained(layers), engine="numpy")


def compiled_predictor(layers: Layers, threads: int) -> Callable[[Floats], Floats]:
    """The library's predictor, in machine code."""
    return bp.predictor(*_trained(layers), engine="compiled")


def not_prepared(layers: Layers, threads: int) -> Callable[[Floats], Floats]:
    """The library's `predict`."""
    parts = _trained(layers)
    return lambda inputs: bp.predict(*parts, inputs)


def _trained(layers: Layers) -> tuple[bp.Layer, bp.SerialParams, bp.Tree]:
    model = network(tuple(len(bias) for _, bias in layers[:-1]))
    return model, params_of(layers), model.init(bp.Key(0), (len(layers[0][0]),))[1]


def first_step(engine: str) -> None:
    """From nothing to one step of momentum on 128 rows."""
    model, transform, make = network((128, 64)), bp.sgd(0.05, momentum=0.9), bp.make_step
    if engine == "compiled":
        from bpfunc.interop.numba import compiled_step as make
    state = bp.init_train_state(model, transform, bp.Key(0), (784,))
    batch = bp.Batch(np.ones((128, 784), np.float32), np.eye(CLASSES, dtype=np.float32)[[0] * 128])
    make(model, bp.cross_entropy(), transform)(state, batch)
