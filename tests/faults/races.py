"""Races: eight processes prepare one entry at the same time, and there must be one content and no error.

``python -m tests.faults races 20`` prints one JSON document. Rounds take turns in what the eight find: no cache, a
damaged entry that all want to replace, an empty directory in the entry's place, leftovers of a dead writer.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

from pipelines.dataset.entry import damage, entry_paths
from pipelines.dataset.places import Places
from pipelines.dataset.train_split import read_train
from pipelines.disk.atomic import TEMPORARY
from pipelines.errors import PipelineError
from pipelines.stages.prepare import prepare
from tests.faults.scene import SPEC, places_in

PROCESSES = 8
CONTEXT = multiprocessing.get_context("forkserver")


def prepare_at_once(places: Places, together: Barrier, heard: Connection) -> None:
    """Wait for the others, prepare, read; report the key and the content, or the error."""
    together.wait(60)
    try:
        prepared, decision = prepare(SPEC.dataset, source=places.source, cache=places.cache, raw=places.raw)
        pixels = read_train(prepared.train).pixels
        heard.send(
            (prepared.key, prepared.train.sha256, prepared.test.sha256, float(pixels.sum()), type(decision).__name__)
        )
    except PipelineError as problem:
        heard.send(str(problem))


def nothing(entry: Path) -> None:
    """Begin without a cache."""
    shutil.rmtree(entry.parent, ignore_errors=True)


def damaged(entry: Path) -> None:
    """Flip a byte of the entry."""
    path = entry / "train.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def hollow(entry: Path) -> None:
    """Leave an empty directory under the entry's name."""
    shutil.rmtree(entry)
    entry.mkdir()


def littered(entry: Path) -> None:
    """Leave what a writer would that died an hour ago, and no entry."""
    left = entry.parent / f"{TEMPORARY}{entry.name}-1-00000000"
    os.rename(entry, left)
    os.utime(left, (time.time() - 3600,) * 2)


BEGINNINGS: tuple[Callable[[Path], None], ...] = (nothing, damaged, hollow, littered)


def run_races(rounds: int, seed: int = 0) -> dict[str, object]:
    """Race that many times; return the counts. The seed says with which beginning."""
    CONTEXT.set_forkserver_preload(["tests.faults.races"])
    failures: list[str] = []
    counts: Counter[str] = Counter()
    contents: set[tuple[str, ...]] = set()
    with tempfile.TemporaryDirectory() as base:
        places = places_in(Path(base))
        key = ""
        for number in range(rounds):
            beginning = BEGINNINGS[(number + seed) % len(BEGINNINGS)]
            if key:
                beginning(places.cache / key)
            for answer in _race(places):
                if isinstance(answer, str):
                    failures.append(f"round {number}, {beginning.__name__}: {answer}")
                else:
                    *content, decision = answer
                    contents.add(tuple(map(str, content)))
                    counts[decision] += 1
            entries = entry_paths(places.cache)
            key = entries[0].name if entries else ""
            left = [path.name for path in places.cache.iterdir() if path not in entries]
            if len(entries) != 1 or damage(entries[0]) is not None or left:
                failures.append(f"round {number}, {beginning.__name__}: {len(entries)} entries, and {left}")
    if len(contents) != 1:
        failures.append(f"{len(contents)} contents")
    return {
        "rounds": rounds,
        "processes": PROCESSES,
        "contents": len(contents),
        "decisions": {name: counts[name] for name in ("Hit", "Miss", "Stale")},
        "failures": failures,
    }


def _race(places: Places) -> list[object]:
    together = CONTEXT.Barrier(PROCESSES)
    pipes = [CONTEXT.Pipe(duplex=False) for _ in range(PROCESSES)]
    running = []
    for _, theirs in pipes:
        process = CONTEXT.Process(target=prepare_at_once, args=(places, together, theirs))
        process.start()
        theirs.close()
        running.append(process)
    answers: list[object] = []
    for ours, _ in pipes:
        try:
            answers.append(ours.recv() if ours.poll(120) else "no answer in 120 seconds")
        except EOFError:
            answers.append("a process ended without an answer")
    for process in running:
        process.join(10)
    return answers
