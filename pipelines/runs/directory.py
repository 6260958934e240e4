"""The run directory: what a run leaves behind, under names that others may script against.

``config.toml``, ``history.parquet``, ``params.safetensors``, ``checkpoints/`` and the pictures and page of the
report stage. ``metrics.json`` is written last of the numbers: a directory that has one holds a finished run.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import attrs
import pyarrow as pa

from pipelines.artifacts import EpochRecord, Examined, Prepared, Trained
from pipelines.dataset.cache_key import Decision
from pipelines.dataset.data_hashes import UNKNOWN, DataHashes
from pipelines.disk.atomic import write_bytes
from pipelines.disk.ownership import require_run
from pipelines.disk.parquet import column_of, read_sealed_table, row_bytes, sealed_table
from pipelines.errors import DataProblem, UsageProblem
from pipelines.spec.run_spec import RECORDED, RunSpec
from pipelines.spec.toml import from_toml, load_config, to_toml
from pipelines.training.build import parameter_count

SEALED = "sealed.txt"
"""A file in the directory of a run that was asked to train and no more."""

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
        UsageProblem: There is no such run, it is a study or another directory, or its configuration is not valid.
    """
    require_run(run)
    return load_config(run / "config.toml", RECORDED)


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
        other = from_toml(metadata.get("config", ""), RECORDED, where=str(path))
    except UsageProblem as problem:
        raise DataProblem(problem.what, where=str(path), remedy=TRAIN_AGAIN) from None
    if spec.train.engine == "auto":  # which leaves it to the file, whose header names the engine
        other = attrs.evolve(other, train=attrs.evolve(other.train, engine="auto"))
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
        history: History of the training.
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


@attrs.frozen(eq=False)
class Finished:
    """A run and all that came of it."""

    directory: Path
    prepared: Prepared
    decision: Decision
    trained: Trained
    examined: Examined | None = None
    """None where the training rows are to be read again for it."""
    source: Path | None = None
    """The directory of IDX files that the person named, for the command that does it again."""
    data: DataHashes = UNKNOWN
    """The source files and partitions that it was made from."""
