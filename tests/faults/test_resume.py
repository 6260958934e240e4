"""A training that is stopped, however often, ends as if it had never been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import attrs
import numpy as np
import pytest

import bpfunc as bp
from pipelines.artifacts import EpochRecord
from pipelines.dataset.places import Places
from pipelines.errors import DataProblem, WorkFailed
from pipelines.runs.checkpoints import checkpoint_paths, newest_checkpoint, read_checkpoint, saving, write_checkpoint
from pipelines.runs.directory import read_history
from pipelines.runs.run import evaluate_run, resume_run, train_run
from pipelines.spec.run_spec import DatasetSpec, ModelSpec, RunSpec, TrainSpec
from pipelines.spec.toml import from_toml, to_toml
from pipelines.stages.prepare import prepare
from pipelines.stages.train import fit
from pipelines.training.interrupts import Interrupted
from pipelines.training.progress import Progress
from pipelines.training.rows import training_rows

SPEC = RunSpec(
    name="small",
    dataset=DatasetSpec(classes=("0", "1", "2"), scaling="standard", pinned=False),
    model=ModelSpec(hidden=(8, 8), dropout=0.2),
    train=TrainSpec(
        epochs=6,
        batch_size=16,
        learning_rate=0.05,
        schedule="one_cycle",
        optimizer="adamw",
        weight_decay=0.1,
        flip=True,
        average=0.9,
        validation_fraction=0.2,
        keep="best",
        engine="numpy",
    ),
)
"""Everything at once that a training carries along: random masks and flips, optimiser state, average, best epoch.
NumPy asks before each step whether to stop; for machine code see tests/pipelines/test_engines.py."""


@pytest.fixture
def places(tmp_path: Path, own_data: Path) -> Places:
    """Where runs take from and put to."""
    return Places(source=own_data, cache=tmp_path / "cache", raw=tmp_path / "raw", runs=tmp_path / "runs")


def whole(places: Places, out: Path, spec: RunSpec = SPEC) -> Path:
    """Train without interruption."""
    train_run(spec, attrs.evolve(places, out=out), now=datetime(2026, 1, 1))
    return out


def timeless(history: tuple[EpochRecord, ...]) -> tuple[EpochRecord, ...]:
    """A history without what the clock put there."""
    return tuple(attrs.evolve(record, seconds=0.0) for record in history)


def data_of(places: Places) -> str:
    """Hash of the training split, which a checkpoint names."""
    return prepare(SPEC.dataset, source=places.source, cache=places.cache, raw=places.raw)[0].train.sha256


def assert_same_run(one: Path, other: Path) -> None:
    """Weights bit for bit, and the history except for its seconds."""
    assert (one / "params.safetensors").read_bytes() == (other / "params.safetensors").read_bytes()
    assert timeless(read_history(one)) == timeless(read_history(other))


def stopped_after(steps: int, places: Places, out: Path, start: Progress | None = None) -> None:
    """Train until a question before some step is answered with yes."""
    out.mkdir(exist_ok=True)
    (out / "checkpoints").mkdir(exist_ok=True)
    (out / "config.toml").write_text(to_toml(SPEC))
    prepared, _ = prepare(SPEC.dataset, source=places.source, cache=places.cache, raw=places.raw)
    asked = iter(range(10**6))
    with pytest.raises(Interrupted):
        fit(
            *training_rows(prepared.train, SPEC),
            SPEC,
            observe=saving(out, SPEC, prepared.train.sha256),
            start=start,
            stop=lambda: next(asked) >= steps,
        )


@pytest.mark.parametrize("steps", [0, 1, 3, 4, 6, 11, 17])
def test_resumed_training_is_bit_identical(steps: int, places: Places, tmp_path: Path) -> None:
    """Wherever it stops, before the first step or within any epoch, weights and history come out the same."""
    reference = whole(places, tmp_path / "whole")
    stopped_after(steps, places, tmp_path / "stopped")
    resume_run(tmp_path / "stopped", places)
    assert_same_run(reference, tmp_path / "stopped")


def test_stopped_again_and_again(places: Places, tmp_path: Path) -> None:
    """Many interruptions of one training add up to none."""
    reference, out = whole(places, tmp_path / "whole"), tmp_path / "stopped"
    stopped_after(7, places, out)
    for steps in (4, 2, 0):
        start, _ = newest_checkpoint(out, SPEC, data_of(places))
        stopped_after(steps, places, out, start)
    resume_run(out, places)
    assert_same_run(reference, out)


def test_finished_run_is_not_trained_again(places: Places, tmp_path: Path) -> None:
    """Resuming what is finished gives what is there."""
    out = whole(places, tmp_path / "whole")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    spec, finished = resume_run(out, places)
    assert spec == SPEC
    assert finished.trained.epoch == finished.trained.history[finished.trained.epoch - 1].epoch
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_damaged_checkpoint_is_passed_over(places: Places, tmp_path: Path) -> None:
    """The newest checkpoint that is whole counts; the result is the same."""
    reference, out = whole(places, tmp_path / "whole"), tmp_path / "stopped"
    stopped_after(13, places, out)
    good, _ = newest_checkpoint(out, SPEC, data_of(places))
    assert good is not None
    path = write_checkpoint(out, SPEC, data_of(places), good)
    later = path.with_name("epoch-00005.safetensors")
    later.write_bytes(path.read_bytes()[:-7])
    found, damaged = newest_checkpoint(out, SPEC, data_of(places))
    assert [problem.where for problem in damaged] == [str(later)]
    assert found is not None and found.record == good.record
    resume_run(out, places)
    assert_same_run(reference, out)


def change_header(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """A safetensors file with another header."""
    size = int.from_bytes(data[:8], "little")
    header = change(data[8 : 8 + size])
    return len(header).to_bytes(8, "little") + header + data[8 + size :]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"bpfunc-checkpoint-2", b"bpfunc-checkpoint-9"),
        (b'"kept_epoch":"', b'"kept_epoch":"9'),
        (b'"epochs":"', b'"epochs":"1'),
        (b'"epochs":"4', b'"epochs":"3'),
        (b"learning_rate = 0.05", b"learning_rate = 0.06"),
        (b'"data":"', b'"data":"0'),
        (b'"data"', b'"date"'),
    ],
)
def test_header_is_not_believed(old: bytes, new: bytes, places: Places, tmp_path: Path) -> None:
    """Another format, a kept epoch that does not exist, a history that is none: one error with the path."""
    out = tmp_path / "stopped"
    stopped_after(13, places, out)
    path = checkpoint_paths(out)[0]
    data = path.read_bytes()
    assert old in data
    path.write_bytes(change_header(data, lambda header: header.replace(old, new, 1)))
    with pytest.raises(DataProblem) as caught:
        read_checkpoint(path, SPEC, data_of(places))
    assert caught.value.where == str(path)


def test_newest_checkpoints_stay(places: Places, tmp_path: Path) -> None:
    """Of all checkpoints written, the newest two are there."""
    out = tmp_path / "stopped"
    stopped_after(13, places, out)
    moment, _ = newest_checkpoint(out, SPEC, data_of(places))
    assert moment is not None
    for epoch in (3, 4, 5):
        record = attrs.evolve(moment.record, epoch=epoch)
        write_checkpoint(out, SPEC, data_of(places), attrs.evolve(moment, history=(*moment.history, record)))
    assert [path.name for path in checkpoint_paths(out)] == ["epoch-00005.safetensors", "epoch-00004.safetensors"]


@pytest.mark.parametrize("on_nan", ["stop", "skip"])
def test_what_overflows(on_nan: str, places: Places, tmp_path: Path) -> None:
    """A rate far too high ends the run with step, place and checkpoint, or leaves the steps out and counts them."""
    settings = attrs.evolve(
        SPEC.train, optimizer="sgd", weight_decay=0.0, schedule="constant", learning_rate=1000.0, on_nan=on_nan
    )
    deep = ModelSpec(hidden=(8,) * 6, activation="leaky_relu")
    spec = attrs.evolve(SPEC, model=deep, train=settings)
    if on_nan == "stop":
        place = r"the (loss|gradient of layers\[\d\]\.\w+) is not finite at step \d+; "
        with pytest.raises(WorkFailed, match=place + "(there is no good|the last good) checkpoint"):
            whole(places, tmp_path / "run", spec)
        return
    finished = train_run(spec, attrs.evolve(places, out=tmp_path / "run"), now=datetime(2026, 1, 1))
    assert sum(record.skipped_steps for record in finished.trained.history) > 0
    evaluate_run(spec, finished)


def test_the_look_at_the_end_misses_nothing() -> None:
    """A bad number in any batch, whichever it is, is found with its step, and skipping leaves that one out alone."""
    rng = np.random.default_rng(0)
    data = [bp.Batch(rng.normal(size=(4, 3)).astype(np.float32), np.arange(4) % 2) for _ in range(5)]
    model, loss = bp.serial(bp.dense(4), bp.relu(), bp.dense(2)), bp.cross_entropy()
    for transform in (bp.sgd(0.1), bp.sgd(0.1, momentum=0.9), bp.adamw(0.1)):
        plain = bp.make_step(model, loss, transform)
        checked = bp.make_step(model, loss, transform, gradient=bp.finite_gradient())
        start = bp.init_train_state(model, transform, bp.Key(0), (3,))
        whole, _ = bp.fold_finite_steps(plain, bp.finite_step(checked), start, lambda: data)
        assert bp.tree_allclose(whole.params, bp.fold_steps(checked, start, data)[0].params, rtol=0, atol=0)
        for bad in range(5):
            for value in (np.nan, np.inf):
                rows = [
                    b if i != bad else bp.Batch(np.full((4, 3), value, np.float32), b.targets)
                    for i, b in enumerate(data)
                ]
                with np.errstate(all="ignore"), pytest.raises(bp.NotFiniteError) as caught:
                    bp.fold_finite_steps(plain, bp.finite_step(checked), start, lambda rows=rows: rows)
                assert caught.value.step == bad
                skip = bp.finite_step(checked, on_nan="skip")
                with np.errstate(all="ignore"):
                    after, seen = bp.fold_finite_steps(plain, skip, start, lambda rows=rows: rows)
                assert (after.step, seen.loss.weight) == (5, 16.0)
                assert bp.first_not_finite(after.params) is None


def test_an_update_that_overflows_is_told() -> None:
    """Finite gradients may still lead nowhere; the parameter is named, and no later step is taken from there."""
    model, loss, transform = bp.dense(2), bp.cross_entropy(), bp.sgd(1e39)
    checked = bp.make_step(model, loss, transform, gradient=bp.finite_gradient())
    start = bp.init_train_state(model, transform, bp.Key(0), (3,))
    batch = bp.Batch(np.ones((4, 3), np.float32), np.array([0, 0, 1, 0]))
    for on_nan in ("stop", "skip"):
        careful = bp.finite_step(checked, on_nan=on_nan)
        with (
            np.errstate(all="ignore"),
            pytest.raises(bp.NotFiniteError, match=r"the parameter \w+ is not finite at step 1"),
        ):
            bp.fold_finite_steps(bp.make_step(model, loss, transform), careful, start, lambda: [batch])


def command(places: Places, *arguments: str | Path) -> list[str]:
    """A command line of ours, in a process of its own."""
    where = ("--source", places.source, "--cache", places.cache, "--raw", places.raw)
    return [sys.executable, "-m", "pipelines", *map(str, (*arguments, *where))]


SLOW = attrs.evolve(SPEC, train=attrs.evolve(SPEC.train, epochs=400, engine="auto"))


@pytest.fixture
def slow_config(tmp_path: Path) -> Path:
    """A training long enough to be met in the middle."""
    path = tmp_path / "config.toml"
    path.write_text(to_toml(SLOW))
    return path


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Wait until something has happened in a process that still runs."""
    for _ in range(2000):
        if condition():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError("it never happened")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_saves_and_exits_130(
    number: int, places: Places, tmp_path: Path, slow_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal in the middle of training leaves a checkpoint and says how to go on; going on ends as never stopped."""
    out = tmp_path / "run"
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # also for the run here, whose file names its threads
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        command(places, "train", "--config", slow_config, "--out", out), env=environment, stderr=subprocess.PIPE
    )
    wait_for(lambda: (out / "config.toml").exists(), process)
    time.sleep(0.3)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert f"interrupted; go on with: bpfunc resume {out}" in errors.decode()
    assert "Traceback" not in errors.decode()
    assert not list(out.rglob(".tmp-*"))
    assert not (out / "params.safetensors").exists()
    subprocess.run(command(places, "resume", out), env=environment, check=True, capture_output=True)
    reference = whole(places, tmp_path / "whole", SLOW)
    assert_same_run(reference, out)
    assert not (out / "metrics.json").exists(), "a run that was asked to train alone opened the test split"


def test_interrupted_study_does_not_wait(places: Places, tmp_path: Path, slow_config: Path) -> None:
    """A signal to the study alone ends its workers too, each with a checkpoint to go on from."""
    out = tmp_path / "study"
    slow = slow_config.read_text().replace("epochs = 400", "epochs = 40000")
    slow_config.write_text(slow)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OPENBLAS_NUM_THREADS": "1"}
    arguments = command(places, "study", "--config", slow_config, "--seeds", "1", "--out", out)
    process = subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE)
    wait_for(lambda: (out / "seed-000" / "config.toml").exists(), process)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors.decode()
    spec = attrs.evolve(from_toml(slow, RunSpec(), where="slow"), name="small")
    prepared, _ = prepare(spec.dataset, source=places.source, cache=places.cache, raw=places.raw)
    progress, _ = newest_checkpoint(out / "seed-000", spec, prepared.train.sha256)
    assert progress is not None and progress.record.epoch > 1


def test_progress_is_a_value(places: Places) -> None:
    """A watcher that goes back to an earlier moment finds it unchanged."""
    prepared, _ = prepare(SPEC.dataset, source=places.source, cache=places.cache, raw=places.raw)
    moments: list[Progress] = []

    def keep(progress: Iterator[Progress]) -> Iterator[Progress]:
        for moment in progress:
            moments.append(moment)
            yield moment

    rows = training_rows(prepared.train, SPEC)
    fit(*rows, SPEC, observe=keep)
    again = fit(*rows, SPEC, start=moments[2])
    assert timeless(again.history) == timeless(moments[-1].history)
