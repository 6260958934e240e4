"""The run directory: what a run leaves behind, under names that others may script against.

``config.toml``, ``history.parquet``, ``params.safetensors``, ``checkpoints/`` and the pictures and page of the
report stage. ``metrics.json`` is written last of the numbers: a directory that has one holds a finished run.
"""

from __future__ import annotations

import io
import json
import platform
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import bpfunc
from bpfunc import Key
from bpfunc.interop.safetensors import HEADER_LIMIT, from_safetensors, safetensors_metadata, to_safetensors
from bpfunc.metrics import class_figures
from bpfunc.tree import TreeT, tree_bytes, tree_size
from pipelines.artifacts import PIXELS, Calibration, EpochRecord, Evaluation, Prepared, Reliability, Trained
from pipelines.build import build_model
from pipelines.config import RunSpec, load_config, to_toml
from pipelines.errors import DataProblem, UsageProblem
from pipelines.files import write_bytes

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


def write_params(run: Path, trained: Trained) -> None:
    """Write ``params.safetensors``: the trained parameters under their tree paths.

    Args:
        run: The run directory.
        trained: The network.
    """
    tree = (trained.params, trained.layer_state)
    metadata = {"format": "bpfunc-params-1", "epoch": str(trained.epoch)}
    write_bytes(run / "params.safetensors", to_safetensors(tree, metadata=metadata))


def read_trained(run: Path) -> Trained:
    """Read a finished run's network and history back.

    Args:
        run: The run directory.

    Returns:
        The network as `train` gave it.

    Raises:
        UsageProblem: There is no such run.
        DataProblem: A file of it is not what it should be.
    """
    spec = read_config(run)
    model = build_model(spec.model, len(spec.dataset.classes))
    params, state, _ = model.init(Key(0), (PIXELS,))
    params, state = read_tree(run / "params.safetensors", (params, state))
    history = read_history(run)
    epoch = _kept_epoch(run, history)
    return Trained(spec.model, params, state, history, epoch, sum(record.seconds for record in history))


def _kept_epoch(run: Path, history: tuple[EpochRecord, ...]) -> int:
    path = run / "params.safetensors"
    text = safetensors_metadata(path.read_bytes()).get("epoch", "")
    if text not in {str(record.epoch) for record in history}:
        raise DataProblem(
            f"the network is of epoch {text!r}, which the history does not have", where=str(path), remedy="train again"
        )
    return int(text)


def read_tree(path: Path, like: TreeT) -> TreeT:
    """Read a tree of arrays from a safetensors file.

    Args:
        path: The file.
        like: A tree of the structure, shapes and dtypes that it must hold.

    Returns:
        A tree like ``like``.

    Raises:
        DataProblem: There is no such file, or it holds something else.
    """
    try:
        if path.stat().st_size > tree_bytes(like) + HEADER_LIMIT:
            raise ValueError("the file is larger than such a network")
        return from_safetensors(path.read_bytes(), like)
    except OSError as error:
        raise DataProblem(
            f"cannot read the parameters: {error.strerror}", where=str(path), remedy="train again"
        ) from None
    except ValueError as error:
        raise DataProblem(str(error), where=str(path), remedy="train again; the file is not what was written") from None


def write_history(run: Path, history: tuple[EpochRecord, ...]) -> None:
    """Write ``history.parquet``: a row for each epoch, columns as in `EpochRecord`.

    Args:
        run: The run directory.
        history: Of the training.
    """
    names = [field.name for field in attrs.fields(EpochRecord)]
    columns = {name: [getattr(record, name) for record in history] for name in names}
    sink = io.BytesIO()
    pq.write_table(pa.table(columns, schema=HISTORY_SCHEMA), sink, write_page_checksum=True)
    write_bytes(run / "history.parquet", sink.getvalue())


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
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise DataProblem(
            f"cannot read the training history: {str(error).splitlines()[0]}", where=str(path), remedy="train again"
        ) from None
    if not table.schema.equals(HISTORY_SCHEMA):
        raise DataProblem("the training history has other columns", where=str(path), remedy="train again")
    return tuple(EpochRecord(**row) for row in table.to_pylist())


def metrics(
    spec: RunSpec, prepared: Prepared, trained: Trained, evaluation: Evaluation, command: str
) -> dict[str, object]:
    """Compose what ``metrics.json`` holds.

    Args:
        spec: What was run.
        prepared: The data.
        trained: The network.
        evaluation: What it says of the test split.
        command: The command line that does it again.

    Returns:
        A JSON object; accuracies are fractions, losses nats, times seconds.
    """
    last, kept = trained.history[-1], trained.history[trained.epoch - 1]
    matrix = evaluation.confusion_matrix
    return {
        "test_accuracy": evaluation.accuracy,
        "test_loss": evaluation.loss,
        "test_rows": int(matrix.sum()),
        "test_mistakes": int(matrix.sum() - np.trace(matrix)),
        "class_names": list(evaluation.class_names),
        "confusion_matrix": matrix.tolist(),
        "recall": dict(zip(evaluation.class_names, class_figures(matrix).recall.tolist(), strict=True)),
        "validation_accuracy": kept.validation_accuracy,
        "validation_loss": kept.validation_loss,
        "train_accuracy": kept.train_accuracy,
        "train_loss": kept.train_loss,
        "calibration": calibration_table(evaluation.calibration),
        "train_seconds": trained.train_seconds,
        "epochs": last.epoch,
        "kept_epoch": kept.epoch,
        "steps": last.step,
        "parameters": tree_size(trained.params),
        "recipe": spec.name,
        "seed": spec.train.seed,
        "versions": library_versions(),
        "lineage": lineage(prepared),
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

    def figures(known: Reliability | None) -> dict[str, float] | None:
        return None if known is None else {"expected_calibration_error": known.error, "loss": known.loss}

    chosen = found.temperature
    return {
        "temperature": chosen.value,
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
    write_bytes(run / "metrics.json", (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode())


def lineage(prepared: Prepared) -> dict[str, object]:
    """Say where the data came from, down to hashes.

    Args:
        prepared: The cache entry.

    Returns:
        Cache key, hashes of its files and of the source's, versions of the stages.
    """
    return {
        "cache_key": prepared.key,
        "train_sha256": prepared.train.sha256,
        "test_sha256": prepared.test.sha256,
        "source_sha256": dict(prepared.meta.source_hashes),
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
