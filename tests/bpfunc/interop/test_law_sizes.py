"""The law of sizes: a reader holds memory to a small multiple of the file before it believes it, and says one thing.

A corpus of small files is read in a process whose memory is limited to little more than what the libraries take.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("onnx")
pytest.importorskip("sklearn")

from tests.conftest import ROOT

LIMIT = 150 << 20
"""Bytes that a reader may take besides what the process has taken already."""
CHILD = f"""
import json, resource, sys, time, traceback, warnings
from tests.bpfunc.interop.hostile_files import corpus, honest
warnings.simplefilter("ignore")
files, good = list(corpus()), list(honest())
for read in good:
    read()
taken = int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (taken + {LIMIT}, taken + {LIMIT}))
for read in good:
    read()
for reader, name, read, size in files:
    start = time.perf_counter()
    try:
        read()
        kind, message = "", ""
    except BaseException as error:
        kind, message = type(error).__name__, str(error)
    seconds = time.perf_counter() - start
    print(json.dumps([reader, name, kind, message[:2000], len(message), seconds]))
"""


@pytest.fixture(scope="module")
def outcomes() -> list[tuple[str, str, str, str, int, float]]:
    """What became of each file."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,  # more than that is a reader that does not end
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def test_every_hostile_file_is_one_clear_error(outcomes: list[tuple[str, str, str, str, int, float]]) -> None:
    """Models and tensors: refused, in one line that is not long, without much memory or time."""
    files = [outcome for outcome in outcomes if not outcome[0].startswith("Backprop")]
    assert len(files) > 40
    for reader, name, kind, message, length, seconds in files:
        assert kind == "ValueError", (reader, name, kind, message)
        assert message and "\n" not in message and length < 1500, (reader, name, message)
        assert seconds < 20, (reader, name, seconds)


def test_estimators_with_a_changed_fact_work_or_are_refused(
    outcomes: list[tuple[str, str, str, str, int, float]],
) -> None:
    """Whatever a file says of an estimator: it predicts, or the file is refused."""
    files = [outcome for outcome in outcomes if outcome[0].startswith("Backprop")]
    assert len(files) > 2500
    for reader, name, kind, message, length, _ in files:
        assert kind in ("", "ValueError"), (reader, name, kind, message)
        assert length < 1500, (reader, name, message)
    assert sum(kind == "ValueError" for _, _, kind, _, _, _ in files) > len(files) / 2
