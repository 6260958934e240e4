"""Layers: what a network is made of, each a frozen record of pure functions.

A `Layer` says how to start (`init`), how to compute (`forward`) and how to differentiate (`backward` and its
kin). It holds no numbers: parameters, running state and residuals are values that go in and come out. Combinators
in `bpfunc.model` take layers and return a layer, so a network is a layer too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import attrs
import numpy as np

from bpfunc import ops
from bpfunc.initializers import Initializer, he_normal, zeros
from bpfunc.keys import Key, split
from bpfunc.tree import STATIC, Tree, tree_leaves
from bpfunc.types import FloatArray, Shape, readonly_arrays


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
ForwardFn: TypeAlias = Callable[[Tree, Tree, FloatArray, Context], tuple[FloatArray, Tree, Tree]]
"""``(params, state, x, ctx) -> (y, state, residual)``."""
BackwardFn: TypeAlias = Callable[[Tree, Tree, FloatArray], tuple[Tree, FloatArray]]
"""``(params, residual, dy) -> (dparams, dx)``."""
BackwardParamsFn: TypeAlias = Callable[[Tree, Tree, FloatArray], Tree]
"""``(params, residual, dy) -> dparams``: `backward` without the input's cotangent."""
JvpFn: TypeAlias = Callable[[Tree, Tree, Tree, FloatArray], FloatArray]
"""``(params, residual, params_dot, x_dot) -> y_dot``."""
BackwardJvpFn: TypeAlias = Callable[[Tree, Tree, Tree, FloatArray, FloatArray, FloatArray], tuple[Tree, FloatArray]]
"""``(params, residual, params_dot, x_dot, dy, dy_dot) -> (dparams_dot, dx_dot)``: the tangent of `backward`."""
ExampleNormsFn: TypeAlias = Callable[[Tree, Tree, FloatArray], tuple[FloatArray, FloatArray]]
"""``(params, residual, dy) -> (norms, dx)``: squared gradient norms (B,) of each example."""


@attrs.frozen
class Layer:
    """A differentiable function with parameters, as a record of pure functions.

    Only the first four fields are needed to train; a layer of one's own may leave the rest out, and whoever asks
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
    backward_params: BackwardParamsFn = attrs.field()
    jvp: JvpFn = attrs.field()
    backward_jvp: BackwardJvpFn = attrs.field()
    example_grads: BackwardFn = attrs.field()
    example_norms: ExampleNormsFn = attrs.field()

    @backward_params.default
    def _backward_params_default(self) -> BackwardParamsFn:
        return lambda params, residual, dy: self.backward(params, residual, dy)[0]

    @jvp.default
    def _jvp_default(self) -> JvpFn:
        def missing(params: Tree, residual: Tree, params_dot: Tree, x_dot: FloatArray) -> FloatArray:
            raise NotImplementedError(f"layer {self.name} has no jvp; give one to Layer(jvp=...)")

        return missing

    @backward_jvp.default
    def _backward_jvp_default(self) -> BackwardJvpFn:
        def missing(
            params: Tree,
            residual: Tree,
            params_dot: Tree,
            x_dot: FloatArray,
            dy: FloatArray,
            dy_dot: FloatArray,
        ) -> tuple[Tree, FloatArray]:
            raise NotImplementedError(f"layer {self.name} has no backward_jvp; give one to Layer(backward_jvp=...)")

        return missing

    @example_grads.default
    def _example_grads_default(self) -> BackwardFn:
        def from_backward(params: Tree, residual: Tree, dy: FloatArray) -> tuple[Tree, FloatArray]:
            if tree_leaves(params):
                raise NotImplementedError(
                    f"layer {self.name} has no example_grads; give some to Layer(example_grads=...)"
                )
            return self.backward(params, residual, dy)

        return from_backward

    @example_norms.default
    def _example_norms_default(self) -> ExampleNormsFn:
        def from_grads(params: Tree, residual: Tree, dy: FloatArray) -> tuple[FloatArray, FloatArray]:
            grads, dx = self.example_grads(params, residual, dy)
            norms: FloatArray = np.zeros(len(dy), dy.dtype)
            for leaf in tree_leaves(grads):
                norms = norms + np.square(leaf).reshape(len(dy), -1).sum(axis=1)
            return norms, dx

        return from_grads


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class DenseParams:
    """Parameters of `dense`; also the form of their gradients and tangents.

    Args:
        weight: (D, H).
        bias: (H,), or None for a layer without.
    """

    weight: FloatArray
    bias: FloatArray | None


def dense(
    width: int, *, use_bias: bool = True, weight_init: Initializer = he_normal, bias_init: Initializer = zeros
) -> Layer:
    """Fully connected layer: ``y = x W + b``.

    Its derivatives: ``dW = x^T dy``, ``db = sum_B dy``, ``dx = dy W^T``.

    Args:
        width: H, number of outputs, at least 1.
        use_bias: Whether there is a ``b``.
        weight_init: Starts ``W``, (D, H).
        bias_init: Starts ``b``, (H,).

    Returns:
        A layer from (B, D) to (B, H) with `DenseParams`.

    Raises:
        ValueError: The width is below 1.
        ShapeError: From the layer's functions, where the input is not (B, D).

    Example:
        >>> from bpfunc.keys import Key
        >>> import numpy as np
        >>> layer = dense(3)
        >>> params, state, out_shape = layer.init(Key(0), (2,))
        >>> y, state, residual = layer.forward(params, state, np.ones((5, 2), np.float32), INFERENCE)
        >>> y.shape
        (5, 3)

    Reference: Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors" (1986).
    """
    if width < 1:
        raise ValueError(f"dense takes a width of at least 1, got {width}")

    def init(key: Key, in_shape: Shape) -> tuple[DenseParams, Tree, Shape]:
        if len(in_shape) != 1:
            raise ShapeError(f"dense takes examples of shape (D,), found {in_shape}; put flatten() before it")
        weight_key, bias_key = split(key)
        weight = weight_init(weight_key, (in_shape[0], width))
        return DenseParams(weight, bias_init(bias_key, (width,)) if use_bias else None), (), (width,)

    def forward(params: DenseParams, state: Tree, x: FloatArray, ctx: Context) -> tuple[FloatArray, Tree, FloatArray]:
        if x.ndim != 2 or x.shape[1] != params.weight.shape[0]:
            raise ShapeError(f"dense expected an input of shape (B, {params.weight.shape[0]}), found {x.shape}")
        return _affine(x, params), state, x

    return Layer(
        name=f"dense({width})",
        init=init,
        forward=forward,
        backward=_dense_backward,
        backward_params=_dense_backward_params,
        jvp=_dense_jvp,
        backward_jvp=_dense_backward_jvp,
        example_grads=_dense_example_grads,
        example_norms=_dense_example_norms,
    )


def _affine(x: FloatArray, params: DenseParams) -> FloatArray:
    y: FloatArray = x @ params.weight
    if params.bias is not None:
        y += params.bias
    return y


def _dense_backward(params: DenseParams, residual: FloatArray, dy: FloatArray) -> tuple[DenseParams, FloatArray]:
    return _dense_backward_params(params, residual, dy), dy @ params.weight.T


def _dense_backward_params(params: DenseParams, residual: FloatArray, dy: FloatArray) -> DenseParams:
    x = residual
    return DenseParams(x.T @ dy, None if params.bias is None else dy.sum(axis=0))


def _dense_jvp(params: DenseParams, residual: FloatArray, params_dot: DenseParams, x_dot: FloatArray) -> FloatArray:
    y_dot: FloatArray = _affine(residual, params_dot) + x_dot @ params.weight
    return y_dot


def _dense_backward_jvp(
    params: DenseParams,
    residual: FloatArray,
    params_dot: DenseParams,
    x_dot: FloatArray,
    dy: FloatArray,
    dy_dot: FloatArray,
) -> tuple[DenseParams, FloatArray]:
    weight_dot = x_dot.T @ dy + residual.T @ dy_dot
    bias_dot = None if params.bias is None else dy_dot.sum(axis=0)
    return DenseParams(weight_dot, bias_dot), dy @ params_dot.weight.T + dy_dot @ params.weight.T


def _dense_example_grads(params: DenseParams, residual: FloatArray, dy: FloatArray) -> tuple[DenseParams, FloatArray]:
    weight = residual[:, :, None] * dy[:, None, :]
    return DenseParams(weight, None if params.bias is None else dy), dy @ params.weight.T


def _dense_example_norms(params: DenseParams, residual: FloatArray, dy: FloatArray) -> tuple[FloatArray, FloatArray]:
    # The gradient of one example is an outer product, whose norm is the product of the norms (Goodfellow, 2015).
    inputs = np.square(residual).sum(axis=1)
    if params.bias is not None:
        inputs = inputs + 1
    return inputs * np.square(dy).sum(axis=1), dy @ params.weight.T


def stateless(
    name: str,
    f: Callable[[FloatArray], tuple[FloatArray, Tree]],
    f_vjp: Callable[[Tree, FloatArray], FloatArray],
    f_jvp: Callable[[Tree, FloatArray], FloatArray],
    f_vjp_jvp: Callable[[Tree, FloatArray, FloatArray, FloatArray], FloatArray],
) -> Layer:
    """Make a layer without parameters from an op and its derivatives; the output has the input's shape.

    Args:
        name: For messages and summaries.
        f: ``x -> (y, residual)``.
        f_vjp: ``(residual, dy) -> dx``.
        f_jvp: ``(residual, x_dot) -> y_dot``.
        f_vjp_jvp: ``(residual, x_dot, dy, dy_dot) -> dx_dot``.

    Returns:
        A layer whose params and state are ``()``.

    Example:
        >>> layer = stateless("relu", ops.relu, ops.relu_vjp, ops.relu_jvp, ops.relu_vjp_jvp)
        >>> layer.init(Key(0), (3,))
        ((), (), (3,))
    """

    def forward(params: Tree, state: Tree, x: FloatArray, ctx: Context) -> tuple[FloatArray, Tree, Tree]:
        y, residual = f(x)
        return y, state, residual

    return Layer(
        name=name,
        init=lambda key, in_shape: ((), (), in_shape),
        forward=forward,
        backward=lambda params, residual, dy: ((), f_vjp(residual, dy)),
        backward_params=lambda params, residual, dy: (),
        jvp=lambda params, residual, params_dot, x_dot: f_jvp(residual, x_dot),
        backward_jvp=lambda params, residual, params_dot, x_dot, dy, dy_dot: (
            (),
            f_vjp_jvp(residual, x_dot, dy, dy_dot),
        ),
    )


def relu() -> Layer:
    """Rectified linear unit as a layer; see `bpfunc.ops.relu`.

    Returns:
        A layer that keeps shapes, without parameters.

    Example:
        >>> import numpy as np
        >>> relu().forward((), (), np.array([[-1.0, 1.0]]), INFERENCE)[0]
        array([[0., 1.]])
    """
    return stateless("relu", ops.relu, ops.relu_vjp, ops.relu_jvp, ops.relu_vjp_jvp)


def softmax() -> Layer:
    """Softmax over the last axis as a layer; see `bpfunc.ops.softmax`.

    To train, leave it out and use a loss on logits, which is more stable.

    Returns:
        A layer that keeps shapes, without parameters.

    Example:
        >>> import numpy as np
        >>> softmax().forward((), (), np.array([[0.0, 0.0]]), INFERENCE)[0]
        array([[0.5, 0.5]])
    """
    return stateless("softmax", ops.softmax, ops.softmax_vjp, ops.softmax_jvp, ops.softmax_vjp_jvp)
