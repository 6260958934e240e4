"""Gradients of each example of a batch, and their norms."""

from __future__ import annotations

import numpy as np

from bpfunc.arrays.types import FloatArray
from bpfunc.batches.batch import Batch
from bpfunc.gradient.modes import _forward
from bpfunc.layers import Context, Layer
from bpfunc.layers.custom import checked
from bpfunc.losses import Loss
from bpfunc.tree import Tree, tree_leaves, tree_norm


def example_grads(
    model: Layer, loss: Loss, params: Tree, state: Tree, batch: Batch, ctx: Context
) -> tuple[FloatArray, Tree]:
    """Gradient of each example's own loss, without a loop over examples.

    Args:
        model: Any layer whose parts have example_grads.
        loss: Any loss on its output.
        params: The model's parameters.
        state: The model's state.
        batch: What to run on; its weights are not used.
        ctx: Training or inference.

    Returns:
        Losses (B,), and a tree like ``params`` whose leaves have a leading batch axis.

    Raises:
        ShapeError: The batch does not fit the model.
        NotImplementedError: A layer has no gradients of single examples.

    Example:
        >>> from bpfunc.keys import Key
        >>> from bpfunc.layers import INFERENCE, dense
        >>> from bpfunc.losses import cross_entropy
        >>> model = dense(2)
        >>> params, state, _ = model.init(Key(0), (3,))
        >>> batch = Batch(np.ones((5, 3), np.float32), np.eye(2, dtype=np.float32)[[0] * 5])
        >>> example_grads(model, cross_entropy(), params, state, batch, INFERENCE)[1].weight.shape
        (5, 3, 2)
    """
    model = checked(model)
    there = _forward(model, loss, params, state, batch, ctx)
    losses = there.value.losses
    grads, _ = model.example_grads(params, there.residual, loss.vjp(there.loss_residual, np.ones_like(losses)))
    return losses, grads


def example_grad_norms(
    model: Layer, loss: Loss, params: Tree, state: Tree, batch: Batch, ctx: Context
) -> tuple[FloatArray, FloatArray]:
    """Norm of each example's gradient; dense layers never form the gradients themselves.

    Args:
        model: Any layer whose parts have example_norms.
        loss: Any loss on its output.
        params: The model's parameters.
        state: The model's state.
        batch: What to run on; its weights are not used.
        ctx: Training or inference.

    Returns:
        Losses (B,), and Euclidean norms (B,).

    Raises:
        ShapeError: The batch does not fit the model.
        NotImplementedError: A layer has no gradients of single examples.

    Example:
        >>> from bpfunc.keys import Key
        >>> from bpfunc.layers import INFERENCE, dense
        >>> from bpfunc.losses import cross_entropy
        >>> model = dense(2)
        >>> params, state, _ = model.init(Key(0), (3,))
        >>> batch = Batch(np.ones((5, 3), np.float32), np.eye(2, dtype=np.float32)[[0] * 5])
        >>> example_grad_norms(model, cross_entropy(), params, state, batch, INFERENCE)[1].shape
        (5,)

    Reference: Goodfellow, "Efficient per-example gradient computations" (2015).
    """
    model = checked(model)
    there = _forward(model, loss, params, state, batch, ctx)
    losses = there.value.losses
    doutputs = loss.vjp(there.loss_residual, np.ones_like(losses))
    with np.errstate(over="ignore", invalid="ignore"):
        squares, _ = model.example_norms(params, there.residual, doutputs)
    if np.isfinite(squares).all():
        return losses, np.sqrt(squares).astype(losses.dtype)
    grads, _ = model.example_grads(params, there.residual, doutputs)
    return losses, np.array([tree_norm(row) for row in zip(*tree_leaves(grads), strict=True)], losses.dtype)
