"""What every docstring example may take for granted: ``import numpy as np``; and whose extra must be installed."""

from importlib.util import find_spec

import numpy as np
import pytest

EXTRAS = {
    "sklearn": ["bpfunc/interop/sklearn.py"],
    "onnx": ["bpfunc/interop/onnx.py", "bpfunc/interop/onnx_chain.py", "bpfunc/interop/onnx_nodes.py"],
    "numba": ["bpfunc/interop/numba.py", "bpfunc/compiled"],
}
"""Modules whose examples need a library that need not be there."""

collect_ignore = [module for library, modules in EXTRAS.items() if not find_spec(library) for module in modules]


@pytest.fixture(autouse=True)
def _numpy_in_examples(doctest_namespace: dict[str, object]) -> None:
    doctest_namespace["np"] = np
