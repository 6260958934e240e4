"""Kills, mutants, races and killed workers: a short version of each; all of it where BPFUNC_FAULTS is ``full``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FULL = os.environ.get("BPFUNC_FAULTS") == "full"


def counts(name: str, short: int, full: int, seed: int = 0) -> dict[str, int]:
    """Run one of them in a process of its own; print and return its counts, with no failure among them."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", name, str(full if FULL else short), str(seed)],
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    assert done.stdout, done.stderr
    found: dict[str, int] = json.loads(done.stdout)
    print(done.stdout)
    assert found.pop("failures") == [], done.stdout
    assert done.returncode == 0, done.stderr
    return found


def test_nothing_published_suffers_from_a_kill() -> None:
    """Killed in any moment: no corrupt entry is accepted, no checkpoint lost, and every run ends bit-identical."""
    found = counts("kills", 6, 200)
    assert found["kills"] >= (200 if FULL else 6)
    assert found["corrupt entries or files"] == found["lost checkpoints"] == 0
    assert found["runs that ended bit-identical"] == found["stories"]


def test_every_mutant_gives_right_data_or_one_clear_error() -> None:
    """No traceback, crash, hang or memory without bound, whatever stands in a file."""
    found = counts("mutants", 70, 2000)
    assert set(found["outcomes"]) <= {"right", "error", "done", "complaint"}  # type: ignore[call-overload]
    assert found["peak_mib"] < 1024
    assert len(found["kinds"]) == 14  # type: ignore[arg-type]


def test_eight_processes_prepare_one_entry() -> None:
    """Whatever they find in its place, there is one content in the end and no error."""
    found = counts("races", 2, 20)
    assert found["contents"] == 1


def test_nothing_finished_is_lost_with_a_worker() -> None:
    """Whoever is killed, stopped or told to leave: no hang, no orphan, and the study ends with the same figures."""
    found = counts("workers", 2, 100)
    assert found["kills"] >= (100 if FULL else 2)
    assert found["hangs"] == found["lost finished seeds"] == found["orphans"] == 0
    assert found["studies that ended with the same figures"] == found["stories"]
