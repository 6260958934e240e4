"""Law: no command waits in silence, and none waits for ever for what is not a file.

Files that commands read are found by noting what each of them opens; each is then replaced by a pipe, a socket, a
device and a directory.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from pipelines.disk import waiting
from pipelines.disk.atomic import publish_directory
from pipelines.disk.waiting import wait_until
from tests.pipelines.commands import ALL, Stage, set_stage
from tests.pipelines.worlds import ROOT, TIMEOUT, Worlds

OFFLINE = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")


def pipe(path: Path) -> None:
    """A pipe that nobody writes to."""
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    """A socket; its name may have 108 bytes, so it is made from the directory."""
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as own:
            own.bind(path.name)
    finally:
        os.chdir(here)


def endless(path: Path) -> None:
    """A link to a device that never ends."""
    path.symlink_to("/dev/zero")


def terminal(path: Path) -> None:
    """A link to the terminal, which would wait for what a person types."""
    path.symlink_to("/dev/ptmx")


def directory(path: Path) -> None:
    """A directory."""
    path.mkdir()


KINDS: dict[str, Callable[[Path], None]] = {f.__name__: f for f in (pipe, unix_socket, endless, terminal, directory)}


@pytest.fixture(scope="module")
def worlds() -> Iterator[Worlds]:
    """One helper process for all commands."""
    with Worlds() as worlds:
        yield worlds


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """Inputs for every command, and partitions."""
    return set_stage(tmp_path_factory.mktemp("original"))


def copied(original: Stage, place: Path) -> tuple[Stage, Path]:
    """A copy of all inputs, and a working directory beside them."""
    shutil.copytree(original.root, place / "stage", symlinks=True)
    stage = Stage(place / "stage")
    return stage, stage.directory(place / "here")


def role(path: str) -> str:
    """What a file is, whatever entry of the cache it is in and whatever directory of a run."""
    name = re.sub(r"[0-9a-f]{64}", "KEY", path)
    return re.sub(r"^(stage/|here/)(run|other)/", "RUN/", name)


@pytest.fixture(scope="module")
def readers(original: Stage, worlds: Worlds, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """Role of a file -> a command that reads it, and its path below the place where all is."""
    found: dict[str, tuple[str, str]] = {}
    for name in ALL:
        place = tmp_path_factory.mktemp("readers")
        stage, here = copied(original, place)
        done = worlds.run(here, stage.words(name), environment=OFFLINE)
        for path in done.opened:
            inside = os.path.relpath(path, place)
            if not inside.startswith("..") and (place / inside).is_file() and ".tmp-" not in inside:
                before = (here / "..").resolve() / inside
                assert before.exists()
                found.setdefault(role(inside), (name, inside))
        shutil.rmtree(place)
    return found


# Files that are opened outside Python, by Arrow and by SQLite, are named here.
BY_OTHERS = {
    "partitions": ("data verify --partitions PLACE/place", "here/place/partitions.json"),
    "a part": ("data verify --partitions PLACE/place", "here/place/part-00000.parquet"),
    "trials of a sweep": (
        "sweep PLACE/space.toml --trials 1 --out PLACE/out --source OWN --cache CACHE",
        "here/out/sweep.db",
    ),
}


def test_readers_are_found(readers: dict[str, tuple[str, str]]) -> None:
    """What is noted holds what commands are known to read."""
    assert {"RUN/config.toml", "RUN/params.safetensors", "RUN/history.parquet", "RUN/metrics.json"} <= readers.keys()
    assert {"stage/cache/KEY/manifest.json", "stage/cache/KEY/train.parquet", "here/a.png"} <= readers.keys()
    assert {"stage/own/train-images-idx3-ubyte", "here/search.toml", "here/space.toml"} <= readers.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_refused(
    kind: str, readers: dict[str, tuple[str, str]], original: Stage, worlds: Worlds, tmp_path: Path
) -> None:
    """One message, or the work goes on without it; nothing is waited for."""
    for number, (what, (name, inside)) in enumerate(readers.items()):
        place = tmp_path / str(number)
        stage, here = copied(original, place)
        (place / inside).unlink(missing_ok=True)
        (place / inside).parent.mkdir(parents=True, exist_ok=True)
        KINDS[kind](place / inside)
        done = worlds.run(here, stage.words(name), seconds=20, memory=1 << 30, environment=OFFLINE)
        shown = f"{what} is a {kind}, bpfunc {name}: {done}"
        assert done.code != TIMEOUT, shown
        assert "Traceback" not in done.stderr, shown
        assert "unexpected" not in done.stderr, shown
        if done.code and not done.stdout:
            kinds = [line.split(":")[0] for line in done.stderr.splitlines()]
            assert kinds[-3:] == ["error", "  where", "  what to do"], shown
        shutil.rmtree(place)


@pytest.mark.parametrize("what", BY_OTHERS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_others_open_is_looked_at_before(
    kind: str, what: str, original: Stage, worlds: Worlds, tmp_path: Path
) -> None:
    """Arrow and SQLite would wait for a pipe."""
    stage, here = copied(original, tmp_path)
    if what != "trials of a sweep":
        assert worlds.run(here, stage.words("data partition")).code == 0
    command, inside = BY_OTHERS[what]
    (tmp_path / inside).unlink(missing_ok=True)
    (tmp_path / inside).parent.mkdir(exist_ok=True)
    KINDS[kind](tmp_path / inside)
    words = command.replace("PLACE", ".").replace("OWN", f"{stage.root}/own").replace("CACHE", f"{stage.root}/cache")
    done = worlds.run(here, words.split(), seconds=20)
    assert done.code in (2, 3), done
    assert [line.split(":")[0] for line in done.stderr.splitlines()][-3:] == ["error", "  where", "  what to do"], done


def held(path: Path) -> subprocess.Popen[bytes]:
    """A process that holds the lock on a directory until it is killed."""
    lock = f"fcntl.flock(os.open({str(path)!r}, 0), fcntl.LOCK_EX)"
    code = f"import fcntl, os, time; {lock}; print('held', flush=True); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
def test_a_lock_is_waited_for_aloud(quiet: list[str], own_data: Path, tmp_path: Path) -> None:
    """After a second a message names the cache and the process that holds its lock; then the work goes on."""
    cache = tmp_path / "cache"
    cache.mkdir()
    holder = held(cache)
    words = ["data", "prepare", "--unpinned", "--classes", "0,1", "--source", "own", "--cache", "cache", *quiet]
    waiter = subprocess.Popen(
        [sys.executable, "-m", "pipelines", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert waiter.stderr is not None
    try:
        assert waiter.stderr.readline() == f"waiting for the lock on cache, which process {holder.pid} holds\n"
    finally:
        holder.kill()
        holder.wait()
        assert holder.stdout is not None
        holder.stdout.close()
    out, err = waiter.communicate(timeout=60)
    assert waiter.returncode == 0, err
    assert (tmp_path / out.strip() / "train.parquet").is_file()


def test_a_program_of_ones_own_is_told_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the command line the message is a warning of the logger `pipelines`."""
    monkeypatch.setattr(waiting, "SILENCE_SECONDS", 0.05)
    holder = held(tmp_path)
    thread = threading.Thread(target=publish_directory, args=(tmp_path / "a", {"x": b"1"}), kwargs={"keep": bool})
    with caplog.at_level(logging.WARNING, logger="pipelines"):
        thread.start()
        while not caplog.messages:
            thread.join(0.01)
        holder.kill()
        holder.wait()
        assert holder.stdout is not None
        holder.stdout.close()
        thread.join(60)
    assert caplog.messages == [f"waiting for the lock on {tmp_path}, which process {holder.pid} holds"]
    assert (tmp_path / "a" / "x").read_bytes() == b"1"


def test_giving_up(caplog: pytest.LogCaptureFixture) -> None:
    """A wait may have an end; one that is short says nothing."""
    assert wait_until(lambda: False, lambda: "never", most=0.05) is False
    assert caplog.messages == []


def test_inputs_may_come_through_pipes(original: Stage, tmp_path: Path) -> None:
    """`predict <(cat a.png)` and `/dev/stdin` work; what they begin with tells pictures, arrays and tables apart."""
    import numpy as np

    _, here = copied(original, tmp_path)
    np.save(here / "a.npy", np.zeros((2, 784), np.uint8))
    Image.open(here / "a.png").convert("RGB").resize((90, 60)).save(here / "b.jpg")
    shutil.copy(ROOT / "data" / "bundle" / "test.parquet", here / "c.parquet")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    python = f"{sys.executable} -m pipelines predict run"
    for script, rows in (
        (f"{python} <(cat a.png) --json", 1),
        (f"{python} <(cat a.npy) <(cat b.jpg) --json", 3),
        (f"cat a.png | {python} /dev/stdin --json", 1),
        (f"{python} /dev/stdin --json < a.png", 1),
        (f"{python} /dev/fd/7 --json 7< a.npy", 2),
        (f"cat c.parquet | {python} /dev/stdin --json", 3000),
    ):
        done = subprocess.run(
            ["bash", "-c", script], cwd=here, env=env, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count('"row"') == rows
    for script, message in (
        (f"{python} <(true)", "it is empty"),
        (f"{python} <(echo no picture)", "cannot identify"),
        (f"{python} <(head -c 300000000 /dev/zero)", "larger than"),
        (f"{python} /dev/stdin < /dev/null", "it is a device"),
        (f"{python} /dev/stdin <&-", "it is a device"),
        (f"{python} /dev/fd/9", "Bad file descriptor"),
    ):
        done = subprocess.run(
            ["bash", "-c", script], cwd=here, env=env, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout) == (3, ""), script
        assert message in done.stderr
