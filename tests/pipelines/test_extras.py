"""A part whose packages are not installed says which extra to install, and does nothing else."""

from __future__ import annotations

import sys

import pytest

from pipelines.errors import UsageProblem
from pipelines.runs.data_parallel import mpi_processes
from pipelines.studies.executors import open_executor
from pipelines.studies.tuning.storage import open_storage


@pytest.mark.parametrize(
    ("package", "extra", "part"),
    [
        ("distributed", "dask", lambda: open_executor("dask://127.0.0.1:1").__enter__()),
        ("optuna", "sweep", lambda: open_storage("sqlite://")),
        ("mpi4py", "mpi", lambda: mpi_processes().__enter__()),
    ],
)
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, package: str, extra: str, part) -> None:  # type: ignore[no-untyped-def]
    """Not a traceback, but the command that installs it."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageProblem) as problem:
        part()
    assert problem.value.remedy == f"pip install 'bpfunc[{extra}]'"
