"""Momentum: heavy ball and Nesterov."""

from __future__ import annotations

from functools import partial

import attrs
import numpy as np

from bpfunc.arrays.calls import hands_out, one_line, recorded
from bpfunc.arrays.ranges import number
from bpfunc.arrays.types import FloatArray
from bpfunc.transforms.base import GradientTransform, elementwise
from bpfunc.transforms.elementwise import Arrays, Numbers
from bpfunc.tree import Tree, tree_zeros_like


@attrs.frozen(eq=False)
class MomentumState:
    """State of `momentum`.

    Args:
        velocity: The accumulated gradients; a tree like the parameters.
    """

    velocity: Tree

    __repr__ = one_line


@recorded
def momentum(decay: float, *, nesterov: bool = False) -> GradientTransform:
    """Accumulate gradients: ``v <- g + decay * v``; ``u = v``, or ``u = g + decay * v`` for Nesterov.

    Other libraries average (``(1 - decay) g``) or fold the learning rate into the velocity; this one does neither.

    Args:
        decay: In [0, 1); 0 keeps nothing.
        nesterov: Whether to look one step ahead.

    Returns:
        A transform with `MomentumState`.

    Raises:
        ValueError: The decay is outside [0, 1).

    Example:
        >>> heavy_ball = momentum(0.9)
        >>> _, state = heavy_ball.update(1.0, MomentumState(0.0), 0.0, 0)
        >>> heavy_ball.update(1.0, state, 0.0, 1)[0]
        1.9

    Reference: Polyak (1964); Nesterov (1983), in the form of Sutskever, Martens, Dahl and Hinton (2013).
    """
    decay = number("momentum", "decay", decay, "[0, 1)")

    kernel = partial(_momentum, (decay, nesterov))
    return elementwise(_init, kernel, slots=("velocity",), state=MomentumState)


def _init(params: Tree) -> MomentumState:
    return MomentumState(tree_zeros_like(params))


def _momentum(
    s: Numbers, c: Numbers, g: FloatArray, p: FloatArray, old: Arrays, new: Arrays, out: FloatArray, work: FloatArray
) -> FloatArray:
    decay, nesterov = s
    velocity = np.multiply(old[0], decay, out=new[0])
    velocity += g
    if not nesterov:
        return velocity
    np.multiply(velocity, decay, out=work)
    return np.add(g, work, out=out)


hands_out(momentum, init=_init)
