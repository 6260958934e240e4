"""A runner in a process of its own, which takes its turn when it is told to: ``python -m tests.benchmarks.worker``.

One process for each runner, so that the thread pools, allocators and settings of one library never meet those of
another. While one runs, the others wait on a read and use nothing. Requests and answers are lines of JSON.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from tests.benchmarks.settings import ROOT, child_environment, python


class WorkerFailedError(Exception):
    """A worker could not do what it was asked; the message is the worker's own."""


@attrs.frozen(eq=False)
class Worker:
    """The asking end of a worker."""

    name: str
    process: subprocess.Popen[str]
    log: Path

    def ask(self, request: str, **values: object) -> Any:
        """Send a request and wait for its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps({"request": request, **values}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        line = self.process.stdout.readline()
        if not line:
            raise WorkerFailedError(f"{self.name} ended: {self.log.read_text(errors='replace')[-600:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerFailedError(answer["error"])
        return answer["result"]


@contextmanager
def started(name: str, folder: Path, threads: int) -> Iterator[Worker]:
    """Start a worker and end it when done."""
    log = folder / f"{name.replace(' ', '-')}.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            python("-m", "tests.benchmarks.worker", str(folder)),
            cwd=ROOT,
            env=child_environment(threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        yield Worker(name, process, log)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def load(path: str) -> Callable[..., Any]:
    """Import ``module:function``."""
    module, _, name = path.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def timed(run: Callable[[], object], repeats: int) -> dict[str, float]:
    """Seconds for one of the repeats, and how many cores they kept busy."""
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(repeats):
        run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"seconds": wall / repeats, "cores": cpu / wall}


def main() -> None:
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not be taken for an answer
    tasks: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["request"] == "open":
                # ``tasks`` is a module of the suite; its function of that name keeps what later requests need.
                tasks = load(request["tasks"])(Path(sys.argv[1]), **request["values"])
                result = None
            else:
                result = getattr(tasks, request["request"])(**{k: v for k, v in request.items() if k != "request"})
            answer = {"result": result}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:400]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
