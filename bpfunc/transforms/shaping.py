"""Changing gradients before or after preconditioning: decay, clipping, centring, noise."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from bpfunc.arrays.calls import recorded
from bpfunc.arrays.ranges import number, times_power
from bpfunc.arrays.types import FloatArray, readonly
from bpfunc.keys import Key, fold_in, generator
from bpfunc.transforms.base import GradientTransform, elementwise, no_state, stateless
from bpfunc.transforms.elementwise import Arrays, Numbers
from bpfunc.tree import Tree, flatten, norm_factors, tree_combine, tree_map, unflatten, with_norm


@recorded
def add_decayed_weights(decay: float) -> GradientTransform:
    """Add the parameters: ``u = g + decay * p``.

    Before a preconditioner this is coupled decay (an L2 term in the loss); after one, and before the learning rate,
    it is decoupled decay as in AdamW. `bpfunc.transforms.masked` keeps it off biases.

    Args:
        decay: At least 0.

    Returns:
        A transform.

    Raises:
        ValueError: The decay is negative.

    Example:
        >>> add_decayed_weights(0.1).update(1.0, (), 5.0, 0)[0]
        1.5

    Reference: Krogh and Hertz, "A simple weight decay can improve generalization" (1992); decoupled: Loshchilov and
        Hutter, "Decoupled weight decay regularization" (2019).
    """
    decay = number("add_decayed_weights", "decay", decay, "[0, inf)")
    return elementwise(no_state, partial(_with_decay, decay), reads_params=True)


def _with_decay(
    decay: float, c: Numbers, g: FloatArray, p: FloatArray, old: Arrays, new: Arrays, out: FloatArray, work: FloatArray
) -> FloatArray:
    np.multiply(p, decay, out=work)
    return np.add(g, work, out=out)


@recorded
def clip_by_value(limit: float) -> GradientTransform:
    """Bring each number into ``[-limit, limit]``.

    Args:
        limit: Above 0.

    Returns:
        A transform.

    Raises:
        ValueError: The limit is not above 0.

    Example:
        >>> clip_by_value(1.0).update((np.array([-3.0, 0.5]),), (), (), 0)[0]
        (array([-1. ,  0.5]),)
    """
    limit = number("clip_by_value", "limit", limit, "(0, inf)")
    return elementwise(no_state, partial(_clipped, limit))


def _clipped(
    limit: float, c: Numbers, g: FloatArray, p: FloatArray, old: Arrays, new: Arrays, out: FloatArray, work: FloatArray
) -> FloatArray:
    np.maximum(g, -limit, out=out)
    return np.minimum(out, limit, out=out)


def _shrunk(g: FloatArray, norm: tuple[float, float], limit: float) -> FloatArray:
    return with_norm(g, norm, (1.0, limit)) if norm[1] > limit / norm[0] else readonly(g)


@recorded
def clip_by_norm(limit: float) -> GradientTransform:
    """Shrink each leaf whose Euclidean norm is above a limit to that norm.

    Args:
        limit: Above 0.

    Returns:
        A transform.

    Raises:
        ValueError: The limit is not above 0.

    Example:
        >>> clip_by_norm(1.0).update((np.array([3.0, 4.0]), np.array([0.5])), (), (), 0)[0]
        (array([0.6, 0.8]), array([0.5]))
    """
    limit = number("clip_by_norm", "limit", limit, "(0, inf)")
    return stateless(partial(_each_shrunk, limit))


def _each_shrunk(limit: float, grads: Tree, params: Tree, step: int) -> Tree:
    return tree_map(lambda g: _shrunk(g, norm_factors(g), limit), grads)


@recorded
def clip_by_global_norm(limit: float) -> GradientTransform:
    """Shrink the whole gradient to a norm over all leaves, where it is above.

    Args:
        limit: Above 0.

    Returns:
        A transform.

    Raises:
        ValueError: The limit is not above 0.

    Example:
        >>> clip_by_global_norm(1.0).update((np.array([3.0]), np.array([4.0])), (), (), 0)[0]
        (array([0.6]), array([0.8]))

    Reference: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks" (2013).
    """
    limit = number("clip_by_global_norm", "limit", limit, "(0, inf)")
    made = stateless(partial(_shrunk_together, limit))
    return GradientTransform(made.init, made.update, norm_limit=limit)


def _shrunk_together(limit: float, grads: Tree, params: Tree, step: int) -> Tree:
    norm = norm_factors(grads)
    return tree_map(lambda g: _shrunk(g, norm, limit), grads)


@recorded
def centralize() -> GradientTransform:
    """Subtract from each weight matrix's gradient the mean over its inputs: one mean for each output.

    Leaves of fewer than two axes stay as they are.

    Returns:
        A transform.

    Example:
        >>> centralize().update((np.array([[1.0], [3.0]]),), (), (), 0)[0]
        (array([[-1.],
               [ 1.]]),)

    Reference: Yong, Huang, Hua and Zhang, "Gradient centralization" (2020). Weights here are (inputs, outputs).
    """
    return stateless(_centralized)


def _centralized(grads: Tree, params: Tree, step: int) -> Tree:
    return tree_map(_centred, grads)


def _centred(g: FloatArray) -> FloatArray:
    return g - g.mean(axis=tuple(range(g.ndim - 1)), keepdims=True) if g.ndim > 1 else readonly(g)


@recorded
def add_noise(key: Key, scale: float, *, decay: float = 0.55) -> GradientTransform:
    """Add normal noise of variance ``scale / (1 + step)^decay``.

    Args:
        key: Names the noise; step ``n`` uses ``fold_in(key, n)``.
        scale: Variance at step 0, at least 0.
        decay: How fast it falls, at least 0.

    Returns:
        A transform.

    Raises:
        ValueError: An argument is negative.

    Example:
        >>> add_noise(Key(0), 0.0).update((np.array([1.0]),), (), (), 0)[0]
        (array([1.]),)

    Reference: Neelakantan et al., "Adding gradient noise improves learning for very deep networks" (2015).
    """
    scale = number("add_noise", "scale", scale, "[0, inf)")
    decay = number("add_noise", "decay", decay, "[0, inf)")
    return stateless(partial(_noisy, key, scale, decay))


def _noisy(key: Key, scale: float, decay: float, grads: Tree, params: Tree, step: int) -> Tree:
    leaves, structure = flatten(grads)
    random = generator(fold_in(key, step))
    deviation = times_power(scale, 1 + step, -decay) ** 0.5
    return unflatten(structure, [g + (deviation * random.standard_normal(np.shape(g))).astype(g.dtype) for g in leaves])


@recorded
def projected(project: Callable[[FloatArray], FloatArray]) -> GradientTransform:
    """Keep parameters in a set: change the update so that ``p + u`` is ``project(p + u)``. Goes last in a chain.

    Args:
        project: Takes an array to the nearest one that is allowed.

    Returns:
        A transform.

    Example:
        >>> projected(lambda p: np.maximum(p, 0)).update((np.array([-3.0]),), (), (np.array([1.0]),), 0)[0]
        (array([-1.]),)

    Reference: Goldstein, "Convex programming in Hilbert space" (1964).
    """
    return stateless(partial(_projected, project))


def _projected(project: Callable[[FloatArray], FloatArray], updates: Tree, params: Tree, step: int) -> Tree:
    return tree_combine(lambda u, p: project(p + u) - p, updates, params)


@recorded
def non_negative() -> GradientTransform:
    """Keep parameters at 0 or above. Goes last in a chain.

    Returns:
        A transform.

    Example:
        >>> non_negative().update((np.array([-3.0]),), (), (np.array([1.0]),), 0)[0]
        (array([-1.]),)
    """
    return elementwise(no_state, _at_least_zero, reads_params=True)


def _at_least_zero(
    c: Numbers, u: FloatArray, p: FloatArray, old: Arrays, new: Arrays, out: FloatArray, work: FloatArray
) -> FloatArray:
    np.add(p, u, out=work)
    np.maximum(work, 0, out=work)
    return np.subtract(work, p, out=out)


@recorded
def max_norm(limit: float) -> GradientTransform:
    """Keep the norm of each output's incoming weights at a limit or below. Goes last in a chain.

    Leaves of fewer than two axes stay as they are.

    Args:
        limit: Above 0.

    Returns:
        A transform.

    Raises:
        ValueError: The limit is not above 0.

    Example:
        >>> max_norm(5.0).update((np.zeros((2, 1)),), (), (np.array([[6.0], [8.0]]),), 0)[0]
        (array([[-3.],
               [-4.]]),)

    Reference: Srebro and Shraibman (2005), as used by Srivastava et al., "Dropout" (2014).
    """
    limit = number("max_norm", "limit", limit, "(0, inf)")
    return projected(partial(_within_norm, limit))


def _within_norm(limit: float, p: FloatArray) -> FloatArray:
    if p.ndim < 2:
        return p
    axes = tuple(range(p.ndim - 1))
    # A column is divided by its largest number first: the squares of what is left neither overflow nor vanish.
    largest = np.abs(p).max(axis=axes, keepdims=True, initial=0)
    with np.errstate(over="ignore", invalid="ignore"):
        parts = np.divide(p, largest, out=np.zeros_like(p), where=largest > 0)
        norms = np.sqrt(np.square(parts).sum(axis=axes, keepdims=True, dtype=np.float64))
        outside = norms * largest > limit
    scales = np.divide(limit, norms, out=np.ones_like(norms), where=outside).astype(p.dtype, copy=False)
    allowed: FloatArray = np.where(outside, parts * scales, p)
    return allowed
