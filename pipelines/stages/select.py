"""Stage `select`: keep the rows of the chosen classes and number their labels anew."""

from __future__ import annotations

import numpy as np

from pipelines.artifacts import Decoded, RawSplit, Selected
from pipelines.dataset.classes import class_names, class_numbers
from pipelines.errors import DataProblem
from pipelines.spec.run_spec import DatasetSpec

VERSION = 1


def select(decoded: Decoded, spec: DatasetSpec) -> Selected:
    """Keep the rows of the chosen classes, in the source's order.

    Args:
        decoded: All rows.
        spec: The classes, whose order becomes that of the network's outputs.

    Returns:
        The rows, with labels 0..K-1.

    Raises:
        UsageProblem: A class is unknown.
        DataProblem: A class has no row in a split.

    Example:
        >>> from pipelines.stages.acquire import acquire
        >>> from pipelines.stages.decode import decode
        >>> spec = DatasetSpec(classes=("Sneaker", "Dress"))
        >>> select(decode(acquire(spec)), spec).test.images.shape
        (2000, 784)
    """
    numbers = class_numbers(spec.classes, pinned=spec.pinned)
    names = class_names(numbers, pinned=spec.pinned)
    train, test = _rows(decoded.train, numbers), _rows(decoded.test, numbers)
    for split, rows in (("training", train), ("test", test)):
        missing = [name for index, name in enumerate(names) if not np.any(rows.labels == index)]
        if missing:
            raise DataProblem(
                f"the {split} split has no row of class {', '.join(missing)}",
                where=str(decoded.source.location),
                remedy="choose classes that the source has",
            )
    return Selected(train, test, names, numbers, decoded.source)


def _rows(split: RawSplit, numbers: tuple[int, ...]) -> RawSplit:
    renumbered = np.full(256, 255, np.uint8)
    renumbered[list(numbers)] = np.arange(len(numbers), dtype=np.uint8)
    labels = renumbered[split.labels]
    rows = np.flatnonzero(labels != 255)
    return RawSplit(split.images[rows], labels[rows], split.source_index[rows])
