"""An optimiser's work as one compiled loop, bit for bit as NumPy does it."""

from __future__ import annotations

import attrs
import numpy as np

from bpfunc.arrays.types import FloatArray
from bpfunc.compiled.loops import counted, loop_of, refused_by_name, traced_once
from bpfunc.compiled.machine import PRECISIONS
from bpfunc.gradient.penalty import PULL
from bpfunc.transforms import GradientTransform
from bpfunc.transforms.base import chained, fused
from bpfunc.transforms.elementwise import Arrays, Elementwise, FillFn, Part
from bpfunc.transforms.formula import constants


def compiled(transform: GradientTransform) -> GradientTransform:
    """Compile an optimiser. Same records, same numbers, less time.

    The first step takes about a second longer: that is when the loop is made.

    Args:
        transform: Any chain of transforms that treat each number by itself (its `elementwise` is not None): all of
            `bpfunc.optimizers` but `lamb`, averages of the parameters, decay by a mask. Where a chain has other links
            (a norm to clip by), compile those that can be: ``chain(clip_by_global_norm(1), compiled(adam()))``.

    Returns:
        A transform with the same states and results. Its `update` raises TreeStructureError where gradients, state and
        parameters do not fit one another, and TypeError where they are not all of float32 or all of float64; the
        message names the leaf.

    Raises:
        TypeError: A formula does something that is not compiled.
        ValueError: The transform, or a link of it, has no formula for single numbers.

    Example:
        >>> from bpfunc.optimizers import adam
        >>> fast, params = compiled(adam(0.1)), (np.ones(3, np.float32),)
        >>> updates, state = fast.update((np.ones(3, np.float32),), fast.init(params), params, 0)
        >>> updates[0]
        array([-0.09999999, -0.09999999, -0.09999999], dtype=float32)

    Reference: Lam, Pitrou and Seibert, "Numba: a LLVM-based Python JIT compiler" (2015).
    """
    return fused(transform.init, attrs.evolve(elementwise_form(transform), engine=_compiled, dtypes=PRECISIONS))


def elementwise_form(transform: GradientTransform) -> Elementwise:
    """Find the formulas of a transform, and check that all of them can be compiled.

    Args:
        transform: Any.

    Returns:
        Its elementwise form.

    Raises:
        TypeError: A kernel does something that is not compiled.
        ValueError: It has none.

    Example:
        >>> from bpfunc.optimizers import sgd
        >>> len(elementwise_form(sgd(0.1)).parts)
        1
    """
    form = transform.elementwise
    if form is None:
        raise ValueError(
            "no formula for single numbers is known of this transform: it, or a link of it, looks at more than one "
            "number at a time, or keeps state for some leaves alone, or has functions of your own; compile the links "
            "that do not"
        )
    try:
        traced_once(form.parts, True)
    except (AttributeError, IndexError, ValueError) as error:
        raise TypeError(f"a kernel of this transform cannot be compiled: {error}") from None
    return form


def clipped_form(transform: GradientTransform) -> tuple[float, Elementwise]:
    """Find the formulas of a transform that may begin with `bpfunc.transforms.clip_by_global_norm`.

    Args:
        transform: Any.

    Returns:
        The limit of the norm, 0 where there is none, and the elementwise form of all that follows.

    Raises:
        TypeError: A kernel does something that is not compiled.
        ValueError: It has no such form.

    Example:
        >>> from bpfunc.optimizers import sgd
        >>> from bpfunc.transforms import chain, clip_by_global_norm
        >>> clipped_form(chain(clip_by_global_norm(2.0), sgd(0.1)))[0]
        2.0
    """
    first, *others = transform.links or (transform,)
    if transform.elementwise is not None or first.norm_limit is None:
        return 0.0, elementwise_form(transform)
    nothing = Elementwise((), lambda state: (), lambda trees: ())
    whole = chained([nothing, *[link.elementwise for link in others]])
    if not transform.links or whole is None:
        return 0.0, elementwise_form(transform)
    return first.norm_limit, elementwise_form(fused(transform.init, whole))


def penalised_form(alpha: float, limit: float, chain: Elementwise) -> Elementwise:
    """Put the gradient of an L2 penalty before an optimiser.

    Args:
        alpha: Of the penalty; 0 for none.
        limit: Norm that the gradient is brought to where it is larger; 0 for none.
        chain: The optimiser.

    Returns:
        The chain, whose first part is `bpfunc.gradient.penalty.PULL` where there is a penalty.

    Raises:
        ValueError: There are both: the norm is one of the gradient with the penalty.

    Example:
        >>> from bpfunc.optimizers import sgd
        >>> len(penalised_form(0.5, 0.0, elementwise_form(sgd(0.1))).parts)
        2
    """
    if not alpha:
        return chain
    if limit:
        raise ValueError("a compiled epoch does not take a penalty on the weights together with clip_by_global_norm")
    return attrs.evolve(chain, parts=(PULL, *chain.parts))


def _compiled(parts: tuple[Part, ...], step: int, add: bool) -> FillFn:
    """The `Engine`: hand the numbers of the step to the loop of the parts' formula."""
    formula, settings = traced_once(parts, add)
    numbers, loop = counted(constants(parts, settings, step), formula), loop_of(formula)

    def fill(g: FloatArray, p: FloatArray, old: Arrays, out: FloatArray, new: Arrays) -> None:
        # numba takes every array for an aligned one.
        given = [array if array.flags.aligned else array.copy() for array in (g, p, *old)]
        with refused_by_name():
            loop(np.array(numbers, out.dtype), *given, out, *new)

    return fill
