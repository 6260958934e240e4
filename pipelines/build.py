"""From specifications to the parts of the library: the only place that knows which name means which function."""

from __future__ import annotations

from bpfunc.layers import Layer, dense, relu
from bpfunc.model import serial
from bpfunc.optimizers import sgd
from bpfunc.transforms import GradientTransform
from pipelines.config import ModelSpec, TrainSpec


def build_model(spec: ModelSpec, classes: int) -> Layer:
    """Build the network: hidden dense layers, each with its activation, and a dense layer to the logits.

    Args:
        spec: Widths and activation.
        classes: K, number of outputs.

    Returns:
        A layer from (B, 784) to (B, K) logits.

    Example:
        >>> build_model(ModelSpec(hidden=(8,)), 3).name
        'serial(dense(8), relu, dense(3))'
    """
    hidden = [layer for width in spec.hidden for layer in (dense(width), relu())]
    return serial(*hidden, dense(classes))


def build_transform(spec: TrainSpec) -> GradientTransform:
    """Build the optimiser.

    Args:
        spec: Its name and settings.

    Returns:
        A transform.

    Example:
        >>> build_transform(TrainSpec(learning_rate=0.5)).update(1.0, ((),), 0.0, 0)[0]
        -0.5
    """
    return sgd(spec.learning_rate, decay=spec.momentum)
