"""Stage `evaluate`: trained network and sealed test split -> evaluation. The only stage that opens the test split."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bpfunc import Batch, confusion_matrix, cross_entropy
from bpfunc.gradient import value
from bpfunc.layers import INFERENCE
from bpfunc.ops import softmax
from pipelines.artifacts import EncodedSplit, Evaluation, PreparedMeta, Scaling, SealedTest, Trained
from pipelines.build import build_model
from pipelines.stages.store import read_split


def evaluate(test: SealedTest, meta: PreparedMeta, trained: Trained) -> Evaluation:
    """Open the test split, once, and say what the network makes of every row.

    Args:
        test: The sealed test split in the cache.
        meta: Class names and scaling.
        trained: The network.

    Returns:
        Probabilities, confusion matrix, accuracy and loss.

    Raises:
        DataProblem: The cache entry is not what it was.

    Example:
        See `pipelines.graph`, which calls the stages in order.
    """
    split = read_split(test)
    model = build_model(trained.model, len(meta.class_names))
    rows = Batch(split.pixels, split.target)
    # What overflows shows in the figures; a warning would only interrupt them.
    with np.errstate(over="ignore", invalid="ignore"):
        found = value(model, cross_entropy(), trained.params, trained.layer_state, rows, INFERENCE)
    probabilities, _ = softmax(found.outputs)
    matrix = confusion_matrix(probabilities.argmax(axis=1), split.label, len(meta.class_names))
    return Evaluation(
        class_names=meta.class_names,
        probabilities=probabilities,
        label=split.label.astype(np.int64),
        source_index=split.source_index,
        images=original_pixels(split, meta.scaling),
        confusion_matrix=matrix,
        accuracy=float(np.trace(matrix) / matrix.sum()),
        loss=float(found.loss),
    )


def original_pixels(split: EncodedSplit, scaling: Scaling) -> NDArray[np.uint8]:
    """Undo the normalisation: ``255 (x * scale + mean)``, rounded.

    Args:
        split: Normalised rows.
        scaling: How they were normalised.

    Returns:
        (N, 784) uint8, the pixels as they were in the source.

    Example:
        >>> one, none = np.ones(784), np.zeros(784)
        >>> rows = np.full((1, 784), 0.2, np.float32)
        >>> label = np.zeros(1, np.uint8)
        >>> split = EncodedSplit(rows, np.ones((1, 2), np.float32), label, label.astype(np.uint32))
        >>> original_pixels(split, Scaling("unit", none, one))[0, 0]
        np.uint8(51)
    """
    pixels = 255 * (split.pixels * scaling.scale + scaling.mean)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
