"""Sharpness-aware minimisation: take the gradient where the loss nearby is largest."""

from __future__ import annotations

from functools import partial

from bpfunc.arrays.calls import hands_out
from bpfunc.arrays.ranges import number
from bpfunc.batches.batch import Batch
from bpfunc.gradient.modes import GradientFn, GradientMaker, Value, value_and_grad
from bpfunc.layers import Context, Layer
from bpfunc.losses import Loss
from bpfunc.tree import Tree, norm_factors, tree_combine, with_norm


def sharpness_aware(rho: float, *, gradient: GradientMaker = value_and_grad) -> GradientMaker:
    """Make a gradient maker that looks uphill first: ``g = grad L(p + rho * grad L(p) / |grad L(p)|)``.

    A step costs two gradients. The value that comes back is that at ``p``; running statistics are those of the first
    pass, and both passes see the same randomness.

    Args:
        rho: How far to look, in parameter norm; at least 0.
        gradient: How to get the two gradients.

    Returns:
        A maker for `bpfunc.training.step.make_step`.

    Raises:
        ValueError: rho is negative.

    Example:
        >>> from bpfunc.layers import dense
        >>> from bpfunc.losses import cross_entropy
        >>> from bpfunc.optimizers import sgd
        >>> from bpfunc.training.step import make_step
        >>> step = make_step(dense(2), cross_entropy(), sgd(0.1), gradient=sharpness_aware(0.05))

    Reference: Foret, Kleiner, Mobahi and Neyshabur, "Sharpness-aware minimization" (2021).
    """
    rho = number("sharpness_aware", "rho", rho, "[0, inf)")
    return partial(_sharpness_aware, rho, gradient)


def _sharpness_aware(rho: float, gradient: GradientMaker, model: Layer, loss: Loss) -> GradientFn:
    inner = gradient(model, loss)
    return partial(_uphill_first, rho, inner)


def _uphill_first(
    rho: float, inner: GradientFn, params: Tree, state: Tree, batch: Batch, ctx: Context
) -> tuple[Value, Tree]:
    value, grads = inner(params, state, batch, ctx)
    norm = norm_factors(grads)
    if norm[1] == 0:
        return value, grads
    uphill = tree_combine(lambda p, g: p + with_norm(g, norm, (1.0, rho)), params, grads)
    _, sharp = inner(uphill, state, batch, ctx)
    return value, sharp


hands_out(sharpness_aware, maker=_sharpness_aware, gradient=_uphill_first)
