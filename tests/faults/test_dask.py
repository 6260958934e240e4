"""A study on a Dask cluster that loses a worker is the local study, bit for bit."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import pytest

from pipelines.dataset.places import Places
from pipelines.errors import UsageProblem, WorkFailed
from pipelines.spec.run_spec import DatasetSpec, ModelSpec, RunSpec, TrainSpec
from pipelines.stages.prepare import prepare
from pipelines.studies import executors
from pipelines.studies.executors import open_executor
from pipelines.studies.study import SeedResult, run_study
from pipelines.studies.tuning.cross_validation import load_search, run_search

distributed = pytest.importorskip("distributed")

SPEC = RunSpec(
    name="small",
    dataset=DatasetSpec(classes=("0", "1", "2"), pinned=False),
    model=ModelSpec(hidden=(16,), dropout=0.2),
    train=TrainSpec(epochs=150, batch_size=8, learning_rate=0.05, momentum=0.9, validation_fraction=0.2),
)
SEEDS = range(6)


@pytest.fixture
def places(tmp_path: Path, own_data: Path) -> Places:
    """Where a study takes from."""
    places = Places(source=own_data, cache=tmp_path / "cache", raw=tmp_path)
    prepare(SPEC.dataset, source=own_data, cache=places.cache, raw=places.raw)
    return places


@pytest.fixture(scope="module")
def cluster() -> Iterator[distributed.LocalCluster]:
    """Two workers, each a process with one thread, on the loopback interface."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None, silence_logs=50
    ) as cluster:
        yield cluster


def kill_a_busy_worker(address: str) -> int:
    """Kill the process of a worker that has a seed in hand."""
    with distributed.Client(address, set_as_default=False) as client:
        deadline = time.monotonic() + 30
        while True:
            busy = [worker for worker, tasks in client.processing().items() if tasks]
            if busy:
                pid = client.run(os.getpid, workers=busy[:1])[busy[0]]
                os.kill(pid, signal.SIGKILL)
                return int(pid)
            assert time.monotonic() < deadline
            time.sleep(0.01)


def contents(study: Path) -> dict[str, bytes]:
    """What a study says of its seeds, without the clock's part."""
    names = ("params.safetensors", "predictions.parquet", "config.toml")
    return {f"{seed:03d}/{name}": (study / f"seed-{seed:03d}" / name).read_bytes() for seed in SEEDS for name in names}


def timeless(results: list[SeedResult]) -> list[SeedResult]:
    """Results without what the clock put there."""
    return [attrs.evolve(result, train_seconds=0) for result in sorted(results, key=lambda result: result.seed)]


def test_a_lost_workers_seeds_are_run_again(
    tmp_path: Path, places: Places, cluster: distributed.LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of two workers is killed while it trains; all seeds come home, with the bits of the local study."""
    with ThreadPoolExecutor(1) as pool:
        local = list(run_study(SPEC, SEEDS, tmp_path / "local", places, pool))
    name = cluster.scheduler_address.replace("tcp://", "dask://")
    remote = []
    with open_executor(name) as pool:
        for result in run_study(SPEC, SEEDS, tmp_path / "remote", places, pool):
            remote.append(result)
            if len(remote) == 1:
                killed = kill_a_busy_worker(cluster.scheduler_address)
    assert not Path(f"/proc/{killed}").exists()
    assert timeless(remote) == timeless(local)
    assert contents(tmp_path / "remote") == contents(tmp_path / "local")


def test_workers_with_another_disk(
    tmp_path: Path, places: Places, cluster: distributed.LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that write elsewhere hand back their files, and the study is whole here."""
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
        client.run(os.chdir, tmp_path / "there")
    monkeypatch.chdir(tmp_path / "here")
    spec = attrs.evolve(SPEC, train=attrs.evolve(SPEC.train, epochs=2))
    with open_executor(cluster.scheduler_address.replace("tcp://", "dask://")) as pool:
        remote = list(run_study(spec, range(2), Path("study"), places, pool))
    with ThreadPoolExecutor(1) as threads:
        local = list(run_study(spec, range(2), tmp_path / "local", places, threads))
    assert timeless(remote) == timeless(local)
    assert (tmp_path / "there" / "study" / "seed-000" / "metrics.json").is_file()
    for name in ("params.safetensors", "predictions.parquet", "history.parquet", "metrics.json"):
        brought = (tmp_path / "here" / "study" / "seed-000" / name).read_bytes()
        assert brought == (tmp_path / "there" / "study" / "seed-000" / name).read_bytes()


def test_a_search_on_a_cluster(tmp_path: Path, places: Places, cluster: distributed.LocalCluster) -> None:
    """Its trials are those of a search on this machine; a worker looks at its own data first."""
    (tmp_path / "search.toml").write_text(
        'recipe = "report"\nfolds = 2\ntake = 2\n[base]\ndataset = { classes = ["0", "1", "2"], pinned = false }\n'
        "train = { epochs = 2, batch_size = 8 }\nmodel = { hidden = [8] }\n[variant.a]\n"
        "[variant.b.train]\nmomentum = 0.5\n"
    )
    search = load_search(tmp_path / "search.toml")
    with open_executor(cluster.scheduler_address.replace("tcp://", "dask://")) as pool:
        remote = list(run_search(search, tmp_path / "remote", places, pool))
    with ThreadPoolExecutor(1) as threads:
        local = list(run_search(search, tmp_path / "local", places, threads))
    found = {(trial.variant, trial.fold): attrs.evolve(trial, train_seconds=0) for trial in remote}
    assert found == {(trial.variant, trial.fold): attrs.evolve(trial, train_seconds=0) for trial in local}
    assert len(list((tmp_path / "remote" / "trials").iterdir())) == len(found) == 4


def test_a_process_that_dies_is_one_message() -> None:
    """On this machine alone, a worker that is killed ends the study with what to do."""
    with pytest.raises(WorkFailed, match="a worker process died"), open_executor("processes") as pool:
        pool.submit(os._exit, 1).result()


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler that is not there is one message, not a hang."""
    monkeypatch.setattr(executors, "CONNECT_SECONDS", 1)
    with pytest.raises(WorkFailed, match="no Dask scheduler answers"), open_executor("dask://127.0.0.1:9"):
        pass


@pytest.mark.parametrize("name", ["threads", "dask://", "tcp://127.0.0.1:1"])
def test_unknown_executors(name: str) -> None:
    """A name that is neither is refused."""
    with pytest.raises(UsageProblem, match="unknown executor"), open_executor(name):
        pass


@pytest.mark.parametrize("name", ["dask://localhost", "dask://localhost:", "dask://h:x", "dask://h:99999", "dask://:8786",
                                  "dask://u@h:1", "dask://h:1/x", "dask://[::1]"])  # fmt: skip
def test_an_address_without_host_or_port_is_refused(name: str) -> None:
    """Before anything is asked for on the network."""
    with pytest.raises(UsageProblem, match="expected the host and the port"), open_executor(name):
        pass


@pytest.fixture
def deserted() -> Iterator[distributed.LocalCluster]:
    """A scheduler without workers."""
    with distributed.LocalCluster(
        n_workers=0,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs=50,
    ) as cluster:
        yield cluster


def named(cluster: distributed.LocalCluster) -> str:
    """A cluster as `--executor` names it."""
    return str(cluster.scheduler_address.replace("tcp://", "dask://"))


def test_a_scheduler_without_workers_is_given_up(
    deserted: distributed.LocalCluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A message says what is waited for and how long; then one says what to do."""
    monkeypatch.setattr(executors, "WORKER_SECONDS", 2)
    name = named(deserted)
    with (
        pytest.raises(WorkFailed, match="no worker came to the scheduler within 2 seconds") as caught,
        open_executor(name) as pool,
    ):
        pool.submit(abs, -1).result()
    assert caught.value.where == name
    assert "dask worker" in caught.value.remedy
    assert f"waiting for a worker of {name}, at most 2 seconds" in caplog.messages


def test_a_worker_that_comes_late_does_the_work(
    deserted: distributed.LocalCluster, caplog: pytest.LogCaptureFixture
) -> None:
    """After the message the work goes on by itself."""
    with open_executor(named(deserted)) as pool:
        future = pool.submit(abs, -1)
        while not any(message.startswith("waiting for a worker") for message in caplog.messages):
            time.sleep(0.05)
        deserted.scale(1)
        assert future.result(60) == 1


def test_workers_that_leave_for_good_end_the_wait(
    deserted: distributed.LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same message where all workers leave with work undone."""
    monkeypatch.setattr(executors, "WORKER_SECONDS", 2)
    with pytest.raises(WorkFailed, match="no worker came"), open_executor(named(deserted)) as pool:
        deserted.scale(1)
        assert pool.submit(abs, -1).result() == 1
        deserted.scale(0)
        while deserted.scheduler.workers:
            time.sleep(0.05)
        pool.submit(abs, -1).result()
