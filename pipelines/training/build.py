"""From specifications to the parts of the library: the only place that knows which name means which function."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

import attrs

from bpfunc import layers
from bpfunc.batches.augment import Augmentation, compose, cutout, flip_horizontal, mixup, shift
from bpfunc.batches.batch import batches_per_epoch
from bpfunc.layers import Layer, avg_pool2d, batch_norm, conv2d, dense, dropout, flatten, max_pool2d, reshape
from bpfunc.layers.combinators import serial
from bpfunc.layers.mirror import mirror_averaged
from bpfunc.losses import Loss, cross_entropy
from bpfunc.optimizers import adam, adamw, sgd, weights_only
from bpfunc.training.step import TrainState
from bpfunc.transforms import EmaState, GradientTransform, chain, ema_of_params, find_state
from bpfunc.transforms.schedules import Schedule, constant, cosine, one_cycle
from bpfunc.tree import Tree
from pipelines.artifacts import IMAGE_SIDE
from pipelines.spec.blocks import IMAGE, block_shapes
from pipelines.spec.run_spec import ModelSpec, RunSpec, TrainSpec

ACTIVATIONS: dict[str, Callable[[], Layer]] = {
    "relu": layers.relu,
    "leaky_relu": layers.leaky_relu,
    "elu": layers.elu,
    "selu": layers.selu,
    "gelu": layers.gelu,
    "silu": layers.silu,
    "tanh": layers.tanh,
}


@attrs.frozen
class Training:
    """The parts of a training, built once from its specification."""

    spec: RunSpec
    model: Layer
    loss: Loss
    schedule: Schedule
    transform: GradientTransform
    augmentation: Augmentation | None
    epoch_steps: int
    """Updates in an epoch."""

    @property
    def steps(self) -> int:
        """Updates in the whole training."""
        return self.spec.train.epochs * self.epoch_steps


def build_training(spec: RunSpec, rows: int = 1) -> Training:
    """Build the parts of a training.

    Args:
        spec: Network and training.
        rows: Rows that an epoch learns from; they decide how long the schedule is.

    Returns:
        Model, loss, schedule, optimiser and augmentation.

    Example:
        >>> build_training(RunSpec(train=TrainSpec(epochs=3, batch_size=10)), 25).steps
        9
    """
    settings = spec.train
    epoch_steps = batches_per_epoch(rows, settings.batch_size)
    schedule = build_schedule(settings, settings.epochs * epoch_steps)
    return Training(
        spec,
        build_model(spec.model, len(spec.dataset.classes)),
        build_loss(settings),
        schedule,
        build_transform(settings, schedule),
        build_augmentation(settings),
        epoch_steps,
    )


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
    """Build the network: blocks, hidden dense layers with activation and dropout, and a dense layer to the logits.

    Args:
        spec: Blocks, widths, activation, dropout.
        classes: K, number of outputs.
        each: What is made of each layer before they are composed, such as one that is watched.

    Returns:
        A layer from (B, 784) to (B, K) logits.

    Example:
        >>> build_model(ModelSpec(hidden=(8,)), 3).name
        'serial(dense(8), relu, dense(3))'
    """
    parts = [dropout(spec.input_dropout)] if spec.input_dropout else []
    parts += _image_layers(spec)
    for width in spec.hidden:
        parts += [dense(width), ACTIVATIONS[spec.activation]()]
        if spec.dropout:
            parts.append(dropout(spec.dropout))
    network = serial(*map(each, (*parts, dense(classes))))
    return mirror_averaged(network, image_shape=(IMAGE_SIDE, IMAGE_SIDE)) if spec.mirror else network


def _image_layers(spec: ModelSpec) -> Iterator[Layer]:
    """The layers of the blocks, from rows of pixels to rows of numbers; none where there are no blocks."""
    if not spec.blocks:
        return
    yield reshape(IMAGE)
    for block, (rows, _, _), _ in block_shapes(spec.blocks):
        if block.kind == "conv":
            yield conv2d(block.filters, block.size, stride=block.stride, use_bias=not spec.batch_norm)
            if spec.batch_norm:
                yield batch_norm()
            yield ACTIVATIONS[spec.activation]()
        elif block.kind == "pool":
            yield max_pool2d(block.size)
        else:
            yield avg_pool2d(block.size or rows)
    yield flatten()


def parameter_count(spec: ModelSpec, classes: int) -> int:
    """Count a network's parameters without making it.

    Args:
        spec: Blocks and widths.
        classes: K, number of outputs.

    Returns:
        Weights, biases, and scales of batch normalisation.

    Example:
        >>> parameter_count(ModelSpec(hidden=(8,)), 3)
        6307
        >>> parameter_count(ModelSpec(blocks=("conv 4", "pool"), hidden=()), 3)
        2395
    """
    steps = list(block_shapes(spec.blocks))
    widths = (math.prod(steps[-1][2] if steps else IMAGE), *spec.hidden, classes)
    kernels = sum(block.weights(before) + block.filters * (2 if spec.batch_norm else 1) for block, before, _ in steps)
    return kernels + sum(before * after + after for before, after in pairwise(widths))


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
        schedule: Schedule of the learning rate.

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
        spec: Whether images are mirrored at random, moved, blanked in part, and mixed.

    Returns:
        ``(key, batch) -> batch``, or None where nothing happens.

    Example:
        >>> build_augmentation(TrainSpec()) is None
        True
    """
    chosen = [flip_horizontal()] if spec.flip else []
    if spec.shift:
        chosen.append(shift(spec.shift))
    if spec.cutout:
        chosen.append(cutout(spec.cutout))
    if spec.mixup:
        chosen.append(mixup(spec.mixup))
    return compose(*chosen) if chosen else None


def result_params(spec: TrainSpec, state: TrainState) -> Tree:
    """Pick the parameters that are the result: the averaged ones where an average is kept.

    Args:
        spec: Whether there is one.
        state: State of the training.

    Returns:
        Parameters of the network.

    Example:
        >>> from bpfunc.keys import Key
        >>> result_params(TrainSpec(), TrainState(1.0, (), (), 0, Key(0)))
        1.0
    """
    return find_state(state.optimizer_state, EmaState).average if spec.average else state.params
