"""A training is the same to rounding whichever engine runs it, and keeps its engine when it is taken up again."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import attrs
import numpy as np
import pytest

from bpfunc.gradient.data_parallel import Alone, data_parallel
from bpfunc.tree import tree_leaves
from pipelines.artifacts import EngineUsed
from pipelines.dataset.places import Places
from pipelines.errors import UsageProblem
from pipelines.runs.checkpoints import checkpoint_paths, newest_checkpoint, saving
from pipelines.runs.directory import read_config, read_history
from pipelines.runs.network import read_network
from pipelines.runs.run import evaluate_run, resume_run, train_run
from pipelines.spec.run_spec import RECORDED, RunSpec
from pipelines.spec.toml import from_toml, load_recipe, reasons_table, to_toml
from pipelines.stages.prepare import prepare
from pipelines.stages.train import fit
from pipelines.studies.study import study_spec
from pipelines.training.engine import choose_engine, engine_used, settled, why_numpy
from pipelines.training.interrupts import Interrupted
from pipelines.training.progress import Progress
from pipelines.training.rows import training_rows

pytest.importorskip("numba")

RECIPES = ("report", "best", "ten-class", "small")


def tiny(recipe: str, **train: object) -> RunSpec:
    """A recipe with all that it asks for, on a few rows and in small."""
    spec = load_recipe(recipe)
    dataset = attrs.evolve(spec.dataset, classes=("0", "1", "2"), pinned=False)
    model = attrs.evolve(spec.model, hidden=(12, 8)[: len(spec.model.hidden)])
    settings: dict[str, object] = {"epochs": 4, "batch_size": 16, "validation_fraction": 0.2} | train
    return attrs.evolve(spec, dataset=dataset, model=model, train=attrs.evolve(spec.train, **settings))


@pytest.fixture
def places(tmp_path: Path, own_data: Path) -> Places:
    """Where runs take from and put to."""
    return Places(source=own_data, cache=tmp_path / "cache", raw=tmp_path / "raw", runs=tmp_path / "runs")


def arrays(run: Path) -> list[np.ndarray]:
    """The numbers of a run's network."""
    return tree_leaves(read_network(run).params)


@pytest.mark.parametrize("recipe", RECIPES)
def test_engines_agree_to_rounding(recipe: str, places: Places, tmp_path: Path) -> None:
    """Weights and history of each recipe, dropout, flips, mixup, averages and all; metrics.json names the engine."""
    for engine in ("numpy", "compiled"):
        spec = tiny(recipe, engine=engine)
        finished = train_run(spec, attrs.evolve(places, out=tmp_path / engine), now=datetime(2026, 1, 1))
        evaluate_run(spec, finished)
        values = json.loads((tmp_path / engine / "metrics.json").read_bytes())
        assert values["engine"] == engine
        assert values["threads"] >= 1
    for one, two in zip(arrays(tmp_path / "numpy"), arrays(tmp_path / "compiled"), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-4)
    assert any((a != b).any() for a, b in zip(arrays(tmp_path / "numpy"), arrays(tmp_path / "compiled"), strict=True))
    for ours, theirs in zip(*(read_history(tmp_path / name) for name in ("numpy", "compiled")), strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-4)
        assert ours.validation_loss == pytest.approx(theirs.validation_loss, rel=1e-3)


class Killed(Exception):
    """Stands for a kill after a checkpoint."""


@pytest.mark.parametrize(("recipe", "threads"), [("report", 5), ("best", 1)])
@pytest.mark.parametrize("asked", ["auto", "compiled"])
def test_a_compiled_run_resumes_to_the_same_bits(
    recipe: str, threads: int, asked: str, places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped within an epoch, or killed after a checkpoint, and resumed with another number of threads told."""
    spec = tiny(recipe, engine=asked)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", str(threads))
    train_run(spec, attrs.evolve(places, out=tmp_path / "whole"), now=datetime(2026, 1, 1))
    assert read_network(tmp_path / "whole").engine == EngineUsed("compiled", threads)
    prepared, _ = prepare(spec.dataset, source=places.source, cache=places.cache, raw=places.raw)

    def killing(epochs: Iterator[Progress]) -> Iterator[Progress]:
        for progress in save(epochs):
            if progress.record.epoch == 2:
                raise Killed
            yield progress

    rows = training_rows(prepared.train, spec)
    for name in ("stopped", "killed"):
        out, questions = tmp_path / name, iter(range(10**6))
        (out / "checkpoints").mkdir(parents=True)
        (out / "config.toml").write_text(to_toml(spec))
        save = saving(out, spec, prepared.train.sha256, every=0)
        with pytest.raises((Interrupted, Killed)):
            if name == "stopped":
                fit(*rows, spec, observe=save, stop=lambda asked=questions: next(asked) >= 4)
            else:
                fit(*rows, spec, observe=killing)
        assert checkpoint_paths(out)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OPENBLAS_NUM_THREADS", "3")
            resume_run(out, places)
        assert (out / "params.safetensors").read_bytes() == (tmp_path / "whole/params.safetensors").read_bytes()
        assert [attrs.evolve(record, seconds=0.0) for record in read_history(out)] == [
            attrs.evolve(record, seconds=0.0) for record in read_history(tmp_path / "whole")
        ]


def without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the extra be missing."""
    for name in [name for name in sys.modules if name.startswith(("bpfunc.compiled", "bpfunc.interop.numba"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.setattr(importlib.import_module("bpfunc.interop"), "numba", None, raising=False)
    monkeypatch.delattr(importlib.import_module("bpfunc.interop"), "numba", raising=False)


def test_auto_says_why_processes_train_with_numpy() -> None:
    """A batch that processes share out is NumPy's, and a person is told."""
    assert why_numpy(RunSpec(), data_parallel(Alone())) == (
        "NumPy trained this: the compiled engine does not share a batch out among processes"
    )
    assert why_numpy(RunSpec()) == ""


def test_auto_is_numpy_without_the_extra(monkeypatch: pytest.MonkeyPatch, places: Places, tmp_path: Path) -> None:
    """Where numba is missing, auto trains with NumPy, and compiled is one message before anything is written."""
    assert choose_engine(RunSpec()) == "compiled"
    without_numba(monkeypatch)
    assert choose_engine(RunSpec()) == "numpy"
    with pytest.raises(UsageProblem, match=r"the compiled engine is not installed") as caught:
        train_run(
            tiny("report", engine="compiled"), attrs.evolve(places, out=tmp_path / "run"), now=datetime(2026, 1, 1)
        )
    assert caught.value.remedy == "pip install 'bpfunc[fast]'"
    assert not (tmp_path / "run").exists()


def test_a_compiled_run_does_not_go_on_without_the_extra(
    monkeypatch: pytest.MonkeyPatch, places: Places, tmp_path: Path
) -> None:
    """Its checkpoint names the engine: another one would not give what was begun."""
    spec, out, questions = tiny("report"), tmp_path / "run", iter(range(10**6))
    prepared, _ = prepare(spec.dataset, source=places.source, cache=places.cache, raw=places.raw)
    (out / "checkpoints").mkdir(parents=True)
    (out / "config.toml").write_text(to_toml(spec))
    with pytest.raises(Interrupted):
        save = saving(out, spec, prepared.train.sha256, every=0)
        fit(*training_rows(prepared.train, spec), spec, observe=save, stop=lambda: next(questions) >= 2)
    assert newest_checkpoint(out, spec, prepared.train.sha256)[0] is not None
    without_numba(monkeypatch)
    with pytest.raises(UsageProblem, match="the compiled engine is not installed"):
        resume_run(out, places)


def test_compiled_refuses_what_it_does_not_know() -> None:
    """A gradient that processes share out is NumPy's: auto takes NumPy, compiled says why not."""
    from bpfunc.gradient.modes import value_and_grad

    shared = lambda model, loss: value_and_grad(model, loss)  # noqa: E731
    assert choose_engine(RunSpec(), shared) == "numpy"
    with pytest.raises(UsageProblem, match="does not share a batch out among processes"):
        choose_engine(tiny("report", engine="compiled"), shared)


def test_a_configuration_without_an_engine(tmp_path: Path) -> None:
    """A person's file leaves the choice open; what was recorded with a run or a study was run by NumPy."""
    old = "\n".join(line for line in to_toml(RunSpec()).splitlines() if not line.startswith("engine"))
    assert from_toml(old, RunSpec(), where="own").train.engine == "auto"
    (tmp_path / "config.toml").write_text(old)
    (tmp_path / "checkpoints").mkdir()
    assert read_config(tmp_path).train.engine == "numpy"
    assert "engine" not in reasons_table(RECORDED)["train"]  # type: ignore[operator]
    assert settled(RunSpec()) != RECORDED


def test_a_study_keeps_its_engine(tmp_path: Path) -> None:
    """What began with NumPy goes on with it, where the engine is left open."""
    assert study_spec(tmp_path / "new", RunSpec()).train.engine == "compiled"
    (tmp_path / "seed-000").mkdir()
    (tmp_path / "config.toml").write_text(to_toml(RECORDED))
    (tmp_path / "study.json").write_text("{}")
    assert study_spec(tmp_path, RunSpec()).train.engine == "numpy"


@pytest.mark.parametrize("threads", ["", "0", "-1", "two", "999999", "1" * 5000])
def test_threads_of_a_header_are_checked(threads: str) -> None:
    """A header that names a compiled training names its threads."""
    with pytest.raises(ValueError, match="threads"):
        engine_used({"engine": "compiled", "threads": threads})
    with pytest.raises(ValueError, match="engine"):
        engine_used({"engine": "steam", "threads": "1"})
