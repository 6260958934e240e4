"""What every docstring example may take for granted: ``import numpy as np``; and whose extra must be installed."""

from importlib.util import find_spec

import numpy as np
import pytest

ONNX = ("chain", "foreign", "layers", "links", "nodes", "norms", "operators", "products")
EXTRAS = {
    "sklearn": ["bpfunc/interop/sklearn"],
    "onnx": [
        "bpfunc/interop/onnx.py",
        *(f"bpfunc/interop/onnx_{part}.py" for part in ONNX),
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
