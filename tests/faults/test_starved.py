"""No room, no permission, no source, no time, no privacy: each has its message, and nothing published is lost."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import attrs
import pytest

from pipelines.dataset.cache_key import Hit
from pipelines.dataset.entry import damage, entry_paths
from pipelines.dataset.places import Places
from pipelines.disk import atomic as files
from pipelines.disk.atomic import TEMPORARY, exclusive, remove_leftovers
from pipelines.errors import DataProblem, UsageProblem, WorkFailed
from pipelines.runs.checkpoints import checkpoint_paths, newest_checkpoint
from pipelines.runs.directory import new_run_directory, read_history
from pipelines.runs.run import resume_run, train_run
from pipelines.spec.toml import to_toml
from pipelines.stages import prepare as graph
from pipelines.stages.prepare import prepare
from tests.faults.scene import SPEC, places_in, timeless, whole_run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Where runs take from and put to."""
    return places_in(tmp_path)


def prepared(places: Places):  # type: ignore[no-untyped-def]
    """Prepare the data of these tests."""
    return prepare(SPEC.dataset, source=places.source, cache=places.cache, raw=places.raw)


def temporary(directory: Path) -> list[Path]:
    """Whatever is left unpublished."""
    return list(directory.rglob(f"{TEMPORARY}*"))


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Let no file grow past a size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_while_preparing(places: Places) -> None:
    """No entry, no leftover, a message; with room again, all is well."""
    with full_disk(20_000), pytest.raises(WorkFailed, match="cannot write"):
        prepared(places)
    assert list(places.cache.iterdir()) == []
    assert damage(prepared(places)[0].path) is None


def test_full_disk_while_training(places: Places, tmp_path: Path) -> None:
    """The last checkpoint that found room stands, and going on from it ends as if there had been room all along."""
    whole = whole_run(places, tmp_path / "whole")
    out = tmp_path / "run"
    size = checkpoint_paths(whole)[0].stat().st_size
    full = False

    def fills_up(progress):  # type: ignore[no-untyped-def]
        nonlocal full
        for moment in progress:
            if moment.record.epoch == 3:
                full = True
                resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
            yield moment

    with full_disk(1 << 30), pytest.raises(WorkFailed, match="cannot write"):
        train_run(SPEC, attrs.evolve(places, out=out), now=datetime(2026, 1, 1), observe=fills_up, every=0)
    assert full
    assert temporary(out) == []
    data = prepared(places)[0].train.sha256
    start, damaged = newest_checkpoint(out, SPEC, data)
    assert start is not None
    assert (start.record.epoch, damaged) == (3, ())
    resume_run(out, places)
    assert (out / "params.safetensors").read_bytes() == (whole / "params.safetensors").read_bytes()
    assert timeless(read_history(out)) == timeless(read_history(whole))


class ReadOnly:
    """Let every call fail that would change the disk; this holds for every user, root as well."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        opened = os.open

        def guarded(path: object, flags: int, *arguments: object, **options: object) -> int:
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))
            return opened(path, flags, *arguments, **options)  # type: ignore[arg-type, call-overload]

        def refused(*arguments: object, **options: object) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        patch.setattr(files.os, "open", guarded)
        for name in ("mkdir", "rename", "replace", "unlink", "rmdir", "utime"):
            patch.setattr(files.os, name, refused)


def test_read_only_cache(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that is there is used; one that is not is a message; nothing changes, leftovers included."""
    entry = prepared(places)[0].path
    left = places.cache / f"{TEMPORARY}left-1-0"
    left.mkdir()
    os.utime(left, (0, 0))
    before = sorted(places.cache.rglob("*"))
    other = attrs.evolve(SPEC.dataset, classes=("1", "0", "2"))
    with monkeypatch.context() as patch:
        ReadOnly(patch)
        assert prepared(places)[1] == Hit()
        with pytest.raises(WorkFailed, match="Read-only file system"):
            prepare(other, source=places.source, cache=places.cache, raw=places.raw)
    assert sorted(places.cache.rglob("*")) == before
    assert damage(entry) is None
    assert left not in prepared(places)[0].path.parents
    assert not left.exists(), "and is swept up once that can be done"


def test_file_in_the_place_of_the_cache(places: Places) -> None:
    """A message, and the file is as it was."""
    places.cache.write_text("precious")
    with pytest.raises(WorkFailed, match="this is not a directory"):
        prepared(places)
    assert places.cache.read_text() == "precious"


@pytest.mark.parametrize("stage", ["decode", "encode"])
def test_source_vanishes_meanwhile(stage: str, places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that goes away between two looks is named; what no longer needs it goes on."""
    assert places.source is not None
    call: Callable[..., object] = getattr(graph, stage)

    def vanishing(*arguments: object) -> object:
        shutil.rmtree(places.source)  # type: ignore[arg-type]
        return call(*arguments)

    monkeypatch.setattr(graph, stage, vanishing)
    if stage == "decode":
        with pytest.raises(DataProblem, match="No such file") as caught:
            prepared(places)
        assert str(places.source) in caught.value.where
        assert not places.cache.exists() or list(places.cache.iterdir()) == []
    else:
        assert damage(prepared(places)[0].path) is None


def test_entry_vanishes_before_training(places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that is emptied under a run is named; the run can be taken up once the data is there again."""
    out = tmp_path / "run"
    made = new_run_directory

    def emptied(*arguments: object) -> Path:
        shutil.rmtree(places.cache)
        return made(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(DataProblem, match="cannot read"):
        patch.setattr("pipelines.runs.run.new_run_directory", emptied)
        train_run(SPEC, attrs.evolve(places, out=out), now=datetime(2026, 1, 1))
    resume_run(out, places)
    assert (out / "params.safetensors").exists()


def test_other_data_are_not_gone_on_with(places: Places, tmp_path: Path) -> None:
    """A run that is taken up on changed data says so, and its checkpoints stay."""
    out = whole_run(places, tmp_path / "run")
    (out / "params.safetensors").unlink()
    assert places.source is not None
    labels = places.source / "train-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1] + b"\0")
    before = [path.read_bytes() for path in checkpoint_paths(out)]
    with pytest.raises(DataProblem, match="the training split is not the one"):
        resume_run(out, places)
    assert [path.read_bytes() for path in checkpoint_paths(out)] == before


def test_changed_configuration_is_not_gone_on_with(places: Places, tmp_path: Path) -> None:
    """Nor is one whose configuration was edited: to begin anew would put other checkpoints in place of these."""
    out = whole_run(places, tmp_path / "run")
    (out / "params.safetensors").unlink()
    (out / "config.toml").write_text(to_toml(attrs.evolve(SPEC, train=attrs.evolve(SPEC.train, learning_rate=0.5))))
    with pytest.raises(DataProblem, match="not the configuration that this file was made with"):
        resume_run(out, places)
    assert checkpoint_paths(out)


def test_clock_set_back(places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs at what the clock calls one time do not share a directory; what seems to come from the future stays."""
    now = datetime(2026, 1, 1)
    first = new_run_directory(None, tmp_path / "runs", SPEC, now)
    (first / "config.toml").write_text("first")
    with pytest.raises(UsageProblem, match="exists already"):
        new_run_directory(None, tmp_path / "runs", SPEC, now)
    assert (first / "config.toml").read_text() == "first"
    entry = prepared(places)[0].path
    left = places.cache / f"{TEMPORARY}x-1-0"
    left.write_text("x")
    monkeypatch.setattr(files.time, "time", lambda: 0.0)
    assert prepared(places)[1] == Hit()
    assert left.exists()
    assert damage(entry) is None


def test_only_the_dead_are_swept_up(tmp_path: Path) -> None:
    """What a living writer holds stays, and what is newborn, foreign or holds foreign files; the rest goes."""
    paths = {name: tmp_path / f"{TEMPORARY}{name}-1-0" for name in ("old", "held", "young", "link")}
    folder, notes = tmp_path / f"{TEMPORARY}folder-1-0", tmp_path / f"{TEMPORARY}notes-1-0"
    for made, name in ((folder, "part"), (notes, "thesis.txt")):
        made.mkdir()
        (made / name).write_text("x")
    paths["mine"] = tmp_path / f"{TEMPORARY}mine.txt"
    (tmp_path / "result").write_text("x")
    for name in ("old", "held", "young", "mine"):
        paths[name].write_text("x")
    paths["link"].symlink_to(tmp_path / "result")
    for path in (paths["old"], paths["held"], paths["mine"], folder, notes):
        os.utime(path, (time.time() - 3600,) * 2)
    descriptor = os.open(paths["held"], os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    removed = remove_leftovers(tmp_path, ["part"])
    assert removed == [folder, paths["old"]]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [paths["held"].name, paths["young"].name, paths["link"].name, paths["mine"].name, notes.name, "result"]
    )
    os.close(descriptor)
    assert remove_leftovers(tmp_path) == [paths["held"]]
    assert remove_leftovers(tmp_path / "nowhere") == []


def test_a_writer_holds_what_it_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a file or directory is being written, a sweep a day later leaves it alone."""
    monkeypatch.setattr(files, "NEWBORN_SECONDS", -1.0)
    swept: list[Path] = []
    seen: list[str] = []
    flush = os.fsync

    def sweeping(descriptor: int) -> None:
        seen.extend(path.name for path in tmp_path.glob(f"{TEMPORARY}*"))
        swept.extend(remove_leftovers(tmp_path))
        flush(descriptor)

    monkeypatch.setattr(files.os, "fsync", sweeping)
    files.write_bytes(tmp_path / "file", b"x")
    files.publish_directory(tmp_path / "folder", {"a": b"x"}, keep=lambda path: False)
    assert len(set(seen)) == 2
    assert swept == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_claim_excludes_others_and_ends(tmp_path: Path) -> None:
    """One claim at a time; a refused one takes nothing away; a claim of a finished block is gone."""
    with exclusive(tmp_path):
        with pytest.raises(UsageProblem, match="another process is at work"), exclusive(tmp_path):
            pass
        with pytest.raises(UsageProblem, match="another process is at work"), exclusive(tmp_path):
            pass
    with exclusive(tmp_path):
        pass


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}


def begun(code: str) -> subprocess.Popen[str]:
    """Start a piece of Python of ours."""
    return subprocess.Popen([sys.executable, "-c", code], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)


def test_two_runs_aimed_at_one_directory(places: Places, tmp_path: Path) -> None:
    """While one works, another is refused, to begin and to go on; two signals end it at once and lose no checkpoint."""
    out = tmp_path / "run"
    long = attrs.evolve(SPEC, train=attrs.evolve(SPEC.train, epochs=100_000))
    (tmp_path / "config.toml").write_text(to_toml(long))
    where = ("--source", str(places.source), "--cache", str(places.cache), "--raw", str(places.raw))
    line = [sys.executable, "-m", "pipelines", "train", "--config", str(tmp_path / "config.toml"), "--out", str(out)]
    process = subprocess.Popen([*line, "--checkpoint-every", "0", *where], env=ENVIRONMENT, stderr=subprocess.PIPE)
    try:
        for _ in range(6000):
            if len(checkpoint_paths(out)) == 2:
                break
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        with pytest.raises(UsageProblem, match="exists already"):
            train_run(long, attrs.evolve(places, out=out), now=datetime(2026, 1, 1))
        with pytest.raises(UsageProblem, match="another process is at work"):
            resume_run(out, places)
        published = checkpoint_paths(out)[0].name
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.communicate()
    data = prepared(places)[0].train.sha256
    start, damaged = newest_checkpoint(out, long, data)
    assert damaged == ()
    assert start is not None
    assert start.record.epoch >= int(published[6:11])


def test_second_signal_leaves_at_once() -> None:
    """The first only asks; the second ends the process, with the same code."""
    code = """
import os, signal
from pipelines.training.interrupts import stop_requested
with stop_requested() as stop:
    print(stop())
    os.kill(os.getpid(), signal.{first})
    print(stop(), flush=True)
    os.kill(os.getpid(), signal.{second})
    print("still here")
"""
    for first, second in (("SIGINT", "SIGTERM"), ("SIGTERM", "SIGTERM")):
        process = begun(code.format(first=first, second=second))
        out, _ = process.communicate(timeout=60)
        assert (out.split(), process.returncode) == (["False", "True"], 130)


def test_command_outlives_its_shell() -> None:
    """A process that was started in the background goes on when its shell has ended."""
    code = """
import os, time
from pipelines.training.interrupts import stop_requested
ours, theirs = os.pipe()
if os.fork() == 0:
    with stop_requested() as stop:
        os.read(ours, 1)  # the parent has had its time to go
        os.close(theirs)
        parent = os.getppid()
        for _ in range(500):
            if os.getppid() != parent: break
            time.sleep(0.01)
        print(os.getppid() != parent, stop(), flush=True)
    os._exit(0)
os.write(theirs, b"x")
time.sleep(0.3)
"""
    process = begun(code)
    out, _ = process.communicate(timeout=60)
    assert out.split() == ["True", "False"]


def test_leftovers_of_a_run_go_with_its_resumption(places: Places, tmp_path: Path) -> None:
    """What a killed run left unpublished is removed when it is taken up."""
    out = whole_run(places, tmp_path / "run")
    (out / "params.safetensors").unlink()
    left = [out / f"{TEMPORARY}params-1-0", out / "checkpoints" / f"{TEMPORARY}epoch-1-0"]
    for path in left:
        path.write_text("half")
        os.utime(path, (0, 0))
    told: list[str] = []
    resume_run(out, places, tell=told.append)
    assert temporary(out) == []
    assert told == ["going on after epoch 6"]
    resume_run(out, places, tell=told.append)
    assert told[1:] == ["this run is finished; nothing is trained again"]
    assert entry_paths(places.cache)
