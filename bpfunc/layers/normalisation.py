"""Layer, root-mean-square and batch normalisation: a standardisation, then a scale and a shift that are learned."""

from __future__ import annotations

import math
from functools import partial

import attrs
import numpy as np

from bpfunc.arrays.calls import hands_out, one_line
from bpfunc.arrays.ranges import number
from bpfunc.arrays.sums import mean_over, sum_to_last
from bpfunc.arrays.types import FloatArray, Shape, readonly_arrays
from bpfunc.keys import Key
from bpfunc.layers.base import Context, Layer, Maker, ShapeError
from bpfunc.ops.standardize import (
    StandardizeResidual,
    standardize,
    standardize_jvp,
    standardize_vjp,
    standardize_vjp_jvp,
)
from bpfunc.tree import Tree


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class NormParams:
    """Parameters of the normalisation layers; also the form of their gradients and tangents.

    Args:
        scale: (H,).
        shift: (H,), or None for a layer without.
    """

    scale: FloatArray
    shift: FloatArray | None

    __repr__ = one_line


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class BatchStatistics:
    """State of `batch_norm`.

    Args:
        mean: (H,) running mean.
        variance: (H,) running variance, the unbiased one.
    """

    mean: FloatArray
    variance: FloatArray

    __repr__ = one_line


def layer_norm(*, eps: float = 1e-5) -> Layer:
    """Standardise each example over its features: ``y = scale (x - mean) / sqrt(variance + eps) + shift``.

    Args:
        eps: Added to the variance, above 0.

    Returns:
        A layer from (B, H) to (B, H) with `NormParams`.

    Raises:
        ValueError: eps is not above 0.
        ShapeError: From the layer's functions, where the input is not (B, H).

    Example:
        >>> from bpfunc.layers import INFERENCE
        >>> layer = layer_norm()
        >>> params, state, _ = layer.init(Key(0), (2,))
        >>> layer.forward(params, state, np.array([[1.0, 3.0]]), INFERENCE)[0].round(3)
        array([[-1.,  1.]])

    Reference: Ba, Kiros and Hinton, "Layer normalization" (2016).
    """
    return _feature_norm("layer_norm", eps, centred=True)


def rms_norm(*, eps: float = 1e-6) -> Layer:
    """Divide each example by its root mean square: ``y = scale x / sqrt(mean(x^2) + eps)``.

    Args:
        eps: Added to the mean square, above 0.

    Returns:
        A layer from (B, H) to (B, H) with `NormParams` whose shift is None.

    Raises:
        ValueError: eps is not above 0.
        ShapeError: From the layer's functions, where the input is not (B, H).

    Example:
        >>> from bpfunc.layers import INFERENCE
        >>> layer = rms_norm()
        >>> params, state, _ = layer.init(Key(0), (2,))
        >>> layer.forward(params, state, np.array([[3.0, 3.0]]), INFERENCE)[0].round(3)
        array([[1., 1.]])

    Reference: Zhang and Sennrich, "Root mean square layer normalization" (2019).
    """
    return _feature_norm("rms_norm", eps, centred=False)


def _feature_norm(name: str, eps: float, *, centred: bool) -> Layer:
    eps = number(name, "eps", eps, "(0, inf)")
    return Layer(
        name=name,
        init=partial(_init, name, centred),
        forward=partial(_forward, name, eps, centred),
        backward=_backward,
        jvp=_jvp,
        backward_jvp=_backward_jvp,
        example_grads=_example_grads,
        flops=_flops,
        draws=False,
        maker=Maker(name, (("eps", eps),)),
    )


def _init(name: str, centred: bool, key: Key, in_shape: Shape) -> tuple[NormParams, Tree, Shape]:
    return _init_params(name, in_shape, shift=centred), (), in_shape


def _forward(
    name: str, eps: float, centred: bool, params: NormParams, state: Tree, x: FloatArray, ctx: Context
) -> tuple[FloatArray, Tree, StandardizeResidual]:
    _check_input(name, params, x)
    y, residual = standardize(x, axis=-1, eps=eps, centred=centred)
    return _affine(params, y), state, residual


def _flops(in_shape: Shape, out_shape: Shape) -> int:
    return 8 * math.prod(out_shape)


def batch_norm(*, momentum: float = 0.1, eps: float = 1e-5) -> Layer:
    """Standardise each feature over the batch; the running statistics come back as the layer's state.

    The features are the last axis. Of images (B, H, W, C) they are the channels, and mean and variance are taken over
    all pixels of the batch.

    In training mean and variance are the batch's (the variance divided by B), and the state becomes
    ``(1 - momentum) old + momentum new`` with the unbiased variance, as in torch. At inference they are the state's.

    Args:
        momentum: How fast the running statistics follow, in (0, 1].
        eps: Added to the variance, above 0.

    Returns:
        A layer from (B, ..., H) to (B, ..., H) with `NormParams` and `BatchStatistics`. Gradients of single examples
        do not exist in training, where examples share statistics; at inference they do.

    Raises:
        ValueError: An argument is out of range; or, from `forward`, a training batch of fewer than 2 rows
            (pixels, of images).
        ShapeError: From the layer's functions, where the input is not (B, ..., H).

    Example:
        >>> from bpfunc.layers import Context
        >>> layer = batch_norm()
        >>> params, state, _ = layer.init(Key(0), (1,))
        >>> y, state, _ = layer.forward(params, state, np.array([[1.0], [3.0]]), Context(train=True))
        >>> y.round(3).ravel(), state.mean
        (array([-1.,  1.]), array([0.2], dtype=float32))

    Reference: Ioffe and Szegedy, "Batch normalization" (2015).
    """
    eps = number("batch_norm", "eps", eps, "(0, inf)")
    momentum = number("batch_norm", "momentum", momentum, "(0, 1]")
    return Layer(
        name="batch_norm",
        init=_batch_init,
        forward=partial(_batch_forward, momentum, eps),
        backward=_backward,
        jvp=_jvp,
        backward_jvp=_backward_jvp,
        example_grads=_example_grads,
        flops=_flops,
        draws=False,
        maker=Maker("batch_norm", (("momentum", momentum), ("eps", eps))),
    )


def _batch_init(key: Key, in_shape: Shape) -> tuple[NormParams, BatchStatistics, Shape]:
    if not in_shape:
        raise ShapeError("batch_norm takes examples of shape (..., H), found ()")
    params = _init_params("batch_norm", in_shape[-1:], shift=True)
    features = in_shape[-1:]
    return params, BatchStatistics(np.zeros(features, np.float32), np.ones(features, np.float32)), in_shape


def _batch_forward(
    momentum: float, eps: float, params: NormParams, state: BatchStatistics, x: FloatArray, ctx: Context
) -> tuple[FloatArray, BatchStatistics, StandardizeResidual]:
    _check_input("batch_norm", params, x, pixels=True)
    if not state.mean.shape == state.variance.shape == params.scale.shape:
        raise ShapeError(
            f"batch_norm has a scale {params.scale.shape}, and a state that does not fit:"
            f" mean {state.mean.shape}, variance {state.variance.shape}"
        )
    if ctx.train:
        count = math.prod(x.shape[:-1])
        if count < 2:
            raise ValueError(f"batch_norm in training needs at least 2 rows to take a variance of, got {count}")
        y, residual = standardize(x, axis=tuple(range(x.ndim - 1)), eps=eps)
        return _affine(params, y), _followed(state, x, residual, momentum), residual
    inverse = (1 / np.sqrt(state.variance + eps)).astype(x.dtype, copy=False)[None]
    y = (x - state.mean.astype(x.dtype, copy=False)) * inverse
    return _affine(params, y), state, StandardizeResidual(y, inverse, None, True)


def _followed(state: BatchStatistics, x: FloatArray, residual: StandardizeResidual, momentum: float) -> BatchStatistics:
    """The running statistics after a batch; its spread is that of ``y``, about 1, times what ``x`` was divided by."""

    def followed(old: FloatArray, new: FloatArray) -> FloatArray:
        return (1 - momentum) * old + momentum * new.astype(old.dtype, copy=False)

    axes, count = tuple(range(x.ndim - 1)), math.prod(x.shape[:-1])
    mean, square = (mean_over(values, axes).reshape(-1) for values in (x, np.square(residual.y)))
    spread = np.sqrt(square * (count / (count - 1))) / residual.inverse.reshape(-1)
    return BatchStatistics(followed(state.mean, mean), followed(state.variance, np.square(spread)))


def _init_params(name: str, in_shape: Shape, *, shift: bool) -> NormParams:
    if len(in_shape) != 1:
        raise ShapeError(f"{name} takes examples of shape (H,), found {in_shape}; put flatten() before it")
    return NormParams(np.ones(in_shape, np.float32), np.zeros(in_shape, np.float32) if shift else None)


def _check_input(name: str, params: NormParams, x: FloatArray, *, pixels: bool = False) -> None:
    if x.ndim < 2 or (x.ndim > 2 and not pixels) or x.shape[-1:] != params.scale.shape:
        if params.scale.ndim != 1:
            raise ShapeError(f"{name} expected a scale of shape (H,), found {params.scale.shape}")
        axes = "B, ..." if pixels and x.ndim != 2 else "B"
        raise ShapeError(f"{name} expected an input of shape ({axes}, {params.scale.shape[0]}), found {x.shape}")
    if params.shift is not None and params.shift.shape != params.scale.shape:
        raise ShapeError(f"{name} has a scale {params.scale.shape}, and a shift {params.shift.shape} that does not fit")


def _affine(params: NormParams, y: FloatArray) -> FloatArray:
    scaled: FloatArray = y * params.scale
    if params.shift is not None:
        scaled += params.shift
    return scaled


def _backward(params: NormParams, residual: StandardizeResidual, dy: FloatArray) -> tuple[NormParams, FloatArray]:
    if dy.shape != residual.y.shape:
        raise ShapeError(f"a normalisation expected a cotangent of shape {residual.y.shape}, found {dy.shape}")
    shift = None if params.shift is None else sum_to_last(dy)
    return NormParams(sum_to_last(dy * residual.y), shift), standardize_vjp(residual, dy * params.scale)


def _jvp(params: NormParams, residual: StandardizeResidual, params_dot: NormParams, x_dot: FloatArray) -> FloatArray:
    y_dot: FloatArray = _affine(params_dot, residual.y) + standardize_jvp(residual, x_dot) * params.scale
    return y_dot


def _backward_jvp(
    params: NormParams,
    residual: StandardizeResidual,
    params_dot: NormParams,
    x_dot: FloatArray,
    dy: FloatArray,
    dy_dot: FloatArray,
) -> tuple[NormParams, FloatArray]:
    scale = sum_to_last(dy_dot * residual.y + dy * standardize_jvp(residual, x_dot))
    shift = None if params.shift is None else sum_to_last(dy_dot)
    inner, inner_dot = dy * params.scale, dy_dot * params.scale + dy * params_dot.scale
    return NormParams(scale, shift), standardize_vjp_jvp(residual, x_dot, inner, inner_dot)


def _example_grads(params: NormParams, residual: StandardizeResidual, dy: FloatArray) -> tuple[NormParams, FloatArray]:
    if isinstance(residual.axis, tuple):
        raise NotImplementedError(
            "batch_norm in training has no gradients of single examples: they share the batch's statistics"
        )
    within = tuple(range(1, dy.ndim - 1))
    shift = None if params.shift is None else dy.sum(axis=within)
    return NormParams((dy * residual.y).sum(axis=within), shift), standardize_vjp(residual, dy * params.scale)


hands_out(
    layer_norm,
    forward=_forward,
    backward=_backward,
    jvp=_jvp,
    backward_jvp=_backward_jvp,
    example_grads=_example_grads,
    flops=_flops,
)
hands_out(batch_norm, forward=_batch_forward)
