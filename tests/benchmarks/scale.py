"""What one unit of each engine costs: ``python -m tests.benchmarks.scale``; the figures of docs/scale.md.

Needs the extras `dask`, `sweep` and `mpi`, and an ``mpiexec``.
"""

from __future__ import annotations

import os

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import statistics  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from concurrent.futures import Executor  # noqa: E402
from pathlib import Path  # noqa: E402

import bpfunc as bp  # noqa: E402
from pipelines.dataset.partitions import write_partitions  # noqa: E402
from pipelines.dataset.places import Places  # noqa: E402
from pipelines.spec.toml import load_recipe, merged  # noqa: E402
from pipelines.stages.acquire import acquire  # noqa: E402
from pipelines.stages.decode import decode  # noqa: E402
from pipelines.stages.prepare import prepare  # noqa: E402
from pipelines.stages.select import select  # noqa: E402
from pipelines.stages.train import fit  # noqa: E402
from pipelines.studies.executors import open_executor  # noqa: E402
from pipelines.studies.tuning.space import load_space  # noqa: E402
from pipelines.studies.tuning.storage import storage_url  # noqa: E402
from pipelines.studies.tuning.sweep import run_sweep  # noqa: E402
from pipelines.training.rows import training_rows  # noqa: E402

TASKS = 200

ALLREDUCE = """
import statistics, sys, time
import numpy as np
from mpi4py import MPI
import bpfunc as bp
from pipelines.runs.data_parallel import MpiProcesses

processes = MpiProcesses(MPI.COMM_WORLD)
rng = np.random.default_rng(0)
model, transform = bp.serial(bp.dense(128), bp.relu(), bp.dense(64), bp.relu(), bp.dense(3)), bp.sgd(0.05)
state = bp.init_train_state(model, transform, bp.Key(0), (784,))
vector = bp.ravel(state.params)

def median(work, count):
    seconds = []
    for _ in range(count):
        processes.comm.Barrier()
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)

found = [f"sum of {len(vector)} numbers: {1e6 * median(lambda: processes.allreduce_sum(vector), 300):.0f} us"]
for rows in (32, 256, 2048, 8192):
    batch = bp.Batch(rng.normal(size=(rows, 784)).astype(np.float32), np.eye(3, dtype=np.float32)[np.arange(rows) % 3])
    steps = [bp.make_step(model, bp.cross_entropy(), transform, gradient=gradient)
             for gradient in (bp.value_and_grad, bp.data_parallel(processes))]
    # The step of one process is timed while the other one rests.
    alone = median(lambda: steps[0](state, batch) if processes.rank == 0 else time.sleep(0), 30)
    shared = median(lambda: steps[1](state, batch), 30)
    found.append(f"batch of {rows}: {1e3 * alone:.2f} ms by one, {1e3 * shared:.2f} ms by two")
if processes.rank == 0:
    print("\\n".join(found))
"""


def per_task(pool: Executor) -> str:
    """Time of the first task, and of each of many that do nothing."""
    started = time.perf_counter()
    pool.submit(os.getpid).result()
    first = time.perf_counter() - started
    started = time.perf_counter()
    for future in [pool.submit(os.getpid) for _ in range(TASKS)]:
        future.result()
    return f"{first:.2f} s to the first task, {1e3 * (time.perf_counter() - started) / TASKS:.2f} ms a task"


def seconds(work: Callable[[], object], count: int = 3) -> float:
    """Median time of a call."""
    found = []
    for _ in range(count):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def main() -> None:
    """Measure and print."""
    from distributed import LocalCluster

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spec = merged(load_recipe("report"), {"train": {"epochs": 1}}, where="benchmark")
        prepared = prepare(spec.dataset, source=None, cache=folder / "cache", raw=folder)[0]
        learn, choose = training_rows(prepared.train, spec)
        rows = prepared.train.rows
        print(f"one epoch of {rows} rows in memory: {seconds(lambda: fit(learn, choose, spec)):.2f} s")
        images = select(decode(acquire(spec.dataset)), spec.dataset).train
        write_partitions(images, prepared.meta, str(folder / "rows"))
        size = sum(path.stat().st_size for path in (folder / "rows").glob("*.parquet"))
        print(f"bytes of a row: {size / rows:.0f} in partitions, {784 * 4 + 3 * 4} in memory")
        with open_executor("processes", jobs=1) as pool:
            print(f"processes: {per_task(pool)}")
        with (
            LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster,
            open_executor(cluster.scheduler_address.replace("tcp://", "dask://")) as pool,
        ):
            print(f"dask: {per_task(pool)}")
        (folder / "space.toml").write_text(
            '[fixed.train]\nepochs = 1\n[parameters]\n"train.seed" = { int = [0, 99] }\n'
        )
        space = load_space(folder / "space.toml")
        places = Places(cache=folder / "cache", raw=folder)
        with open_executor("processes", jobs=1) as pool:
            list(run_sweep(space, storage_url(folder), 1, places, pool))
            found = seconds(lambda: list(run_sweep(space, storage_url(folder), 6, places, pool)), 1) / 5
        print(f"sweep: {found:.2f} s a trial of one epoch")
        done = subprocess.run(
            ["mpiexec", "-n", "2", sys.executable, "-c", ALLREDUCE], capture_output=True, text=True, check=True
        )
        print(done.stdout, end="")
        print(f"cores: {os.cpu_count()}, load: {os.getloadavg()[0]:.1f}, bpfunc {bp.__version__}")


if __name__ == "__main__":
    main()
