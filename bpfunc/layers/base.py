"""Layers: what a network is made of, each a frozen record of pure functions.

A `Layer` says how to start (`init`), how to compute (`forward`) and how to differentiate (`backward` and
similar functions). It holds no numbers: parameters, running state and residuals are values that go in and come out.
Combinators in `bpfunc.layers.combinators` take layers and return a layer, so a network is a layer too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from importlib import import_module
from inspect import Parameter, signature
from typing import Any, TypeAlias

import attrs
import numpy as np

from bpfunc.arrays.arguments import described, expected
from bpfunc.arrays.calls import called, hands_out, shown
from bpfunc.arrays.numbers import plain_numbers
from bpfunc.arrays.types import FloatArray, Shape
from bpfunc.keys import Key
from bpfunc.tree import STATIC, Tree, float_dtype, tree_leaves


class ShapeError(ValueError):
    """An array has the wrong shape; the message names the layer's path, what was expected and what was found."""

    def __init__(self, problem: str, path: str = "") -> None:
        """Keep the parts, so that a combinator can put its own path in front."""
        super().__init__(f"{path}: {problem}" if path else problem)
        self.problem = problem
        self.path = path

    def inside(self, path: str) -> ShapeError:
        """Return the same error as seen from the layer around it.

        Args:
            path: Where the failing layer stands, such as ``layers[0]``.

        Returns:
            An error whose message starts with the longer path.

        Example:
            >>> str(ShapeError("expected (B, 3), found (2, 4)", "layers[1]").inside("layers[0]"))
            'layers[0].layers[1]: expected (B, 3), found (2, 4)'
        """
        return ShapeError(self.problem, f"{path}.{self.path}" if self.path else path)


@attrs.frozen
class Context:
    """What a forward pass may know besides its input.

    Args:
        train: Whether this is training (dropout drops, batch_norm uses the batch's statistics).
        key: Randomness for this pass, or None where nothing random may happen.

    Example:
        >>> Context().train
        False
    """

    train: bool = attrs.field(default=False, metadata=STATIC)
    key: Key | None = attrs.field(default=None, metadata=STATIC)


INFERENCE = Context()
"""The context of a prediction."""

InitFn: TypeAlias = Callable[[Key, Shape], tuple[Tree, Tree, Shape]]
"""``(key, in_shape) -> (params, state, out_shape)``; shapes are those of one example."""
ForwardFn: TypeAlias = Callable[[Tree, Tree, Tree, Context], tuple[FloatArray, Tree, Tree]]
"""``(params, state, x, ctx) -> (y, state, residual)``; ``x`` is floating, or whole numbers for an embedding."""
BackwardFn: TypeAlias = Callable[[Tree, Tree, FloatArray], tuple[Tree, FloatArray]]
"""``(params, residual, dy) -> (dparams, dx)``."""
BackwardParamsFn: TypeAlias = Callable[[Tree, Tree, FloatArray], Tree]
"""``(params, residual, dy) -> dparams``: `backward` without the input's cotangent."""
JvpFn: TypeAlias = Callable[[Tree, Tree, Tree, FloatArray], FloatArray]
"""``(params, residual, params_dot, x_dot) -> y_dot``."""
BackwardJvpFn: TypeAlias = Callable[[Tree, Tree, Tree, FloatArray, FloatArray, FloatArray], tuple[Tree, FloatArray]]
"""``(params, residual, params_dot, x_dot, dy, dy_dot) -> (dparams_dot, dx_dot)``: the tangent of `backward`."""
FlopsFn: TypeAlias = Callable[[Shape, Shape], int]
"""``(in_shape, out_shape) -> count``: floating-point operations of one example's forward pass."""
ExampleNormsFn: TypeAlias = Callable[[Tree, Tree, FloatArray], tuple[FloatArray, FloatArray]]
"""``(params, residual, dy) -> (norms, dx)``: squared gradient norms (B,) float64 of each example."""
OpFn: TypeAlias = Callable[[FloatArray], tuple[FloatArray, Tree]]
"""``x -> (y, residual)``: an op, as in `bpfunc.ops`."""
OpVjpFn: TypeAlias = Callable[[Tree, FloatArray], FloatArray]
"""``(residual, dy) -> dx`` or ``(residual, x_dot) -> y_dot``."""
OpVjpJvpFn: TypeAlias = Callable[[Tree, FloatArray, FloatArray, FloatArray], FloatArray]
"""``(residual, x_dot, dy, dy_dot) -> dx_dot``."""
Setting: TypeAlias = bool | int | float | str | tuple[int, ...] | tuple[str, ...]
"""What an argument of a layer's maker may be, for its `Maker` to name it."""


@attrs.frozen
class Maker:
    """Which function made a layer, and with what: enough to make the layer again, initialisers apart.

    Args:
        name: Name of the function.
        settings: (argument, value) of all arguments but layers and initialisers.

    Example:
        >>> from bpfunc.layers import leaky_relu
        >>> leaky_relu(slope=0.1).maker
        Maker(name='leaky_relu', settings=(('slope', 0.1),))
    """

    name: str
    settings: tuple[tuple[str, Setting], ...] = ()


# What a layer does for itself where it says nothing. They are given as factories, which every type checker takes for
# defaults; attrs' `@field.default` is known to mypy alone.
# Each default takes the layer, or a field of it, first.


def _without_dx(backward: BackwardFn, params: Tree, residual: Tree, dy: FloatArray) -> Tree:
    return backward(params, residual, dy)[0]


def _no_jvp(name: str, params: Tree, residual: Tree, params_dot: Tree, x_dot: FloatArray) -> FloatArray:
    raise NotImplementedError(f"layer {name} has no jvp; give one to Layer(jvp=...)")


def _no_backward_jvp(
    name: str, params: Tree, residual: Tree, params_dot: Tree, x_dot: FloatArray, dy: FloatArray, dy_dot: FloatArray
) -> tuple[Tree, FloatArray]:
    raise NotImplementedError(f"layer {name} has no backward_jvp; give one to Layer(backward_jvp=...)")


def _grads_without_params(
    name: str, backward: BackwardFn, params: Tree, residual: Tree, dy: FloatArray
) -> tuple[Tree, FloatArray]:
    if tree_leaves(params):
        raise NotImplementedError(f"layer {name} has no example_grads; give some to Layer(example_grads=...)")
    return backward(params, residual, dy)


def _norms_of_grads(
    example_grads: BackwardFn, params: Tree, residual: Tree, dy: FloatArray
) -> tuple[FloatArray, FloatArray]:
    grads, dx = example_grads(params, residual, dy)
    norms: FloatArray = np.zeros(len(dy))
    for leaf in tree_leaves(grads):
        norms = norms + squared_sums(leaf)
    return norms, dx


def squared_sums(rows: FloatArray) -> FloatArray:
    """Sum of each row's squares in float64, where squares of float32 neither overflow nor vanish.

    Args:
        rows: (B, ...) floating.

    Returns:
        (B,) float64.

    Example:
        >>> squared_sums(np.array([[3e30, 4e30]], np.float32)).round(-55)
        array([2.5e+61])
    """
    with np.errstate(over="ignore"):
        sums: FloatArray = np.square(rows, dtype=np.float64).sum(axis=tuple(range(1, rows.ndim)))
    return sums


def _flops_of_parts(parts: tuple[tuple[str, Layer], ...], chained: bool, in_shape: Shape, out_shape: Shape) -> int:
    if not parts:
        return math.prod(out_shape)
    total, shape = 0, in_shape
    for _, part in parts:
        part_out = part.init(Key(0), shape)[2]
        total += part.flops(shape, part_out)
        shape = part_out if chained else in_shape
    return total


def _draws(layer: Layer) -> bool:
    return not layer.parts or any(part.draws for _, part in layer.parts)


def _looks_up(layer: Layer) -> bool | None:
    if not layer.parts:
        return layer.maker is None
    known = [part.looks_up for _, part in layer.parts if part.looks_up is not None]
    return (known[0] if layer.chained else any(known)) if known else None


@attrs.frozen
class Layer:
    """A differentiable function with parameters, as a record of pure functions.

    Only the first four fields are needed to train; a custom layer may leave the rest out, and a caller that asks
    for what it lacks is told so by name.

    Args:
        name: For messages and summaries.
        init: ``(key, in_shape) -> (params, state, out_shape)``.
        forward: ``(params, state, x, ctx) -> (y, state, residual)``.
        backward: ``(params, residual, dy) -> (dparams, dx)``.
        backward_params: ``(params, residual, dy) -> dparams``, for the first layer, whose input needs no
            gradient; by default `backward` without its second result.
        jvp: ``(params, residual, params_dot, x_dot) -> y_dot``.
        backward_jvp: ``(params, residual, params_dot, x_dot, dy, dy_dot) -> (dparams_dot, dx_dot)``.
        example_grads: Like `backward`, but each leaf of ``dparams`` has a leading batch axis.
        example_norms: ``(params, residual, dy) -> (norms, dx)`` with ``norms`` (B,) the squared norms of the
            examples' parameter gradients; by default computed from `example_grads`.
        parts: Path and layer of what a combinator is made of, for summaries.
        chained: Whether the parts follow one another; otherwise all see the combinator's input.
        flops: ``(in_shape, out_shape) -> count`` for one example, forward; by default one for each output, and for a
            combinator the sum over its parts.
        draws: Whether the forward pass may draw random numbers, and so needs a key of its own; a layer that says no
            spares its combinator the making of one. By default it may, and a combinator if one of its parts may.
        looks_up: Whether whole numbers are categories to the layer, which then gets them as they are, and not as
            floating numbers. None where that depends on the layer behind it. By default true for a custom layer,
            and for a combinator what it is for its first part.
        maker: How it was made, for those who write it in another form, as `bpfunc.interop.onnx` does; None for a custom
            layer, and to be set to None where a built-in layer's functions are replaced.
        op: The op that is all of the forward pass, its settings bound by `functools.partial`; None for other layers.
            `bpfunc.ops.elementwise.formulas_of` finds the formulas of an elementwise one.

    Example:
        A layer that doubles its input:

        >>> double = Layer(
        ...     name="double",
        ...     init=lambda key, in_shape: ((), (), in_shape),
        ...     forward=lambda params, state, x, ctx: (2 * x, state, ()),
        ...     backward=lambda params, residual, dy: ((), 2 * dy),
        ... )
        >>> import numpy as np
        >>> double.forward((), (), np.ones(1), INFERENCE)[0]
        array([2.])
    """

    name: str
    init: InitFn
    forward: ForwardFn
    backward: BackwardFn
    backward_params: BackwardParamsFn = attrs.field(
        default=attrs.Factory(lambda self: partial(_without_dx, self.backward), takes_self=True)
    )
    jvp: JvpFn = attrs.field(default=attrs.Factory(lambda self: partial(_no_jvp, self.name), takes_self=True))
    backward_jvp: BackwardJvpFn = attrs.field(
        default=attrs.Factory(lambda self: partial(_no_backward_jvp, self.name), takes_self=True)
    )
    example_grads: BackwardFn = attrs.field(
        default=attrs.Factory(lambda self: partial(_grads_without_params, self.name, self.backward), takes_self=True)
    )
    example_norms: ExampleNormsFn = attrs.field(
        default=attrs.Factory(lambda self: partial(_norms_of_grads, self.example_grads), takes_self=True)
    )
    parts: tuple[tuple[str, Layer], ...] = ()
    chained: bool = True
    flops: FlopsFn = attrs.field(
        default=attrs.Factory(lambda self: partial(_flops_of_parts, self.parts, self.chained), takes_self=True)
    )
    draws: bool = attrs.field(default=attrs.Factory(_draws, takes_self=True))
    maker: Maker | None = None
    op: OpFn | None = None
    looks_up: bool | None = attrs.field(default=attrs.Factory(_looks_up, takes_self=True))

    def __attrs_post_init__(self) -> None:
        """Have the arguments of `init` checked, which are easily mistaken; and what a custom layer's returns."""
        init: Any = self.init
        while isinstance(init, partial) and init.func is _checked_init:
            if init.args[0] == self.name:
                return
            init = init.args[1]
        object.__setattr__(self, "init", partial(_checked_init, self.name, init))

    def __repr__(self) -> str:
        """Print as the call that makes such a layer, initialisers apart; a custom layer by its name."""
        return f"Layer({self.name!r})" if self.maker is None else _as_call(self.maker, self.parts)

    def _repr_html_(self) -> str:
        """Show as a table in a notebook."""
        return str(_printer("summary").layer_table(self))


def _checked_init(name: str, init: InitFn, key: Any, in_shape: Any) -> tuple[Tree, Tree, Shape]:
    if not isinstance(key, Key):
        if isinstance(in_shape, Key):
            raise TypeError(f"{name}: init takes (key, in_shape), got them in the other order")
        expected(f"{name}: init", "key", key, Key)
    if not isinstance(in_shape, tuple):
        fixed = f"; write ({in_shape},)" if isinstance(in_shape, int) else ""
        raise TypeError(f"{name}: init takes the shape of one example as in_shape, got {described(in_shape)}{fixed}")
    made: Any = init(key, in_shape)
    if not (isinstance(made, tuple) and len(made) == 3 and isinstance(made[2], tuple)):
        found = f"a tuple of {len(made)}" if isinstance(made, tuple) and len(made) != 3 else described(made)
        if isinstance(made, tuple) and len(made) == 3:
            found = f"{described(made[2])} as out_shape"
        raise TypeError(f"{name}: init returned {found}, expected (params, state, out_shape) with a tuple as out_shape")
    return made


def _printer(module: str) -> Any:
    """A module of this package that knows all layers, and imports this one: looked up when a layer is printed."""
    return import_module(f"bpfunc.layers.{module}")


def _as_call(maker: Maker, parts: tuple[tuple[str, Layer], ...]) -> str:
    """The call of a maker, without the arguments that it has anyway."""
    makers = _printer("recognition").MAKERS
    settings = dict(maker.settings)
    if maker.name == "named":
        names: Any = settings["names"]
        return called("named", [f"({name!r}, {layer!r})" for name, (_, layer) in zip(names, parts, strict=True)])
    arguments = [repr(layer) for _, layer in parts]
    known = signature(makers[maker.name]).parameters if maker.name in makers else {}
    for name, value in settings.items():
        if name not in known:
            arguments.append(f"{name}={shown(value)}")
        elif known[name].default != value:
            plain = known[name].kind is Parameter.POSITIONAL_OR_KEYWORD
            arguments.append(shown(value) if plain else f"{name}={shown(value)}")
    return called(maker.name, arguments)


def inputs_for(layer: Layer, params: Tree, inputs: FloatArray) -> FloatArray:
    """Bring inputs to the dtype of a layer's parameters, so that all that follows is computed in it.

    Args:
        layer: Any layer; where it looks whole numbers up, these stay as they are.
        params: Its parameters. Where they hold no array, the inputs stay as they are.
        inputs: (B, ...) floating, whole numbers or truth values.

    Returns:
        The inputs; themselves where nothing has to be converted.

    Raises:
        TypeError: They are masked, or not real numbers.

    Example:
        >>> from bpfunc.layers import dense
        >>> layer = dense(2)
        >>> params, _, _ = layer.init(Key(0), (3,))
        >>> inputs_for(layer, params, np.zeros((5, 3))).dtype
        dtype('float32')
    """
    plain_numbers("inputs", inputs)
    if inputs.dtype.kind != "f" and layer.looks_up:
        return inputs
    dtype = float_dtype(params)
    return inputs if dtype is None or dtype == inputs.dtype else inputs.astype(dtype)


def stateless(
    name: str,
    f: OpFn,
    f_vjp: OpVjpFn,
    f_jvp: OpVjpFn,
    f_vjp_jvp: OpVjpJvpFn,
    *,
    maker: Maker | None = None,
) -> Layer:
    """Make a layer without parameters from an op and its derivatives; the output has the input's shape.

    Args:
        name: For messages and summaries.
        f: ``x -> (y, residual)``.
        f_vjp: ``(residual, dy) -> dx``.
        f_jvp: ``(residual, x_dot) -> y_dot``.
        f_vjp_jvp: ``(residual, x_dot, dy, dy_dot) -> dx_dot``.
        maker: As in `Layer`.

    Returns:
        A layer whose params and state are ``()``.

    Example:
        >>> from bpfunc import ops
        >>> layer = stateless("relu", ops.relu, ops.relu_vjp, ops.relu_jvp, ops.relu_vjp_jvp)
        >>> layer.init(Key(0), (3,))
        ((), (), (3,))
    """

    return Layer(
        name=name,
        init=keeps_shape,
        forward=partial(_op_forward, f),
        backward=partial(_op_backward, f_vjp),
        backward_params=no_params,
        jvp=partial(_op_jvp, f_jvp),
        backward_jvp=partial(_op_backward_jvp, f_vjp_jvp),
        draws=False,
        maker=maker,
        op=f,
    )


def keeps_shape(key: Key, in_shape: Shape) -> tuple[Tree, Tree, Shape]:
    """Start a layer without parameters that keeps the shape: its `init`.

    Args:
        key: Not used.
        in_shape: Shape of an example.

    Returns:
        No parameters, no state, and the same shape.

    Example:
        >>> keeps_shape(Key(0), (3,))
        ((), (), (3,))
    """
    return (), (), in_shape


def no_params(params: Tree, residual: Tree, dy: FloatArray) -> Tree:
    """Differentiate by no parameters: `backward_params` of a layer that has none.

    Args:
        params: ``()``.
        residual: Not used.
        dy: Not used.

    Returns:
        ``()``.

    Example:
        >>> no_params((), (), np.ones(1))
        ()
    """
    return ()


def no_flops(in_shape: Shape, out_shape: Shape) -> int:
    """Count the operations of a layer that computes nothing: its `flops`.

    Args:
        in_shape: Not used.
        out_shape: Not used.

    Returns:
        0.

    Example:
        >>> no_flops((2, 3), (6,))
        0
    """
    return 0


def _op_forward(f: OpFn, params: Tree, state: Tree, x: FloatArray, ctx: Context) -> tuple[FloatArray, Tree, Tree]:
    y, residual = f(x)
    return y, state, residual


def _op_backward(f_vjp: OpVjpFn, params: Tree, residual: Tree, dy: FloatArray) -> tuple[Tree, FloatArray]:
    return (), f_vjp(residual, dy)


def _op_jvp(f_jvp: OpVjpFn, params: Tree, residual: Tree, params_dot: Tree, x_dot: FloatArray) -> FloatArray:
    return f_jvp(residual, x_dot)


def _op_backward_jvp(
    f_vjp_jvp: OpVjpJvpFn,
    params: Tree,
    residual: Tree,
    params_dot: Tree,
    x_dot: FloatArray,
    dy: FloatArray,
    dy_dot: FloatArray,
) -> tuple[Tree, FloatArray]:
    return (), f_vjp_jvp(residual, x_dot, dy, dy_dot)


hands_out(
    Layer,
    init_checked=_checked_init,
    params_of_backward=_without_dx,
    no_jvp=_no_jvp,
    no_backward_jvp=_no_backward_jvp,
    grads_without_params=_grads_without_params,
    norms_of_grads=_norms_of_grads,
    flops_of_parts=_flops_of_parts,
)
hands_out(stateless, forward=_op_forward, backward=_op_backward, backward_jvp=_op_backward_jvp, jvp=_op_jvp)
