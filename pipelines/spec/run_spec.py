"""The frozen, validated description of a run: what data, which network, how trained.

A `RunSpec` is a value: equal specs describe equal runs. It reads from TOML (a named recipe or your own
file), writes back to the same TOML, and says which field is wrong where one is.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Literal, TypeVar

import attrs

from pipelines.spec.blocks import BLOCKS_LIMIT, IMAGE, block_shapes

ScalingName = Literal["unit", "standard", "pixel", "mirrored"]


PARAMETER_LIMIT = 1 << 27
"""Most weights that a configuration may ask for, 512 MiB of them: a slip of a digit does not fill the memory."""


SpecT = TypeVar("SpecT", bound=attrs.AttrsInstance)


LATER = {"left out": True}
"""Metadata of a field that came after the first runs: a record leaves it out at its default, so that what was made
before keeps its bytes and its name."""


@attrs.frozen
class _within:  # noqa: N801 - it reads as a function in the declarations
    """A validator for numbers in a range."""

    low: float
    high: float
    open_low: bool = False
    open_high: bool = False

    @property
    def range(self) -> str:
        """Such as ``[0, 1)``."""
        return f"{'(' if self.open_low else '['}{self.low}, {self.high}{')' if self.open_high else ']'}"

    def __call__(self, _instance: object, attribute: attrs.Attribute[float], value: float) -> None:
        """Refuse a value outside."""
        outside = not self.low <= value <= self.high
        if outside or (self.open_low and value == self.low) or (self.open_high and value == self.high):
            raise ValueError(f"{attribute.name}: expected a number in {self.range}, found {value}")


@attrs.frozen
class _at_least:  # noqa: N801 - it reads as a function in the declarations
    """A validator for whole numbers from a bound on."""

    low: int

    @property
    def range(self) -> str:
        """Such as ``at least 1``."""
        return f"at least {self.low}"

    def __call__(self, _instance: object, attribute: attrs.Attribute[int], value: int) -> None:
        """Refuse a value below."""
        if value < self.low:
            raise ValueError(f"{attribute.name}: expected a whole number of at least {self.low}, found {value}")


@attrs.frozen
class _whole_within:  # noqa: N801 - it reads as a function in the declarations
    """A validator for whole numbers in a range."""

    low: int
    high: int

    @property
    def range(self) -> str:
        """Such as ``[0, 28]``."""
        return f"[{self.low}, {self.high}]"

    def __call__(self, _instance: object, attribute: attrs.Attribute[int], value: int) -> None:
        """Refuse a value outside."""
        if not self.low <= value <= self.high:
            raise ValueError(f"{attribute.name}: expected a whole number in {self.range}, found {value}")


def _check_classes(_instance: object, attribute: attrs.Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
    if not 2 <= len(value) <= 10:
        raise ValueError(f"classes: expected 2 to 10 classes, found {len(value)} ({', '.join(value) or 'none'})")
    if len({name.casefold() for name in value}) < len(value):
        raise ValueError(f"classes: expected each class once, found {', '.join(value)}")


def _check_widths(_instance: object, attribute: attrs.Attribute[tuple[int, ...]], value: tuple[int, ...]) -> None:
    if any(width < 1 for width in value):
        raise ValueError(f"{attribute.name}: expected widths of at least 1, found {', '.join(map(str, value))}")


def _check_blocks(_instance: object, attribute: attrs.Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
    if len(value) > BLOCKS_LIMIT:
        raise ValueError(f"{attribute.name}: expected at most {BLOCKS_LIMIT} blocks, found {len(value)}")
    kinds = {block.kind for block, _, _ in block_shapes(value)}
    if value and "conv" not in kinds:
        raise ValueError(f"{attribute.name}: expected a 'conv' among the blocks, found {', '.join(value)}")


def _check_name(_instance: object, _attribute: attrs.Attribute[str], value: str) -> None:
    # It becomes part of a directory's name.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
        raise ValueError(f"name: expected 1 to 64 letters, digits or . _ -, and no mark first, found {value!r}")


@attrs.frozen(kw_only=True)
class DatasetSpec:
    """Which rows, and how pixels become inputs."""

    classes: tuple[str, ...] = attrs.field(default=("Dress", "Trouser", "Sneaker"), validator=_check_classes)
    """Names or numbers, 2 to 10 of them, in the order of the network's outputs."""
    scaling: ScalingName = "unit"
    """``unit``: pixel / 255. ``standard``: one mean and deviation for all. ``pixel``: one for each pixel.
    ``mirrored``: one for each pixel, over the images and their mirror images, so that a flip commutes with it."""
    scaling_offset: float = attrs.field(default=0.0, validator=_within(0, 10))
    """Added to the deviation before dividing (all but ``unit``), so that dead pixels stay small."""
    pinned: bool = True
    """Whether the source must be the official files; false allows your own IDX files, their hashes recorded."""
    partitions: str = ""
    """A partitioned directory, path or URI, that the training rows are streamed from; none where empty."""


@attrs.frozen(kw_only=True)
class ModelSpec:
    """The network: perhaps blocks of convolution, dense layers with an activation between them, softmax in the loss."""

    hidden: tuple[int, ...] = attrs.field(default=(128, 64), validator=_check_widths)
    """Widths of the hidden layers, which are dense; they follow the blocks where there are any."""
    activation: Literal["relu", "leaky_relu", "elu", "selu", "gelu", "silu", "tanh"] = "relu"
    """Function after each hidden layer and each convolution."""
    dropout: float = attrs.field(default=0.0, validator=_within(0, 1, open_high=True))
    """Part of each hidden layer's outputs that is dropped in training."""
    input_dropout: float = attrs.field(default=0.0, validator=_within(0, 1, open_high=True))
    """Part of the inputs that is dropped in training."""
    mirror: bool = False
    """Whether a prediction averages the probabilities of an image and its mirror image; it costs two passes."""
    blocks: tuple[str, ...] = attrs.field(default=(), validator=_check_blocks, metadata=LATER)
    """Blocks that an image goes through before the hidden layers, such as ``conv 32``, ``conv 32 5`` (filters of 5 x 5,
    not 3 x 3), ``pool`` (the largest of 2 x 2 pixels), ``mean_pool``, ``global_pool``; none for a dense network."""
    batch_norm: bool = attrs.field(default=False, metadata=LATER)
    """Whether each convolution is followed by batch normalisation, before its activation."""

    def __attrs_post_init__(self) -> None:
        """Check what no field can check alone."""
        steps = list(block_shapes(self.blocks))
        rows, columns, channels = steps[-1][2] if steps else IMAGE
        weights = sum(block.weights(before) for block, before, _ in steps)
        weights += sum(before * after for before, after in pairwise((rows * columns * channels, *self.hidden, 10)))
        if weights > PARAMETER_LIMIT:
            where = "blocks, hidden" if self.blocks else "hidden"
            raise ValueError(f"{where}: expected widths of at most {PARAMETER_LIMIT} weights, found {weights}")
        if self.batch_norm and not self.blocks:
            raise ValueError("batch_norm: follows convolutions, and blocks has none")


@attrs.frozen(kw_only=True)
class TrainSpec:
    """How the network is trained: mini-batches, softmax cross-entropy, an optimiser and its schedule."""

    epochs: int = attrs.field(default=40, validator=_at_least(1))
    """Passes over the training rows."""
    batch_size: int = attrs.field(default=64, validator=_at_least(1))
    """Training rows in a step."""
    learning_rate: float = attrs.field(default=0.1, validator=_within(0, 1e3, open_low=True))
    """Factor of the update; the peak of the schedule."""
    schedule: Literal["constant", "cosine", "one_cycle"] = "constant"
    """How the rate moves over all steps: not at all, down along a cosine, or up and down; the rate is its peak."""
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    """How gradients become updates."""
    momentum: float = attrs.field(default=0.0, validator=_within(0, 1, open_high=True))
    """Momentum of ``sgd``; 0 for none."""
    weight_decay: float = attrs.field(default=0.0, validator=_within(0, 1))
    """On weights, not on biases: coupled for ``sgd``, decoupled for ``adamw``."""
    label_smoothing: float = attrs.field(default=0.0, validator=_within(0, 1, open_high=True))
    """Part of each target that is spread evenly over the classes."""
    mixup: float = attrs.field(default=0.0, validator=_within(0, 100))
    """How much examples are mixed in pairs: shares drawn from Beta(mixup, mixup); 0 for none."""
    flip: bool = False
    """Whether each image is mirrored with probability 1/2 each time it is seen."""
    shift: int = attrs.field(default=0, validator=_whole_within(0, 28), metadata=LATER)
    """Most pixels that each image is moved by along each axis each time it is seen; black moves in."""
    cutout: int = attrs.field(default=0, validator=_whole_within(0, 28), metadata=LATER)
    """Side of a square in pixels that is blanked in each image each time it is seen; 0 for none."""
    average: float = attrs.field(default=0.0, validator=_within(0, 1, open_high=True))
    """Decay of the exponential average of the weights, which is then the result; 0 for no average."""
    validation_fraction: float = attrs.field(default=0.1, validator=_within(0, 0.9))
    """Part of the training split that is held out to choose by; 0 trains on all of it."""
    keep: Literal["last", "best"] = "last"
    """Which epoch's network is the result: the last, or the one of the lowest validation loss."""
    on_nan: Literal["stop", "skip"] = "stop"
    """What a loss or gradient does that is NaN or infinite: end the run, or leave out that update."""
    seed: int = attrs.field(default=0, validator=_at_least(0))
    """Seed of everything random: first weights, order of the rows, dropout, splits."""
    engine: Literal["auto", "numpy", "compiled"] = "auto"
    """What runs the training: NumPy, or machine code (the extra ``fast``), which differs from it by rounding alone.
    ``auto`` is machine code where that is installed and knows the training."""

    def __attrs_post_init__(self) -> None:
        """Check what no field can check alone."""
        if self.keep == "best" and self.validation_fraction == 0:
            raise ValueError("keep: 'best' needs validation rows to judge by, and validation_fraction is 0")
        if self.weight_decay and self.optimizer == "adam":
            raise ValueError("weight_decay: adam takes none; choose optimizer = 'adamw'")


@attrs.frozen(kw_only=True)
class RunSpec:
    """A whole run."""

    name: str = attrs.field(default="report", validator=_check_name)
    """Name of the recipe, for file names and titles."""
    dataset: DatasetSpec = attrs.field(factory=DatasetSpec)
    model: ModelSpec = attrs.field(factory=ModelSpec)
    train: TrainSpec = attrs.field(factory=TrainSpec)

    def __attrs_post_init__(self) -> None:
        """Check what no part can check alone."""
        if self.dataset.scaling == "pixel" and (self.train.flip or self.model.mirror):
            raise ValueError(
                "dataset.scaling: a mirror image does not commute with 'pixel'; choose 'mirrored', 'standard' or 'unit'"
            )
        if self.dataset.scaling != "unit" and (self.train.shift or self.train.cutout):
            raise ValueError("dataset.scaling: what train.shift and train.cutout move in is 0, black for 'unit' alone")


RECORDED = RunSpec(train=TrainSpec(engine="numpy"))
"""What a configuration that was recorded with a run leaves out: before engines could be chosen, NumPy ran them all."""
