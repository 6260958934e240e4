"""Two processes under mpiexec train what one trains, write once, and end together."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.conftest import ROOT

pytest.importorskip("mpi4py")
MPIEXEC = shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or shutil.which("mpiexec")
pytestmark = pytest.mark.skipif(MPIEXEC is None, reason="there is no mpiexec")

SMALL = """
[dataset]
classes = ["0", "1", "2"]
pinned = false
[model]
hidden = [16]
activation = "tanh"
[train]
epochs = 3
batch_size = 16
learning_rate = 0.1
momentum = 0.9
flip = true
keep = "best"
validation_fraction = 0.2
"""
"""Smooth, so that rounding stays rounding: at a kink of ReLU two runs that differ by 1e-8 may part for good."""

GRADIENTS = """
import json, sys, time
import numpy as np
from mpi4py import MPI
import bpfunc as bp
from pipelines.runs.data_parallel import MpiProcesses

processes = MpiProcesses(MPI.COMM_WORLD)
rng = np.random.default_rng(0)
data = bp.Batch(rng.normal(size=(600, 784)), np.eye(3)[rng.integers(0, 3, 600)])
model, transform = bp.serial(bp.dense(128), bp.relu(), bp.dense(3)), bp.adam(1e-3)

def trained(gradient):
    step = bp.make_step(model, bp.cross_entropy(), transform, gradient=gradient)
    state = bp.init_train_state(model, transform, bp.Key(0), (784,))
    params = bp.tree_cast(state.params, np.float64)
    state = bp.TrainState(params, state.layer_state, transform.init(params), 0, state.key)
    started = time.perf_counter()
    *_, last = bp.train(step, state, lambda n: bp.epoch_batches(data, bp.Key(1), n, 150), epochs=4)
    return bp.ravel(last.state.params), 4 * 600 / (time.perf_counter() - started)

alone, rate = trained(bp.value_and_grad)
shared, rate_shared = trained(bp.data_parallel(processes))
digest = processes.comm.gather(shared.tobytes())
if processes.rank == 0:
    print(json.dumps({
        "difference": float(abs(alone - shared).max()), "same": len(set(digest)) == 1,
        "alone": rate, "shared": rate_shared, "size": processes.size,
    }))
"""


def mpiexec(directory: Path, *arguments: str, processes: int = 2) -> subprocess.Popen[str]:
    """Start Python several times."""
    command = [str(MPIEXEC), "-n", str(processes), sys.executable, *arguments]
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(directory),
        "PYTHONPATH": str(ROOT),
        "OPENBLAS_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        command, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for all."""
    try:
        output, errors = process.communicate(timeout=100)
    finally:
        process.kill()
    return process.returncode, output, errors


@pytest.fixture
def shared(tmp_path: Path, own_data: Path) -> tuple[str, ...]:
    """Options of every training here."""
    (tmp_path / "small.toml").write_text(SMALL)
    return ("-m", "pipelines", "train", "--config", "small.toml", "--source", str(own_data))


def test_two_processes_train_what_one_trains(
    tmp_path: Path, shared: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights and history equal to 1e-6 in float32, twice the same bits, one run directory, one JSON document."""
    runs = {"one": 1, "two": 2, "again": 2}
    documents = {}
    for name, processes in runs.items():
        flags = ("--data-parallel", "--json", "--quiet", "--out", name)
        code, output, errors = finished(mpiexec(tmp_path, *shared, *flags, processes=processes))
        assert code == 0, errors
        documents[name] = json.loads(output)
    weights = {name: load_file(tmp_path / name / "params.safetensors") for name in runs}
    assert weights["one"].keys() == weights["two"].keys()
    for leaf, expected in weights["one"].items():
        np.testing.assert_allclose(weights["two"][leaf], expected, rtol=0, atol=1e-6)
    files = [tmp_path / name / "params.safetensors" for name in ("two", "again")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert documents["one"]["validation_accuracy"] == documents["two"]["validation_accuracy"]


def test_other_rows_at_another_process_are_refused(tmp_path: Path, own_data: Path) -> None:
    """Processes whose machines hold different data do not train together."""
    code = (
        "import attrs, pipelines.runs.data_parallel as m\nfrom datetime import datetime\nfrom pathlib import Path\n"
        "from pipelines.spec.run_spec import DatasetSpec, RunSpec, TrainSpec\n"
        "from pipelines.errors import DataProblem\n"
        "from pipelines.dataset.places import Places\n"
        "with m.mpi_processes() as p:\n"
        "    spec = RunSpec(dataset=DatasetSpec(classes=('0', '1') if p.rank else ('1', '0'), pinned=False))\n"
        f"    places = Places(source=Path({str(own_data)!r}), cache=Path('cache'))\n"
        "    m.train_together(spec, places, p, now=datetime.now())\n"
    )
    status, _, errors = finished(mpiexec(tmp_path, "-c", code))
    assert status == 3
    assert "rank 1 has other training rows than rank 0" in errors


def test_gradients_in_float64(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sixteen steps of Adam over a ReLU network: equal to 1e-12, and the same bits at both ranks; scaling printed."""
    code, output, errors = finished(mpiexec(tmp_path, "-c", GRADIENTS))
    assert code == 0, errors
    found = json.loads(output)
    assert found["size"] == 2
    assert found["same"]
    assert found["difference"] < 1e-12
    with capsys.disabled():
        print(f"\n{found['alone']:.0f} rows/s by one process, {found['shared']:.0f} by two: ", end="")
        print(f"{found['shared'] / found['alone']:.2f} times as many")


@pytest.mark.parametrize("harm", ["recipe", "taken", "nan"])
def test_an_error_ends_all_with_one_message(tmp_path: Path, shared: tuple[str, ...], harm: str) -> None:
    """Whether all processes meet it or rank 0 alone: one message, the exit code of a single process, nobody hangs."""
    flags = {
        "recipe": ("--recipe", "nonsense"),
        "taken": ("--out", "taken"),
        "nan": ("--config", "wild.toml", "--out", "wild"),
    }[harm]
    (tmp_path / "taken").mkdir()
    (tmp_path / "wild.toml").write_text(
        SMALL.replace("0.1\n", "1e3\n", 1).replace("tanh", "relu").replace("[16]", "[99, 99, 99, 99]")
    )
    code, output, errors = finished(mpiexec(tmp_path, *shared, "--data-parallel", *flags))
    assert code == {"recipe": 2, "taken": 2, "nan": 1}[harm], errors
    assert output == ""
    assert errors.count("error: ") == 1
    assert "Traceback" not in errors


def test_a_failing_rank_ends_the_others(tmp_path: Path) -> None:
    """An error of rank 1 alone does not leave rank 0 waiting for it."""
    code = (
        "import sys\nfrom pipelines.runs.data_parallel import mpi_processes\nimport numpy as np\n"
        "with mpi_processes() as p:\n"
        "    if p.rank == 1: raise SystemExit('rank 1 has no data')\n"
        "    p.allreduce_sum(np.ones(3))\n"
    )
    status, _, errors = finished(mpiexec(tmp_path, "-c", code))
    assert status != 0
    assert errors.count("rank 1 has no data") == 1


def test_interrupted_together(tmp_path: Path, shared: tuple[str, ...]) -> None:
    """A signal to rank 0 saves a checkpoint, ends all, and says how to go on."""
    (tmp_path / "long.toml").write_text(SMALL.replace("epochs = 3", "epochs = 100000"))
    process = mpiexec(tmp_path, *shared, "--config", "long.toml", "--data-parallel", "--out", "long")
    deadline = time.monotonic() + 60
    while not (tmp_path / "long" / "config.toml").is_file():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    code, _, errors = finished(process)
    assert code == 130, errors
    assert "go on with: bpfunc resume long" in errors
    assert list((tmp_path / "long" / "checkpoints").glob("*.safetensors"))
