"""Kills: processes that prepare, train and resume are killed at random moments, and nothing published may suffer.

``python -m tests.faults kills 200`` prints one JSON document. A story begins with an empty cache and no run.
One process after another goes on with it and is killed by SIGKILL: at a random moment, or just before a random one of
its calls to the disk, which meets the moments that time alone seldom hits. In the end one is let live. After each kill
another process looks at all that is there.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import attrs

from pipelines.dataset.entry import damage, entry_paths
from pipelines.dataset.places import Places
from pipelines.disk import atomic as files
from pipelines.disk.atomic import TEMPORARY, remove_leftovers
from pipelines.disk.ownership import ENTRY_FILES
from pipelines.errors import PipelineError
from pipelines.runs import checkpoints
from pipelines.runs.checkpoints import checkpoint_paths, read_checkpoint
from pipelines.runs.directory import read_config, read_history
from pipelines.runs.network import read_network
from pipelines.runs.run import resume_run, train_run
from pipelines.stages.prepare import prepare
from tests.faults.scene import SPEC, places_in, timeless, whole_run

DISK_CALLS = ("open", "write", "fsync", "replace", "rename", "close")
PREPARING, ALL_CALLS = 30, 100
"""About how many calls to the disk an entry takes, and a whole life."""
LONGEST = 0.4
"""Seconds; about what a life takes that is not cut short."""


def live(places: Places, out: Path, fatal_call: int, heard: Connection) -> None:
    """Prepare, train or go on, whichever is next; report each checkpoint and entry once it is published."""
    if fatal_call:
        _die_at(fatal_call)
    published = checkpoints.write_checkpoint

    def reported(*arguments: object) -> Path:
        path = published(*arguments)  # type: ignore[arg-type]
        heard.send(("checkpoint", path.name))
        return path

    checkpoints.write_checkpoint = reported  # type: ignore[assignment]
    heard.send(("begun", ""))
    prepared, _ = prepare(SPEC.dataset, source=places.source, cache=places.cache, raw=places.raw)
    heard.send(("entry", prepared.key))
    if (out / "config.toml").is_file():
        heard.send(("resumes", ""))
        resume_run(out, places, every=0)
    else:
        if out.exists():  # killed before its configuration was published: nothing was promised yet
            for path in sorted(out.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            out.rmdir()
        from datetime import datetime

        train_run(SPEC, attrs.evolve(places, out=out), now=datetime(2026, 1, 1), every=0)
    heard.send(("finished", ""))


def _die_at(fatal_call: int) -> None:
    """Kill this process just before its n-th call to the disk; a write is cut in half first."""
    calls = 0

    def fatal(call: Callable[..., object], name: str) -> Callable[..., object]:
        def counted(*arguments: object, **options: object) -> object:
            nonlocal calls
            calls += 1
            if calls == fatal_call:
                if name == "write":
                    descriptor, data = arguments
                    assert isinstance(descriptor, int)
                    assert isinstance(data, bytes | memoryview)
                    write_now(descriptor, data[: len(data) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return counted

    write_now = os.write
    for name in DISK_CALLS:
        setattr(files.os, name, fatal(getattr(os, name), name))


def look(places: Places, out: Path, heard: Connection) -> None:
    """Check everything that has a published name; report what is wrong with it, and the newest checkpoint."""
    wrong = [f"entry {path.name[:8]}: {damage(path)}" for path in entry_paths(places.cache) if damage(path)]
    data = ""
    for path in entry_paths(places.cache):
        data = prepare(SPEC.dataset, source=places.source, cache=places.cache, raw=places.raw)[0].train.sha256
        wrong += [f"{other} is no entry" for other in path.iterdir() if other.name.startswith(TEMPORARY)]
    newest = 0
    if (out / "config.toml").exists() and read_config(out) != SPEC:
        wrong.append("config.toml differs")
    for path in checkpoint_paths(out):
        try:
            newest = max(newest, read_checkpoint(path, SPEC, data).record.epoch)
        except PipelineError as problem:
            wrong.append(str(problem))
    for name, read in (("history.parquet", read_history), ("params.safetensors", read_network)):
        if (out / name).exists():
            try:
                read(out)
            except PipelineError as problem:
                wrong.append(str(problem))
    heard.send((wrong, newest))


def result(out: Path, heard: Connection) -> None:
    """Report weights and history of a finished run."""
    heard.send(((out / "params.safetensors").read_bytes(), timeless(read_history(out))))


def reference(places: Places, out: Path, heard: Connection) -> None:
    """Train without interruption, and report the same."""
    whole_run(places, out)
    result(out, heard)


def sweep(places: Places, out: Path, heard: Connection) -> None:
    """Remove what is left of dead writers, a day later, and report what is temporary even then."""
    folders = (places.cache, out, out / "checkpoints")
    left = [path for folder in folders for path in folder.glob(f"{TEMPORARY}*")]
    for path in left:
        os.utime(path, (time.time() - 86400,) * 2)
    for folder in folders:
        remove_leftovers(folder, ENTRY_FILES if folder == places.cache else ())
    heard.send((len(left), [str(path) for path in left if path.exists()]))


CONTEXT = multiprocessing.get_context("forkserver")


def told(task: Callable[..., None], *arguments: object) -> object:
    """Run a task in a process of its own, and return what it reports."""
    ours, theirs = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=task, args=(*arguments, theirs))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    finally:
        process.join(60)


def one_life(
    places: Places, out: Path, fatal_call: int, after: float | None
) -> tuple[list[tuple[str, str]], int | None]:
    """Let a process work until it is killed or done; return what it reported, and how it ended."""
    ours, theirs = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=live, args=(places, out, fatal_call, theirs))
    process.start()
    theirs.close()
    reports = [ours.recv()]  # it has begun
    if after is not None:
        time.sleep(after)
        process.kill()
    process.join(120)
    try:
        while True:
            reports.append(ours.recv())
    except EOFError:
        return reports, process.exitcode


def tell_stories(kills: int, seed: int = 0) -> dict[str, object]:
    """Kill that many processes; return the counts."""
    CONTEXT.set_forkserver_preload(["tests.faults.kills"])
    chance = random.Random(seed)
    counts: Counter[str] = Counter()
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as base:
        places = places_in(Path(base))
        wanted = told(reference, places, Path(base) / "whole")
        stories = 0
        while counts["kills"] < kills:
            stories += 1
            own = attrs.evolve(places, cache=Path(base) / f"cache{stories}")
            out = Path(base) / f"run{stories}"
            newest = 0
            for life in range(chance.randrange(1, 7)):
                calls = chance.choice([PREPARING if life == 0 else ALL_CALLS, ALL_CALLS])
                fatal, after = chance.choice([(chance.randrange(1, calls), None), (0, chance.random() ** 2 * LONGEST)])
                reports, code = one_life(own, out, fatal, after)
                if code not in (0, -signal.SIGKILL):
                    failures.append(f"story {stories}: a life ended with {code}")
                counts["kills"] += code == -signal.SIGKILL
                counts["lived on"] += code == 0
                names = [what for what, _ in reports]
                moment = "resume" if "resumes" in names else "train" if "entry" in names else "prepare"
                counts[f"killed while it did {moment}"] += code == -signal.SIGKILL
                said = [int(name[6:11]) for what, name in reports if what == "checkpoint"]
                counts["checkpoints published"] += len(said)
                newest = max([newest, *said])
                wrong, found = told(look, own, out)  # type: ignore[misc]
                failures += [f"story {stories}: {what}" for what in wrong]
                counts["corrupt entries or files"] += len(wrong)
                if found < newest:
                    counts["lost checkpoints"] += 1
                    failures.append(f"story {stories}: checkpoint {newest} was published, {found} is there")
                newest = max(newest, found)
                if "finished" in names:
                    break
            _, code = one_life(own, out, 0, None)
            if code != 0 or told(result, out) != wanted:
                failures.append(f"story {stories}: the last life ended with {code}, or with another result")
            counts["runs that ended bit-identical"] += code == 0 and told(result, out) == wanted
            leftovers, stuck = told(sweep, own, out)  # type: ignore[misc]
            counts["leftovers of dead writers removed"] += leftovers - len(stuck)
            failures += [f"story {stories}: {path} stays for ever" for path in stuck]
    for name in ("corrupt entries or files", "lost checkpoints"):
        counts[name] += 0
    return {"stories": stories, "seed": seed, **counts, "failures": failures}
