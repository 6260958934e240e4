"""scikit-learn's MLPClassifier: one ``partial_fit`` is one epoch, without the checks for finite numbers."""

from __future__ import annotations

import numpy as np
import sklearn
from sklearn.neural_network import MLPClassifier

from tests.benchmarks.problem import Layers, NotOfferedError, Problem, Runner
from tests.benchmarks.settings import CLASSES, Optimizer


def classifier(problem: Problem) -> Runner:
    """The classifier, without its L2 penalty, as nobody else has one."""
    sklearn.set_config(assume_finite=True)
    network = MLPClassifier(
        problem.cell.hidden, batch_size=problem.cell.batch, alpha=0.0, shuffle=True, **_solver(problem.optimizer)
    )
    classes = np.arange(CLASSES)
    _put_weights(network, problem)

    def run(order: np.ndarray | None) -> None:
        network.set_params(shuffle=order is None)
        inputs, labels = problem.inputs, problem.labels
        if order is not None:
            inputs, labels = inputs[order], labels[order]
        network.partial_fit(inputs, labels, classes=classes)
        if not np.isfinite(network.loss_):
            raise FloatingPointError(f"the loss is {network.loss_}")

    def weights() -> Layers:
        return list(zip(network.coefs_, network.intercepts_, strict=True))

    return Runner(run, weights)


def _solver(numbers: Optimizer) -> dict[str, object]:
    if numbers.name in ("SGD", "momentum"):
        sgd: dict[str, object] = {"solver": "sgd", "learning_rate_init": numbers.rate, "momentum": numbers.momentum}
        return {**sgd, "nesterovs_momentum": False}
    if numbers.name == "Adam":
        betas = {"beta_1": numbers.beta1, "beta_2": numbers.beta2}
        return {"solver": "adam", "learning_rate_init": numbers.rate, "epsilon": numbers.eps, **betas}
    raise NotOfferedError(f"scikit-learn has no {numbers.name}")


def _put_weights(network: MLPClassifier, problem: Problem) -> None:
    """Let it make everything on a few rows, write the first weights over its own, and drop what its optimiser saw."""
    size = min(len(problem.inputs), problem.cell.batch)
    network.partial_fit(problem.inputs[:size], problem.labels[:size], classes=np.arange(CLASSES))
    for own_weight, own_bias, (weight, bias) in zip(
        network.coefs_, network.intercepts_, problem.first_weights(), strict=True
    ):
        own_weight[...], own_bias[...] = weight, bias
    del network._optimizer
    network.t_ = 0
