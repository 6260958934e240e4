"""What every docstring example may take for granted: ``import numpy as np``; and whose extra must be installed."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent
EXTRAS = {
    "sklearn": ["bpfunc/interop/sklearn"],
    "onnx": [
        *(str(path.relative_to(ROOT)) for path in ROOT.glob("bpfunc/interop/onnx*.py")),
        "tests/bpfunc/interop/hostile_files.py",
        "tests/conformance/foreign_graphs.py",
    ],
    "numba": ["bpfunc/interop/numba.py", "bpfunc/compiled"],
}
"""Modules whose examples need a library that need not be there."""

collect_ignore = [module for library, modules in EXTRAS.items() if not find_spec(library) for module in modules]


@pytest.fixture(autouse=True)
def _numpy_in_examples(doctest_namespace: dict[str, object]) -> None:
    doctest_namespace["np"] = np
