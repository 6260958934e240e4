"""An L2 penalty on the weights of dense layers, as part of the gradient: what scikit-learn's ``alpha`` is."""

from __future__ import annotations

from functools import partial

import attrs
import numpy as np

from bpfunc.arrays.aligned import empty
from bpfunc.arrays.ranges import number
from bpfunc.arrays.types import FloatArray, readonly
from bpfunc.batches.batch import Batch
from bpfunc.gradient.modes import GradientFn, GradientMaker, Value, value_and_grad
from bpfunc.layers import Context, DenseParams, Layer
from bpfunc.layers.combinators import SerialParams
from bpfunc.losses import Loss
from bpfunc.optimizers import weights_only
from bpfunc.transforms.elementwise import Arrays, Numbers, Part
from bpfunc.tree import Tree


@attrs.frozen
class Penalised:
    """The maker of gradients that `penalised` returns.

    Args:
        alpha: Above 0.

    Example:
        >>> Penalised(0.5).strength(4.0)
        0.125
    """

    alpha: float

    def __call__(self, model: Layer, loss: Loss) -> GradientFn:
        """Make the function of gradients."""
        return partial(self._gradient, value_and_grad(model, loss))

    def strength(self, rows: float) -> float:
        """Return what weights are multiplied by in the gradient of a batch whose rows have that weight in all."""
        return self.alpha / rows if rows else 0.0

    def _gradient(self, plain: GradientFn, params: Tree, state: Tree, batch: Batch, ctx: Context) -> tuple[Value, Tree]:
        value, grads = plain(params, state, batch, ctx)
        rows = len(batch.targets) if batch.weights is None else batch.weights.sum(dtype=np.float64)
        strength = self.strength(float(rows))
        penalty = value.loss.dtype.type(strength / 2 * _squares(params))
        return attrs.evolve(value, loss=value.loss + penalty), _with_pull(grads, params, strength)


def penalised(alpha: float) -> GradientMaker:
    """Add an L2 penalty on the weights of dense layers: ``alpha / (2 n) sum W^2``, ``n`` the weight of the batch.

    Dividing by the rows of the batch is scikit-learn's way; the smaller the batch, the stronger the penalty. Dense
    layers in `serial`, nested or not, are penalised; other layers are not.

    Args:
        alpha: At least 0; nothing is added where it is 0.

    Returns:
        A maker of gradients for `bpfunc.training.step.make_step`.

    Raises:
        ValueError: alpha is negative.

    Example:
        >>> from bpfunc.layers import INFERENCE, dense
        >>> from bpfunc.losses import squared_error
        >>> batch = Batch(np.zeros((4, 1)), np.zeros((4, 1)))
        >>> params = DenseParams(np.array([[3.0]]), np.zeros(1))
        >>> value, grads = penalised(2.0)(dense(1), squared_error())(params, (), batch, INFERENCE)
        >>> float(value.loss), grads.weight.tolist()
        (2.25, [[1.5]])

    Reference: Krogh and Hertz, "A simple weight decay can improve generalization" (1992).
    """
    alpha = number("penalised", "alpha", alpha, "[0, inf)")
    return Penalised(alpha) if alpha else value_and_grad


def _pull(
    c: Numbers, g: FloatArray, p: FloatArray, old: Arrays, new: Arrays, out: FloatArray, work: FloatArray
) -> FloatArray:
    """Gradient of a weight with that of its penalty, ``g + c0 p``: a kernel, whose only number is the strength."""
    np.multiply(p, c[0], out=work)
    return np.add(g, work, out=out)


def _strongest(step: int) -> Numbers:
    """Stands for the strength, which depends on the batch and not on the step."""
    return (1.0,)


PULL = Part(_pull, reads_params=True, applies=weights_only, numbers=_strongest)
"""The formula of the gradient's part, for chains; who runs it puts the strength of each step in its ``numbers``."""


def _with_pull(grads: Tree, params: Tree, strength: float) -> Tree:
    if isinstance(params, DenseParams):
        weight = params.weight
        out, work = empty(weight.shape, weight.dtype), empty(weight.shape, weight.dtype)
        return DenseParams(readonly(_pull((strength,), grads.weight, weight, (), (), out, work)), grads.bias)
    if isinstance(params, SerialParams):
        pairs = zip(grads.layers, params.layers, strict=True)
        return SerialParams(tuple([_with_pull(g, p, strength) for g, p in pairs]))
    return grads


def _squares(params: Tree) -> float:
    if isinstance(params, DenseParams):
        return float(np.vdot(params.weight, params.weight))
    return sum(map(_squares, params.layers)) if isinstance(params, SerialParams) else 0.0
