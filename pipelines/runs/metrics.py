"""The figures of a run, as ``metrics.json`` holds them."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import attrs
import numpy as np

import bpfunc
from bpfunc.metrics import class_figures
from bpfunc.tree import tree_size
from pipelines.artifacts import Calibration, Evaluation, Prepared, Reliability, Trained
from pipelines.dataset.data_hashes import DataHashes, lineage_hashes, lineage_table
from pipelines.disk.atomic import write_bytes
from pipelines.disk.json_text import json_value, read_sealed_json, sealed_json
from pipelines.disk.untrusted.values import record
from pipelines.errors import DataProblem
from pipelines.runs.directory import EVALUATE_AGAIN
from pipelines.spec.run_spec import RunSpec


def _finite(value: float | None) -> float | None:
    """Put None where a number is NaN or infinite, which JSON does not have."""
    return value if value is not None and math.isfinite(value) else None


@attrs.frozen(kw_only=True)
class RunMetrics:
    """The figures of a run: accuracies are fractions, losses nats (None where they are not finite), times seconds."""

    test_accuracy: float
    test_loss: float | None = attrs.field(converter=_finite)
    test_rows: int
    test_mistakes: int
    class_names: tuple[str, ...]
    confusion_matrix: tuple[tuple[int, ...], ...]
    """True class by predicted class, counts."""
    recall: Mapping[str, float]
    """Class name -> fraction."""
    validation_accuracy: float | None
    """None where no rows were held out, as the loss."""
    validation_loss: float | None = attrs.field(converter=_finite)
    train_accuracy: float | None = attrs.field(converter=_finite)
    train_loss: float | None = attrs.field(converter=_finite)
    calibration: Mapping[str, object] | None = None
    """See `calibration_table`."""
    train_seconds: float
    epochs: int
    kept_epoch: int
    steps: int
    parameters: int
    recipe: str
    seed: int
    engine: str | None = None
    """None in files of earlier versions, as the threads."""
    threads: int | None = None
    versions: Mapping[str, str]
    lineage: Mapping[str, object]
    """See `lineage`."""
    command: str
    """The command line that does it again."""

    def __attrs_post_init__(self) -> None:
        """Check what the types do not say; a checksum says that figures were written, not that they are figures."""
        rows, names = self.confusion_matrix, self.class_names
        if [len(row) for row in rows] != [len(names)] * len(names) or any(count < 0 for row in rows for count in row):
            raise ValueError("confusion_matrix: expected a count for each pair of classes")
        if not self.recall.keys() >= set(names):
            raise ValueError("recall: expected a number for each class")
        shares = {"test_accuracy": self.test_accuracy} | {f"recall.{name}": self.recall[name] for name in names}
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise ValueError(f"{name}: expected a number of 0 to 1, found {share}")

    @property
    def data(self) -> DataHashes:
        """Which data the run was trained and evaluated on; `UNKNOWN` where the lineage does not say."""
        return lineage_hashes(self.lineage)


def run_metrics(
    spec: RunSpec, prepared: Prepared, trained: Trained, evaluation: Evaluation, command: str, partitions: str = ""
) -> RunMetrics:
    """Compose the figures of a run.

    Args:
        spec: What was run.
        prepared: The data.
        trained: The network.
        evaluation: Its outputs on the test split.
        command: The command line that does it again.
        partitions: SHA-256 of the partitions that were streamed; empty where none were.

    Returns:
        The figures.
    """
    last, kept = trained.history[-1], trained.history[trained.epoch - 1]
    matrix = evaluation.confusion_matrix
    return RunMetrics(
        test_accuracy=evaluation.accuracy,
        test_loss=evaluation.loss,
        test_rows=int(matrix.sum()),
        test_mistakes=int(matrix.sum() - np.trace(matrix)),
        class_names=evaluation.class_names,
        confusion_matrix=tuple(map(tuple, matrix.tolist())),
        recall=dict(zip(evaluation.class_names, class_figures(matrix).recall.tolist(), strict=True)),
        validation_accuracy=kept.validation_accuracy,
        validation_loss=kept.validation_loss,
        train_accuracy=kept.train_accuracy,
        train_loss=kept.train_loss,
        calibration=calibration_table(evaluation.calibration),
        train_seconds=trained.train_seconds,
        epochs=last.epoch,
        kept_epoch=kept.epoch,
        steps=last.step,
        parameters=tree_size(trained.params),
        recipe=spec.name,
        seed=spec.train.seed,
        engine=trained.engine.name,
        threads=trained.engine.threads,
        versions=library_versions(),
        lineage=lineage(prepared, partitions),
        command=command,
    )


def calibration_table(found: Calibration | None) -> dict[str, object] | None:
    """Return the calibration of the network's probabilities, before and after the temperature.

    Args:
        found: On validation and test rows, or None.

    Returns:
        A JSON object, or None: the temperature (null where there is none, and why), and expected calibration error
        and mean loss on the validation rows that chose it and on the test rows.
    """
    if found is None:
        return None

    def figures(known: Reliability | None) -> object:
        return None if known is None else json_value({"expected_calibration_error": known.error, "loss": known.loss})

    chosen = found.temperature
    return {
        "temperature": json_value(chosen.value),
        "why_none": chosen.why_none or None,
        "validation_rows": chosen.rows,
        "validation": {"before": figures(chosen.before), "after": figures(chosen.after)},
        "test": {"before": figures(found.before), "after": figures(found.after)},
    }


def metrics_table(values: RunMetrics) -> dict[str, object]:
    """Turn figures into plain values: what ``metrics.json`` holds.

    Args:
        values: The figures.

    Returns:
        A JSON object.
    """
    return attrs.asdict(values)


def write_metrics(run: Path, values: RunMetrics) -> None:
    """Write ``metrics.json``.

    Args:
        run: The run directory.
        values: The figures.
    """
    write_bytes(run / "metrics.json", sealed_json(metrics_table(values)))


def read_metrics(run: Path) -> RunMetrics:
    """Read ``metrics.json`` back.

    Args:
        run: The run directory.

    Returns:
        What `write_metrics` was given.

    Raises:
        DataProblem: There is none, it is damaged, or a figure is missing or of another type.
    """
    path = run / "metrics.json"
    values = read_sealed_json(path, remedy=EVALUATE_AGAIN)
    try:
        return record(RunMetrics, values)
    except ValueError as error:
        raise DataProblem(f"damaged figures: {error}", where=str(path), remedy=EVALUATE_AGAIN) from None


def read_data_hashes(run: Path) -> DataHashes:
    """Read from ``metrics.json`` which data a run was trained and evaluated on.

    Args:
        run: The run directory.

    Returns:
        Hashes of the sources, and of the partitions where rows were streamed.

    Raises:
        DataProblem: There is no ``metrics.json``, it is damaged, or it names no sources.
    """
    found = read_metrics(run).data
    if not found.sources:
        raise DataProblem(
            "the metrics do not name the data", where=str(run / "metrics.json"), remedy="run `bpfunc evaluate` on it"
        )
    return found


def fraction(value: object) -> float:
    """Take a number of 0..1.

    Args:
        value: Any.

    Returns:
        The number.

    Raises:
        ValueError: It is something else.

    Example:
        >>> fraction(0.5)
        0.5
    """
    if type(value) not in (int, float) or not 0 <= value <= 1:  # type: ignore[operator]
        raise ValueError(f"expected a number of 0 to 1, found {str(value)[:40]}")
    return float(value)  # type: ignore[arg-type]


def lineage(prepared: Prepared, partitions: str = "") -> dict[str, object]:
    """Return the origin of the data: the cache entry and the hashes of its files.

    Args:
        prepared: The cache entry.
        partitions: SHA-256 of the partitions that were streamed; empty where none were.

    Returns:
        Cache key, hashes of its files and of the source's, versions of the stages.
    """
    return {
        "cache_key": prepared.key,
        "train_sha256": prepared.train.sha256,
        "test_sha256": prepared.test.sha256,
        **lineage_table(DataHashes(prepared.meta.source_hashes, partitions)),
        "stage_versions": dict(prepared.meta.versions),
    }


def library_versions() -> dict[str, str]:
    """Name the versions that a result depends on.

    Returns:
        Library name -> version.

    Example:
        >>> "numpy" in library_versions()
        True
    """
    libraries = ("numpy", "attrs", "pyarrow", "safetensors")
    ours = {"python": platform.python_version(), "bpfunc": bpfunc.__version__}
    return ours | {name: version(name) for name in libraries}
