"""Streaming beside training in memory: ``python -m tests.benchmarks.streaming``.

The network and the batches of the `report` recipe. Peak memory of streaming the training split once and `COPIES` times
over (replicated row groups), each in a process of its own. Then rows a second of streaming it `COPIES` times over,
beside as many epochs in memory, in turns in one process. One thread for matrix products, as on the command line.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"


import bpfunc as bp  # noqa: E402
from pipelines.artifacts import Prepared  # noqa: E402
from pipelines.dataset.partitions import write_partitions  # noqa: E402
from pipelines.dataset.streaming import open_stream, stream_batches, stream_rows  # noqa: E402
from pipelines.spec.run_spec import RunSpec  # noqa: E402
from pipelines.spec.toml import load_recipe, merged  # noqa: E402
from pipelines.stages.acquire import acquire  # noqa: E402
from pipelines.stages.decode import decode  # noqa: E402
from pipelines.stages.prepare import prepare  # noqa: E402
from pipelines.stages.select import select  # noqa: E402
from pipelines.stages.train import fit  # noqa: E402
from pipelines.training.build import build_model  # noqa: E402
from pipelines.training.rows import read_training_rows, training_rows  # noqa: E402

COPIES, ROUNDS = 20, 5


def prepared(folder: Path) -> Prepared:
    """The data in a cache below the folder."""
    return prepare(spec_of("").dataset, source=None, cache=folder / "cache", raw=folder)[0]


def spec_of(place: str) -> RunSpec:
    """The recipe for one epoch, streamed from a place."""
    return merged(load_recipe("report"), {"dataset": {"partitions": place}, "train": {"epochs": 1}}, where="benchmark")


def measure_memory(folder: Path, place: str) -> None:
    """Train one streamed epoch with validation, as the command line does, and print the peak of resident memory."""
    spec = spec_of(place)
    learn, choose = training_rows(prepared(folder).train, spec)
    fit(learn, choose, spec)
    # Not getrusage: its maximum is handed down from the process that started this one.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def rates(folder: Path, place: str) -> dict[str, list[float]]:
    """Rows a second, in memory and streamed, in turns."""
    spec, handle = spec_of(""), prepared(folder).train
    data = read_training_rows(handle)
    stream = open_stream(handle, place, held_out=0.0, key=bp.Key(0))
    model, transform = build_model(spec.model, 3), bp.sgd(spec.train.learning_rate)
    step = bp.make_step(model, bp.cross_entropy(), transform)
    size = spec.train.batch_size

    def in_memory(number: int) -> Iterator[bp.Batch]:
        for copy in range(COPIES):
            yield from bp.epoch_batches(data, bp.Key(1), number * COPIES + copy, size)

    def streamed(number: int) -> Iterator[bp.Batch]:
        return stream_batches(stream, bp.Key(1), number, size)

    found: dict[str, list[float]] = {"in memory": [], "streamed": []}
    state = bp.init_train_state(model, transform, bp.Key(0), (784,))
    for number in range(ROUNDS):
        for name, batches in (("in memory", in_memory), ("streamed", streamed)):
            started = time.perf_counter()
            bp.fold_steps(step, state, batches(number))
            found[name].append(stream_rows(stream) / (time.perf_counter() - started))
    return found


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        meta, dataset = prepared(folder).meta, spec_of("").dataset
        images = select(decode(acquire(dataset)), dataset).train
        peaks = {}
        for copies in (1, COPIES):
            place = str(folder / f"times-{copies}")
            rows = write_partitions(images, meta, place, copies=copies)
            command = [sys.executable, "-m", "tests.benchmarks.streaming", str(folder), place]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            peaks[copies] = int(done.stdout) * 1024
            print(f"streaming {rows:>7} rows: peak {peaks[copies] / 2**20:.0f} MiB")
        print(f"peak of {COPIES} times the data / of once: {peaks[COPIES] / peaks[1]:.2f}")
        found = rates(folder, place)
        for kind, each in found.items():
            print(f"{kind:10} median {statistics.median(each):,.0f} rows/s, {min(each):,.0f} to {max(each):,.0f}")
        ratios = [b / a for a, b in zip(found["in memory"], found["streamed"], strict=True)]
        print(f"rows/s streamed / in memory, median of {ROUNDS} pairs: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measure_memory(Path(sys.argv[1]), sys.argv[2])
    else:
        main()
