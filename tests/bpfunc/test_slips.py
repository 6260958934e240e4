"""Common slips at the keyboard: each gets one sentence that names the place, what was expected and what was found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import bpfunc as bp

MODEL, LOSS, SGD = bp.serial(bp.dense(4), bp.relu(), bp.dense(3)), bp.cross_entropy(), bp.sgd(0.1)
STATE = bp.init_train_state(MODEL, SGD, bp.Key(0), (5,))
BATCH = bp.Batch(np.ones((8, 5), np.float32), np.arange(8) % 3)
AT = STATE.params, STATE.layer_state, BATCH, bp.INFERENCE

SLIPS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "decay for momentum": (
        lambda: bp.sgd(0.1, decay=0.9),  # type: ignore[arg-type]
        TypeError,
        "sgd takes momentum, not decay: sgd(learning_rate, momentum=0.9); weight_decay decays the weights",
    ),
    "hvp in its former order": (
        lambda: bp.hvp(MODEL, LOSS, STATE.params, STATE.params, STATE.layer_state, BATCH, bp.INFERENCE),  # type: ignore[arg-type]
        TypeError,
        "hvp takes (model, loss, params, state, batch, ctx, params_dot): as `value` does, and then the direction; "
        "found the batch as ctx",
    ),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_gets_one_sentence(slip: str) -> None:
    """The message word for word, and no second error behind it."""
    call, kind, message = SLIPS[slip]
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    assert str(caught.value) == message
    assert caught.value.__cause__ is None and (caught.value.__context__ is None or caught.value.__suppress_context__)
