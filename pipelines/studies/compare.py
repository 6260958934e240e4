"""Comparing two runs or studies on the same test rows: is the difference more than luck?"""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
from numpy.typing import NDArray

from pipelines.dataset.data_hashes import TEST_ROLES, DataHashes, require_same
from pipelines.disk.ownership import described, kind_of, seed_directories, study_command
from pipelines.disk.untrusted.printable import shell
from pipelines.errors import UsageProblem
from pipelines.runs.metrics import read_data_hashes
from pipelines.runs.predictions import NAME, read_predictions
from pipelines.studies.statistics import Interval, bootstrap_interval, mcnemar


@attrs.frozen
class Comparison:
    """What two runs or studies differ by, A minus B."""

    rows: int
    runs: tuple[int, int]
    """How many runs stand behind A and B: 1 for a run, the number of seeds for a study."""
    accuracy: tuple[float, float]
    """Mean test accuracy of A and B."""
    difference: float
    """Of the accuracies, A minus B."""
    interval: Interval | None
    """95 % bootstrap interval of the difference, test rows drawn with replacement; None where every row has the same
    difference, as in a run compared with itself."""
    only_a_right: int | None
    """Rows that A has right and B has wrong; None where a study is compared."""
    only_b_right: int | None
    p_value: float | None
    """McNemar's exact test of equal error rates; None where a study is compared."""


def compare(a: Path, b: Path, *, seed: int = 0) -> Comparison:
    """Compare two runs or studies, row by row.

    Args:
        a: A run directory, or a study's.
        b: Another.
        seed: Seed of the bootstrap.

    Returns:
        The comparison.

    Raises:
        UsageProblem: One is neither run nor study, they were tested on different rows, or the seeds of one study are of
            different data.
        DataProblem: A predictions table or ``metrics.json`` is damaged.

    Reference: McNemar, "Note on the sampling error of the difference between correlated proportions" (1947);
        Efron, "Bootstrap methods" (1979).
    """
    require_same(
        {str(a): common_data(a), str(b): common_data(b)},
        "they were tested on different rows",
        roles=TEST_ROLES,
        remedy="compare runs that were evaluated on the same --source",
    )
    rows_a, right_a = _right(a)
    rows_b, right_b = _right(b)
    if not np.array_equal(rows_a, rows_b):
        raise UsageProblem(
            "they were tested on different rows", where=f"{a} and {b}", remedy="compare runs of the same classes"
        )
    mean_a, mean_b = right_a.mean(axis=0), right_b.mean(axis=0)
    single = len(right_a) == len(right_b) == 1
    only_a = int(np.sum(right_a[0] & ~right_b[0])) if single else None
    only_b = int(np.sum(right_b[0] & ~right_a[0])) if single else None
    return Comparison(
        rows=len(rows_a),
        runs=(len(right_a), len(right_b)),
        accuracy=(float(mean_a.mean()), float(mean_b.mean())),
        difference=float((mean_a - mean_b).mean()),
        interval=bootstrap_interval(mean_a - mean_b, seed=seed),
        only_a_right=only_a,
        only_b_right=only_b,
        p_value=None if only_a is None or only_b is None else mcnemar(only_a, only_b),
    )


def runs_of(path: Path) -> list[Path]:
    """List the runs that a directory stands for.

    Args:
        path: A run's directory, or a study's.

    Returns:
        The run itself, or every finished seed of the study in order.

    Raises:
        UsageProblem: It is neither, or not evaluated yet.
    """
    kind = kind_of(path)
    if kind not in ("run", "study"):
        what, remedy = described(path)
        raise UsageProblem(f"this is neither a run nor a study; {what}", where=str(path), remedy=remedy)
    found = [path] if kind == "run" else [seed for seed in seed_directories(path) if (seed / "metrics.json").is_file()]
    runs = [run for run in found if (run / NAME).is_file()]
    if not runs:
        verb = "evaluate" if (path / "params.safetensors").is_file() else "resume"
        command = shell(["bpfunc", verb, str(path)]) if kind == "run" else study_command(path)
        raise UsageProblem(f"this {kind} is not evaluated yet", where=str(path), remedy=f"run `{command}` first")
    return runs


def common_data(path: Path) -> DataHashes:
    """Read which data a run or a study was made from.

    Args:
        path: A run's directory, or a study's.

    Returns:
        The hashes.

    Raises:
        UsageProblem: It is neither run nor study, or its seeds were trained or evaluated on different data.
        DataProblem: A ``metrics.json`` is damaged.
    """
    records = {str(run): read_data_hashes(run) for run in runs_of(path)}
    require_same(
        records,
        "the seeds of a study are of different data",
        remedy="remove those of one of them; train them again",
    )
    return next(iter(records.values()))


def _right(path: Path) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """Test rows, and (runs, rows) whether each run has each right."""
    runs = runs_of(path)
    tables = [read_predictions(run) for run in runs]
    orders = [np.argsort(table.source_index) for table in tables]
    rows = tables[0].source_index[orders[0]]
    for run, table, order in zip(runs, tables, orders, strict=True):
        if not np.array_equal(table.source_index[order], rows):
            raise UsageProblem("its runs were tested on different rows", where=str(run), remedy="train it again")
    return rows, np.stack([table.right[order] for table, order in zip(tables, orders, strict=True)])
