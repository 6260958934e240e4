"""Commands run in odd worlds: standard streams closed or full, little memory, hostile files; a fresh process for each.

A helper process imports the project once and makes a copy of itself for each command, which saves the second that
imports take. The copy sets its standard streams up as the shell would, and Python's own objects for them as Python does
at its start.
"""

from __future__ import annotations

import gc
import json
import os
import pkgutil
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

import attrs

ROOT = Path(__file__).parents[2]
Stream = Literal["open", "closed", "full", "broken"]
"""What a standard stream is: a file (empty for standard input), closed, a full disk, or a pipe that nobody reads."""
TIMEOUT = -1000
"""The exit code of a command that was ended because it took too long."""


@attrs.frozen
class Done:
    """What came of a command."""

    code: int
    stdout: str
    stderr: str
    seconds: float


class Worlds:
    """Runs commands; a context manager."""

    def __init__(self) -> None:
        code = "from tests.pipelines.worlds import serve; serve()"
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self._server = subprocess.Popen(
            [sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> Worlds:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate(timeout=30)

    def run(
        self,
        cwd: Path,
        words: Sequence[str],
        *,
        stdin: Stream = "open",
        stdout: Stream = "open",
        stderr: Stream = "open",
        memory: int | None = None,
        seconds: float = 60,
        environment: Mapping[str, str] | None = None,
    ) -> Done:
        """Run a command: ``memory`` is how many bytes its address space may grow by."""
        order = {
            "cwd": str(cwd),
            "words": list(words),
            "streams": [stdin, stdout, stderr],
            "memory": memory,
            "seconds": seconds,
            "environment": dict(environment or {}),
        }
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(order).encode() + b"\n")
        self._server.stdin.flush()
        return Done(**json.loads(self._server.stdout.readline()))


def serve() -> None:
    """Be the helper process."""
    import pipelines

    for module in pkgutil.walk_packages(pipelines.__path__, "pipelines."):
        if not module.name.endswith("__main__"):
            __import__(module.name)
    _warm()
    assert threading.active_count() == 1
    gc.freeze()
    orders, answers = os.dup(0), os.dup(1)
    with os.fdopen(orders, "rb") as lines:
        for line in lines:
            order = json.loads(line)
            files = [os.memfd_create(name) for name in ("stdout", "stderr")]
            begun = time.monotonic()
            child = os.fork()
            if child == 0:
                os.close(answers)
                os._exit(_be(order, files))
            code = _waited(child, order["seconds"])
            texts = [_text(file) for file in files]
            answer = {"code": code, "stdout": texts[0], "stderr": texts[1], "seconds": time.monotonic() - begun}
            os.write(answers, json.dumps(answer).encode() + b"\n")
    os._exit(0)


def _warm() -> None:
    """Import what commands import when they run."""
    import matplotlib.backends.backend_agg  # noqa: F401
    import pyarrow.compute  # noqa: F401
    import rich.progress  # noqa: F401
    from PIL import Image

    Image.init()
    if find_spec("optuna"):
        import optuna.samplers
        import sqlalchemy.dialects.sqlite  # noqa: F401

        optuna.logging.set_verbosity(optuna.logging.ERROR)


def _text(file: int) -> str:
    os.lseek(file, 0, os.SEEK_SET)
    with os.fdopen(file, "rb") as stream:
        return stream.read().decode("utf-8", "surrogateescape")


def _waited(child: int, seconds: float) -> int:
    end = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return TIMEOUT
        time.sleep(0.002)


def _be(order: dict[str, object], files: list[int]) -> int:
    """Be the command; return its exit code, which is Python's own where a stream cannot be flushed at the end."""
    streams = order["streams"]
    assert isinstance(streams, list)
    for number, kind in enumerate(streams):
        assert kind in get_args(Stream)
        file = os.open(os.devnull, os.O_RDONLY) if number == 0 else files[number - 1]
        if kind == "full":
            file = os.open("/dev/full", os.O_RDWR)
        elif kind == "broken":
            reading, file = os.pipe()
            os.close(reading)
        os.dup2(file, number)
        if kind == "closed":
            os.close(number)
        os.close(file)
        name = ("stdin", "stdout", "stderr")[number]
        mode = "w" if number else "r"
        stream = None if kind == "closed" else os.fdopen(number, mode, encoding="utf-8", closefd=False)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    os.environ.update(order["environment"])  # type: ignore[arg-type]
    os.chdir(str(order["cwd"]))
    sys.argv = ["bpfunc", *order["words"]]  # type: ignore[misc]
    memory = order["memory"]
    if isinstance(memory, int):
        status = Path("/proc/self/status").read_text(encoding="ascii")
        most = int(status.split("VmSize:")[1].split()[0]) * 1024 + memory
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    from pipelines.cli.main import main

    code: object = 0
    try:
        main()
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
        code = 1
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except OSError:
        return 120
    return code if isinstance(code, int) else 1
