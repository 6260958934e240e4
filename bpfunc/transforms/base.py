"""From gradients to updates: small pure transforms that chain.

A transform is a pair ``init(params) -> state`` and ``update(grads, state, params, step) -> (updates, state)``. The
step is passed in and kept nowhere here. The minus sign lives in `scale_by_learning_rate` alone, so updates are
ADDED to parameters (`bpfunc.update.apply_updates`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import attrs

from bpfunc.tree import Tree, tree_map
from bpfunc.types import readonly

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


def identity() -> GradientTransform:
    """Leave gradients as they are.

    Returns:
        A transform with state ``()``.

    Example:
        >>> identity().update(1.0, (), 0.0, 0)
        (1.0, ())
    """
    return stateless(lambda grads, params, step: tree_map(readonly, grads))


def chain(*transforms: GradientTransform) -> GradientTransform:
    """Apply transforms one after the other.

    Args:
        transforms: The first sees the gradients; each next one sees what the one before made of them.

    Returns:
        A transform whose state is the tuple of their states.

    Example:
        >>> double = stateless(lambda grads, params, step: 2 * grads)
        >>> chain(double, double).update(1.0, ((), ()), 0.0, 0)
        (4.0, ((), ()))
    """

    def init(params: Tree) -> Tree:
        return tuple(transform.init(params) for transform in transforms)

    def update(grads: Tree, state: Tree, params: Tree, step: int) -> tuple[Tree, Tree]:
        updates, states = tree_map(readonly, grads), []
        for transform, transform_state in zip(transforms, state, strict=True):
            updates, new_state = transform.update(updates, transform_state, params, step)
            states.append(new_state)
        return updates, tuple(states)

    return GradientTransform(init, update)
