"""A setting that is NaN is refused where it is given, not found in a network that has learned nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import bpfunc as bp
from bpfunc.layers import initializers

NAN = float("nan")
SETTINGS: dict[str, Callable[[], object]] = {
    "momentum": lambda: bp.momentum(NAN),
    "eps of adam": lambda: bp.scale_by_adam(eps=NAN),
    "beta1": lambda: bp.scale_by_adam(beta1=NAN),
    "initial": lambda: bp.scale_by_adagrad(initial=NAN),
    "weight decay": lambda: bp.add_decayed_weights(NAN),
    "clip": lambda: bp.clip_by_global_norm(NAN),
    "clip by value": lambda: bp.clip_by_value(NAN),
    "noise in gradients": lambda: bp.add_noise(bp.Key(0), NAN),
    "average": lambda: bp.ema_of_params(NAN),
    "lookahead": lambda: bp.lookahead(bp.sgd(0.1), rate=NAN),
    "sharpness": lambda: bp.sharpness_aware(NAN),
    "huber": lambda: bp.huber(delta=NAN),
    "label smoothing": lambda: bp.cross_entropy(label_smoothing=NAN),
    "focal": lambda: bp.focal(gamma=NAN),
    "dropout": lambda: bp.dropout(NAN),
    "layer_norm": lambda: bp.layer_norm(eps=NAN),
    "truncated normal": lambda: initializers.truncated_normal(NAN),
    "polynomial": lambda: bp.polynomial(0.1, 0.0, 10, power=NAN),
    "exponential": lambda: bp.exponential(0.1, NAN, 10),
    "one_cycle": lambda: bp.one_cycle(NAN, 10),
    "flip": lambda: bp.flip_horizontal(NAN),
    "noise": lambda: bp.noise(NAN),
    "mixup": lambda: bp.mixup(NAN),
    "validation": lambda: bp.train_validation_split(bp.Batch(np.zeros((9, 1)), np.zeros(9, int)), bp.Key(0), NAN),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_nan_is_refused(name: str) -> None:
    """The error comes from the function that was given the setting."""
    with pytest.raises(ValueError, match=r"nan|in \[|at least|above"):
        SETTINGS[name]()
