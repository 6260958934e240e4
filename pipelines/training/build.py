"""From specifications to the parts of the library: the only place that knows which name means which function."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from bpfunc import layers
from bpfunc.batches.augment import Augmentation, compose, flip_horizontal, mixup
from bpfunc.layers import Layer, dense, dropout
from bpfunc.layers.combinators import serial
from bpfunc.layers.mirror import mirror_averaged
from bpfunc.losses import Loss, cross_entropy
from bpfunc.optimizers import adam, adamw, sgd, weights_only
from bpfunc.training.step import TrainState
from bpfunc.transforms import EmaState, GradientTransform, chain, ema_of_params, find_state
from bpfunc.transforms.schedules import Schedule, constant, cosine, one_cycle
from bpfunc.tree import Tree
from pipelines.artifacts import IMAGE_SIDE, PIXELS
from pipelines.spec.run_spec import ModelSpec, TrainSpec

ACTIVATIONS: dict[str, Callable[[], Layer]] = {
    "relu": layers.relu,
    "leaky_relu": layers.leaky_relu,
    "elu": layers.elu,
    "selu": layers.selu,
    "gelu": layers.gelu,
    "silu": layers.silu,
    "tanh": layers.tanh,
}


def as_it_is(layer: Layer) -> Layer:
    """Leave a layer as it is.

    Args:
        layer: Any.

    Returns:
        The same layer.

    Example:
        >>> as_it_is(dense(3)).name
        'dense(3)'
    """
    return layer


def build_model(spec: ModelSpec, classes: int, *, each: Callable[[Layer], Layer] = as_it_is) -> Layer:
    """Build the network: hidden dense layers, each with its activation and dropout, and a dense layer to the logits.

    Args:
        spec: Widths, activation, dropout.
        classes: K, number of outputs.
        each: What is made of each layer before they are composed, such as one that is watched.

    Returns:
        A layer from (B, 784) to (B, K) logits.

    Example:
        >>> build_model(ModelSpec(hidden=(8,)), 3).name
        'serial(dense(8), relu, dense(3))'
    """
    parts = [dropout(spec.input_dropout)] if spec.input_dropout else []
    for width in spec.hidden:
        parts += [dense(width), ACTIVATIONS[spec.activation]()]
        if spec.dropout:
            parts.append(dropout(spec.dropout))
    network = serial(*map(each, (*parts, dense(classes))))
    return mirror_averaged(network, image_shape=(IMAGE_SIDE, IMAGE_SIDE)) if spec.mirror else network


def parameter_count(spec: ModelSpec, classes: int) -> int:
    """Count a network's parameters without making it.

    Args:
        spec: Widths.
        classes: K, number of outputs.

    Returns:
        Weights and biases.

    Example:
        >>> parameter_count(ModelSpec(hidden=(8,)), 3)
        6307
    """
    widths = (PIXELS, *spec.hidden, classes)
    return sum(before * after + after for before, after in pairwise(widths))


def build_loss(spec: TrainSpec) -> Loss:
    """Build the training loss: softmax cross-entropy.

    Args:
        spec: Its label smoothing.

    Returns:
        A loss on logits.

    Example:
        >>> build_loss(TrainSpec()).name
        'cross_entropy'
    """
    return cross_entropy(label_smoothing=spec.label_smoothing)


def build_schedule(spec: TrainSpec, steps: int) -> Schedule:
    """Build the learning rate's schedule.

    Args:
        spec: Its name and peak.
        steps: Updates in the whole training.

    Returns:
        ``step -> rate``.

    Example:
        >>> build_schedule(TrainSpec(learning_rate=0.5), 100)(7)
        0.5
    """
    if spec.schedule == "cosine":
        return cosine(spec.learning_rate, steps)
    return one_cycle(spec.learning_rate, steps) if spec.schedule == "one_cycle" else constant(spec.learning_rate)


def build_transform(spec: TrainSpec, schedule: Schedule) -> GradientTransform:
    """Build the optimiser.

    Args:
        spec: Its name and settings.
        schedule: Of the learning rate.

    Returns:
        A transform.

    Example:
        >>> from bpfunc.transforms.schedules import constant
        >>> build_transform(TrainSpec(), constant(0.5)).update(1.0, ((),), 0.0, 0)[0]
        -0.5
    """
    if spec.optimizer == "adamw":
        transform = adamw(schedule, weight_decay=spec.weight_decay, decay_mask=weights_only)
    elif spec.optimizer == "adam":
        transform = adam(schedule)
    else:
        transform = sgd(schedule, momentum=spec.momentum, weight_decay=spec.weight_decay, decay_mask=weights_only)
    return chain(transform, ema_of_params(spec.average)) if spec.average else transform


def build_augmentation(spec: TrainSpec) -> Augmentation | None:
    """Build what happens to each batch of training images.

    Args:
        spec: Whether images are mirrored at random, and mixed.

    Returns:
        ``(key, batch) -> batch``, or None where nothing happens.

    Example:
        >>> build_augmentation(TrainSpec()) is None
        True
    """
    chosen = [flip_horizontal()] if spec.flip else []
    if spec.mixup:
        chosen.append(mixup(spec.mixup))
    return compose(*chosen) if chosen else None


def result_params(spec: TrainSpec, state: TrainState) -> Tree:
    """Pick the parameters that are the result: the averaged ones where an average is kept.

    Args:
        spec: Whether there is one.
        state: Of the training.

    Returns:
        Parameters of the network.

    Example:
        >>> from bpfunc.keys import Key
        >>> result_params(TrainSpec(), TrainState(1.0, (), (), 0, Key(0)))
        1.0
    """
    return find_state(state.optimizer_state, EmaState).average if spec.average else state.params
