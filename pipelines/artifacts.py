"""The typed values that pass between stages: frozen records of arrays, paths and facts.

The order is the order of the stages. A stage takes the artifact above it and returns the next one, so a reader
follows the data by reading this file from top to bottom. The test split travels as a ``SealedTest`` from `store`
on: a handle without pixels, which only `evaluate` opens.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import attrs
import numpy as np
from numpy.typing import NDArray

from bpfunc.arrays.types import FloatArray, IntArray, readonly_arrays
from bpfunc.tree import STATIC, Tree
from pipelines.spec.run_spec import ModelSpec

SplitName = Literal["train", "test"]
Origin = Literal["bundle", "directory", "system", "download"]
EngineName = Literal["numpy", "compiled"]

IMAGE_SIDE = 28
PIXELS = IMAGE_SIDE * IMAGE_SIDE


@attrs.frozen
class SourceFile:
    """One of the four IDX files: what it should hold, and the SHA-256 of its decompressed bytes."""

    role: str
    """``train_images``, ``train_labels``, ``test_images`` or ``test_labels``."""
    sha256: str
    """Hex digest of the DECOMPRESSED bytes (for the bundle: of the official file that its rows came from)."""
    size: int
    """Decompressed size in bytes."""


@attrs.frozen
class Acquired:
    """`acquire` -> `decode`: where the bytes are, and the proof that they are what was pinned."""

    origin: Origin
    location: Path
    """The bundle's folder, or the folder that holds the IDX files. Never part of a cache key."""
    files: tuple[SourceFile, ...]
    pinned: bool
    """Whether the hashes equal the official ones of ``data/sources.toml``."""


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class RawSplit:
    """Images and labels of one split as they are in the source."""

    images: NDArray[np.uint8]
    """(N, 784) uint8, 0..255, row-major 28 x 28."""
    labels: NDArray[np.uint8]
    """(N,) uint8, number of the class in the source, 0..9."""
    source_index: NDArray[np.uint32]
    """(N,) uint32, row in the original IDX file."""


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class Decoded:
    """`decode` -> `select`: both splits, checked byte for byte."""

    train: RawSplit
    test: RawSplit
    source: Acquired


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class Selected:
    """`select` -> `encode`: the rows of the chosen classes, labels renumbered 0..K-1 in the order asked for."""

    train: RawSplit
    test: RawSplit
    class_names: tuple[str, ...]
    class_numbers: tuple[int, ...]
    """The source's number of each chosen class, in the order of ``class_names``."""
    source: Acquired


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class Scaling:
    """How pixels became inputs: ``(pixel / 255 - mean) / scale``, fitted on the training split alone."""

    kind: Literal["unit", "standard", "pixel", "mirrored"] = attrs.field(metadata=STATIC)
    mean: FloatArray
    """(784,) float64; zeros for ``unit``."""
    scale: FloatArray
    """(784,) float64; ones for ``unit``."""


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class EncodedSplit:
    """One split, ready to learn from."""

    pixels: NDArray[np.float32]
    """(N, 784) float32, normalised."""
    target: NDArray[np.float32]
    """(N, K) float32, one-hot."""
    label: NDArray[np.uint8]
    """(N,) uint8, index into the chosen classes."""
    source_index: NDArray[np.uint32]
    """(N,) uint32, row in the original IDX file."""


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class Encoded:
    """`encode` -> `store`: both splits normalised by the training split's statistics."""

    train: EncodedSplit
    test: EncodedSplit
    scaling: Scaling
    class_names: tuple[str, ...]
    class_numbers: tuple[int, ...]
    source: Acquired


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class PreparedMeta:
    """What the Parquet files say about themselves in their key-value metadata."""

    class_names: tuple[str, ...]
    class_numbers: tuple[int, ...]
    scaling: Scaling
    source_hashes: Mapping[str, str]
    """Role -> SHA-256 of the decompressed source file."""
    versions: Mapping[str, str]
    """Stage name -> version, of the stages that made the entry."""


@attrs.frozen
class PreparedTrain:
    """The training split in the cache; `pipelines.stages.train` opens it."""

    path: Path
    sha256: str
    rows: int
    classes: int


@attrs.frozen
class SealedTest:
    """The test split in the cache, unopened; only `pipelines.stages.evaluate` opens it."""

    path: Path
    sha256: str
    rows: int
    classes: int


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class Prepared:
    """`store` -> `train` and `evaluate`: a verified cache entry."""

    key: str
    path: Path
    train: PreparedTrain
    test: SealedTest
    meta: PreparedMeta


@attrs.frozen
class EngineUsed:
    """What ran a training."""

    name: EngineName = "numpy"
    threads: int | None = None
    """Of its matrix products; None where that is not known."""


@attrs.frozen
class EpochRecord:
    """One row of a training history. Losses are means in nats, accuracies fractions, times seconds."""

    epoch: int
    """Epochs finished, from 1."""
    step: int
    """Parameter updates made so far."""
    learning_rate: float
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    """None where no validation split was asked for."""
    validation_accuracy: float | None
    seconds: float
    """Time of this epoch's updates, without the validation pass."""
    skipped_steps: int = 0
    """Updates left out because a loss or gradient was not finite."""


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class Trained:
    """`train` -> `evaluate`: a network and how it came about."""

    model: ModelSpec
    params: Tree
    """The network's parameters, arrays float32 and read-only."""
    layer_state: Tree
    """Running statistics of its layers; empty for most."""
    history: tuple[EpochRecord, ...]
    epoch: int
    """The epoch that this network is of; the last one, unless the best was asked for."""
    train_seconds: float
    """Time of all updates, without validation and checkpoints."""
    engine: EngineUsed = attrs.field(factory=EngineUsed, metadata=STATIC)


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class Reliability:
    """How sure a network is on some rows, and how often it is right there: (bins,) arrays, bins of equal width."""

    rows: IntArray
    """Rows whose largest probability lies in the bin."""
    confidence: FloatArray
    """Mean largest probability of those rows; nan where there are none."""
    accuracy: FloatArray
    """Fraction of those rows that is right; nan where there are none."""
    error: float
    """Expected calibration error, 0..1."""
    loss: float
    """Mean cross-entropy in nats."""


@attrs.frozen(eq=False)
class Temperature:
    """What the logits are divided by so that the network is as sure as it is right; validation rows alone choose it."""

    value: float | None
    """Above 0, or None where there is none."""
    why_none: str
    """A sentence; empty where there is one."""
    rows: int
    """Validation rows."""
    before: Reliability | None
    """On the validation rows, as trained; None where none are held out."""
    after: Reliability | None
    """On the validation rows, logits divided; None where there is no temperature."""


@attrs.frozen
class ParameterFlow:
    """How large the gradient of one array of parameters is on the first training batch, at the start and at the end.

    All are root mean squares over the array's entries, so that arrays of different sizes compare.
    """

    name: str
    """Path in the tree of parameters."""
    size: int
    gradient: tuple[float, float]
    """At the first parameters, and at the trained ones."""
    parameter: tuple[float, float]


@attrs.frozen(eq=False)
class Examined:
    """`examine` -> `evaluate` and `report`: what training rows alone can say of a trained network."""

    temperature: Temperature
    flow: tuple[ParameterFlow, ...]
    """In the order of the tree: input first."""


@attrs.frozen(eq=False)
class Calibration:
    """How far the network's probabilities can be trusted on the test rows, as trained and with the temperature."""

    temperature: Temperature
    before: Reliability
    after: Reliability | None
    """None where there is no temperature."""


def predicted_classes(probabilities: FloatArray, label: IntArray) -> IntArray:
    """Find the class that each row is taken for: the first of the most probable ones.

    Args:
        probabilities: (N, K).
        label: (N,) true class index.

    Returns:
        (N,) class indices. A row with NaN has no most probable class, and is never right: it counts as taken for the
        class after its own.

    Example:
        >>> predicted_classes(np.array([[0.2, 0.8], [np.nan, np.nan]]), np.array([1, 0]))
        array([1, 1])
    """
    predicted: IntArray = probabilities.argmax(axis=1)
    unknown = np.isnan(probabilities).any(axis=1)
    predicted[unknown] = (label[unknown].astype(np.intp) + 1) % probabilities.shape[1]
    return predicted


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class Evaluation:
    """`evaluate` -> `report`: what the trained network says of every test row."""

    class_names: tuple[str, ...]
    probabilities: FloatArray
    """(N, K) float32, rows sum to 1."""
    label: IntArray
    """(N,) true class index."""
    source_index: IntArray
    """(N,) row in the original test file."""
    images: NDArray[np.uint8]
    """(N, 784) uint8, the test images as they were before normalisation."""
    confusion_matrix: IntArray
    """(K, K) counts; row = true class, column = predicted class."""
    accuracy: float
    """Fraction of test rows predicted right."""
    loss: float
    """Mean cross-entropy in nats."""
    calibration: Calibration | None = None
    """None where it was not measured."""


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class FeatureMaps:
    """What a block of a convolutional network makes of one image."""

    block: str
    """As the configuration names it, such as ``conv 32``."""
    maps: FloatArray
    """(H, W, C): one map for each channel."""


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class ReportInputs:
    """Everything that `report` draws, already computed: the stage draws and writes, it calculates no result."""

    title: str
    """Network, optimiser, epochs and date, such as ``784-128-64-3, SGD 0.05, 30 epochs, 25 Nov 2026``."""
    evaluation: Evaluation
    history: tuple[EpochRecord, ...]
    first_layer: FloatArray
    """(784, H) weights of the first layer where it is dense, (KH, KW, C, F) filters where it is a convolution."""
    facts: Mapping[str, str]
    """Label -> value, in the order to show: architecture, parameters, optimiser, seed, train seconds, ..."""
    lineage: Mapping[str, str]
    """Label -> value: source files with hashes, cache key, versions of the libraries."""
    command: str
    """The command line that reproduces the run."""
    flow: tuple[ParameterFlow, ...] = ()
    """Of each array of parameters; empty where it was not measured."""
    config: str = ""
    """The configuration that the command reads, as TOML; empty where it reads none."""
    recipe: str = ""
    """Recipe and seed in words; empty where there are none."""
    kept: int | None = None
    """The epoch that the network is of; None where it is not known."""
    published: float | None = None
    """Accuracy of the course report, a fraction; None where the run is of other classes or images."""
    maps: tuple[FeatureMaps, ...] = ()
    """Of the first test image, block by block; empty for a dense network."""


@attrs.frozen
class ReportFiles:
    """`report` -> the person: the files in the run directory to look at."""

    html: Path
    confusion_matrix: Path
    curves: Path
