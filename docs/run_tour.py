"""Run ``docs/tour.ipynb`` from its first cell to its last, and store it with its outputs.

A test compares the hash of the cells' code that is stored here with the code itself: after a change of a cell the
notebook has to be run again. Needs the extra ``oracles``, or nbclient, nbformat and ipykernel.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import nbclient
import nbformat

TOUR = Path(__file__).with_name("tour.ipynb")
ROOT = TOUR.parents[1]
KEY = "code_sha256"
"""Name of the hash in the notebook's metadata."""


def code_hash(notebook: Any) -> str:
    """Hash the code of all cells, in order."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join(code).encode()).hexdigest()


def executed(notebook: Any, folder: Path) -> Any:
    """Run a copy of a notebook in a new kernel, and return it with its outputs and the hash of its code."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    copy = nbformat.from_dict(notebook)
    nbclient.NotebookClient(copy, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    for cell in copy.cells:
        cell.metadata = nbformat.from_dict({})
    copy.metadata = nbformat.from_dict({"kernelspec": notebook.metadata.kernelspec, KEY: code_hash(copy)})
    return copy


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        result = executed(nbformat.read(TOUR, as_version=4), Path(folder))
    TOUR.write_text(nbformat.writes(result) + "\n", encoding="utf-8")
