"""Machine code on disk: found by the next process, and never trusted further than it can be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")
pytest.importorskip("scipy")

import numba

from bpfunc.compiled import kept as store
from bpfunc.compiled.kept import directory, kept, kept_by_address

PROGRAM = """
import hashlib
import numpy as np
from bpfunc.batches.batch import Batch
from bpfunc.compiled.epoch import thread_of_epoch
from bpfunc.interop.numba import compiled_epoch
from bpfunc.keys import Key
from bpfunc.layers import dense, dropout, gelu
from bpfunc.layers.combinators import serial
from bpfunc.losses import huber
from bpfunc.metrics import mean_squared_error
from bpfunc.optimizers import adam
from bpfunc.training.step import init_train_state
from bpfunc.tree import tree_leaves

model, optimizer = serial(dense(4), gelu(), dropout(0.5), dense(2)), adam(0.1)
state = init_train_state(model, optimizer, Key(0), (3,))
data = Batch(np.ones((7, 3), np.float32), np.ones((7, 2)))
epoch = compiled_epoch(model, huber(), optimizer, metric=mean_squared_error(), threads=2)
state, _ = epoch(state, data, Key(1), 0, 2)
bits = b"".join(leaf.tobytes() for leaf in tree_leaves(state.params))
print(hashlib.sha256(bits).hexdigest(), sum(thread_of_epoch.stats.cache_hits.values()))
"""


def start(place: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(place)}
    return subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, text=True)


def answer(process: subprocess.Popen[str]) -> list[str]:
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    return out.split()


def test_processes_share_a_store(tmp_path: Path) -> None:
    """Three that start at once on an empty store end with the same bits; the next one compiles nothing."""
    answers = [answer(process) for process in [start(tmp_path) for _ in range(3)]]
    (bits,) = {found for found, _ in answers}
    assert answer(start(tmp_path)) == [bits, "1"]
    assert not list(tmp_path.rglob(".writing-*"))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    return directory()


def doubled() -> Any:
    """A function as a new process would meet it: with no machine code in memory."""
    return kept(numba.njit(_double))


def _double(x: float) -> float:
    return 2 * x


def hits(function: Any) -> int:
    assert function(1.5) == 3.0
    return sum(function.stats.cache_hits.values())


def test_machine_code_is_kept(place: Path) -> None:
    """One file for each set of types, found again."""
    assert [hits(doubled()), hits(doubled())] == [0, 1]
    assert doubled()(2) == 4
    assert len(list(place.glob("_double-*.code"))) == 2
    signature = numba.types.float64(numba.types.float64)
    kept_by_address(_double, signature)
    assert kept_by_address(_double, signature)._cache_hits == 1


def _rewritten(content: bytes) -> bytes:
    import hashlib

    return hashlib.sha256(content).digest() + content


@pytest.mark.parametrize(
    "harm",
    [
        lambda whole: b"",
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]),
        lambda whole: bytes([whole[0] ^ 1]) + whole[1:],
        lambda whole: _rewritten(b"no pickle"),
        lambda whole: _rewritten(store._serialize.dumps(("another function", None))),
    ],
)
def test_harmed_files_are_made_again(place: Path, harm: Any) -> None:
    """Empty, cut off, with a flipped bit, of another function: compiled again, and the file is whole again."""
    assert hits(doubled()) == 0
    (path,) = place.glob("_double-*.code")
    path.write_bytes(harm(path.read_bytes()))
    assert [hits(doubled()), hits(doubled())] == [0, 1]


def test_what_others_could_have_written_is_not_run(place: Path) -> None:
    """Files are read where only this user can write."""
    assert hits(doubled()) == 0
    place.chmod(0o777)
    assert hits(doubled()) == 0
    place.chmod(0o700)
    assert hits(doubled()) == 1


def test_without_a_directory_it_works_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that cannot be made, read or written to is none."""
    blocked = tmp_path / "file"
    blocked.write_text("no directory")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(blocked))
    assert [hits(doubled()), hits(doubled())] == [0, 0]
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(store.tempfile, "mkstemp", _full)
    assert [hits(doubled()), hits(doubled())] == [0, 0]


def _full(*_: Any, **__: Any) -> Any:
    raise OSError("no space left on device")


def test_a_writer_that_fails_leaves_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither half a file nor a temporary one."""
    monkeypatch.setattr(Path, "replace", _full)
    assert hits(doubled()) == 0
    assert list(place.iterdir()) == []


def test_other_versions_have_other_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another NumPy, or bounds checks, and nothing is found that was made without."""
    before = directory()
    for module, name, value in ((np, "__version__", "0"), (numba.config, "BOUNDSCHECK", not numba.config.BOUNDSCHECK)):
        store._versions.cache_clear()
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            assert directory() != before
        store._versions.cache_clear()
    assert directory() == before


def test_functions_that_differ_in_a_number_differ(place: Path) -> None:
    """Same name, same instructions, another constant: another file."""
    names: dict[str, Any] = {}
    for factor in (3, 4):
        exec(f"def times(x):\n    return {factor} * x", {"__name__": __name__}, names)
        assert kept(numba.njit(names["times"]))(2.0) == 2 * factor


def test_places_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """numba's own variable first, then this project's, then the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/user")
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.delenv("BPFUNC_CACHE", raising=False)
    assert directory().parents[1] == Path("/user/bpfunc")
    monkeypatch.setenv("BPFUNC_CACHE", "/project")
    assert directory().parents[1] == Path("/project")
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/numba")
    assert directory().parents[1] == Path("/numba")
