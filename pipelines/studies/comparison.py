"""Two runs or studies side by side: their figures, their matrices, and the test images on which they differ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import attrs
import numpy as np
from numpy.typing import NDArray

from bpfunc.arrays.types import FloatArray, IntArray, readonly_arrays
from bpfunc.metrics import confusion_matrix
from pipelines.artifacts import predicted_classes
from pipelines.dataset.data_hashes import TEST_ROLES, DataHashes, differences
from pipelines.dataset.places import Places
from pipelines.errors import DataProblem
from pipelines.runs.directory import read_config
from pipelines.runs.metrics import read_metrics
from pipelines.runs.predictions import read_predictions
from pipelines.spec.settings import flat
from pipelines.spec.toml import to_table
from pipelines.stages.evaluate import images_of_rows
from pipelines.stages.prepare import prepare
from pipelines.studies.compare import Comparison, common_data, compare, runs_of


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class Side:
    """What one run or study says; means over its runs."""

    name: str
    runs: int
    class_names: tuple[str, ...]
    confusion_matrix: IntArray | FloatArray
    """(K, K) counts of a run, mean counts of a study."""
    loss: float
    """Mean cross-entropy on the test rows, in nats."""
    parameters: int
    train_seconds: float
    """Of a run."""
    right: FloatArray
    """(N,) part of the runs that has each test row right."""
    says: IntArray
    """(N,) the class of the highest mean probability."""
    probability: FloatArray
    """(N,) that mean probability."""
    settings: Mapping[str, object]
    """Dotted name -> value, of every field of its configuration; of a study without the seed."""


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class SideBySide:
    """All that the page of a comparison shows."""

    comparison: Comparison
    a: Side
    b: Side
    source_index: IntArray
    """(N,) row in the original test file, ascending."""
    label: IntArray
    """(N,) true class, an index into A's names."""
    differing: IntArray
    """(M,) which of the N rows the two have right unequally often, or name unequally; the largest difference first."""
    images: NDArray[np.uint8]
    """(M, 784) uint8, of the differing rows."""

    @property
    def settings(self) -> tuple[tuple[str, object, object], ...]:
        """The settings that differ: dotted name, value of A, value of B (None where it has none)."""
        a, b = self.a.settings, self.b.settings
        return tuple((name, a.get(name), b.get(name)) for name in {**a, **b} if a.get(name) != b.get(name))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes of both, in A's order."""
        return tuple(dict.fromkeys((*self.a.class_names, *self.b.class_names)))

    @property
    def matrices(self) -> tuple[FloatArray, FloatArray]:
        """(K, K) confusion matrices of A and B, both in the order of `class_names`."""
        return _by_name(self.a, self.class_names), _by_name(self.b, self.class_names)


def _by_name(side: Side, names: tuple[str, ...]) -> FloatArray:
    """The matrix of a side with its classes in another order."""
    at = [names.index(name) for name in side.class_names]
    found = np.zeros((len(names), len(names)))
    found[np.ix_(at, at)] = side.confusion_matrix
    return found


def side_by_side(a: Path, b: Path, places: Places, *, seed: int = 0) -> SideBySide:
    """Gather what two runs or studies say of the same test rows.

    Args:
        a: A run directory, or a study's.
        b: Another.
        places: Directories of data and cache, for the images.
        seed: Seed of the bootstrap.

    Returns:
        Both sides and the rows where they differ.

    Raises:
        PipelineError: One is neither run nor study, they were tested on other rows, or the data is gone.
    """
    found = compare(a, b, seed=seed)
    left, source_index, label = _side(a, "A")
    right, _, _ = _side(b, "B")
    unequal = np.abs(left.right - right.right)
    named = np.array([left.class_names[k] for k in left.says]) != np.array([right.class_names[k] for k in right.says])
    differing = np.flatnonzero((unequal > 0) | named)
    differing = differing[np.argsort(-unequal[differing], kind="stable")]
    prepared, _ = prepare(read_config(runs_of(a)[0]).dataset, source=places.source, cache=places.cache, raw=places.raw)
    other = differences(common_data(a), DataHashes(prepared.meta.source_hashes), TEST_ROLES)
    if other:
        raise DataProblem(
            f"the images are not those that were tested: {other}",
            where=str(prepared.path),
            remedy="name the --source that the runs were evaluated on",
        )
    images = images_of_rows(prepared.test, prepared.meta, source_index[differing])
    return SideBySide(found, left, right, source_index, label, differing, images)


def _side(path: Path, letter: str) -> tuple[Side, IntArray, IntArray]:
    """One side, its rows in ascending order, and their labels."""
    runs = runs_of(path)
    tables = [read_predictions(run) for run in runs]
    orders = [np.argsort(table.source_index) for table in tables]
    names = tables[0].class_names
    label = tables[0].label[orders[0]].astype(np.int64)
    probabilities: FloatArray = np.mean(
        [table.probabilities[order] for table, order in zip(tables, orders, strict=True)], axis=0, dtype=np.float64
    )
    labels = [table.label.astype(np.int64) for table in tables]
    says = [predicted_classes(table.probabilities, own) for table, own in zip(tables, labels, strict=True)]
    counts = [confusion_matrix(guess, own, len(names)) for guess, own in zip(says, labels, strict=True)]
    figures = [read_metrics(run) for run in runs]
    side = Side(
        name=f"{letter}: {path.name}",
        runs=len(runs),
        class_names=names,
        confusion_matrix=counts[0] if len(runs) == 1 else np.mean(counts, axis=0),
        loss=float(np.mean([math.nan if known.test_loss is None else known.test_loss for known in figures])),
        parameters=figures[0].parameters,
        train_seconds=float(np.mean([known.train_seconds for known in figures])),
        right=np.mean([t.right[order] for t, order in zip(tables, orders, strict=True)], axis=0),
        says=predicted_classes(probabilities, label),
        probability=probabilities.max(axis=1),
        settings=_settings(path),
    )
    return side, tables[0].source_index[orders[0]].astype(np.int64), label


def _settings(path: Path) -> dict[str, object]:
    """Every setting of a run or a study; without the seed for a study."""
    runs = runs_of(path)
    found = dict(flat(to_table(read_config(runs[0]))))
    if runs != [path]:
        del found["train.seed"]
    return found
