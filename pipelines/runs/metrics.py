"""The figures of a run, as ``metrics.json`` holds them."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from types import NoneType

import numpy as np

import bpfunc
from bpfunc.metrics import class_figures
from bpfunc.tree import tree_size
from pipelines.artifacts import Calibration, Evaluation, Prepared, Reliability, Trained
from pipelines.dataset.data_hashes import DataHashes, lineage_hashes, lineage_table
from pipelines.disk.atomic import write_bytes
from pipelines.disk.json_text import json_value, read_sealed_json, sealed_json
from pipelines.errors import DataProblem, first_line
from pipelines.runs.directory import EVALUATE_AGAIN
from pipelines.spec.run_spec import RunSpec


def metrics(
    spec: RunSpec, prepared: Prepared, trained: Trained, evaluation: Evaluation, command: str, partitions: str = ""
) -> dict[str, object]:
    """Compose what ``metrics.json`` holds.

    Args:
        spec: What was run.
        prepared: The data.
        trained: The network.
        evaluation: What it says of the test split.
        command: The command line that does it again.
        partitions: SHA-256 of the partitions that were streamed; empty where none were.

    Returns:
        A JSON object; accuracies are fractions, losses nats (None where they are not finite), times seconds.
    """
    last, kept = trained.history[-1], trained.history[trained.epoch - 1]
    matrix = evaluation.confusion_matrix
    return {
        "test_accuracy": evaluation.accuracy,
        "test_loss": json_value(evaluation.loss),
        "test_rows": int(matrix.sum()),
        "test_mistakes": int(matrix.sum() - np.trace(matrix)),
        "class_names": list(evaluation.class_names),
        "confusion_matrix": matrix.tolist(),
        "recall": dict(zip(evaluation.class_names, class_figures(matrix).recall.tolist(), strict=True)),
        "validation_accuracy": kept.validation_accuracy,
        "validation_loss": json_value(kept.validation_loss),
        "train_accuracy": json_value(kept.train_accuracy),
        "train_loss": json_value(kept.train_loss),
        "calibration": calibration_table(evaluation.calibration),
        "train_seconds": trained.train_seconds,
        "epochs": last.epoch,
        "kept_epoch": kept.epoch,
        "steps": last.step,
        "parameters": tree_size(trained.params),
        "recipe": spec.name,
        "seed": spec.train.seed,
        "engine": trained.engine.name,
        "threads": trained.engine.threads,
        "versions": library_versions(),
        "lineage": lineage(prepared, partitions),
        "command": command,
    }


def calibration_table(found: Calibration | None) -> dict[str, object] | None:
    """Say how far the network's probabilities can be trusted, before and after the temperature.

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


def write_metrics(run: Path, values: Mapping[str, object]) -> None:
    """Write ``metrics.json``.

    Args:
        run: The run directory.
        values: From `metrics`.
    """
    write_bytes(run / "metrics.json", sealed_json(values))


def read_metrics(run: Path) -> dict[str, object]:
    """Read ``metrics.json`` back.

    Args:
        run: The run directory.

    Returns:
        What `write_metrics` was given.

    Raises:
        DataProblem: There is none, or it is damaged.
    """
    return read_sealed_json(run / "metrics.json", remedy=EVALUATE_AGAIN)


def read_data_hashes(run: Path) -> DataHashes:
    """Read from ``metrics.json`` which data a run was trained and evaluated on.

    Args:
        run: The run directory.

    Returns:
        Hashes of the sources, and of the partitions where rows were streamed.

    Raises:
        DataProblem: There is no ``metrics.json``, it is damaged, or it names no sources.
    """
    found = lineage_hashes(read_metrics(run).get("lineage"))
    if not found.sources:
        raise DataProblem(
            "the metrics do not name the data", where=str(run / "metrics.json"), remedy="run `bpfunc evaluate` on it"
        )
    return found


def checked_figures(values: dict[str, object], run: Path) -> dict[str, object]:
    """Check that figures have the types that tables and lists show: a seal says that they were written, not by what.

    Args:
        values: From `read_metrics`.
        run: The run directory, for the message.

    Returns:
        The same values.

    Raises:
        DataProblem: A figure is missing or of another type.
    """
    try:
        names, matrix, recall = values["class_names"], values["confusion_matrix"], values["recall"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("class_names are not texts")
        rows = matrix if isinstance(matrix, list) else []
        counts = [count for row in rows if isinstance(row, list) and len(row) == len(names) for count in row]
        if len(counts) != len(names) ** 2 or not all(type(count) is int and count >= 0 for count in counts):
            raise ValueError("confusion_matrix is not a row of whole numbers for each class")
        if not isinstance(recall, dict):
            raise ValueError("recall is not a number for each class")
        for share in (values["test_accuracy"], *(recall[name] for name in names)):
            fraction(share)
        if type(values["train_seconds"]) not in (int, float) or type(values["test_loss"]) not in (int, float, NoneType):
            raise ValueError("train_seconds or test_loss is not a number")
    except (ValueError, KeyError) as error:
        where = str(run / "metrics.json")
        raise DataProblem(f"damaged figures: {first_line(error)}", where=where, remedy=EVALUATE_AGAIN) from None
    return values


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
    """Say where the data came from, down to hashes.

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
