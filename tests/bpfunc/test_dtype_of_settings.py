"""A setting that comes as a NumPy float64, out of a grid or a file, does not turn float32 work into float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import bpfunc as bp
from bpfunc import layers
from bpfunc.tree import tree_leaves

X = np.float64(0.25)
TRANSFORMS: dict[str, Callable[[], bp.GradientTransform]] = {
    "sgd": lambda: bp.sgd(X, momentum=X, nesterov=True, weight_decay=X),
    "adagrad": lambda: bp.adagrad(X, initial=X, eps=X),
    "rmsprop": lambda: bp.rmsprop(X, decay=X, eps=X, momentum_decay=X),
    "centred rmsprop": lambda: bp.rmsprop(X, decay=X, centred=True),
    "adadelta": lambda: bp.adadelta(X, decay=X, eps=X),
    "adam": lambda: bp.adam(X, beta1=X, beta2=X, eps=X),
    "adamw": lambda: bp.adamw(X, weight_decay=X),
    "adamax": lambda: bp.adamax(X, beta1=X, beta2=X, eps=X),
    "amsgrad": lambda: bp.amsgrad(X, beta1=X, beta2=X, eps=X),
    "nadam": lambda: bp.nadam(X, beta1=X, beta2=X, eps=X),
    "lion": lambda: bp.lion(X, beta1=X, beta2=X, weight_decay=X),
    "lamb": lambda: bp.lamb(X, beta1=X, beta2=X, weight_decay=X),
    "clip by value": lambda: bp.clip_by_value(X),
    "clip by norm": lambda: bp.clip_by_norm(X),
    "clip by global norm": lambda: bp.clip_by_global_norm(X),
    "noise": lambda: bp.add_noise(bp.Key(0), X, decay=X),
    "max norm": lambda: bp.max_norm(X),
    "scale": lambda: bp.scale(X),
    "schedule": lambda: bp.scale_by_schedule(lambda step: X),
    "average": lambda: bp.ema_of_params(X),
    "lookahead": lambda: bp.lookahead(bp.sgd(X), every=1, rate=X),
    "one_cycle": lambda: bp.sgd(bp.one_cycle(X, 10)),
    "cosine": lambda: bp.sgd(bp.cosine(X, 10)),
}
LAYERS: dict[str, Callable[[], bp.Layer]] = {
    "dropout": lambda: bp.dropout(X),
    "leaky_relu": lambda: bp.leaky_relu(slope=X),
    "elu": lambda: bp.elu(alpha=X),
    "layer_norm": lambda: bp.layer_norm(eps=X),
    "rms_norm": lambda: bp.rms_norm(eps=X),
    "batch_norm": lambda: bp.batch_norm(momentum=X, eps=X),
}
LOSSES: dict[str, Callable[[], bp.Loss]] = {
    "cross_entropy": lambda: bp.cross_entropy(label_smoothing=X),
    "focal": lambda: bp.focal(gamma=np.float64(1.5)),
    "huber": lambda: bp.huber(delta=X),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transform_keeps_float32(name: str) -> None:
    """Updates and state are float32 after two steps."""
    transform, params = TRANSFORMS[name](), (np.ones((3, 2), np.float32),)
    state = transform.init(params)
    for step in range(2):
        updates, state = transform.update(params, state, params, step)
        params, state = bp.updated(transform, params, state, params, step)
    assert {leaf.dtype for leaf in tree_leaves((updates, params, state)) if isinstance(leaf, np.ndarray)} == {
        np.dtype(np.float32)
    }


@pytest.mark.parametrize("name", LAYERS)
def test_layer_keeps_float32(name: str) -> None:
    """Outputs, state and gradients are float32."""
    layer = LAYERS[name]()
    params, state, _ = layer.init(bp.Key(0), (4,))
    y, state, residual = layer.forward(params, state, np.ones((3, 4), np.float32), layers.Context(True, bp.Key(1)))
    assert {leaf.dtype for leaf in tree_leaves((y, state, layer.backward(params, residual, y)))} == {
        np.dtype(np.float32)
    }


@pytest.mark.parametrize("name", LOSSES)
def test_loss_keeps_float32(name: str) -> None:
    """Losses and their cotangents are float32."""
    loss, rows = LOSSES[name](), np.eye(3, dtype=np.float32)
    losses, residual = loss.forward(rows * 2, rows)
    assert losses.dtype == loss.vjp(residual, losses).dtype == np.float32
