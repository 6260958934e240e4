"""From a model and a loss to gradients: reverse mode, forward mode, and both at once.

The objective is the weighted mean over the batch: ``sum_b w_b l_b / sum_b w_b``, in nats. Inputs of another dtype are
brought to the parameters' before the model sees them; targets and weights follow the outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import attrs
import numpy as np

from bpfunc.arrays.calls import hands_out, one_line
from bpfunc.arrays.types import FloatArray, readonly_arrays
from bpfunc.batches.batch import Batch
from bpfunc.gradient.slips import check_arguments, check_parts
from bpfunc.layers import Context, Layer, ShapeError, inputs_for
from bpfunc.layers.custom import checked
from bpfunc.losses import Loss
from bpfunc.losses.base import weighed
from bpfunc.tree import Tree, tree_cast_like


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class Value:
    """What a forward pass found, handed back beside the gradient.

    Args:
        loss: Weighted mean over the batch, in nats; a scalar of the logits' dtype.
        losses: (B,) loss of each example.
        outputs: (B, K) what the model says.
        state: The layers' state after the pass.
    """

    loss: np.floating
    losses: FloatArray
    outputs: FloatArray
    state: Tree

    __repr__ = one_line


GradientFn: TypeAlias = Callable[[Tree, Tree, Batch, Context], tuple[Value, Tree]]
"""``(params, state, batch, ctx) -> (value, grads)``."""


GradientMaker: TypeAlias = Callable[[Layer, Loss], GradientFn]
"""``(model, loss) -> GradientFn``: what `bpfunc.training.step.make_step` takes to get gradients."""


WRONG_WEIGHTS = "the weights of a batch are finite numbers of at least 0, and so is their sum"


def mean_weights(losses: FloatArray, weights: FloatArray | None) -> FloatArray:
    """How much each example counts in the mean: ``w_b / sum_b w_b``, or ``1 / B``.

    Args:
        losses: (B,); gives length and dtype.
        weights: (B,) at least 0, or None.

    Returns:
        (B,) that sums to 1. All zeros where B is 0 or the weights sum to 0, so that an empty batch teaches nothing.

    Raises:
        ShapeError: There is not one weight for each row.
        ValueError: A weight is negative or not finite.

    Example:
        >>> mean_weights(np.zeros(2), np.array([1.0, 3.0]))
        array([0.25, 0.75])
    """
    if weights is None:
        return np.full_like(losses, 1.0 / max(len(losses), 1))
    if weights.shape != losses.shape:
        raise ShapeError(f"the weights of a batch are one for each row, found {weights.shape} for {losses.shape}")
    total = float(weights.sum())
    if len(weights) and not (weights.min() >= 0 and total < math.inf):
        raise ValueError(WRONG_WEIGHTS)
    return (weights / total if total else np.zeros_like(losses)).astype(losses.dtype, copy=False)


@attrs.frozen(eq=False)
class _Forward:
    """A forward pass with all that a derivative needs of it."""

    inputs: FloatArray
    """Of the parameters' dtype, or whole numbers to look up."""
    value: Value
    residual: Tree
    loss_residual: Tree
    weights: FloatArray
    """(B,) of the mean."""


def _forward(model: Layer, loss: Loss, params: Tree, state: Tree, batch: Batch, ctx: Context) -> _Forward:
    try:
        inputs = inputs_for(model, params, batch.inputs)
        outputs, new_state, residual = model.forward(params, state, inputs, ctx)
        losses, loss_residual = loss.forward(outputs, batch.targets)
    except (AttributeError, LookupError, TypeError, ValueError):
        try:
            check_arguments(model, loss, params, state, batch, ctx)
        except TypeError as slip:  # says more, where the cause is a common one
            raise slip from None
        raise
    weights = mean_weights(losses, batch.weights)
    with np.errstate(invalid="ignore"):
        mean = np.dot(losses, weights)
    if math.isnan(mean):
        mean = weighed(weights, losses).sum()  # a row that does not count may have an infinite loss
    found = Value(mean, losses, outputs, new_state)
    return _Forward(inputs, found, residual, loss_residual, weights)


def value(model: Layer, loss: Loss, params: Tree, state: Tree, batch: Batch, ctx: Context) -> Value:
    """Run the model and the loss forward.

    Args:
        model: Any layer.
        loss: Any loss on its output.
        params: The model's parameters.
        state: The model's state.
        batch: What to run on.
        ctx: Training or inference.

    Returns:
        The `Value`.

    Raises:
        ShapeError: The batch does not fit the model.

    Example:
        >>> from bpfunc.keys import Key
        >>> from bpfunc.layers import INFERENCE, dense
        >>> from bpfunc.losses import cross_entropy
        >>> model = dense(2)
        >>> params, state, _ = model.init(Key(0), (3,))
        >>> batch = Batch(np.zeros((4, 3), np.float32), np.eye(2, dtype=np.float32)[[0, 1, 0, 1]])
        >>> value(model, cross_entropy(), params, state, batch, INFERENCE).loss.round(3)
        np.float32(0.693)
    """
    return _forward(model, loss, params, state, batch, ctx).value


def value_and_grad(model: Layer, loss: Loss) -> GradientFn:
    """Make the function that computes a loss and its gradient by the chain rule.

    Args:
        model: Any layer.
        loss: Any loss on its output.

    Returns:
        ``(params, state, batch, ctx) -> (value, grads)``; ``grads`` has the structure of ``params``, and the
        value carries outputs and new state along.

    Raises:
        ShapeError: From the returned function, where the batch does not fit the model.

    Example:
        >>> from bpfunc.keys import Key
        >>> from bpfunc.layers import INFERENCE, dense
        >>> from bpfunc.losses import cross_entropy
        >>> model = dense(2)
        >>> params, state, _ = model.init(Key(0), (3,))
        >>> batch = Batch(np.zeros((4, 3), np.float32), np.eye(2, dtype=np.float32)[[0, 0, 0, 1]])
        >>> _, grads = value_and_grad(model, cross_entropy())(params, state, batch, INFERENCE)
        >>> grads.bias
        array([-0.25,  0.25], dtype=float32)

    Reference: Rumelhart, Hinton and Williams (1986); Griewank and Walther, "Evaluating derivatives" (2008).
    """
    check_parts("value_and_grad", model, loss)
    return partial(_value_and_grad, checked(model), loss)


def _value_and_grad(
    model: Layer, loss: Loss, params: Tree, state: Tree, batch: Batch, ctx: Context
) -> tuple[Value, Tree]:
    there = _forward(model, loss, params, state, batch, ctx)
    doutputs = loss.vjp(there.loss_residual, there.weights)
    return there.value, model.backward_params(params, there.residual, doutputs)


def _check_order(function: str, batch: object, ctx: object) -> None:
    """Refuse the order that these functions had once, with ``params_dot`` behind ``params``."""
    if isinstance(ctx, Batch) and not isinstance(batch, Batch):
        order = "model, loss, params, state, batch, ctx, params_dot"
        raise TypeError(f"{function} takes ({order}): as `value` does, and then the direction; found the batch as ctx")


def jvp(
    model: Layer, loss: Loss, params: Tree, state: Tree, batch: Batch, ctx: Context, params_dot: Tree
) -> tuple[np.floating, np.floating]:
    """Loss and its directional derivative along ``params_dot``, in one forward sweep.

    Args:
        model: Any layer with a jvp.
        loss: Any loss on its output.
        params: The model's parameters.
        state: The model's state.
        batch: What to run on.
        ctx: Training or inference.
        params_dot: The direction; a tree like ``params``.

    Returns:
        The mean loss, and its derivative along the direction.

    Raises:
        TypeError: The arguments are in another order.
        TreeStructureError: The direction is not a tree like the parameters.
        ShapeError: The batch does not fit the model.
        NotImplementedError: A layer has no jvp.

    Example:
        >>> from bpfunc.keys import Key
        >>> from bpfunc.layers import INFERENCE, dense
        >>> from bpfunc.losses import cross_entropy
        >>> from bpfunc.tree import tree_dot
        >>> model, loss = dense(2), cross_entropy()
        >>> params, state, _ = model.init(Key(0), (3,))
        >>> batch = Batch(np.ones((1, 3), np.float32), np.eye(2, dtype=np.float32)[[0]])
        >>> _, slope = jvp(model, loss, params, state, batch, INFERENCE, params)
        >>> _, grads = value_and_grad(model, loss)(params, state, batch, INFERENCE)
        >>> bool(np.isclose(slope, tree_dot(grads, params)))
        True

    Reference: Wengert, "A simple automatic derivative evaluation program" (1964).
    """
    _check_order("jvp", batch, ctx)
    params_dot = tree_cast_like(params_dot, params)
    model = checked(model)
    there = _forward(model, loss, params, state, batch, ctx)
    outputs_dot = model.jvp(params, there.residual, params_dot, np.zeros_like(there.inputs))
    return there.value.loss, np.dot(loss.jvp(there.loss_residual, outputs_dot), there.weights)


def hvp(
    model: Layer, loss: Loss, params: Tree, state: Tree, batch: Batch, ctx: Context, params_dot: Tree
) -> tuple[Tree, Tree]:
    """Gradient and Hessian-vector product: forward mode over reverse mode, exact, without the Hessian.

    Args:
        model: Any layer with a jvp and a backward_jvp.
        loss: Any loss on its output.
        params: The model's parameters.
        state: The model's state.
        batch: What to run on.
        ctx: Training or inference.
        params_dot: The vector; a tree like ``params``.

    Returns:
        ``grads`` and ``H @ params_dot``, trees like ``params``.

    Raises:
        TypeError: The arguments are in another order.
        TreeStructureError: The vector is not a tree like the parameters.
        ShapeError: The batch does not fit the model.
        NotImplementedError: A layer lacks one of the two functions.

    Example:
        >>> from bpfunc.keys import Key
        >>> from bpfunc.layers import INFERENCE, dense
        >>> from bpfunc.losses import cross_entropy
        >>> model = dense(2)
        >>> params, state, _ = model.init(Key(0), (1,))
        >>> batch = Batch(np.ones((1, 1), np.float32), np.eye(2, dtype=np.float32)[[0]])
        >>> _, product = hvp(model, cross_entropy(), params, state, batch, INFERENCE, params)
        >>> product.weight.shape
        (1, 2)

    Reference: Pearlmutter, "Fast exact multiplication by the Hessian" (1994).
    """
    _check_order("hvp", batch, ctx)
    params_dot = tree_cast_like(params_dot, params)
    model = checked(model)
    there = _forward(model, loss, params, state, batch, ctx)
    inputs_dot = np.zeros_like(there.inputs)
    outputs_dot = model.jvp(params, there.residual, params_dot, inputs_dot)
    doutputs = loss.vjp(there.loss_residual, there.weights)
    doutputs_dot = loss.vjp_jvp(there.loss_residual, outputs_dot, there.weights, np.zeros_like(there.weights))
    grads = model.backward_params(params, there.residual, doutputs)
    grads_dot, _ = model.backward_jvp(params, there.residual, params_dot, inputs_dot, doutputs, doutputs_dot)
    return grads, grads_dot


def input_gradient(
    model: Layer, loss: Loss, params: Tree, state: Tree, batch: Batch, ctx: Context
) -> tuple[Value, FloatArray]:
    """Loss, and its gradient with respect to the inputs: what each pixel does to it.

    Args:
        model: Any layer.
        loss: Any loss on its output.
        params: The model's parameters.
        state: The model's state.
        batch: What to run on.
        ctx: Training or inference.

    Returns:
        The `Value`, and an array of the inputs' shape.

    Raises:
        ShapeError: The batch does not fit the model.

    Example:
        >>> from bpfunc.keys import Key
        >>> from bpfunc.layers import INFERENCE, dense
        >>> from bpfunc.losses import cross_entropy
        >>> model = dense(2)
        >>> params, state, _ = model.init(Key(0), (3,))
        >>> batch = Batch(np.ones((5, 3), np.float32), np.array([0] * 5))
        >>> input_gradient(model, cross_entropy(), params, state, batch, INFERENCE)[1].shape
        (5, 3)

    Reference: Simonyan, Vedaldi and Zisserman, "Deep inside convolutional networks" (2014).
    """
    model = checked(model)
    there = _forward(model, loss, params, state, batch, ctx)
    _, dinputs = model.backward(params, there.residual, loss.vjp(there.loss_residual, there.weights))
    return there.value, dinputs


hands_out(value_and_grad, gradient=_value_and_grad)
