"""Stage `evaluate`: trained network and sealed test split -> evaluation. The only stage that opens the test split."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bpfunc import Batch, confusion_matrix, cross_entropy
from bpfunc.arrays.types import FloatArray, IntArray
from bpfunc.gradient.modes import value
from bpfunc.layers import INFERENCE, identity
from bpfunc.ops import softmax
from pipelines.artifacts import (
    Calibration,
    Evaluation,
    PreparedMeta,
    SealedTest,
    Temperature,
    Trained,
    predicted_classes,
)
from pipelines.dataset.sealed_split import read_test
from pipelines.errors import DataProblem
from pipelines.stages.encode import unscaled
from pipelines.stages.examine import reliability
from pipelines.training.outputs import network_outputs


def evaluate(
    test: SealedTest, meta: PreparedMeta, trained: Trained, *, temperature: Temperature | None = None
) -> Evaluation:
    """Open the test split, once, and say what the network makes of every row.

    Args:
        test: The sealed test split in the cache.
        meta: Class names and scaling.
        trained: The network.
        temperature: Fitted on validation rows, or None to leave calibration out.

    Returns:
        Probabilities, confusion matrix, accuracy and loss, all of the network as trained; and how far its
        probabilities can be trusted, before and after the temperature.

    Raises:
        DataProblem: The cache entry is not what it was.

    Example:
        See `pipelines.stages.prepare`, which calls the stages in order.
    """
    split = read_test(test)
    classes = len(meta.class_names)
    # What overflows shows in the figures; a warning would only interrupt them.
    with np.errstate(over="ignore", invalid="ignore"):
        outputs = network_outputs(trained.model, classes, trained.params, trained.layer_state, split.pixels)
        found = value(identity(), cross_entropy(), (), (), Batch(outputs, split.target), INFERENCE)
        probabilities, _ = softmax(outputs)
        calibration = None if temperature is None else _calibration(temperature, outputs, split.label)
    matrix = confusion_matrix(predicted_classes(probabilities, split.label), split.label, classes)
    return Evaluation(
        class_names=meta.class_names,
        probabilities=probabilities,
        label=split.label.astype(np.int64),
        source_index=split.source_index,
        images=unscaled(split.pixels, meta.scaling),
        confusion_matrix=matrix,
        accuracy=float(np.trace(matrix) / matrix.sum()),
        loss=float(found.loss),
        calibration=calibration,
    )


def _calibration(temperature: Temperature, logits: FloatArray, label: IntArray) -> Calibration:
    after = None if temperature.value is None else reliability(logits.astype(np.float64) / temperature.value, label)
    return Calibration(temperature, reliability(logits, label), after)


def images_of_rows(test: SealedTest, meta: PreparedMeta, source_index: IntArray) -> NDArray[np.uint8]:
    """Open the test split to show some of its images to a person.

    Args:
        test: The sealed test split in the cache.
        meta: Class names and scaling.
        source_index: (M,) rows in the original test file, in any order.

    Returns:
        (M, 784) uint8, the pixels as they were in the source.

    Raises:
        DataProblem: The cache entry is not what it was, or has no such row.
    """
    split = read_test(test)
    # The stages keep the rows in the order of the file; were they not, the check below would refuse.
    rows = np.searchsorted(split.source_index, source_index).clip(max=len(split.source_index) - 1)
    if not np.array_equal(split.source_index[rows], source_index):
        raise DataProblem(
            "the prepared data does not hold the rows that were tested",
            where=str(test.path),
            remedy="compare runs of the same data",
        )
    images: NDArray[np.uint8] = unscaled(split.pixels, meta.scaling)[rows]
    return images
