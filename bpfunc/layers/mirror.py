"""Averaging a prediction over an image and its mirror image, as part of the network."""

from __future__ import annotations

from functools import partial

import numpy as np

from bpfunc.arrays.arguments import expected
from bpfunc.arrays.calls import hands_out
from bpfunc.arrays.types import FloatArray
from bpfunc.layers import Context, Layer, Maker, custom
from bpfunc.ops import softmax, softmax_vjp
from bpfunc.tree import Tree, tree_add


def mirror_averaged(layer: Layer, *, image_shape: tuple[int, int]) -> Layer:
    """Average probabilities over an image and its mirror image at inference: ``y = log((p(x) + p(mirror x)) / 2)``.

    In training it is the inner layer, untouched. At inference it costs two passes instead of one.

    Args:
        layer: From (B, height * width) rows to (B, K) logits.
        image_shape: (height, width).

    Returns:
        A layer with the inner one's parameters and state; its inference output is log-probabilities, in nats.

    Raises:
        ShapeError: As the inner layer.

    Example:
        >>> from bpfunc.keys import Key
        >>> from bpfunc.layers import INFERENCE, dense
        >>> model = mirror_averaged(dense(3), image_shape=(2, 2))
        >>> params, state, _ = model.init(Key(0), (4,))
        >>> image = np.array([[1.0, 0.0, 1.0, 0.0]])
        >>> one, other = (model.forward(params, state, x, INFERENCE)[0] for x in (image, image[:, ::-1]))
        >>> bool(np.allclose(one, other))
        True

    Reference: Krizhevsky, Sutskever and Hinton, "ImageNet classification" (2012).
    """
    whole, layer = expected("mirror_averaged", "layer", layer, Layer), custom.checked(layer)
    return Layer(
        name=f"mirror_averaged({layer.name})",
        init=layer.init,
        forward=partial(_forward, layer, image_shape),
        backward=partial(_backward, layer, image_shape),
        backward_params=partial(_backward_params, layer, image_shape),
        parts=(("inner", whole),),
        maker=Maker("mirror_averaged", (("image_shape", image_shape),)),
    )


def _mirror(x: FloatArray, image_shape: tuple[int, int]) -> FloatArray:
    return x.reshape(len(x), *image_shape)[:, :, ::-1].reshape(x.shape)


def _forward(
    layer: Layer, image_shape: tuple[int, int], params: Tree, state: Tree, x: FloatArray, ctx: Context
) -> tuple[FloatArray, Tree, Tree]:
    z, new_state, residual = layer.forward(params, state, x, ctx)
    if ctx.train:
        return z, new_state, (residual, None)
    other, _, other_residual = layer.forward(params, state, _mirror(x, image_shape), ctx)
    p, q = softmax(z)[0], softmax(other)[0]
    # Probabilities below the smallest number would give an infinite logarithm.
    mean = np.maximum((p + q) / 2, np.finfo(p.dtype).tiny)
    return np.log(mean), state, (residual, (other_residual, p, q, mean))


def _backward(
    layer: Layer, image_shape: tuple[int, int], params: Tree, residual: Tree, dy: FloatArray
) -> tuple[Tree, FloatArray]:
    inner, averaged = residual
    if averaged is None:
        return layer.backward(params, inner, dy)
    other, p, q, mean = averaged
    dmean = dy / (2 * mean)
    grads, dx = layer.backward(params, inner, softmax_vjp(p, dmean))
    other_grads, other_dx = layer.backward(params, other, softmax_vjp(q, dmean))
    return tree_add(grads, other_grads), dx + _mirror(other_dx, image_shape)


def _backward_params(layer: Layer, image_shape: tuple[int, int], params: Tree, residual: Tree, dy: FloatArray) -> Tree:
    if residual[1] is None:
        return layer.backward_params(params, residual[0], dy)
    return _backward(layer, image_shape, params, residual, dy)[0]


hands_out(mirror_averaged, forward=_forward, backward=_backward, backward_params=_backward_params)
