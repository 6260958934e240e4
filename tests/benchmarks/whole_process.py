"""From the prepared cache to saved weights, as whole processes: our command, a torch script, a scikit-learn script.

All train the same network on all 18,000 rows with the same batches, epochs, rate and momentum, and each must end above
the course report's accuracy on the test split, which is checked on the saved weights outside the timing.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import numpy as np

from tests.benchmarks.ours import COMMANDS
from tests.benchmarks.problem import Layers
from tests.benchmarks.processes import ProcessFailedError, ProcessTime, in_turns
from tests.benchmarks.settings import ROOT, Settings, child_environment, python

ACCURACY = 0.9848
# The same for everybody, and chosen without the test split: of some 40 settings (inputs unit or standard; hidden
# (128, 64), (64, 32), (128,); batches of 32 to 256; rates .01 to .3; momentum 0, .5, .9; up to 10 epochs) on 3,000
# validation rows held out of the training split, cheap ones whose accuracy is 98.9 % in the mean over seeds and never
# below `ACCURACY`. This one: twelve seeds, four with initial weights as each of the three libraries draws them, 98.98 %
# in the mean, 98.63 % the lowest, after 9 epochs; the epoch before, one of them is at 98.23 %.
HIDDEN, BATCH, EPOCHS, RATE, MOMENTUM, SCALING = (128, 64), 128, 9, 0.05, 0.9, "standard"
CONFIG = f"""
name = "benchmark"
[dataset]
scaling = "{SCALING}"
[model]
hidden = {list(HIDDEN)}
[train]
epochs = {EPOCHS}
batch_size = {BATCH}
learning_rate = {RATE}
momentum = {MOMENTUM}
validation_fraction = 0.0
keep = "last"
"""
SCRIPTS = {"torch": "tests.benchmarks.scripts.train_torch", "scikit-learn": "tests.benchmarks.scripts.train_sklearn"}


def measure(settings: Settings) -> tuple[ProcessTime, ...]:
    """Run the three in turns, and check what each of them learned.

    Args:
        settings: Threads, peers, quick or not.

    Returns:
        Times; the note says the lowest accuracy of all rounds.

    Raises:
        ProcessFailedError: One of ours failed, or did not learn enough.
    """
    print("whole process", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = folder / "config.toml"
        config.write_text(CONFIG)
        entry = prepare(folder / "cache", settings.threads, "--config", str(config))
        commands = {ours: _ours(ours, folder, config, settings.threads) for ours in COMMANDS}
        commands |= {peer: _script(peer, folder, entry) for peer in SCRIPTS if settings.offers(peer)}
        times = in_turns(commands, threads=settings.threads, rounds=1 if settings.quick else 5, warm_up=1)
        return tuple(judged(time, folder, entry) for time in times)


def prepare(cache: Path, threads: int, *options: str) -> Path:
    """Prepare the data, and give the directory of its cache entry."""
    command = python("-m", "pipelines", "data", "prepare", *options, "--cache", str(cache), "--json")
    done = subprocess.run(
        command, cwd=ROOT, env=child_environment(threads), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ProcessFailedError(done.stderr[-300:])
    return Path(json.loads(done.stdout)["entry"])


def _ours(name: str, folder: Path, config: Path, threads: int) -> Callable[[int], Sequence[str]]:
    places = ("--config", str(config), "--cache", str(folder / "cache"), "--threads", str(threads), "--quiet")
    return lambda number: python(*COMMANDS[name], *places, "--out", str(folder / f"{name} {number}"))


def _script(name: str, folder: Path, entry: Path) -> Callable[[int], Sequence[str]]:
    numbers = (",".join(map(str, HIDDEN)), str(BATCH), str(EPOCHS), str(RATE), str(MOMENTUM))
    return lambda number: python(
        "-m", SCRIPTS[name], str(entry), str(folder / f"{name} {number}.safetensors"), *numbers
    )


def judged(time: ProcessTime, folder: Path, entry: Path) -> ProcessTime:
    """Add the accuracy of the saved networks, or take the time away where it does not suffice."""
    paths = [*folder.glob(f"{time.name} *.safetensors"), *folder.glob(f"{time.name} */params.safetensors")]
    if time.seconds is not None:
        accuracy = min(_accuracy(path, entry) for path in paths)
        if accuracy >= ACCURACY:
            return attrs.evolve(time, note=f"test accuracy at least {accuracy:.2%}")
        time = ProcessTime(time.name, note=f"test accuracy {accuracy:.2%} is below {ACCURACY:.2%}")
    if time.name in COMMANDS:
        raise ProcessFailedError(f"{time.name}: {time.note}")
    return time


def _accuracy(path: Path, entry: Path) -> float:
    import pyarrow.parquet as pq

    table = pq.read_table(entry / "test.parquet", columns=["pixels", "label"])
    x = table["pixels"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
    for index, (weight, bias) in enumerate(_layers(path, x.shape[1])):
        x = (x if index == 0 else np.maximum(x, 0)) @ weight + bias
    return float((x.argmax(axis=1) == table["label"].to_numpy()).mean())


def _layers(path: Path, width: int) -> Layers:
    """Read weights and biases in the order of the numbers in their names; torch stores weights the other way round.

    Ours keeps the statistics of the scaling too; the prepared rows are scaled already.
    """
    from safetensors.numpy import load_file

    tensors = {name: tensor for name, tensor in load_file(path).items() if not name.startswith("scaling")}
    order = sorted(tensors, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])
    matrices = [tensors[name] for name in order if tensors[name].ndim == 2]
    vectors = [tensors[name] for name in order if tensors[name].ndim == 1]
    layers = []
    for matrix, vector in zip(matrices, vectors, strict=True):
        layers.append((matrix if matrix.shape[0] == width else matrix.T, vector))
        width = len(vector)
    return layers
