"""From gradients to updates: small pure transforms that chain.

A transform is a pair ``init(params) -> state`` and ``update(grads, state, params, step) -> (updates, state)``. The
step is passed in and kept nowhere here. The minus sign lives in `scale_by_learning_rate` alone, so updates are
ADDED to parameters (`bpfunc.update.apply_updates`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import attrs

from bpfunc.schedules import Schedule, as_schedule
from bpfunc.tree import Tree, tree_add, tree_map, tree_scale, tree_zeros_like

InitFn: TypeAlias = Callable[[Tree], Tree]
"""``params -> state``."""
UpdateFn: TypeAlias = Callable[[Tree, Tree, Tree, int], tuple[Tree, Tree]]
"""``(grads, state, params, step) -> (updates, state)``, steps counted from 0."""


@attrs.frozen
class GradientTransform:
    """A pair of pure functions that turns gradients into updates.

    Args:
        init: ``params -> state``.
        update: ``(grads, state, params, step) -> (updates, state)``.

    Example:
        >>> double = GradientTransform(lambda params: (), lambda grads, state, params, step: (2 * grads, state))
        >>> double.update(3.0, (), 0.0, 0)
        (6.0, ())
    """

    init: InitFn
    update: UpdateFn


def stateless(function: Callable[[Tree, Tree, int], Tree]) -> GradientTransform:
    """Make a transform that keeps nothing between steps.

    Args:
        function: ``(grads, params, step) -> updates``.

    Returns:
        A transform with state ``()``.

    Example:
        >>> stateless(lambda grads, params, step: grads + params).update(1.0, (), 2.0, 0)
        (3.0, ())
    """
    return GradientTransform(
        lambda params: (), lambda grads, state, params, step: (function(grads, params, step), state)
    )


def chain(*transforms: GradientTransform) -> GradientTransform:
    """Apply transforms one after the other.

    Args:
        transforms: The first sees the gradients; each next one sees what the one before made of them.

    Returns:
        A transform whose state is the tuple of their states.

    Example:
        >>> chain(scale(2.0), scale(3.0)).update(1.0, ((), ()), 0.0, 0)
        (6.0, ((), ()))
    """

    def init(params: Tree) -> Tree:
        return tuple(transform.init(params) for transform in transforms)

    def update(grads: Tree, state: Tree, params: Tree, step: int) -> tuple[Tree, Tree]:
        updates, states = grads, []
        for transform, transform_state in zip(transforms, state, strict=True):
            updates, new_state = transform.update(updates, transform_state, params, step)
            states.append(new_state)
        return updates, tuple(states)

    return GradientTransform(init, update)


def scale(factor: float) -> GradientTransform:
    """Multiply by a number: ``u = factor * g``.

    Args:
        factor: The number.

    Returns:
        A transform.

    Example:
        >>> scale(0.5).update(4.0, (), 0.0, 0)[0]
        2.0
    """
    return stateless(lambda grads, params, step: tree_scale(factor, grads))


def scale_by_schedule(schedule: Schedule) -> GradientTransform:
    """Multiply by a function of the step: ``u = schedule(step) * g``.

    Args:
        schedule: ``step -> factor``.

    Returns:
        A transform.

    Example:
        >>> scale_by_schedule(lambda step: 1 / (step + 1)).update(4.0, (), 0.0, 1)[0]
        2.0
    """
    return stateless(lambda grads, params, step: tree_scale(schedule(step), grads))


def scale_by_learning_rate(learning_rate: float | Schedule) -> GradientTransform:
    """Turn a direction of ascent into a step of descent: ``u = -learning_rate * g``. The only minus sign.

    Args:
        learning_rate: A number, or a schedule.

    Returns:
        A transform.

    Example:
        >>> scale_by_learning_rate(0.5).update(4.0, (), 0.0, 0)[0]
        -2.0
    """
    schedule = as_schedule(learning_rate)
    return stateless(lambda grads, params, step: tree_scale(-schedule(step), grads))


@attrs.frozen(eq=False)
class MomentumState:
    """State of `momentum`.

    Args:
        velocity: The accumulated gradients; a tree like the parameters.
    """

    velocity: Tree


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
    if not 0 <= decay < 1:
        raise ValueError(f"momentum takes a decay in [0, 1), got {decay}")

    def update(grads: Tree, state: MomentumState, params: Tree, step: int) -> tuple[Tree, MomentumState]:
        velocity = tree_map(lambda g, v: g + decay * v, grads, state.velocity)
        updates = tree_add(grads, tree_scale(decay, velocity)) if nesterov else velocity
        return updates, MomentumState(velocity)

    return GradientTransform(lambda params: MomentumState(tree_zeros_like(params)), update)
