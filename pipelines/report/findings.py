"""What the report says, read off the results: figures per class, mistakes, curves, units.

Pure functions from artifacts to small records. Nothing here knows how it will be drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from bpfunc.arrays.types import FloatArray, IntArray, readonly_arrays
from bpfunc.metrics import class_figures, confusion_matrix
from pipelines.artifacts import PIXELS, EpochRecord, Evaluation, ReportInputs, predicted_classes
from pipelines.errors import WorkFailed

EPOCHS_TOLD: Final = 100
"""Epochs of which a page writes out the values, about; the history has all of them."""


@attrs.frozen
class ClassFigures:
    """How one class fared. A ratio is None where its denominator is zero."""

    precision: float | None
    """Of the images given this class, the fraction that belongs to it."""
    recall: float | None
    """Of the images that belong to this class, the fraction given it."""
    f1: float | None
    """Harmonic mean of the two."""
    support: int
    """Images that belong to this class."""


def per_class(confusion: IntArray) -> tuple[ClassFigures, ...]:
    """Take precision, recall, F1 and support of each class from `bpfunc.metrics.class_figures`.

    Args:
        confusion: (K, K) counts; row = true class, column = predicted class.

    Returns:
        One record for each class, in the order of the rows.

    Example:
        >>> import numpy as np
        >>> per_class(np.array([[3, 1], [0, 4]]))[0]
        ClassFigures(precision=1.0, recall=0.75, f1=0.8571428571428571, support=4)

    Reference:
        van Rijsbergen, Information Retrieval, 1979.
    """
    figures = class_figures(confusion)
    given, support = confusion.sum(axis=0).tolist(), figures.support.tolist()
    columns = (figures.precision.tolist(), figures.recall.tolist(), figures.f1.tolist(), given, support)
    return tuple(
        ClassFigures(precision if g else None, recall if s else None, f1 if g + s else None, s)
        for precision, recall, f1, g, s in zip(*columns, strict=True)
    )


def row_shares(confusion: IntArray | FloatArray) -> FloatArray:
    """Divide each row of a confusion matrix by its sum.

    Args:
        confusion: (K, K) counts.

    Returns:
        (K, K) float64 fractions; a row without images is all zeros.

    Example:
        >>> import numpy as np
        >>> row_shares(np.array([[3, 1], [0, 0]])).tolist()
        [[0.75, 0.25], [0.0, 0.0]]
    """
    support = confusion.sum(axis=1, keepdims=True)
    shares = np.zeros(confusion.shape, np.float64)
    np.divide(confusion, support, out=shares, where=support > 0)
    return shares


def largest_wrong_share(confusion: IntArray | FloatArray) -> float:
    """Find the largest share of a row that lies off the diagonal.

    Args:
        confusion: (K, K) counts; row = true class, column = predicted class.

    Returns:
        A fraction, 0 where there is no mistake.

    Example:
        >>> import numpy as np
        >>> largest_wrong_share(np.array([[8, 2], [1, 1]]))
        0.5
    """
    shares = row_shares(confusion)
    return float((shares - np.diag(shares.diagonal())).max())


@attrs.frozen
class Confusion:
    """One cell off the diagonal: which class was taken for which, and how often."""

    true: int
    predicted: int
    count: float
    """A whole number, or a mean of counts."""


def worst_confusion(confusion: IntArray | FloatArray) -> Confusion | None:
    """Find the commonest mistake.

    Args:
        confusion: (K, K) counts; row = true class, column = predicted class.

    Returns:
        The largest cell off the diagonal (the first of equals), or None where there is no mistake.

    Example:
        >>> import numpy as np
        >>> worst_confusion(np.array([[8, 2], [3, 7]]))
        Confusion(true=1, predicted=0, count=3)
    """
    wrong = confusion - np.diag(confusion.diagonal())
    true, predicted = divmod(int(wrong.argmax()), len(confusion))
    count = wrong[true, predicted].item()
    return Confusion(true, predicted, count) if count else None


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class Sample:
    """One test image, and what the network says of it."""

    source_index: int
    """Row in the original test file."""
    true: int
    predicted: int
    probability: float
    """What the network gave the class that it says."""
    probability_of_truth: float
    """What the network gave the true class."""
    image: NDArray[np.uint8]
    """(784,) uint8."""


def _samples(evaluation: Evaluation, rows: IntArray) -> tuple[Sample, ...]:
    """Some rows, the most confident first; in the order of the file where equally confident."""
    predicted = predicted_classes(evaluation.probabilities, evaluation.label)
    order = rows[np.lexsort((evaluation.source_index[rows], -evaluation.probabilities[rows, predicted[rows]]))]
    return tuple(
        Sample(
            source_index=int(evaluation.source_index[row]),
            true=int(evaluation.label[row]),
            predicted=int(predicted[row]),
            probability=float(evaluation.probabilities[row, predicted[row]]),
            probability_of_truth=float(evaluation.probabilities[row, evaluation.label[row]]),
            image=evaluation.images[row],
        )
        for row in order.tolist()
    )


def mistakes(evaluation: Evaluation) -> tuple[Sample, ...]:
    """List every mistake, the most confident first; rows in order where equally confident.

    The predicted class is the first of the most probable ones.

    Args:
        evaluation: What the network says of every test row.

    Returns:
        All mistakes.

    Example:
        >>> import numpy as np
        >>> blank = np.zeros((2, 784), np.uint8)
        >>> says = np.array([[0.9, 0.1], [0.7, 0.3]])
        >>> right, wrong = np.array([[1, 0], [1, 0]]), np.array([0, 1])
        >>> evaluation = Evaluation(("Bag", "Coat"), says, wrong, np.array([5, 8]), blank, right, 0.5, 0.6)
        >>> [(m.source_index, m.true, m.predicted, m.probability) for m in mistakes(evaluation)]
        [(8, 1, 0, 0.7)]
    """
    predicted = predicted_classes(evaluation.probabilities, evaluation.label)
    return _samples(evaluation, np.flatnonzero(predicted != evaluation.label))


def behind(evaluation: Evaluation, true: int, predicted: int) -> tuple[Sample, ...]:
    """List the images behind one cell of the confusion matrix, ordered as `mistakes` are.

    Args:
        evaluation: What the network says of every test row.
        true: Index of the true class: the cell's row.
        predicted: Index of the class that the network says: the cell's column.

    Returns:
        As many images as the cell counts.

    Example:
        >>> import numpy as np
        >>> says = np.array([[0.9, 0.1], [0.7, 0.3]])
        >>> e = Evaluation(("Bag", "Coat"), says, np.array([0, 1]), np.array([5, 8]), np.zeros((2, 784), np.uint8),
        ...                np.array([[1, 0], [1, 0]]), 0.5, 0.6)
        >>> [sample.source_index for sample in behind(e, 0, 0)]
        [5]
    """
    says = predicted_classes(evaluation.probabilities, evaluation.label)
    return _samples(evaluation, np.flatnonzero((evaluation.label == true) & (says == predicted)))


def spread(samples: tuple[Sample, ...], most: int) -> tuple[Sample, ...]:
    """Take a few of many, evenly, the first and the last among them.

    Args:
        samples: In some order.
        most: How many at most, at least 2.

    Returns:
        All of them, or ``most`` of them in their order.

    Example:
        >>> import numpy as np
        >>> many = tuple(Sample(i, 0, 0, 0.5, 0.5, np.zeros(784, np.uint8)) for i in range(9))
        >>> [sample.source_index for sample in spread(many, 3)]
        [0, 4, 8]
    """
    if len(samples) <= most:
        return samples
    return tuple(samples[round(i * (len(samples) - 1) / (most - 1))] for i in range(most))


@attrs.frozen
class Curve:
    """One quantity over the epochs."""

    name: str
    """``training`` or ``validation``."""
    values: tuple[float, ...]
    """One value for each epoch; nan where there is none."""


@attrs.frozen
class Panel:
    """Curves that share an axis."""

    title: str
    percent: bool
    """Whether the values are percentages (of accuracy) or plain numbers (loss in nats)."""
    epochs: tuple[int, ...]
    curves: tuple[Curve, ...]
    kept: int | None = None
    """The epoch that the network is of, if it is known and among ``epochs``."""


def _curve(name: str, values: list[float | None]) -> Curve:
    return Curve(name, tuple(math.nan if v is None or not math.isfinite(v) else v for v in values))


def panels(history: tuple[EpochRecord, ...], kept: int | None = None) -> tuple[Panel, Panel]:
    """Arrange a training history as two panels, loss and accuracy.

    Args:
        history: One record for each epoch, possibly none; what diverged (is not finite) becomes a gap.
        kept: The epoch that the network is of, to be marked.

    Returns:
        The loss panel in nats and the accuracy panel in percent. A curve without any value is left out.

    Example:
        >>> panels((EpochRecord(1, 10, 0.1, 0.5, 0.75, None, None, 1.0),))[1].curves
        (Curve(name='training', values=(75.0,)),)
    """
    loss = (
        _curve("training", [r.train_loss for r in history]),
        _curve("validation", [r.validation_loss for r in history]),
    )
    accuracy = (
        _curve("training", [100 * r.train_accuracy for r in history]),
        _curve(
            "validation",
            [None if r.validation_accuracy is None else 100 * r.validation_accuracy for r in history],
        ),
    )
    epochs = tuple(r.epoch for r in history)
    marked = kept if kept in epochs else None
    return (
        Panel("Loss in nats", False, epochs, _with_values(loss), marked),
        Panel("Accuracy in percent", True, epochs, _with_values(accuracy), marked),
    )


def told_epochs(panel: Panel) -> tuple[int, ...]:
    """Choose the epochs whose values are written out: all of a short training, of a long one some, evenly.

    Args:
        panel: Curves over epochs.

    Returns:
        Places in ``panel.epochs``, ascending; the first, the last and the kept one are among them.

    Example:
        >>> told_epochs(Panel("Loss", False, (1, 2, 3), ()))
        (0, 1, 2)
    """
    total = len(panel.epochs)
    places = (
        {round(i * (total - 1) / (EPOCHS_TOLD - 1)) for i in range(EPOCHS_TOLD)} if total > 1 else set(range(total))
    )
    if panel.kept is not None:
        places.add(panel.epochs.index(panel.kept))
    return tuple(sorted(places))


def _with_values(curves: tuple[Curve, ...]) -> tuple[Curve, ...]:
    return tuple(c for c in curves if not all(math.isnan(v) for v in c.values))


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class Units:
    """The first-layer units to show."""

    index: tuple[int, ...]
    """Their numbers, the strongest first."""
    weight: FloatArray
    """(shown, D), in the order of ``index``."""
    total: int
    """Units in the layer."""
    limit: float
    """The magnitude at which the colour scale ends, the same for all units and both signs."""


def strongest_units(first_layer: FloatArray, *, most: int) -> Units:
    """Choose the units whose weights have the largest Euclidean norm.

    Args:
        first_layer: (D, H) weights, such as D = 784; one column for each unit.
        most: How many to show at most.

    Returns:
        The units, the strongest first, with a common colour scale: the 99.5th percentile of the magnitudes
        shown, since a single outlier would fade everything else; 1 where all weights are zero.

    Example:
        >>> import numpy as np
        >>> units = strongest_units(np.ones((784, 3)) * [1, 3, 2], most=2)
        >>> units.index, units.limit, units.total
        ((1, 2), 3.0, 3)
    """
    weight: FloatArray = np.where(np.isfinite(first_layer), first_layer, 0).T
    order = np.argsort(-np.linalg.norm(weight.astype(np.float64), axis=1), kind="stable")[:most]
    shown = weight[order]
    limit = float(np.quantile(np.abs(shown), 0.995)) or float(np.abs(shown).max()) or 1.0
    return Units(tuple(order.tolist()), shown, len(weight), limit)


def parameter_names(paths: Sequence[str]) -> tuple[str, ...]:
    """Name arrays of parameters for a person: layers counted from 1, those without parameters left out.

    Args:
        paths: In the tree of parameters, such as ``layers[2].weight``.

    Returns:
        One name for each path.

    Example:
        >>> parameter_names(["layers[0].weight", "layers[0].bias", "layers[2].weight"])
        ('layer 1, weight', 'layer 1, bias', 'layer 2, weight')
    """
    parts = [path.rpartition(".") for path in paths]
    owners = list(dict.fromkeys(owner for owner, _, _ in parts))
    return tuple(f"layer {owners.index(owner) + 1}, {name}" for owner, _, name in parts)


def check_inputs(inputs: ReportInputs) -> None:
    """Refuse results that do not fit together, so that no report contradicts itself.

    Args:
        inputs: What the report is to show.

    Raises:
        WorkFailed: A shape is wrong, or two of the results disagree; the message names both.

    Example:
        >>> import numpy as np
        >>> blank = np.zeros((1, 784), np.uint8)
        >>> e = Evaluation(("Bag", "Coat"), np.array([[0.9, 0.1]]), np.array([0]), np.array([5]), blank,
        ...                np.array([[0, 1], [0, 0]]), 0.0, 0.1)
        >>> check_inputs(ReportInputs("run", e, (), np.zeros((784, 1)), {}, {}, "bpfunc run"))
        Traceback (most recent call last):
            ...
        pipelines.errors.WorkFailed: other counts than labels and probabilities give (confusion_matrix): ...
    """
    evaluation = inputs.evaluation
    rows, classes = len(evaluation.label), len(evaluation.class_names)
    if not rows or classes < 2:
        raise _misfit("nothing to report on", "evaluation", "give at least one test row and two classes")
    layer = inputs.first_layer
    dense = layer.ndim == 2 and layer.shape[0] == PIXELS
    if not (dense or layer.ndim == 4) or not layer.size:
        raise _misfit(f"shape {layer.shape}", "first_layer", f"give ({PIXELS}, H) or (KH, KW, C, F), H, F at least 1")
    for name, array, expected in (
        ("probabilities", evaluation.probabilities, (rows, classes)),
        ("label", evaluation.label, (rows,)),
        ("source_index", evaluation.source_index, (rows,)),
        ("images", evaluation.images, (rows, PIXELS)),
        ("confusion_matrix", evaluation.confusion_matrix, (classes, classes)),
    ):
        if array.shape != expected:
            raise _misfit(f"shape {array.shape}", name, f"give {expected}")
    try:
        predicted = predicted_classes(evaluation.probabilities, evaluation.label)
        counted = confusion_matrix(predicted, evaluation.label, classes)
    except ValueError as error:
        raise _misfit(str(error), "label", "give the index of a class name") from None
    if not np.array_equal(counted, evaluation.confusion_matrix):
        remedy = "count each row's true class against its most probable one"
        raise _misfit("other counts than labels and probabilities give", "confusion_matrix", remedy)
    accuracy = float(counted.trace()) / rows
    if not math.isclose(evaluation.accuracy, accuracy, abs_tol=1e-6):
        remedy = f"give the fraction on the confusion matrix's diagonal, {accuracy}"
        raise _misfit(f"accuracy {evaluation.accuracy}", "accuracy", remedy)


def _misfit(what: str, name: str, remedy: str) -> WorkFailed:
    return WorkFailed(what, where=name, remedy=remedy)
