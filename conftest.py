"""What every docstring example may take for granted: ``import numpy as np``; and whose extra must be installed."""

from importlib.util import find_spec

import numpy as np
import pytest

collect_ignore = [] if find_spec("sklearn") else ["bpfunc/interop/sklearn.py"]


@pytest.fixture(autouse=True)
def _numpy_in_examples(doctest_namespace: dict[str, object]) -> None:
    doctest_namespace["np"] = np
