"""Stage `examine`: training split and trained network -> temperature, gradient flow. It cannot see the test split."""

from __future__ import annotations

import numpy as np

from bpfunc import Batch, Context, fit_temperature, fold_in, value_and_grad
from bpfunc.arrays.types import FloatArray, IntArray
from bpfunc.batches.batch import class_indices
from bpfunc.metrics import expected_calibration_error, log_loss, mean
from bpfunc.tree import Tree, tree_leaves_with_path
from pipelines.artifacts import Examined, ParameterFlow, Reliability, Temperature, Trained
from pipelines.dataset.streaming import Stream
from pipelines.spec.run_spec import RunSpec
from pipelines.training.outputs import network_outputs
from pipelines.training.replay import standings, training_on

BINS = 15
"""Of how sure the network is: as many as in the paper that made the error known."""


def examine(train_rows: Batch | Stream, validation_rows: Batch | None, spec: RunSpec, trained: Trained) -> Examined:
    """Fit the temperature on validation rows, and measure the gradient on the first training batch.

    Args:
        train_rows: Rows that the network learned from.
        validation_rows: Validation rows, or None.
        spec: Specification of the run.
        trained: The network.

    Returns:
        What the report shows of them.

    Example:
        See `pipelines.runs.run`, which calls it between `train` and `evaluate`.
    """
    # A training may have overflowed on purpose (on_nan = "skip"): the figures then say so, and no warning need.
    with np.errstate(over="ignore", invalid="ignore"):
        return Examined(temperature(validation_rows, spec, trained), gradient_flow(train_rows, spec, trained))


def temperature(validation_rows: Batch | None, spec: RunSpec, trained: Trained) -> Temperature:
    """Fit the temperature of a trained network on validation rows.

    Args:
        validation_rows: Validation rows, or None.
        spec: Specification of the run.
        trained: The network.

    Returns:
        The temperature, or why there is none.

    Reference:
        Guo, Pleiss, Sun and Weinberger, On calibration of modern neural networks, 2017.
    """
    if validation_rows is None:
        return Temperature(None, "No validation images are held out, so there is nothing to fit it on.", 0, None, None)
    classes = validation_rows.targets.shape[1]
    logits = network_outputs(spec.model, classes, trained.params, trained.layer_state, validation_rows.inputs)
    label = class_indices(validation_rows.targets)
    before = reliability(logits, label)
    if not np.isfinite(logits).all():
        return Temperature(None, "The training diverged.", len(label), before, None)
    found = fit_temperature(logits, label)
    if found == 0:
        why = "Every validation image is named right, so no finite certainty would be too much."
        return Temperature(None, why, len(label), before, None)
    if np.isinf(found):
        return Temperature(None, "On validation images the network is no better than chance.", len(label), before, None)
    return Temperature(found, "", len(label), before, reliability(logits.astype(np.float64) / found, label))


def reliability(logits: FloatArray, label: IntArray, *, bins: int = BINS) -> Reliability:
    """Compare how sure a network is with how often it is right.

    Args:
        logits: (N, K), N at least 1.
        label: (N,) true class of each row.
        bins: Bins of equal width, over 0..1.

    Returns:
        Rows, mean confidence and accuracy of each bin, the expected calibration error and the mean loss.

    Example:
        >>> found = reliability(np.zeros((4, 2)), np.array([0, 0, 0, 1]), bins=2)
        >>> found.rows.tolist(), found.accuracy[0], found.error, round(found.loss, 3)
        ([4, 0], np.float64(0.75), 0.25, 0.693)

    Reference:
        Naeini, Cooper and Hauskrecht, Obtaining well calibrated probabilities using Bayesian binning, 2015.
    """
    batch, metric, loss = Batch(logits, label), expected_calibration_error(bins), log_loss()
    state = metric.measure(logits, batch)
    weight = np.where(state.weight > 0, state.weight, np.nan)
    return Reliability(
        rows=state.weight.astype(np.int64),
        confidence=state.confidence / weight,
        accuracy=state.correct / weight,
        error=metric.value(state),
        loss=mean(loss.measure(logits, batch)),
    )


def gradient_flow(train_rows: Batch | Stream, spec: RunSpec, trained: Trained) -> tuple[ParameterFlow, ...]:
    """Measure the gradient of the training loss on the first batch, at the first parameters and at the trained ones.

    Args:
        train_rows: Rows that the network learned from.
        spec: Specification of the run.
        trained: The network.

    Returns:
        One record for each array of parameters.
    """
    training = training_on(train_rows, spec)
    state, batch = next(standings(train_rows, training, (0,)))
    gradient = value_and_grad(training.model, training.loss)
    context = Context(train=True, key=fold_in(state.key, state.step))
    _, first = gradient(state.params, state.layer_state, batch, context)
    _, last = gradient(trained.params, trained.layer_state, batch, context)
    names = [path for path, _ in tree_leaves_with_path(state.params)]
    columns = [_sizes(tree) for tree in (first, last, state.params, trained.params)]
    sizes = [int(leaf.size) for _, leaf in tree_leaves_with_path(state.params)]
    return tuple(
        ParameterFlow(name, size, (g0, g1), (p0, p1))
        for name, size, g0, g1, p0, p1 in zip(names, sizes, *columns, strict=True)
    )


def _sizes(tree: Tree) -> list[float]:
    """Root mean square of each array."""
    return [float(np.sqrt(np.mean(np.square(leaf, dtype=np.float64)))) for _, leaf in tree_leaves_with_path(tree)]
