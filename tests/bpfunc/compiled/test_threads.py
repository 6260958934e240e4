"""Any number of threads trains: nothing assumes two, nor as many cores, rows or outputs as there are threads."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

pytest.importorskip("numba")
pytest.importorskip("scipy")

from hypothesis import given, settings, strategies as st

from bpfunc import layers, losses
from bpfunc.batches.batch import epoch_batches
from bpfunc.compiled import work
from bpfunc.interop.numba import compiled_step
from bpfunc.keys import Key
from bpfunc.layers import dense, dropout
from bpfunc.layers.combinators import serial
from bpfunc.metrics import accuracy
from bpfunc.optimizers import adam
from bpfunc.transforms import chain, clip_by_global_norm
from bpfunc.tree import tree_leaves
from tests.bpfunc.compiled.test_law import ROWS, Case, cases, check, data_for

THREADS = range(1, 9)
NARROW = Case(
    serial(dense(7), layers.tanh(), dropout(0.3), dense(1), layers.elu(), dense(3)),
    losses.cross_entropy(),
    chain(clip_by_global_norm(0.5), adam(0.05)),
    data_for("classes", 3, "indices", True, np.float64),
    accuracy(),
)
"""A layer of one number, in the middle, and a norm that all threads find together."""


@given(cases(), st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8]), st.sampled_from([1, 2, 3, 6, ROWS - 1, ROWS]))
@settings(max_examples=15, deadline=None)
def test_random_trainings_of_any_number_of_threads(case: Case, threads: int, batch_size: int) -> None:
    """NumPy's results up to rounding, and the same bits again; most batches end in one of 1 row."""
    check(attrs.evolve(case, threads=threads, batch_size=batch_size))


@pytest.mark.parametrize("threads", THREADS)
def test_batches_and_layers_smaller_than_the_number_of_threads(threads: int) -> None:
    """Batches of 1 row, of fewer rows than threads, and with a last batch of 1 row."""
    for batch_size in (1, 3, ROWS - 1):
        check(attrs.evolve(NARROW, threads=threads, batch_size=batch_size, epochs=1))


def test_the_order_of_threads_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that start in another order, or late, find the same numbers."""
    step = compiled_step(NARROW.model, NARROW.loss, NARROW.transform, threads=5)
    state = NARROW.start(np.float64)

    def trained() -> list[bytes]:
        after, _ = step.fold(state, epoch_batches(NARROW.data, Key(3), 0, 4))
        return [leaf.tobytes() for leaf in tree_leaves(after.params)]

    expected, real = trained(), work._together
    monkeypatch.setattr(
        work,
        "_together",
        lambda run, threads, *rest: real(lambda number: run(threads - 1 - number), threads, *rest),
    )
    assert trained() == expected


@pytest.mark.parametrize("threads", [3, 5, 8])
def test_an_engine_that_assumes_two_is_caught(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The law can fail: where all threads but the first take the share of the second, the others' is never done."""
    real = work.thread_of_epoch
    monkeypatch.setattr(work, "thread_of_epoch", lambda t, *rest: real(min(t, 1), *rest))
    with pytest.raises(AssertionError):
        check(attrs.evolve(NARROW, threads=threads))
