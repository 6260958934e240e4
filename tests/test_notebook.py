"""The tour in `docs/tour.ipynb` runs from its first cell to its last, and what it shows is worth showing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs the extra `notebook`")
nbclient = pytest.importorskip("nbclient", reason="needs the extra `notebook`")
pytest.importorskip("ipykernel", reason="needs the extra `notebook`")

ROOT = Path(__file__).parents[1]
TOUR = ROOT / "docs" / "tour.ipynb"


def read() -> nbformat.NotebookNode:
    """The notebook as it is kept."""
    return nbformat.read(TOUR, as_version=4)


def test_it_is_kept_without_outputs() -> None:
    """Outputs would age and swell the history; the tests make them anew."""
    nbformat.validate(read())
    for cell in read().cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


def test_every_cell_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All cells run in order in a new kernel, the four pictures are drawn, and the network has learned."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    tour = read()
    nbclient.NotebookClient(tour, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    code = [cell for cell in tour.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output.text for output in outputs if output.output_type == "stream" and output.name == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
    (accuracy,) = code[-1].outputs
    assert float(accuracy.data["text/plain"]) > 0.97
