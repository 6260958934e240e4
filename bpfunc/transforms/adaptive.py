"""Preconditioners that scale each parameter by the size of its past gradients.

They only precondition: the recipes in `bpfunc.optimizers` add weight decay and the learning rate. ``g`` is the
gradient, ``t`` counts updates from 1. Gradients are brought to the state's dtype. In a kernel ``s`` are its settings,
and ``c`` the numbers of the step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TypeVar, cast

import attrs
import numpy as np

from bpfunc.arrays.calls import hands_out, one_line, recorded
from bpfunc.arrays.ranges import number
from bpfunc.arrays.types import FloatArray, readonly
from bpfunc.transforms.base import GradientTransform, elementwise, no_state
from bpfunc.transforms.elementwise import Arrays, Numbers
from bpfunc.tree import Tree, norm_factors, tree_combine, tree_map, tree_zeros_like, with_norm

StateT = TypeVar("StateT")


def _averaged(decay: float, old: FloatArray, value: FloatArray, new: FloatArray, work: FloatArray) -> FloatArray:
    """Fill ``new`` with ``decay * old + (1 - decay) * value``; ``value`` and ``work`` may be one."""
    np.multiply(value, 1 - decay, out=work)
    np.multiply(old, decay, out=new)
    return np.add(new, work, out=new)


def _divided(value: FloatArray, squares: FloatArray, eps: float, out: FloatArray, work: FloatArray) -> FloatArray:
    """Fill ``out`` with ``value / (sqrt(squares) + eps)``; ``value`` may be ``out``, and ``squares`` ``work``."""
    np.sqrt(squares, out=work)
    np.add(work, eps, out=work)
    return np.divide(value, work, out=out)


def _zeros(state: Callable[..., StateT], params: Tree) -> StateT:
    """A state whose fields are all zeros."""
    zeros = tree_zeros_like(params)
    return state(*[zeros for _ in attrs.fields(cast(type, state))])


@attrs.frozen(eq=False)
class SquaresState:
    """State of the preconditioners that keep squares alone.

    Args:
        squares: Sum or average of squared gradients; a tree like the parameters.
    """

    squares: Tree

    __repr__ = one_line


@recorded
def scale_by_adagrad(*, initial: float = 0.1, eps: float = 1e-10) -> GradientTransform:
    """Divide by the root of the sum of squares: ``s <- s + g^2``; ``u = g / (sqrt(s) + eps)``.

    Args:
        initial: ``s`` at the start, at least 0.
        eps: Added to the root, at least 0. (optax adds its eps below the root.)

    Returns:
        A transform with `SquaresState`.

    Raises:
        ValueError: An argument is negative.

    Example:
        >>> transform = scale_by_adagrad(initial=0.0, eps=0.0)
        >>> transform.update((np.array([3.0]),), transform.init((np.array([1.0]),)), (), 0)[0]
        (array([1.]),)

    Reference: Duchi, Hazan and Singer, "Adaptive subgradient methods" (2011).
    """
    eps = number("scale_by_adagrad", "eps", eps, "[0, inf)")
    initial = number("scale_by_adagrad", "initial", initial, "[0, inf)")

    return elementwise(partial(_adagrad_init, initial), partial(_adagrad, eps), slots=("squares",), state=SquaresState)


def _adagrad_init(initial: float, params: Tree) -> SquaresState:
    return SquaresState(tree_map(lambda p: np.full_like(p, initial), params))


def _adagrad(
    eps: float, c: Numbers, g: FloatArray, p: FloatArray, old: Arrays, new: Arrays, out: FloatArray, work: FloatArray
) -> FloatArray:
    np.multiply(g, g, out=work)
    np.add(old[0], work, out=new[0])
    return _divided(g, new[0], eps, out, work)


@attrs.frozen(eq=False)
class CentredState:
    """State of `scale_by_rmsprop` with ``centred``.

    Args:
        squares: Average of squared gradients.
        mean: Average of gradients.
    """

    squares: Tree
    mean: Tree

    __repr__ = one_line


@recorded
def scale_by_rmsprop(*, decay: float = 0.99, eps: float = 1e-8, centred: bool = False) -> GradientTransform:
    """Divide by the root of the average square: ``s <- decay s + (1 - decay) g^2``; ``u = g / (sqrt(s) + eps)``.

    Centred, the average gradient's square is subtracted below the root: ``sqrt(s - m^2)``. The form is torch's.

    Args:
        decay: In [0, 1).
        eps: Added to the root, at least 0.
        centred: Whether to divide by a deviation instead of a root mean square.

    Returns:
        A transform with `SquaresState`, or `CentredState` where centred.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> transform = scale_by_rmsprop(decay=0.0, eps=0.0)
        >>> transform.update((np.array([-3.0]),), transform.init((np.array([1.0]),)), (), 0)[0]
        (array([-1.]),)

    Reference: Tieleman and Hinton, "Lecture 6.5, rmsprop" (2012); centred: Graves (2013).
    """
    decay = number("scale_by_rmsprop", "decay", decay, "[0, 1)")
    eps = number("scale_by_rmsprop", "eps", eps, "[0, inf)")

    kernel = partial(_rmsprop, (decay, eps, centred))
    if centred:
        return elementwise(partial(_zeros, CentredState), kernel, slots=("squares", "mean"), state=CentredState)
    return elementwise(partial(_zeros, SquaresState), kernel, slots=("squares",), state=SquaresState)


def _rmsprop(
    s: Numbers, c: Numbers, g: FloatArray, p: FloatArray, old: Arrays, new: Arrays, out: FloatArray, work: FloatArray
) -> FloatArray:
    decay, eps, centred = s
    np.multiply(g, g, out=work)
    squares = _averaged(decay, old[0], work, new[0], work)
    if not centred:
        return _divided(g, squares, eps, out, work)
    mean = _averaged(decay, old[1], g, new[1], work)
    np.multiply(mean, mean, out=work)
    np.subtract(squares, work, out=work)
    np.maximum(work, 0, out=work)  # rounding can push the variance of a constant gradient below 0
    return _divided(g, work, eps, out, work)


@attrs.frozen(eq=False)
class AdadeltaState:
    """State of `scale_by_adadelta`.

    Args:
        squares: Average of squared gradients.
        updates: Average of squared updates.
    """

    squares: Tree
    updates: Tree

    __repr__ = one_line


@recorded
def scale_by_adadelta(*, decay: float = 0.9, eps: float = 1e-6) -> GradientTransform:
    """Scale by the ratio of past updates to past gradients: ``u = g sqrt(d + eps) / sqrt(s + eps)``.

    ``s`` averages squared gradients, ``d`` squared updates (from before this one).

    Args:
        decay: Of both averages, in [0, 1).
        eps: Added below both roots, at least 0.

    Returns:
        A transform with `AdadeltaState`.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> transform = scale_by_adadelta(decay=0.0, eps=0.0)
        >>> transform.update((np.array([3.0]),), transform.init((np.array([1.0]),)), (), 0)[0]
        (array([0.]),)

    Reference: Zeiler, "Adadelta: an adaptive learning rate method" (2012).
    """
    decay = number("scale_by_adadelta", "decay", decay, "[0, 1)")
    eps = number("scale_by_adadelta", "eps", eps, "[0, inf)")

    kernel = partial(_adadelta, (decay, eps))
    return elementwise(partial(_zeros, AdadeltaState), kernel, slots=("squares", "updates"), state=AdadeltaState)


def _adadelta(
    s: Numbers, c: Numbers, g: FloatArray, p: FloatArray, old: Arrays, new: Arrays, out: FloatArray, work: FloatArray
) -> FloatArray:
    decay, eps = s
    np.multiply(g, g, out=work)
    squares = _averaged(decay, old[0], work, new[0], work)
    np.add(old[1], eps, out=work)
    np.sqrt(work, out=work)
    np.multiply(g, work, out=out)
    np.add(squares, eps, out=work)
    np.sqrt(work, out=work)
    np.divide(out, work, out=out)
    np.multiply(out, out, out=work)
    _averaged(decay, old[1], work, new[1], work)
    return out


@attrs.frozen(eq=False)
class AdamState:
    """State of `scale_by_adam` and `scale_by_nadam`.

    Args:
        mean: Average of gradients, not corrected for its start at zero.
        squares: Average of squared gradients, not corrected.
    """

    mean: Tree
    squares: Tree

    __repr__ = one_line


def _adam_settings(function: str, beta1: float, beta2: float, eps: float) -> tuple[float, float, float]:
    return (
        number(function, "beta1", beta1, "[0, 1)"),
        number(function, "beta2", beta2, "[0, 1)"),
        number(function, "eps", eps, "[0, inf)"),
    )


@recorded
def scale_by_adam(*, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> GradientTransform:
    """Divide the average gradient by the root of the average square, both corrected for their start at zero.

    ``m <- beta1 m + (1 - beta1) g``; ``s <- beta2 s + (1 - beta2) g^2``;
    ``u = (m / (1 - beta1^t)) / (sqrt(s / (1 - beta2^t)) + eps)``, with ``t = step + 1``.

    Args:
        beta1: Decay of the average gradient, in [0, 1).
        beta2: Decay of the average square, in [0, 1).
        eps: Added to the root, at least 0.

    Returns:
        A transform with `AdamState`.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> transform = scale_by_adam(eps=0.0)
        >>> transform.update((np.array([-3.0]),), transform.init((np.array([1.0]),)), (), 0)[0]
        (array([-1.]),)

    Reference: Kingma and Ba, "Adam: a method for stochastic optimization" (2015).
    """
    beta1, beta2, eps = _adam_settings("scale_by_adam", beta1, beta2, eps)

    return elementwise(
        partial(_zeros, AdamState),
        partial(_adam, (beta1, beta2)),
        slots=("mean", "squares"),
        state=AdamState,
        numbers=partial(_adam_numbers, beta1, beta2, eps),
    )


def _adam_numbers(beta1: float, beta2: float, eps: float, step: int) -> Numbers:
    # The corrections are the same for all numbers, so the roots and the quotient take them as two numbers.
    first, second = 1 - beta1 ** (step + 1), math.sqrt(1 - beta2 ** (step + 1))
    return eps * second, second / first


def _adam(
    s: Numbers, c: Numbers, g: FloatArray, p: FloatArray, old: Arrays, new: Arrays, out: FloatArray, work: FloatArray
) -> FloatArray:
    beta1, beta2 = s
    np.multiply(g, g, out=work)
    squares = _averaged(beta2, old[1], work, new[1], work)
    mean = _averaged(beta1, old[0], g, new[0], work)
    np.sqrt(squares, out=work)
    work += c[0]
    np.divide(mean, work, out=out)
    return np.multiply(out, c[1], out=out)


@attrs.frozen(eq=False)
class AmsgradState:
    """State of `scale_by_amsgrad`.

    Args:
        mean: Average of gradients.
        squares: Average of squared gradients.
        largest: Largest average square so far, not corrected.
    """

    mean: Tree
    squares: Tree
    largest: Tree

    __repr__ = one_line


@recorded
def scale_by_amsgrad(*, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> GradientTransform:
    """Adam that divides by the largest average square so far, so that the scale never grows back.

    The largest is taken before the correction for the start at zero, as in torch; optax takes it after.

    Args:
        beta1: Decay of the average gradient, in [0, 1).
        beta2: Decay of the average square, in [0, 1).
        eps: Added to the root, at least 0.

    Returns:
        A transform with `AmsgradState`.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> transform = scale_by_amsgrad(eps=0.0)
        >>> transform.update((np.array([-3.0]),), transform.init((np.array([1.0]),)), (), 0)[0]
        (array([-1.]),)

    Reference: Reddi, Kale and Kumar, "On the convergence of Adam and beyond" (2018).
    """
    beta1, beta2, eps = _adam_settings("scale_by_amsgrad", beta1, beta2, eps)

    return elementwise(
        partial(_zeros, AmsgradState),
        partial(_amsgrad, (beta1, beta2, eps)),
        slots=("mean", "squares", "largest"),
        state=AmsgradState,
        numbers=partial(_amsgrad_numbers, beta1, beta2),
    )


def _amsgrad_numbers(beta1: float, beta2: float, step: int) -> Numbers:
    return 1 - beta1 ** (step + 1), 1 - beta2 ** (step + 1)


def _amsgrad(
    s: Numbers, c: Numbers, g: FloatArray, p: FloatArray, old: Arrays, new: Arrays, out: FloatArray, work: FloatArray
) -> FloatArray:
    beta1, beta2, eps = s
    np.multiply(g, g, out=work)
    squares = _averaged(beta2, old[1], work, new[1], work)
    mean = _averaged(beta1, old[0], g, new[0], work)
    largest = np.maximum(old[2], squares, out=new[2])
    np.divide(mean, c[0], out=out)
    np.divide(largest, c[1], out=work)
    return _divided(out, work, eps, out, work)


@attrs.frozen(eq=False)
class AdamaxState:
    """State of `scale_by_adamax`.

    Args:
        mean: Average of gradients.
        largest: Largest size of a gradient so far, older ones decayed; ``eps`` included.
    """

    mean: Tree
    largest: Tree

    __repr__ = one_line


@recorded
def scale_by_adamax(*, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> GradientTransform:
    """Adam with the largest past gradient instead of the root of the average square.

    ``n <- max(beta2 n, |g| + eps)``; ``u = m / (1 - beta1^t) / n``.

    Args:
        beta1: Decay of the average gradient, in [0, 1).
        beta2: Decay of the largest size, in [0, 1).
        eps: Added to the size of each gradient, at least 0.

    Returns:
        A transform with `AdamaxState`.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> transform = scale_by_adamax(eps=0.0)
        >>> transform.update((np.array([-3.0]),), transform.init((np.array([1.0]),)), (), 0)[0]
        (array([-1.]),)

    Reference: Kingma and Ba, "Adam: a method for stochastic optimization" (2015), section 7.1.
    """
    beta1, beta2, eps = _adam_settings("scale_by_adamax", beta1, beta2, eps)

    return elementwise(
        partial(_zeros, AdamaxState),
        partial(_adamax, (beta1, beta2, eps)),
        slots=("mean", "largest"),
        state=AdamaxState,
        numbers=partial(_adamax_numbers, beta1),
    )


def _adamax_numbers(beta1: float, step: int) -> Numbers:
    return (1 - beta1 ** (step + 1),)


def _adamax(
    s: Numbers, c: Numbers, g: FloatArray, p: FloatArray, old: Arrays, new: Arrays, out: FloatArray, work: FloatArray
) -> FloatArray:
    beta1, beta2, eps = s
    mean = _averaged(beta1, old[0], g, new[0], work)
    np.abs(g, out=work)
    np.add(work, eps, out=work)
    np.multiply(old[1], beta2, out=new[1])
    largest = np.maximum(new[1], work, out=new[1])
    np.divide(mean, c[0], out=out)
    return np.divide(out, largest, out=out)


@recorded
def scale_by_nadam(*, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> GradientTransform:
    """Adam with Nesterov's look-ahead in the average gradient, at constant ``beta1``.

    ``u = (beta1 m / (1 - beta1^(t+1)) + (1 - beta1) g / (1 - beta1^t)) / (sqrt(s / (1 - beta2^t)) + eps)``. The form is
    optax's; torch lets ``beta1`` grow with the step.

    Args:
        beta1: Decay of the average gradient, in [0, 1).
        beta2: Decay of the average square, in [0, 1).
        eps: Added to the root, at least 0.

    Returns:
        A transform with `AdamState`.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> transform = scale_by_nadam(beta1=0.0, eps=0.0)
        >>> transform.update((np.array([-3.0]),), transform.init((np.array([1.0]),)), (), 0)[0]
        (array([-1.]),)

    Reference: Dozat, "Incorporating Nesterov momentum into Adam" (2016).
    """
    beta1, beta2, eps = _adam_settings("scale_by_nadam", beta1, beta2, eps)

    return elementwise(
        partial(_zeros, AdamState),
        partial(_nadam, (beta1, beta2, eps)),
        slots=("mean", "squares"),
        state=AdamState,
        numbers=partial(_nadam_numbers, beta1, beta2),
    )


def _nadam_numbers(beta1: float, beta2: float, step: int) -> Numbers:
    now, ahead, second = 1 - beta1 ** (step + 1), 1 - beta1 ** (step + 2), 1 - beta2 ** (step + 1)
    return beta1 / ahead, (1 - beta1) / now, second


def _nadam(
    s: Numbers, c: Numbers, g: FloatArray, p: FloatArray, old: Arrays, new: Arrays, out: FloatArray, work: FloatArray
) -> FloatArray:
    beta1, beta2, eps = s
    np.multiply(g, g, out=work)
    squares = _averaged(beta2, old[1], work, new[1], work)
    mean = _averaged(beta1, old[0], g, new[0], work)
    np.multiply(mean, c[0], out=work)
    np.multiply(g, c[1], out=out)
    np.add(work, out, out=out)
    np.divide(squares, c[2], out=work)
    return _divided(out, work, eps, out, work)


@attrs.frozen(eq=False)
class LionState:
    """State of `scale_by_lion`.

    Args:
        mean: Average of gradients.
    """

    mean: Tree

    __repr__ = one_line


@recorded
def scale_by_lion(*, beta1: float = 0.9, beta2: float = 0.99) -> GradientTransform:
    """Take the sign of a mixture of gradient and its average: ``u = sign(beta1 m + (1 - beta1) g)``.

    Afterwards ``m <- beta2 m + (1 - beta2) g``.

    Args:
        beta1: Weight of the average in the sign, in [0, 1).
        beta2: Decay of the average, in [0, 1).

    Returns:
        A transform with `LionState`.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> transform = scale_by_lion()
        >>> transform.update((np.array([-3.0]),), transform.init((np.array([1.0]),)), (), 0)[0]
        (array([-1.]),)

    Reference: Chen et al., "Symbolic discovery of optimization algorithms" (2023).
    """
    beta1 = number("scale_by_lion", "beta1", beta1, "[0, 1)")
    beta2 = number("scale_by_lion", "beta2", beta2, "[0, 1)")

    kernel = partial(_lion, (beta1, beta2))
    return elementwise(partial(_zeros, LionState), kernel, slots=("mean",), state=LionState)


def _lion(
    s: Numbers, c: Numbers, g: FloatArray, p: FloatArray, old: Arrays, new: Arrays, out: FloatArray, work: FloatArray
) -> FloatArray:
    beta1, beta2 = s
    mixed = _averaged(beta1, old[0], g, work, new[0])
    _averaged(beta2, old[0], g, new[0], out)  # `out` may be `g`, which is not read again
    return np.sign(mixed, out=out)


@recorded
def scale_by_trust_ratio(*, eps: float = 0.0) -> GradientTransform:
    """Give each leaf's update the norm of its parameters: ``u = g |p| / (|g| + eps)``; a zero norm leaves it alone.

    Args:
        eps: Added to the update's norm, at least 0.

    Returns:
        A transform with state ``()``.

    Raises:
        ValueError: eps is negative.

    Example:
        >>> scale_by_trust_ratio().update((np.array([3.0, 4.0]),), (), (np.array([10.0, 0.0]),), 0)[0]
        (array([6., 8.]),)

    Reference: You, Gitman and Ginsburg, "Large batch training of convolutional networks" (2017); for Adam: You et al.,
        "Large batch optimization for deep learning" (2020).
    """
    eps = number("scale_by_trust_ratio", "eps", eps, "[0, inf)")

    return GradientTransform(no_state, partial(_with_trust_ratios, eps))


def _with_trust_ratios(eps: float, grads: Tree, state: Tree, params: Tree, step: int) -> tuple[Tree, Tree]:
    return tree_combine(partial(_with_trust_ratio, eps), grads, params), state


def _with_trust_ratio(eps: float, g: FloatArray, p: FloatArray) -> FloatArray:
    of_params, (scale, rest) = norm_factors(p), norm_factors(g)
    if of_params[1] == 0 or rest == 0:
        return readonly(g)
    return with_norm(g, (scale, rest + eps / scale), of_params)


hands_out(scale_by_adagrad, init=_adagrad_init)
hands_out(scale_by_rmsprop, init=_zeros)
hands_out(scale_by_trust_ratio, update=_with_trust_ratios)
