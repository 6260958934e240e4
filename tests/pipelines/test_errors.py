"""Failures keep what, where and remedy, wherever they are raised."""

from __future__ import annotations

import pickle

import pytest

from pipelines.errors import DataProblem, PipelineError, UsageProblem, WorkFailed


@pytest.mark.parametrize(("kind", "code"), [(WorkFailed, 1), (UsageProblem, 2), (DataProblem, 3)])
def test_failure_crosses_processes(kind: type[PipelineError], code: int) -> None:
    """A failure in a worker process arrives whole, so that a study or a search reports it as a single run does."""
    again = pickle.loads(pickle.dumps(kind("damaged", where="a file", remedy="mend it")))
    assert type(again) is kind
    assert (again.what, again.where, again.remedy, again.exit_code) == ("damaged", "a file", "mend it", code)
    assert str(again) == "damaged (a file): mend it"
