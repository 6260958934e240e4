"""From gradients to updates: small pure transforms that chain.

A transform is a pair ``init(params) -> state`` and ``update(grads, state, params, step) -> (updates, state)``. The
step is passed in and kept nowhere here. The minus sign lives in `scale_by_learning_rate` alone, so updates are
ADDED to parameters (`bpfunc.transforms.update.apply_updates`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import attrs

from bpfunc.arrays.arguments import expected
from bpfunc.arrays.calls import Call, called, hands_out, recorded, shown
from bpfunc.arrays.types import readonly
from bpfunc.transforms.elementwise import Elementwise, Kernel, Numbers, Part, check_alike, no_numbers, run
from bpfunc.tree import Tree, tree_map

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
        elementwise: The same once more for a transform that treats each number by itself, in a form that fuses with its
            neighbours; `elementwise` makes both from one formula. The three fields belong together: where
            ``attrs.evolve`` replaces one of them, the result has none of the fields from here on.
        links: What `chain` made it of.
        norm_limit: Norm to which it shrinks the whole gradient, if that is all it does.
        call: The call that made it, for `repr`; None where it was made from its functions.

    Example:
        >>> double = GradientTransform(lambda params: (), lambda grads, state, params, step: (2 * grads, state))
        >>> double.update(3.0, (), 0.0, 0)
        (6.0, ())
    """

    init: InitFn
    update: UpdateFn
    elementwise: Elementwise | None = None
    links: tuple[GradientTransform, ...] = ()
    norm_limit: float | None = None
    call: Call | None = attrs.field(default=None, init=False, repr=False, eq=False)
    _together: tuple[object, ...] = attrs.field(default=(), repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        """Drop what was said of another `init` or `update`."""
        fields = (self.init, self.update, self.elementwise, self.links, self.norm_limit)
        if any(one is not other and one != other for one, other in zip(self._together, fields, strict=False)):
            for name, nothing in (("elementwise", None), ("links", ()), ("norm_limit", None)):
                object.__setattr__(self, name, nothing)
        together = (self.init, self.update, self.elementwise, self.links, self.norm_limit)
        object.__setattr__(self, "_together", together)

    def __repr__(self) -> str:
        """Print as the call that made it."""
        if self.call is not None:
            return repr(self.call)
        if self.links:
            return called("chain", [repr(link) for link in self.links])
        return f"GradientTransform(init={shown(self.init)}, update={shown(self.update)})"


def elementwise(
    init: InitFn,
    kernel: Kernel,
    *,
    slots: tuple[str, ...] = (),
    state: Callable[..., Tree] | None = None,
    reads_params: bool = False,
    numbers: Callable[[int], Numbers] = no_numbers,
) -> GradientTransform:
    """Make a transform that treats each number by itself from one formula over blocks of memory.

    Args:
        init: ``params -> state``.
        kernel: The formula; see `bpfunc.transforms.elementwise.Kernel`.
        slots: Names of the state's fields, each a tree like the parameters.
        state: Makes the state of them; without it the state is ``()``.
        reads_params: Whether the kernel reads the parameters.
        numbers: ``step -> numbers``: what the kernel needs to know of the step, such as a learning rate.

    Returns:
        A transform that fuses with others of its kind.

    Example:
        >>> import numpy as np
        >>> double = elementwise(
        ...     lambda params: (), lambda c, g, p, old, new, out, work: np.multiply(g, 2, out=out)
        ... )
        >>> double.update((np.ones(2),), (), (), 0)[0]
        (array([2., 2.]),)
    """
    part = Part(kernel, len(slots), reads_params, numbers=numbers)
    return fused(init, Elementwise((part,), partial(_slots, slots), partial(_state, state)))


def _slots(names: tuple[str, ...], state: Tree) -> tuple[Tree, ...]:
    return tuple(getattr(state, name) for name in names)


def _state(make: Callable[..., Tree] | None, slots: tuple[Tree, ...]) -> Tree:
    return () if make is None else make(*slots)


def no_state(params: Tree) -> Tree:
    """Start a transform that keeps nothing between steps: its `init`.

    Args:
        params: Not used.

    Returns:
        ``()``.

    Example:
        >>> no_state((1.0, 2.0))
        ()
    """
    return ()


def fused(init: InitFn, form: Elementwise) -> GradientTransform:
    """Make a transform of an elementwise form, which then is both of its update and of what fuses.

    Args:
        init: ``params -> state``.
        form: What is done to each number, and by what.

    Returns:
        The transform.

    Example:
        >>> import numpy as np
        >>> halve = Part(lambda c, g, p, old, new, out, work: np.divide(g, 2, out=out))
        >>> form = Elementwise((halve,), lambda state: (), lambda trees: ())
        >>> fused(lambda params: (), form).update((4.0,), (), (), 0)[0]
        (2.0,)
    """
    return GradientTransform(init, partial(run, form, add=False), form)


@recorded
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
    return GradientTransform(no_state, partial(_stateless_update, function))


def _stateless_update(
    function: Callable[[Tree, Tree, int], Tree], grads: Tree, state: Tree, params: Tree, step: int
) -> tuple[Tree, Tree]:
    check_alike(grads, params)
    return function(grads, params, step), state


@recorded
def identity() -> GradientTransform:
    """Leave gradients as they are.

    Returns:
        A transform with state ``()``.

    Example:
        >>> identity().update(1.0, (), 0.0, 0)
        (1.0, ())
    """
    form = Elementwise((), partial(_slots, ()), partial(_state, None))
    return GradientTransform(no_state, partial(_stateless_update, _same), form)


def _same(grads: Tree, params: Tree, step: int) -> Tree:
    return tree_map(readonly, grads)


@recorded
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
    for index, transform in enumerate(transforms):
        expected("chain", f"transforms[{index}]", transform, GradientTransform)
    form = chained([transform.elementwise for transform in transforms])
    return GradientTransform(partial(_chain_init, transforms), partial(_chain_update, transforms), form, transforms)


def _chain_init(transforms: tuple[GradientTransform, ...], params: Tree) -> Tree:
    return tuple(transform.init(params) for transform in transforms)


def _chain_update(
    transforms: tuple[GradientTransform, ...], grads: Tree, state: Tree, params: Tree, step: int
) -> tuple[Tree, Tree]:
    updates, states = tree_map(readonly, grads), []
    for transform, transform_state in zip(transforms, state, strict=True):
        updates, new_state = transform.update(updates, transform_state, params, step)
        states.append(new_state)
    return updates, tuple(states)


def chained(links: list[Elementwise | None]) -> Elementwise | None:
    """Fuse elementwise transforms into one, if all are, and all are run by the same engine.

    Args:
        links: In order.

    Returns:
        Their chain, whose state is the tuple of their states; None where they do not fuse.

    Example:
        >>> chained([identity().elementwise, None]) is None
        True
    """
    fusable = tuple(link for link in links if link is not None)
    engines = {link.engine: link.dtypes for link in fusable if link.parts}
    if len(fusable) < len(links) or len(engines) > 1:
        return None
    parts = tuple(part for link in fusable for part in link.parts)
    fused_links = Elementwise(parts, partial(_open_links, fusable), partial(_close_links, fusable))
    for engine, dtypes in engines.items():
        return attrs.evolve(fused_links, engine=engine, dtypes=dtypes)
    return fused_links


def _open_links(links: tuple[Elementwise, ...], state: Tree) -> tuple[Tree, ...]:
    return tuple(tree for link, own in zip(links, state, strict=True) for tree in link.open(own))


def _close_links(links: tuple[Elementwise, ...], trees: tuple[Tree, ...]) -> Tree:
    states, first = [], 0
    for link in links:
        last = first + sum(part.slots for part in link.parts)
        states.append(link.close(trees[first:last]))
        first = last
    return tuple(states)


hands_out(stateless, update=_stateless_update)
hands_out(chain, init=_chain_init, update=_chain_update)
