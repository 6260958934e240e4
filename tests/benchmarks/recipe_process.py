"""The recipe `best` as whole processes, from the prepared cache to the saved network, beside a torch script."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.benchmarks.ours import COMMANDS
from tests.benchmarks.processes import ProcessTime, in_turns, seconds_of
from tests.benchmarks.recipes import numbers_of
from tests.benchmarks.settings import Settings, python
from tests.benchmarks.whole_process import judged, prepare

RECIPE = "best"


def measure(settings: Settings) -> tuple[ProcessTime, ...]:
    """Run them in turns, and check what each of them learned.

    Args:
        settings: Threads, peers; a quick look trains three epochs, once.

    Returns:
        Times; the note says the lowest accuracy of all rounds, without the mirror images of a prediction.

    Raises:
        ProcessFailedError: One of ours failed, or did not learn enough.
    """
    print("recipe process", flush=True)
    numbers = numbers_of(RECIPE)
    epochs = 3 if settings.quick else numbers["epochs"]
    recipe = json.dumps({**numbers, "epochs": epochs})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        entry = prepare(folder / "cache", settings.threads, "--recipe", RECIPE)

        def ours(engine: str, length: int) -> Callable[[int], Sequence[str]]:
            options = ("--recipe", RECIPE, "--epochs", str(length), "--cache", str(folder / "cache"), "--quiet")
            threads = ("--threads", str(settings.threads))
            return lambda number: python(
                *COMMANDS[engine], *options, *threads, "--out", str(folder / f"{engine} {number}, {length}")
            )

        for engine in COMMANDS:  # a short one makes the machine code, which is kept between processes
            seconds_of(ours(engine, 1)(0), settings.threads)
        commands = {engine: ours(engine, epochs) for engine in COMMANDS}
        if settings.offers("torch"):
            script = ("-m", "tests.benchmarks.scripts.train_recipe_torch", str(entry))
            commands["torch"] = lambda number: python(*script, str(folder / f"torch {number}.safetensors"), recipe)
        times = in_turns(commands, threads=settings.threads, rounds=1 if settings.quick else 3, warm_up=0)
        for directory in folder.glob("*, 1"):
            shutil.rmtree(directory)
        return tuple(judged(time, folder, entry) for time in times)
