"""The gradient of a batch from its parts, one after the other, so that memory is bounded."""

from __future__ import annotations

from functools import partial

import numpy as np

from bpfunc.arrays.calls import hands_out
from bpfunc.arrays.ranges import whole
from bpfunc.batches.batch import Batch, row_count, take
from bpfunc.gradient.modes import GradientFn, GradientMaker, Value, value_and_grad
from bpfunc.keys import fold_in
from bpfunc.layers import Context, Layer
from bpfunc.losses import Loss
from bpfunc.tree import Tree, tree_add, tree_scale


def accumulated(parts: int, *, gradient: GradientMaker = value_and_grad) -> GradientMaker:
    """Make a gradient maker that takes a batch in parts, so that memory is that of a part.

    Sums and weights are combined, never means, so parts of unequal size are exact: the result is the whole batch's
    except for rounding. A layer that looks across the batch (batch_norm) sees a part at a time, in order, its state
    threaded through; dropout draws anew for each part.

    Args:
        parts: Into how many; at least 1.
        gradient: How to get the gradient of a part.

    Returns:
        A maker for `bpfunc.training.step.make_step`.

    Raises:
        ValueError: ``parts`` is below 1.

    Example:
        >>> from bpfunc.keys import Key
        >>> from bpfunc.layers import INFERENCE, dense
        >>> from bpfunc.losses import cross_entropy
        >>> from bpfunc.tree import tree_allclose
        >>> model, loss = dense(2), cross_entropy()
        >>> params, state, _ = model.init(Key(0), (3,))
        >>> batch = Batch(np.ones((5, 3), np.float32), np.array([0, 1, 0, 1, 1]))
        >>> _, whole = value_and_grad(model, loss)(params, state, batch, INFERENCE)
        >>> _, summed = accumulated(2)(model, loss)(params, state, batch, INFERENCE)
        >>> tree_allclose(whole, summed)
        True
    """
    parts = whole("accumulated", "parts", parts, "[1, inf)")
    return partial(_accumulated, parts, gradient)


def _accumulated(parts: int, gradient: GradientMaker, model: Layer, loss: Loss) -> GradientFn:
    inner = gradient(model, loss)
    return partial(_in_parts, parts, inner)


def _in_parts(
    parts: int, inner: GradientFn, params: Tree, state: Tree, batch: Batch, ctx: Context
) -> tuple[Value, Tree]:
    found: list[Value] = []
    total: Tree = None
    weights = []
    for number, rows in enumerate(np.array_split(np.arange(row_count(batch)), parts)):
        if len(rows) == 0 and found:
            continue
        part = take(batch, rows)
        part_ctx = ctx if ctx.key is None else Context(ctx.train, fold_in(ctx.key, number))
        value, grads = inner(params, state, part, part_ctx)
        weight = float(len(rows) if part.weights is None else part.weights.sum())
        grads = tree_scale(weight, grads)
        total = grads if total is None else tree_add(total, grads)
        state = value.state
        found.append(value)
        weights.append(weight)
    whole = sum(weights)
    losses = np.concatenate([value.losses for value in found])
    mean = sum(float(value.loss) * weight for value, weight in zip(found, weights, strict=True))
    outputs = np.concatenate([value.outputs for value in found])
    scale = 1 / whole if whole else 0.0
    return Value(losses.dtype.type(mean * scale), losses, outputs, state), tree_scale(scale, total)


hands_out(accumulated, maker=_accumulated, gradient=_in_parts)
