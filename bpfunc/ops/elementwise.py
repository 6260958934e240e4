"""Elementwise ops: a function, its slope and its curvature as formulas, and derivatives made of these for all alike.

A formula uses NumPy's universal functions and operators, `np.where`, and the dtype of its arrays and their methods
`clip`, `astype` and `copy`; it writes to no array. So it also runs on symbols instead of arrays, which record its
operations: NumPy and machine code share one source. Where it would overflow, or multiply 0 by infinity, it clips.
"""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, Literal, ParamSpec, TypeAlias

import attrs

from bpfunc.arrays.calls import one_line
from bpfunc.arrays.types import FloatArray, readonly
from bpfunc.tree import STATIC

Formula: TypeAlias = Callable[..., Any]
"""Takes arrays and settings; returns an array, or a number that holds for all inputs."""
Keeps: TypeAlias = Literal["x", "y", "difference"]
ArgumentsT = ParamSpec("ArgumentsT")


@attrs.frozen
class Elementwise:
    """The formulas of an elementwise op.

    Args:
        function: ``(x, **settings) -> y``; for a loss ``(outputs, targets, **settings)``.
        slope: ``(kept, *settings) -> f'(x)``; may be a truth value instead of 1 or 0.
        curvature: ``(kept, *settings) -> f''(x)``; None if it is 0 wherever it exists.
        keeps: What slope and curvature take: the inputs, ``x``; the output ``y``; or the ``difference`` of two inputs.

    Example:
        >>> from bpfunc.ops import tanh
        >>> formulas, _ = formulas_of(tanh)
        >>> formulas.keeps, formulas.slope(np.array([0.0, 1.0]))
        ('y', array([1., 0.]))
    """

    function: Formula
    slope: Formula
    curvature: Formula | None
    keeps: Keeps


@attrs.frozen(eq=False)
class ElementwiseResidual:
    """What the derivatives of an elementwise op need.

    Args:
        arguments: What slope and curvature are called with: inputs or output, read-only, then settings.
        formulas: Formulas of the op.
    """

    arguments: tuple[Any, ...]
    formulas: Elementwise = attrs.field(metadata=STATIC)

    __repr__ = one_line


def elementwise(
    *, keeps: Keeps, slope: Formula, curvature: Formula | None = None
) -> Callable[[Callable[ArgumentsT, FloatArray]], Callable[ArgumentsT, tuple[FloatArray, ElementwiseResidual]]]:
    """Make an op from a function: a decorator. The body of the function is the first formula.

    Args:
        keeps: See `Elementwise`.
        slope: See `Elementwise`.
        curvature: See `Elementwise`.

    Returns:
        A decorator. The op returns ``(y, residual)``, and a ``y`` that the residual keeps is read-only. `formulas_of`
        finds its formulas.

    Example:
        >>> @elementwise(keeps="x", slope=lambda x: 2 * x, curvature=lambda x: 2.0)
        ... def square(x):
        ...     return x * x
        >>> y, residual = square(np.array([3.0]))
        >>> y, vjp(residual, np.ones(1))
        (array([9.]), array([6.]))

    Reference: Griewank and Walther, "Evaluating derivatives" (2008).
    """

    def made(function: Any) -> Any:
        formulas, defaults = Elementwise(function, slope, curvature, keeps), function.__kwdefaults__ or {}

        @wraps(function)
        def op(x: FloatArray, *others: FloatArray, **settings: float) -> tuple[FloatArray, ElementwiseResidual]:
            if defaults:  # as Python's own numbers: NumPy's float64 would turn float32 arrays into float64
                settings = {name: float(value) for name, value in (defaults | settings).items()}
            y = function(x, *others, **settings)
            if keeps == "x":
                return y, ElementwiseResidual((readonly(x), *map(readonly, others), *settings.values()), formulas)
            kept = y if keeps == "y" else x - others[0]
            kept.setflags(write=False)
            return y, ElementwiseResidual((kept, *settings.values()) if settings else (kept,), formulas)

        op.elementwise = formulas  # type: ignore[attr-defined]
        return op

    return made


def formulas_of(op: Callable[..., Any]) -> tuple[Elementwise, dict[str, float]] | None:
    """Find the formulas of an op, and its settings; see `elementwise`.

    Args:
        op: Any op, or a `functools.partial` that binds settings of it.

    Returns:
        The formulas, and all settings by name; None if the op is not elementwise.

    Example:
        >>> from bpfunc.layers import elu
        >>> found, settings = formulas_of(elu(alpha=2.0).op)
        >>> found.function(np.array([-np.inf, 3.0]), **settings), settings
        (array([-2.,  3.]), {'alpha': 2.0})
    """
    bare, bound = (op.func, op.keywords) if isinstance(op, partial) else (op, {})
    found = getattr(bare, "elementwise", None)
    return None if found is None else (found, {**(found.function.__kwdefaults__ or {}), **bound})


def vjp(residual: ElementwiseResidual, dy: FloatArray) -> FloatArray:
    """Cotangent of an elementwise op's input: ``dx = f'(x) dy``.

    Args:
        residual: From the op.
        dy: Cotangent of the output, same shape.

    Returns:
        ``dx``, same shape and dtype.

    Example:
        >>> from bpfunc.ops import tanh, tanh_vjp
        >>> tanh_vjp(tanh(np.array([-1.0, 2.0]))[1], np.ones(2)).round(4)
        array([0.42  , 0.0707])
        >>> tanh_vjp is vjp
        True

    Reference: Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors" (1986).
    """
    dx: FloatArray = residual.formulas.slope(*residual.arguments) * dy
    return dx


def jvp(residual: ElementwiseResidual, x_dot: FloatArray) -> FloatArray:
    """Tangent of an elementwise op's output: ``y_dot = f'(x) x_dot``, for the Jacobian is diagonal.

    Args:
        residual: From the op.
        x_dot: Tangent of the input, same shape.

    Returns:
        ``y_dot``, same shape and dtype.

    Example:
        >>> from bpfunc.ops import tanh, tanh_jvp
        >>> tanh_jvp(tanh(np.array([-1.0, 2.0]))[1], np.ones(2)).round(4)
        array([0.42  , 0.0707])
        >>> tanh_jvp is jvp
        True

    Reference: Griewank and Walther, "Evaluating derivatives" (2008).
    """
    return vjp(residual, x_dot)


def vjp_jvp(residual: ElementwiseResidual, x_dot: FloatArray, dy: FloatArray, dy_dot: FloatArray) -> FloatArray:
    """Tangent of `vjp`: ``dx_dot = f''(x) x_dot dy + f'(x) dy_dot``.

    Args:
        residual: From the op.
        x_dot: Tangent of the input, same shape.
        dy: Cotangent of the output, same shape.
        dy_dot: Tangent of ``dy``, same shape.

    Returns:
        ``dx_dot``, same shape and dtype.

    Example:
        >>> from bpfunc.ops import tanh, tanh_vjp_jvp
        >>> one, zero = np.ones(2), np.zeros(2)
        >>> tanh_vjp_jvp(tanh(np.array([-1.0, 2.0]))[1], one, one, zero).round(4)
        array([ 0.6397, -0.1362])
        >>> tanh_vjp_jvp is vjp_jvp
        True

    Reference: Pearlmutter, "Fast exact multiplication by the Hessian" (1994).
    """
    first = vjp(residual, dy_dot)
    if residual.formulas.curvature is None:
        return first
    dx_dot: FloatArray = residual.formulas.curvature(*residual.arguments) * x_dot * dy + first
    return dx_dot
