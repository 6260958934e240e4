"""The tour in `docs/tour.ipynb` runs from its first cell to its last, and what it shows is worth showing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.test_docs_reference import command

nbformat = pytest.importorskip("nbformat", reason="needs the extra `notebook`")
nbclient = pytest.importorskip("nbclient", reason="needs the extra `notebook`")
pytest.importorskip("ipykernel", reason="needs the extra `notebook`")

ROOT = Path(__file__).parents[1]
TOUR = ROOT / "docs" / "tour.ipynb"


def read() -> nbformat.NotebookNode:
    """The notebook as it is kept."""
    return nbformat.read(TOUR, as_version=4)


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """All outputs of a notebook, in order."""
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def problems(notebook: nbformat.NotebookNode) -> list[str]:
    """What is wrong with a stored notebook: cells not run in order, an error, code that has changed, large pictures."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    found = []
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        found.append("cells are not run in order")
    if any(output.output_type == "error" or output.get("name") == "stderr" for output in outputs(notebook)):
        found.append("a cell failed or warned")
    if notebook.metadata.get("code_sha256") != command("run_tour").code_hash(notebook):
        found.append("code has changed since it ran")
    pictures = [output.data["image/png"] for output in outputs(notebook) if "image/png" in output.get("data", {})]
    if len(pictures) != 4 or max(map(len, pictures)) > 120_000:
        found.append("not four small pictures")
    return found


def test_it_is_stored_with_current_outputs() -> None:
    """Each cell has run, in order, as it stands (`python docs/run_tour.py`), and its pictures are small."""
    nbformat.validate(read())
    assert problems(read()) == []
    assert TOUR.stat().st_size < 300_000


def test_an_old_or_unfinished_notebook_is_found() -> None:
    """The check above sees a cell that was changed, one that has not run, one that failed, and a large picture."""
    changed, unrun, failed, large = read(), read(), read(), read()
    changed.cells[1].source += "\n1 + 1"
    unrun.cells[1].execution_count = None
    failed.cells[1].outputs = [nbformat.v4.new_output("error", ename="E", evalue="", traceback=[])]
    for output in outputs(large):
        if "image/png" in output.get("data", {}):
            output.data["image/png"] *= 3
    assert problems(changed) == ["code has changed since it ran"]
    assert problems(unrun) == ["cells are not run in order"]
    assert problems(failed) == ["a cell failed or warned"]
    assert problems(large) == ["not four small pictures"]


def test_every_cell_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All cells run in order in a new kernel, the four pictures are drawn, and the network has learned."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    tour = read()
    nbclient.NotebookClient(tour, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    code = [cell for cell in tour.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    made = outputs(tour)
    assert not [output.text for output in made if output.output_type == "stream" and output.name == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in made) == 4
    now, stored = ("".join(one.get("text", "") for one in outputs(book)) for book in (tour, read()))
    assert now.partition("loss of")[0] == stored.partition("loss of")[0] != now
    (accuracy,) = code[-1].outputs
    assert float(accuracy.data["text/plain"]) > 0.97
