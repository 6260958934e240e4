"""Common slips in the arguments of a gradient: swapped, or of another kind; looked for where a computation failed."""

from __future__ import annotations

from typing import Any

import numpy as np

from bpfunc.arrays.arguments import expected
from bpfunc.batches.batch import Batch
from bpfunc.keys import Key
from bpfunc.layers import Context, Layer, ShapeError
from bpfunc.losses import Loss
from bpfunc.tree import Tree, flatten, tree_leaves


def check_parts(function: str, model: object, loss: object) -> None:
    """Refuse a model that is not a layer, and a loss that is not a loss.

    Args:
        function: For the message.
        model: Should be a `Layer`.
        loss: Should be a `Loss`.

    Returns:
        None.

    Raises:
        TypeError: One is of another kind.

    Example:
        >>> from bpfunc.layers import dense
        >>> from bpfunc.losses import squared_error
        >>> check_parts("value_and_grad", dense(1), squared_error())
    """
    expected(function, "model", model, Layer)
    expected(function, "loss", loss, Loss)


def check_arguments(model: Layer, loss: Loss, params: Any, state: Any, batch: Batch, ctx: Context) -> None:
    """Find out which slip made a forward pass fail.

    Args:
        model: As for `bpfunc.gradient.modes.value`.
        loss: As there.
        params: As there.
        state: As there.
        batch: As there.
        ctx: As there.

    Returns:
        None, where the cause is another one.

    Raises:
        TypeError: An argument is of another kind, or two are swapped; the message names them.

    Example:
        >>> from bpfunc.layers import INFERENCE, dense
        >>> from bpfunc.losses import squared_error
        >>> model = dense(1)
        >>> batch = Batch(np.zeros((2, 3)), np.zeros(2))
        >>> check_arguments(model, squared_error(), *model.init(Key(0), (3,))[:2], batch, INFERENCE)
        >>> check_arguments(model, squared_error(), model, (), batch, INFERENCE)
        Traceback (most recent call last):
            ...
        TypeError: params are what model.init(key, in_shape) returns first, got the Layer dense(1)
    """
    check_parts("a gradient", model, loss)
    if isinstance(params, Layer):
        raise TypeError(f"params are what model.init(key, in_shape) returns first, got the Layer {params!r}")
    if hasattr(params, "optimizer_state"):
        raise TypeError("params are the field `params` of a TrainState, got the whole TrainState")
    expected("a gradient", "batch", batch, Batch)
    expected("a gradient", "ctx", ctx, Context)
    made = _parts(model, batch.inputs)
    if made is not None and flatten(params)[1] == made[1] != made[0] == flatten(state)[1]:
        raise TypeError("params and state are in each other's place; the order is (params, state, batch, ctx)")
    if made is not None and flatten(params)[1] != made[0]:
        raise TypeError(f"params are not those of this model: expected {made[0]}, got {flatten(params)[1]}")
    other = _parts(model, batch.targets)
    sizes = [np.shape(leaf) for leaf in tree_leaves(params)]
    if other is not None and other[2] == sizes and (made is None or made[2] != sizes):
        raise TypeError(
            "inputs and targets are in each other's place; write Batch(inputs, targets): the model takes examples of "
            f"shape {batch.targets.shape[1:]}, found inputs {batch.inputs.shape} and targets {batch.targets.shape}"
        )


def _parts(model: Layer, examples: object) -> tuple[Tree, Tree, list[tuple[int, ...]]] | None:
    """Structures of parameters and state that a model has for such examples, and the parameters' shapes."""
    if not isinstance(examples, np.ndarray) or examples.ndim < 2:
        return None
    try:
        params, state, _ = model.init(Key(0), examples.shape[1:])
    except ShapeError:
        return None
    return flatten(params)[1], flatten(state)[1], [np.shape(leaf) for leaf in tree_leaves(params)]
