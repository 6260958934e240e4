"""What is not plain numbers is refused where it enters, by name: no mask or imaginary part is lost in silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import bpfunc as bp

MODEL = bp.serial(bp.dense(3))
STATE = bp.init_train_state(MODEL, bp.sgd(0.1), bp.Key(0), (2,))
INPUTS, LABELS, WEIGHTS = np.ones((2, 2), np.float32), np.array([0, 1]), np.ones(2, np.float32)
STRANGE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "masked": lambda array: np.ma.masked_array(array, mask=np.arange(array.size).reshape(array.shape) == 0),
    "masked nowhere": np.ma.masked_array,
    "complex": lambda array: array + 0j,
    "object": lambda array: array.astype(object),
    "text": lambda array: array.astype("U3"),
    "dates": lambda array: array.astype("M8[s]"),
    "records": lambda array: np.zeros(array.shape, [("a", "f4")]),
}


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("place", ["inputs", "targets", "weights"])
def test_batches(kind: str, place: str) -> None:
    """A batch holds numbers; the message names the array."""
    arrays: dict[str, Any] = {"inputs": INPUTS, "targets": LABELS, "weights": WEIGHTS}
    with pytest.raises(TypeError, match=rf"^{place} are "):
        bp.Batch(**{**arrays, place: STRANGE[kind](arrays[place])})


@pytest.mark.parametrize("kind", STRANGE)
def test_what_takes_inputs_alone(kind: str) -> None:
    """Predicting refuses them too."""
    with pytest.raises(TypeError, match=r"^inputs are "):
        bp.predict(MODEL, STATE.params, STATE.layer_state, STRANGE[kind](INPUTS))


@pytest.mark.parametrize("kind", [*STRANGE, "floating"])
@pytest.mark.parametrize("place", [0, 1])
def test_class_indices_are_whole(kind: str, place: int) -> None:
    """A confusion matrix does not cut numbers down to indices."""
    indices = [LABELS, LABELS]
    indices[place] = LABELS + 0.5 if kind == "floating" else STRANGE[kind](LABELS)
    with pytest.raises(TypeError, match=("predicted", "label")[place]):
        bp.confusion_matrix(*indices, 2)
