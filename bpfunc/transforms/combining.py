"""Transforms made of transforms: masks, partitions, accumulation, look-ahead, averages of the parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

import attrs
import numpy as np

from bpfunc.arrays.arguments import expected
from bpfunc.arrays.calls import hands_out, one_line, recorded
from bpfunc.arrays.ranges import number, whole
from bpfunc.arrays.types import FloatArray, readonly
from bpfunc.transforms.base import GradientTransform, elementwise
from bpfunc.transforms.elementwise import Arrays, Elementwise, Numbers, check_alike
from bpfunc.tree import (
    STATIC,
    Tree,
    merge,
    partition,
    tree_add,
    tree_cast_like,
    tree_combine,
    tree_leaves_with_path,
    tree_map,
    tree_scale,
    tree_zeros_like,
)

StateT = TypeVar("StateT")


@recorded
def masked(transform: GradientTransform, applies: Callable[[str], bool]) -> GradientTransform:
    """Apply a transform to some leaves and pass the others by untouched.

    Args:
        transform: Sees a tree with None where a leaf is masked out.
        applies: Takes a path such as ``layers[0].bias``.

    Returns:
        A transform whose state is that of the inner one.

    Example:
        No decay on biases, in one line:

        >>> from bpfunc.transforms import add_decayed_weights
        >>> decay = masked(add_decayed_weights(0.1), lambda path: not path.endswith("bias']"))
        >>> params = {"weight": 10.0, "bias": 10.0}
        >>> decay.update({"weight": 1.0, "bias": 1.0}, decay.init(params), params, 0)[0]
        {'bias': 1.0, 'weight': 2.0}
    """
    expected("masked", "transform", transform, GradientTransform)
    return GradientTransform(
        partial(_masked_init, transform, applies),
        partial(_masked_update, transform, applies),
        _masked_elementwise(transform.elementwise, applies),
    )


def _masked_update(
    transform: GradientTransform, applies: Callable[[str], bool], grads: Tree, state: Tree, params: Tree, step: int
) -> tuple[Tree, Tree]:
    check_alike(grads, params)
    chosen, others = partition(grads, applies)
    updates, state = transform.update(chosen, state, partition(params, applies)[0], step)
    return merge(updates, tree_map(readonly, others)), state


def _masked_init(transform: GradientTransform, applies: Callable[[str], bool], params: Tree) -> Tree:
    return transform.init(partition(params, applies)[0])


def _masked_elementwise(inner: Elementwise | None, applies: Callable[[str], bool]) -> Elementwise | None:
    """Keep an elementwise transform so, if it has no state: a masked state has holes."""
    if inner is None or any(part.slots or part.applies for part in inner.parts):
        return None
    return attrs.evolve(inner, parts=tuple(attrs.evolve(part, applies=applies) for part in inner.parts))


@recorded
def partitioned(label: Callable[[str], str], transforms: Mapping[str, GradientTransform]) -> GradientTransform:
    """Give each leaf to the transform of its label.

    Args:
        label: Takes a path, returns one of the names.
        transforms: Name -> transform.

    Returns:
        A transform whose state is a dict of their states.

    Raises:
        KeyError: From `init`, where a leaf has a label without a transform; the message names both.

    Example:
        >>> from bpfunc.transforms import scale
        >>> split = partitioned(lambda path: path, {"['w']": scale(2.0), "['b']": scale(3.0)})
        >>> split.update({"w": 1.0, "b": 1.0}, split.init({"w": 0.0, "b": 0.0}), {"w": 0.0, "b": 0.0}, 0)[0]
        {'b': 3.0, 'w': 2.0}
    """
    parts = dict(transforms)
    for name, transform in parts.items():
        expected("partitioned", f"transforms[{name!r}]", transform, GradientTransform)
    return GradientTransform(partial(_partitioned_init, label, parts), partial(_partitioned_update, label, parts))


def _has_label(label: Callable[[str], str], name: str, path: str) -> bool:
    return label(path) == name


def _partitioned_init(label: Callable[[str], str], parts: dict[str, GradientTransform], params: Tree) -> Tree:
    for path, _ in tree_leaves_with_path(params):
        if label(path) not in parts:
            raise KeyError(f"leaf {path} has label {label(path)!r}; the transforms are {', '.join(parts)}")
    return {name: part.init(partition(params, partial(_has_label, label, name))[0]) for name, part in parts.items()}


def _partitioned_update(
    label: Callable[[str], str],
    parts: dict[str, GradientTransform],
    grads: Tree,
    state: Tree,
    params: Tree,
    step: int,
) -> tuple[Tree, Tree]:
    check_alike(grads, params)
    updates, states = tree_map(lambda g: None, grads), {}
    for name, part in parts.items():
        only = partial(_has_label, label, name)
        chosen, _ = partition(grads, only)
        changed, states[name] = part.update(chosen, state[name], partition(params, only)[0], step)
        updates = merge(updates, changed)
    return updates, states


@attrs.frozen(eq=False)
class AccumulateState:
    """State of `accumulate`.

    Args:
        total: Sum of the gradients since the inner transform last acted.
        inner: State of the inner transform.
    """

    total: Tree
    inner: Tree

    __repr__ = one_line


@recorded
def accumulate(transform: GradientTransform, every: int) -> GradientTransform:
    """Let a transform act on the mean of ``every`` gradients; in between the updates are zero.

    The inner transform counts its own actions: at the n-th it sees step ``n - 1``.

    Args:
        transform: Acts once in ``every`` steps.
        every: At least 1.

    Returns:
        A transform with `AccumulateState`.

    Raises:
        ValueError: ``every`` is below 1.

    Example:
        >>> from bpfunc.transforms import scale
        >>> slow = accumulate(scale(1.0), 2)
        >>> first, state = slow.update(2.0, slow.init(0.0), 0.0, 0)
        >>> float(first), float(slow.update(4.0, state, 0.0, 1)[0])
        (0.0, 3.0)
    """
    expected("accumulate", "transform", transform, GradientTransform)
    every = whole("accumulate", "every", every, "[1, inf)")
    return GradientTransform(partial(_accumulate_init, transform), partial(_accumulate_update, transform, every))


def _accumulate_update(
    transform: GradientTransform, every: int, grads: Tree, state: AccumulateState, params: Tree, step: int
) -> tuple[Tree, AccumulateState]:
    check_alike(grads, params)
    grads = tree_cast_like(grads, state.total)
    total = tree_add(state.total, grads)
    if (step + 1) % every:
        return tree_zeros_like(grads), AccumulateState(total, state.inner)
    updates, inner = transform.update(tree_scale(1 / every, total), state.inner, params, step // every)
    return updates, AccumulateState(tree_zeros_like(total), inner)


def _accumulate_init(transform: GradientTransform, params: Tree) -> AccumulateState:
    return AccumulateState(tree_zeros_like(params), transform.init(params))


@attrs.frozen(eq=False)
class LookaheadState:
    """State of `lookahead`.

    Args:
        slow: The slow parameters.
        inner: State of the inner transform.
    """

    slow: Tree
    inner: Tree

    __repr__ = one_line


@recorded
def lookahead(transform: GradientTransform, *, every: int = 6, rate: float = 0.5) -> GradientTransform:
    """Let fast parameters run ``every`` steps ahead, then pull slow ones after them and restart from there.

    ``slow <- slow + rate (fast - slow)``; ``fast <- slow``, at every ``every``-th step.

    Args:
        transform: A whole optimiser, learning rate included.
        every: Steps between two pulls, at least 1.
        rate: How far the slow ones follow, in (0, 1].

    Returns:
        A transform with `LookaheadState`.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> from bpfunc.transforms import scale
        >>> ahead = lookahead(scale(-1.0), every=1, rate=0.5)
        >>> ahead.update(4.0, ahead.init(10.0), 10.0, 0)[0]
        -2.0

    Reference: Zhang, Lucas, Hinton and Ba, "Lookahead optimizer: k steps forward, 1 step back" (2019).
    """
    expected("lookahead", "transform", transform, GradientTransform)
    every = whole("lookahead", "every", every, "[1, inf)")
    rate = number("lookahead", "rate", rate, "(0, 1]")
    return GradientTransform(partial(_lookahead_init, transform), partial(_lookahead_update, transform, every, rate))


def _lookahead_init(transform: GradientTransform, params: Tree) -> LookaheadState:
    return LookaheadState(tree_map(readonly, params), transform.init(params))


def _lookahead_update(
    transform: GradientTransform, every: int, rate: float, grads: Tree, state: LookaheadState, params: Tree, step: int
) -> tuple[Tree, LookaheadState]:
    check_alike(state.slow, params)
    updates, inner = transform.update(grads, state.inner, params, step)
    if (step + 1) % every:
        return updates, LookaheadState(state.slow, inner)
    updates = tree_cast_like(updates, params)
    slow = tree_combine(lambda s, p, u: s + rate * (p + u - s), state.slow, params, updates)
    return tree_combine(lambda s, p: s - p, slow, params), LookaheadState(slow, inner)


@attrs.frozen(eq=False)
class EmaState:
    """State of `ema_of_params`.

    Args:
        average: Exponential moving average of the parameters.
    """

    average: Tree

    __repr__ = one_line


@recorded
def ema_of_params(decay: float) -> GradientTransform:
    """Keep an exponential moving average of the parameters beside them. Goes last in a chain; updates pass unchanged.

    ``a <- d a + (1 - d) (p + u)`` with ``d = min(decay, (1 + t) / (10 + t))``, ``t = step + 1``, so that the start is
    forgotten. Read it with ``find_state(state, EmaState).average``.

    Args:
        decay: In [0, 1).

    Returns:
        A transform with `EmaState`.

    Raises:
        ValueError: The decay is outside [0, 1).

    Example:
        >>> average = ema_of_params(0.0)
        >>> average.update(-1.0, average.init(5.0), 5.0, 0)[1].average
        4.0

    Reference: Polyak and Juditsky, "Acceleration of stochastic approximation by averaging" (1992).
    """
    decay = number("ema_of_params", "decay", decay, "[0, 1)")
    return elementwise(
        _ema_init,
        _averaged,
        slots=("average",),
        state=EmaState,
        reads_params=True,
        numbers=partial(_ema_numbers, decay),
    )


def _ema_init(params: Tree) -> EmaState:
    return EmaState(tree_map(readonly, params))


def _ema_numbers(decay: float, step: int) -> Numbers:
    kept = min(decay, (2 + step) / (11 + step))
    return kept, 1 - kept


def _averaged(
    c: Numbers, u: FloatArray, p: FloatArray, old: Arrays, new: Arrays, out: FloatArray, work: FloatArray
) -> FloatArray:
    np.add(p, u, out=work)
    work *= c[1]
    np.multiply(old[0], c[0], out=new[0])
    np.add(new[0], work, out=new[0])
    return u


def find_state(state: Tree, kind: type[StateT]) -> StateT:
    """Find the one record of a class in an optimiser's state, however deep it lies.

    Args:
        state: State of any chain.
        kind: Such as `EmaState`.

    Returns:
        The record.

    Raises:
        LookupError: There is none, or more than one.

    Example:
        >>> find_state(((), (EmaState(1.0),)), EmaState).average
        1.0
    """
    found = _records(state, kind)
    if len(found) != 1:
        raise LookupError(f"expected one {kind.__name__} in the state, found {len(found)}")
    return found[0]


def _records(node: Tree, kind: type[StateT]) -> list[StateT]:
    if isinstance(node, kind):
        return [node]
    if isinstance(node, tuple):
        children: tuple[Tree, ...] = node
    elif isinstance(node, dict):
        children = tuple(node.values())
    elif attrs.has(type(node)):
        fields = (field for field in attrs.fields(type(node)) if field.metadata != STATIC)
        children = tuple(getattr(node, field.name) for field in fields)
    else:
        return []
    return [record for child in children for record in _records(child, kind)]


hands_out(masked, init=_masked_init, update=_masked_update)
hands_out(partitioned, init=_partitioned_init, update=_partitioned_update)
hands_out(accumulate, init=_accumulate_init, update=_accumulate_update)
hands_out(lookahead, init=_lookahead_init, update=_lookahead_update)
hands_out(ema_of_params, init=_ema_init)
