"""Workers that are killed, stopped or told to leave: the parent always ends, and nothing finished is lost."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from itertools import product
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from pipelines.disk.ownership import read_progress
from pipelines.errors import WorkFailed
from pipelines.studies import workers
from pipelines.studies.executors import open_executor
from pipelines.studies.workers import ProcessExecutor, WorkerLost
from pipelines.training.interrupts import Interrupted, stop_requested
from tests.conftest import ROOT
from tests.faults.killed_workers import finished_trainings, left_over, workers_of


def asks_for_ever(begun: Path) -> None:
    """Stand for a training: ask before each step whether to stop, and leave when told."""
    with stop_requested() as stop:
        begun.write_text(str(os.getpid()))
        while not stop():
            time.sleep(0.005)
        raise Interrupted


def read_when_there(path: Path) -> int:
    """Wait for a file that holds a process id."""
    for _ in range(3000):
        if path.exists() and path.read_text():
            return int(path.read_text())
        time.sleep(0.01)
    raise AssertionError(f"{path} never came")


def test_worker_of_any_pool_leaves_when_told(tmp_path: Path) -> None:
    """The pool asks all workers to leave when one is killed; one that takes the next job instead hangs the pool."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(asks_for_ever, tmp_path / name) for name in "abcd"]
        killed, other = [read_when_there(tmp_path / name) for name in "ab"]
        os.kill(killed, signal.SIGKILL)
        try:
            assert len(wait(jobs, 30).done) == 4
            assert all(isinstance(job.exception(), BrokenProcessPool) for job in jobs)
            assert gone(other)
        finally:
            if not gone(other, seconds=0):
                os.kill(other, signal.SIGKILL)


def gone(process: int, *, seconds: float = 20) -> bool:
    """Wait until a process has ended and was reaped."""
    for _ in range(int(seconds * 100) + 1):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_after_the_last_question_is_not_lost(number: int) -> None:
    """What nobody asked about any more is delivered when the block ends, to the handler that was there before."""
    came: list[int] = []
    before = signal.signal(number, lambda *given: came.append(given[0]))
    try:
        with stop_requested() as stop:
            assert not stop()
            signal.raise_signal(number)
            assert came == []
        assert came == [number]
        with pytest.raises(Interrupted), stop_requested() as stop:
            signal.raise_signal(number)
            if stop():
                raise Interrupted
        assert came == [number]
    finally:
        signal.signal(number, before)


def large_answer(begun: Path) -> bytes:
    """Say who answers, and hand back more than a pipe takes at once."""
    begun.write_text(str(os.getpid()))
    return bytes(100_000_000)


def talks_of(begun: Path) -> None:
    """Fail with an error that cannot be pickled."""
    raise type("Odd", (Exception,), {})(f"{begun.name} failed")


def fails_oddly(begun: Path) -> None:
    """Fail with an error that is pickled and cannot be put together again."""
    raise UnicodeDecodeErrorLike(begun.name, "is odd")


class UnicodeDecodeErrorLike(Exception):
    """An error whose arguments are not what it is made of."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"{name} {what}")


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (signal.SIGKILL, "killed by SIGKILL"),
        (signal.SIGTERM, "killed by SIGTERM"),
        (signal.SIGINT, "killed by SIGINT"),
        (signal.SIGSEGV, "killed by SIGSEGV"),
        (signal.SIGSTOP, "it was stopped for 1 seconds"),
    ],
)
def test_whatever_happens_to_a_worker_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, told: str
) -> None:
    """The job ends with what happened, the block ends, and no worker is left, whatever else waits or runs."""
    monkeypatch.setattr(workers, "STOPPED_SECONDS", 1.0)
    with pytest.raises(WorkerLost, match=told), ProcessExecutor(2) as pool:
        jobs = [pool.submit(asks_for_ever, tmp_path / name) for name in "abcd"]
        both = [read_when_there(tmp_path / name) for name in "ab"]
        os.kill(both[0], number)
        assert len({str(job.exception(60)) for job in jobs}) == 1, "a later loss hides the first one"
        next(as_completed(jobs)).result()
    assert all(gone(process) for process in both)
    assert not (tmp_path / "c").exists(), "a job was begun after the loss"


def test_worker_killed_in_the_middle_of_its_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half an answer is no answer: the parent does not wait for the rest. One stopped there is no different."""
    monkeypatch.setattr(workers, "STOPPED_SECONDS", 1.0)
    for number in (signal.SIGKILL, signal.SIGSTOP):
        path = tmp_path / number.name
        with pytest.raises(WorkerLost), ProcessExecutor(1) as pool, stalled_reader(monkeypatch):
            job = pool.submit(large_answer, path)
            process = read_when_there(path)
            time.sleep(0.3)  # by now it waits for a reader
            os.kill(process, number)
            job.result(60)


@contextmanager
def stalled_reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this process take its time before it reads an answer."""
    read = Connection.recv_bytes

    def slow(pipe: Connection, *given: int) -> bytes:
        pipe.poll(None)
        time.sleep(1.0)
        return read(pipe, *given)

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "recv_bytes", slow)
        yield


def test_worker_that_ends_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the same command does not help, so another remedy is given."""
    monkeypatch.setattr(workers, "_serve", os._exit)
    told = r'did not start: exit code 1; .*__name__ == "__main__"'
    with pytest.raises(WorkFailed, match=told), open_executor("processes") as pool:
        pool.submit(os.getpid).result(60)


def test_errors_come_home(tmp_path: Path) -> None:
    """A job's error is its own, with the worker's traceback behind it; the worker goes on with other jobs."""
    with ProcessExecutor(1) as pool:
        own = pool.submit(int, "x").exception(60)
        assert isinstance(own, ValueError)
        assert "Traceback" in str(own.__cause__)
        assert str(pool.submit(talks_of, tmp_path / "a").exception(60)) == "Odd: a failed"
        assert str(pool.submit(fails_oddly, tmp_path / "a").exception(60)) == "UnicodeDecodeErrorLike: a is odd"
        assert "pickle" in str(pool.submit(open, os.devnull).exception(60))
        first = pool.submit(os.getpid).result(60)
        assert first != os.getpid()
        assert pool.submit(os.getpid).result(60) == first
    assert gone(first)


DATA = 'dataset = { classes = ["0", "1", "2"], pinned = false }\n'
COMMANDS = {
    "study": ("c.toml", "[dataset]\nclasses = ['0', '1', '2']\npinned = false\n[train]\nepochs = EPOCHS\n"),
    "search": (
        "search.toml",
        f"recipe = 'report'\nfolds = 2\ntake = 2\n[base]\n{DATA}train = {{ epochs = EPOCHS }}\n[variant.a]\n"
        "[variant.b.train]\nlearning_rate = 0.02\n",
    ),
    "sweep": (
        "space.toml",
        f"recipe = 'report'\n[fixed]\n{DATA}train = {{ epochs = EPOCHS, validation_fraction = 0.2 }}\n"
        "[parameters]\n'train.learning_rate' = { log = [0.01, 0.1] }\n",
    ),
}


def begun(command: str, base: Path, epochs: int, *, text: str = "", trials: int = 4) -> subprocess.Popen[str]:
    """Start a command with four trainings of which two run at a time, in a process group of its own."""
    name, usual = COMMANDS[command]
    (base / name).write_text((text or usual).replace("EPOCHS", str(epochs)))
    words = {
        "study": ("study", "--config", name, "--seeds", "4"),
        "search": ("search", name),
        "sweep": ("sweep", name, "--trials", str(trials)),
    }[command]
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "pipelines",
            *words,
            "--jobs",
            "2",
            "--out",
            "out",
            "--source",
            "own",
            "--cache",
            "cache",
        ],
        cwd=base,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def two_at_work(command: str, process: subprocess.Popen[str], base: Path) -> list[int]:
    """Wait until both workers train."""
    for _ in range(6000):
        workers = workers_of(process.pid)
        begun = {"study": len(list(base.glob("out/seed-*/config.toml"))), "search": 2, "sweep": len(states(base))}
        here = len(workers) == 2 and all(map(holds_numpy, workers)) and begun[command] == 2
        if here and min(map(computed, workers)) > 4.0:  # their machine code is there, and epochs are behind them
            return workers
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError("two workers never came")


def computed(process: int) -> float:
    """Seconds of a core that a process has had."""
    times = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")


def holds_numpy(process: int) -> bool:
    """Whether a process has come as far as to import what it computes with."""
    return "_multiarray_umath" in Path(f"/proc/{process}/maps").read_text()


def states(base: Path) -> list[str]:
    """What a sweep's storage says of the trials that have their settings."""
    if not (base / "out" / "sweep.db").exists():
        return []
    with sqlite3.connect(base / "out" / "sweep.db") as connection:
        asked = "select state from trials join trial_user_attributes using (trial_id) where key = 'settings'"
        return [state for (state,) in connection.execute(asked)]


@pytest.mark.parametrize(
    ("command", "fate"),
    [*product(COMMANDS, ["worker killed", "interrupted at the terminal"]), ("study", "worker stopped")],
)
def test_commands_end_and_go_on(command: str, fate: str, tmp_path: Path, own_data: Path) -> None:
    """One message and exit code 1, or 130; no process is left, and the same command does what is missing."""
    if command == "sweep":
        pytest.importorskip("optuna")
    process = begun(command, tmp_path, 100_000)
    try:
        workers = two_at_work(command, process, tmp_path)
        if fate == "interrupted at the terminal":
            os.killpg(process.pid, signal.SIGINT)
        else:
            os.kill(workers[0], signal.SIGKILL if fate == "worker killed" else signal.SIGSTOP)
        output, errors = process.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert output == ""
    assert "Traceback" not in errors
    if fate == "interrupted at the terminal":
        assert process.returncode == 130
    else:
        assert process.returncode == 1, errors
        (told,) = [line for line in errors.splitlines() if line.startswith("error: ")]
        how = "killed by SIGKILL" if fate == "worker killed" else "it was stopped for 5 seconds, as by SIGSTOP"
        left = {
            "study": "4 of 4 seeds (0, 1, 2, 3); their checkpoints stay",
            "search": "4 of 4 trials",
            "sweep": "trials 0, 1; others take their places",
        }[command]
        assert told == f"error: a worker process died: {how}; not finished: {left}"
    assert left_over(frozenset(workers), seconds=10) == []
    if command == "study":  # a worker that is not killed saves where it stands
        kept = {path.parents[1].name for path in tmp_path.glob("out/seed-*/checkpoints/epoch-*")}
        assert len(kept) >= (1 if fate == "worker killed" else 2)
    if command == "sweep":  # none of them seems to run, so another sweep replaces them at once
        assert states(tmp_path) == ["FAIL", "FAIL"]
    if command == "study":  # another number of epochs is another study
        shutil.rmtree(tmp_path / "out")
    again = begun(command, tmp_path, 2)
    assert again.communicate(timeout=100)[1].count("seed " if command == "study" else "\n") == 4
    assert again.returncode == 0


UNEVEN = {
    "search": COMMANDS["search"][1].replace("learning_rate = 0.02", "epochs = 1"),
    "sweep": f"pruner = 'none'\n{COMMANDS['sweep'][1]}'train.epochs' = {{ choice = [1, 2, 3, 100_000] }}\n",
}
"""What each reads where some trainings end at once and others do not end."""


@pytest.mark.parametrize("command", UNEVEN)
def test_what_is_finished_outlives_a_worker(command: str, tmp_path: Path, own_data: Path) -> None:
    """A worker is killed while trainings are finished and others are not: the finished ones stay, and are counted."""
    if command == "sweep":
        pytest.importorskip("optuna")
    out, process = tmp_path / "out", begun(command, tmp_path, 100_000, text=UNEVEN[command], trials=40)
    try:
        before, since, deadline = finished_trainings(out), time.monotonic(), time.monotonic() + 300
        while not before or time.monotonic() - since < 5.0:  # until both workers are at what does not end
            now = finished_trainings(out)
            before, since = now, time.monotonic() if now != before else since
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        workers = workers_of(process.pid)
        os.kill(workers[0], signal.SIGKILL)
        output, errors = process.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert (output, process.returncode, "Traceback" in errors) == ("", 1, False), errors
    assert "a worker process died: killed by SIGKILL; not finished: " in errors
    assert left_over(frozenset(workers), seconds=10) == []
    assert finished_trainings(out) == before
    progress = read_progress(out)
    assert progress is not None
    assert (progress.kind, progress.done) == (command, len(before))


def test_a_command_suspended_with_its_workers_goes_on(tmp_path: Path, own_data: Path) -> None:
    """As by Ctrl-Z: workers that are stopped while nobody looks are not lost."""
    process = begun("study", tmp_path, 100_000)
    try:
        workers = two_at_work("study", process, tmp_path)
        os.killpg(process.pid, signal.SIGSTOP)  # SIGTSTP does nothing to a group without a shell
        time.sleep(7.0)  # longer than a stopped worker is waited for
        assert {Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()[0] for each in workers} == {"T"}
        os.killpg(process.pid, signal.SIGCONT)
        time.sleep(2.0)
        assert process.poll() is None
        assert workers_of(process.pid) == workers
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert left_over(frozenset(workers), seconds=10) == []


def test_modules_of_the_current_directory_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person's ``signal.py`` beside the data is not the one that a worker starts with."""
    for name in ("signal", "random", "typing", "tempfile", "socket", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a script of a person')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    with ProcessExecutor(1) as executor:
        assert executor.submit(os.getpid).result() != os.getpid()
    assert "PYTHONSAFEPATH" not in os.environ
