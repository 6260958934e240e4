"""Compiled steps can be sent to another process: what they are made of is pickled, and machine code is made there."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")
pytest.importorskip("scipy")

import bpfunc as bp
from bpfunc.batches.batch import epoch_batches
from bpfunc.interop.numba import compiled, compiled_epoch, compiled_fold, compiled_step
from bpfunc.tree import tree_leaves

MODEL, LOSS = bp.serial(bp.dense(4), bp.relu(), bp.dense(3)), bp.cross_entropy(label_smoothing=0.1)
OPTIMIZER = bp.chain(bp.clip_by_global_norm(1.0), bp.adam(0.01))
DATA = bp.Batch(np.eye(6, dtype=np.float32), np.arange(6) % 3)
START = bp.init_train_state(MODEL, OPTIMIZER, bp.Key(0), (6,))
MADE: dict[str, Any] = {
    "step": compiled_step(MODEL, LOSS, OPTIMIZER, threads=2),
    "fold": compiled_fold(MODEL, LOSS, OPTIMIZER, metric=bp.top_k(2)),
    "epoch": compiled_epoch(MODEL, LOSS, OPTIMIZER, threads=1),
    "optimizer": bp.make_step(MODEL, LOSS, bp.chain(bp.clip_by_global_norm(1.0), compiled(bp.adam(0.01)))),
}


def behaviour(name: str, made: Any) -> list[bytes]:
    """What it does with one batch."""
    if name == "fold":
        state, metrics = made(START, [DATA])
    elif name == "epoch":
        state, metrics = made(START, DATA, bp.Key(1), 0, 4)
    else:
        state, metrics = made(START, DATA)
    return [np.asarray(leaf).tobytes() for leaf in tree_leaves((state.params, state.optimizer_state, metrics.loss))]


@pytest.mark.parametrize("name", MADE)
def test_compiled_parts_survive(name: str) -> None:
    """Pickled by each protocol, and deeply copied, it does bit for bit what it did."""
    expected = behaviour(name, MADE[name])
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert behaviour(name, pickle.loads(pickle.dumps(MADE[name], protocol))) == expected
    assert behaviour(name, copy.deepcopy(MADE[name])) == expected


def test_settings_travel() -> None:
    """Threads and metric are those of the original."""
    assert pickle.loads(pickle.dumps(MADE["step"])).threads == 2
    epoch = next(iter(epoch_batches(DATA, bp.Key(1), 0, 6)))
    measured_by = pickle.loads(pickle.dumps(MADE["fold"]))(START, [epoch])[1].measured_by
    assert measured_by is not None and measured_by.name == bp.top_k(2).name


def test_another_process_trains_with_it(tmp_path: Path) -> None:
    """Also where nothing has been imported yet."""
    (tmp_path / "sent").write_bytes(pickle.dumps((MADE["step"], START, DATA)))
    script = (
        "import pickle, sys; step, state, data = pickle.load(open(sys.argv[1], 'rb')); print(step(state, data)[0].step)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "sent")], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("1", "")
