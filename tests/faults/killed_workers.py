"""Killed workers: processes of a study with two jobs are killed at random moments, and nothing finished may be lost.

``python -m tests.faults workers 100`` prints one JSON document. A story is a study that is begun again and again. In
each life one process is met at a random moment: most often a worker, killed or stopped; else the command itself, killed
or interrupted, or all of them at once. In the end one life is left alone, and its figures must be those of a study that
nothing happened to.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import attrs

from pipelines.spec.toml import to_toml
from tests.conftest import ROOT, write_own_data
from tests.faults.scene import SPEC

SEEDS, JOBS = 8, 2
HANG_SECONDS = 60.0
"""A command that lives for as long after what happened hangs; all of them together take a few seconds."""
FATES: dict[str, tuple[str, signal.Signals, int]] = {
    "worker killed": ("worker", signal.SIGKILL, 12),
    "worker told to leave": ("worker", signal.SIGTERM, 2),
    "worker stopped": ("worker", signal.SIGSTOP, 1),
    "command killed": ("command", signal.SIGKILL, 3),
    "command interrupted": ("command", signal.SIGINT, 2),
    "all killed": ("all", signal.SIGKILL, 1),
}
"""What happens -> to whom, the signal, and how often among twenty-one."""


@attrs.frozen
class Life:
    """How a life of the command ended."""

    code: int
    hung: bool
    met: bool
    """Whether it was still alive when something was to happen to it."""
    errors: str
    workers: frozenset[int]


def begin(base: Path, out: Path) -> subprocess.Popen[str]:
    """Start the study, or go on with it, as the leader of a process group."""
    words = ["study", "--config", "c.toml", "--seeds", str(SEEDS), "--jobs", str(JOBS), "--out", str(out)]
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines", *words, "--source", "own", "--cache", "cache", "--json"],
        cwd=base,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "BPFUNC_DEBUG": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def workers_of(command: int) -> list[int]:
    """Find the worker processes of a command, oldest first."""
    found = []
    for children in Path(f"/proc/{command}/task").glob("*/children"):  # each thread has its own
        with suppress(FileNotFoundError, ProcessLookupError):
            for child in children.read_text().split():
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.append(int(child))
    return sorted(found)


def running(process: int) -> bool:
    """Say whether a process runs; one that has ended and was not reaped does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def left_over(workers: frozenset[int], *, seconds: float) -> list[int]:
    """Wait for workers to leave; return those that do not, killed."""
    deadline = time.monotonic() + seconds
    while any(map(running, workers)) and time.monotonic() < deadline:
        time.sleep(0.02)
    left = [process for process in workers if running(process)]
    for process in left:
        os.kill(process, signal.SIGKILL)
    return left


def one_life(base: Path, out: Path, whom: str, number: signal.Signals | None, after: float, chance: float) -> Life:
    """Let the command work until something happens to it, and wait for its end."""
    command = begin(base, out)
    seen: set[int] = set()
    deadline = time.monotonic() + after
    while command.poll() is None and (time.monotonic() < deadline or (whom == "worker" and not seen)):
        seen.update(workers_of(command.pid))
        time.sleep(0.01)
    workers = workers_of(command.pid)
    met = command.poll() is None and (whom != "worker" or bool(workers)) and number is not None
    if met and number is not None:
        if whom == "worker":
            victims = [workers[int(chance * len(workers))]]
        else:
            victims = [command.pid, *(workers if whom == "all" else [])]
        for victim in victims:
            try:
                os.kill(victim, number)
            except ProcessLookupError:
                met = False
    try:
        _, errors = command.communicate(timeout=HANG_SECONDS)
        hung = False
    except subprocess.TimeoutExpired:
        hung = True
        seen.update(workers_of(command.pid))
        os.killpg(command.pid, signal.SIGKILL)
        _, errors = command.communicate()
    return Life(command.returncode, hung, met, errors, frozenset(seen | set(workers)))


def finished(out: Path) -> dict[str, str]:
    """Hash what is finished: the figures and the network of each seed whose metrics are there."""
    return {
        f"{path.parent.name}/{name}": hashlib.sha256((path.parent / name).read_bytes()).hexdigest()
        for path in sorted(out.glob("seed-*/metrics.json"))
        for name in ("metrics.json", "params.safetensors", "predictions.parquet")
    }


def finished_trainings(out: Path) -> dict[str, object]:
    """Every training that is done: the file that says so, or the row in a sweep's database."""
    files = [*out.glob("seed-*/metrics.json"), *out.glob("trials/*.json")]
    found: dict[str, object] = {str(path.relative_to(out)): path.read_bytes() for path in files}
    if (out / "sweep.db").exists():
        with sqlite3.connect(out / "sweep.db") as connection:
            asked = "select number, state, value from trials left join trial_values using (trial_id)"
            found |= {f"{row[0]}": row for row in connection.execute(asked) if row[1] in ("COMPLETE", "PRUNED")}
    return found


def figures(out: Path) -> dict[str, object]:
    """Read what a study came to, without what the clock put there."""
    table = json.loads((out / "study.json").read_text())
    table.pop("train_seconds")
    for result in table["results"]:
        result.pop("train_seconds")
    networks = {name: sha for name, sha in finished(out).items() if "metrics" not in name}
    return table | {"networks": networks}


def wrong_ending(fate: str, life: Life) -> str | None:
    """Say what is wrong with how a life ended."""
    whom, number, _ = FATES[fate]
    if life.hung:
        return "hangs"
    if life.code == 0 and not (life.met and whom != "worker" and number == signal.SIGKILL):
        return None  # it was done, or the worker was
    wanted = 1 if whom == "worker" else 130 if number == signal.SIGINT else -number
    if life.code != wanted:
        return f"exit code {life.code} in place of {wanted}: {life.errors[-300:]}"
    messages = [line for line in life.errors.splitlines() if line.startswith("error: ")]
    if "Traceback" in life.errors or len(messages) != (wanted == 1):
        return f"not one message: {life.errors[-300:]}"
    if wanted == 1 and not ("a worker process" in messages[0] and f"of {SEEDS} seeds" in messages[0]):
        return f"the message does not say what is lost: {messages[0]}"
    return None


def kill_workers(kills: int, seed: int = 0) -> dict[str, object]:
    """Meet that many processes; return the counts."""
    chance = random.Random(seed)
    counts: Counter[str] = Counter(dict.fromkeys(("hangs", "lost finished seeds", "orphans", "stories"), 0))
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        write_own_data(base / "own")
        spec = attrs.evolve(SPEC, train=attrs.evolve(SPEC.train, epochs=100))
        (base / "c.toml").write_text(to_toml(spec))
        started = time.monotonic()
        if one_life(base, base / "whole", "command", None, 0, 0).code != 0:
            raise RuntimeError("the study does not run undisturbed")
        whole, wanted = time.monotonic() - started, figures(base / "whole")
        while counts["kills"] < kills:
            counts["stories"] += 1
            out = base / f"study{counts['stories']}"
            _story(base, out, whole, kills, chance, counts, failures)
            last = one_life(base, out, "command", None, 0, 0)
            whole_again = last.code == 0 and figures(out) == wanted
            counts["studies that ended with the same figures"] += whole_again
            if not whole_again:
                failures.append(
                    f"story {counts['stories']}: the last life ended with {last.code}: {last.errors[-300:]}"
                )
    return {"seed": seed, **counts, "failures": failures}


def _story(
    base: Path, out: Path, whole: float, kills: int, chance: random.Random, counts: Counter[str], failures: list[str]
) -> None:
    """Let a study live and die a few times, and look at it after each life."""
    orphans: frozenset[int] = frozenset()
    for _ in range(chance.randrange(4, 13)):
        if counts["kills"] >= kills or (out / "study.json").exists():
            break
        fate = chance.choices(list(FATES), [often for _, _, often in FATES.values()])[0]
        whom, number, _ = FATES[fate]
        before = finished(out)
        life = one_life(base, out, whom, number, chance.random() * whole, chance.random())
        where = f"story {counts['stories']}, {fate}"
        counts["kills"] += life.met and number == signal.SIGKILL
        counts[fate] += life.met
        counts["hangs"] += life.hung
        wrong = wrong_ending(fate, life)
        if wrong is not None:
            failures.append(f"{where}: {wrong}")
        after = finished(out)
        lost = {path for path, sha in before.items() if after.get(path) != sha}
        lost |= {line for line in said(life.errors) if f"{line}/metrics.json" not in after}
        counts["lost finished seeds"] += len(lost)
        failures += [f"{where}: {path} is lost" for path in sorted(lost)]
        # The next life begins while workers of a killed command may still be leaving.
        alive = left_over(orphans, seconds=0 if number == signal.SIGKILL and whom == "command" else 30)
        orphans = life.workers if whom == "command" and number == signal.SIGKILL else frozenset()
        if not orphans:
            alive += left_over(life.workers, seconds=0)
        counts["orphans"] += len(alive)
        failures += [f"{where}: worker {process} is still there" for process in alive]
    alive = left_over(orphans, seconds=30)
    counts["orphans"] += len(alive)
    failures += [f"story {counts['stories']}: worker {process} outlives its command" for process in alive]


def said(errors: str) -> list[str]:
    """Read which seeds the command said to be done."""
    lines = [line.split() for line in errors.splitlines() if line.startswith("seed ")]
    return [f"seed-{int(words[1].rstrip(':')):03d}" for words in lines]
