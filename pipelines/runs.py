"""The run directory: what a run leaves behind, under names that others may script against.

``config.toml``, ``history.parquet``, ``params.safetensors``, ``checkpoints/`` and the pictures and page of the
report stage. ``metrics.json`` is written last of the numbers: a directory that has one holds a finished run.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import attrs
import numpy as np
import pyarrow as pa

import bpfunc
from bpfunc.metrics import class_figures
from bpfunc.tree import tree_size
from pipelines.artifacts import Calibration, EpochRecord, Evaluation, Prepared, Reliability, Trained
from pipelines.build import parameter_count
from pipelines.config import RunSpec, from_toml, load_config, to_toml
from pipelines.data_hashes import DataHashes, lineage_hashes, lineage_table
from pipelines.errors import DataProblem, UsageProblem
from pipelines.files import write_bytes
from pipelines.json_values import json_value
from pipelines.seals import (
    read_sealed_json,
    read_sealed_table,
    sealed_json,
    sealed_table,
)
from pipelines.tables import column_of, row_bytes

TRAIN_AGAIN = "take a copy of the file, or remove it and run `bpfunc resume` on the directory"
EVALUATE_AGAIN = "remove it and run `bpfunc evaluate` on the directory"

HISTORY_SCHEMA = pa.schema(
    [
        pa.field("epoch", pa.int32(), nullable=False),
        pa.field("step", pa.int64(), nullable=False),
        pa.field("learning_rate", pa.float64(), nullable=False),
        pa.field("train_loss", pa.float64(), nullable=False),
        pa.field("train_accuracy", pa.float64(), nullable=False),
        pa.field("validation_loss", pa.float64()),
        pa.field("validation_accuracy", pa.float64()),
        pa.field("seconds", pa.float64(), nullable=False),
        pa.field("skipped_steps", pa.int64(), nullable=False),
    ]
)


def new_run_directory(out: Path | None, runs: Path, spec: RunSpec, now: datetime) -> Path:
    """Make the directory of a run, which must not exist yet.

    Args:
        out: Where the person wants it, or None for a name made of the time, the recipe and the seed.
        runs: Where runs go that have no place of their own.
        spec: Gives name and seed.
        now: The time.

    Returns:
        The new, empty directory.

    Raises:
        UsageProblem: It exists already.
        DataProblem: It cannot be made.
    """
    path = out or runs / f"{now:%Y%m%d-%H%M%S-%f}-{spec.name}-seed{spec.train.seed}"
    try:
        path.mkdir(parents=True)
        (path / "checkpoints").mkdir()
    except FileExistsError:
        raise UsageProblem(
            "the run directory exists already", where=str(path), remedy="choose another --out, or remove it"
        ) from None
    except OSError as error:
        raise DataProblem(
            f"cannot make the run directory: {error.strerror}", where=str(path), remedy="choose another --out"
        ) from None
    return path


def write_config(run: Path, spec: RunSpec) -> None:
    """Write ``config.toml``: the whole specification, with every default spelled out.

    Args:
        run: The run directory.
        spec: What was run.
    """
    write_bytes(run / "config.toml", to_toml(spec).encode())


def read_config(run: Path) -> RunSpec:
    """Read back the specification of a run.

    Args:
        run: The run directory.

    Returns:
        The specification.

    Raises:
        UsageProblem: There is no such run, or its configuration is not valid.
    """
    if not (run / "config.toml").is_file():
        raise UsageProblem("this is no run directory: it has no config.toml", where=str(run), remedy="see data/runs")
    return load_config(run / "config.toml", RunSpec())


def check_made_by(spec: RunSpec, metadata: Mapping[str, str], file_format: str, path: Path) -> None:
    """Check that a file of tensors is of a format, of a configuration, and large enough for its network.

    Nothing of the network's size is allocated before this is done.

    Args:
        spec: The run's configuration.
        metadata: From the file's header.
        file_format: The one that is read.
        path: The file.

    Raises:
        DataProblem: It is not.
    """
    found = metadata.get("format")
    if found != file_format:
        raise DataProblem(
            f"expected the format {file_format}, found {str(found)[:40]!r}", where=str(path), remedy=TRAIN_AGAIN
        )
    try:
        other = from_toml(metadata.get("config", ""), RunSpec(), where=str(path))
    except UsageProblem as problem:
        raise DataProblem(problem.what, where=str(path), remedy=TRAIN_AGAIN) from None
    if other != spec:
        raise DataProblem(
            "config.toml is not the configuration that this file was made with",
            where=str(path),
            remedy="bring config.toml back to what it was",
        )
    if path.stat().st_size < 4 * parameter_count(spec.model, len(spec.dataset.classes)):
        raise DataProblem("the file is smaller than such a network", where=str(path), remedy=TRAIN_AGAIN)


def write_history(run: Path, history: tuple[EpochRecord, ...]) -> None:
    """Write ``history.parquet``: a row for each epoch, columns as in `EpochRecord`.

    Args:
        run: The run directory.
        history: Of the training.
    """
    names = [field.name for field in attrs.fields(EpochRecord)]
    kinds = [HISTORY_SCHEMA.field(name).type for name in names]
    columns = [
        column_of([getattr(record, name) for record in history], kind) for name, kind in zip(names, kinds, strict=True)
    ]
    write_bytes(run / "history.parquet", sealed_table(pa.table(columns, schema=HISTORY_SCHEMA)))


def read_history(run: Path) -> tuple[EpochRecord, ...]:
    """Read the training history of a run.

    Args:
        run: The run directory.

    Returns:
        A record for each epoch.

    Raises:
        DataProblem: There is none, or it is damaged.
    """
    path = run / "history.parquet"
    table = read_sealed_table(path, remedy=TRAIN_AGAIN, widest=row_bytes(HISTORY_SCHEMA))
    if not table.schema.equals(HISTORY_SCHEMA):
        raise DataProblem("the training history has other columns", where=str(path), remedy=TRAIN_AGAIN)
    return tuple(EpochRecord(**row) for row in table.to_pylist())


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
