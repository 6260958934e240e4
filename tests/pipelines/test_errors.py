"""Failures keep what, where and remedy, wherever they are raised."""

from __future__ import annotations

import pickle
import re

import pytest

from pipelines.errors import DataProblem, PipelineError, UsageProblem, WorkFailed, first_line
from tests.conftest import ROOT


@pytest.mark.parametrize(("kind", "code"), [(WorkFailed, 1), (UsageProblem, 2), (DataProblem, 3)])
def test_failure_crosses_processes(kind: type[PipelineError], code: int) -> None:
    """A failure in a worker process arrives whole, so that a study or a search reports it as a single run does."""
    again = pickle.loads(pickle.dumps(kind("damaged", where="a file", remedy="mend it")))
    assert type(again) is kind
    assert (again.what, again.where, again.remedy, again.exit_code) == ("damaged", "a file", "mend it", code)
    assert str(again) == "damaged (a file): mend it"


def test_an_error_without_a_message_is_told_by_its_kind() -> None:
    """The first line of no text does not exist, and nobody but `first_line` asks for it."""
    assert [first_line(ValueError(text)) for text in ("", "\n", "a\nb")] == ["ValueError", "", "a"]
    found = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "pipelines").rglob("*.py")
        if re.search(r"str\(\w+\)[^\n]*\.splitlines\(\)\[0\]", path.read_text(encoding="utf-8"))
    }
    assert found == set()
