"""The benchmark suite runs, notices a runner that computes something else, and writes what it found."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import attrs
import numpy as np
import pytest

from tests.benchmarks import epochs, estimators, images, ours, recipes
from tests.benchmarks.__main__ import main
from tests.benchmarks.epochs import Comparison, EpochTime, compared
from tests.benchmarks.problem import Problem, Runner, mean_loss
from tests.benchmarks.publish import BEGIN, END, publish
from tests.benchmarks.settings import Cell, Settings
from tests.benchmarks.tables import SECTIONS
from tests.benchmarks.targets import targets
from tests.benchmarks.whole_process import _layers
from tests.benchmarks.worker import WorkerFailedError

TINY = ("--quick", "--threads", "1", "--cells", "8:16", "--rows", "70")


def records_of(folder: Path, name: str) -> list[dict[str, object]]:
    """Read what a run left."""
    records = json.loads((folder / "results.json").read_text())[name]["records"]
    return records["times"] if name == "epochs" else records


def test_runs_without_peers(tmp_path: Path) -> None:
    """Ours and the floor are measured in every part that does not train for long."""
    names = ("recipes", "epochs", "prediction", "memory", "cold_start", "step_profile")
    main([*names, *TINY, "--optimizers", "SGD", "AdamW", "--peers", "none", "--out", str(tmp_path)])
    times = records_of(tmp_path, "epochs")
    assert {time["runner"] for time in times} == {*ours.CONFIGURATIONS, "products", "copy"}
    assert all(time["seconds"] > 0 for time in times)
    for name in ("recipes", "prediction", "cold_start"):
        assert all(record["seconds"] > 0 for record in records_of(tmp_path, name))
    assert all(record["total"] > record["imported"] > 0 for record in records_of(tmp_path, "memory"))
    profile = {(r["part"], r["optimizer"]): r["microseconds"] for r in records_of(tmp_path, "step_profile")}
    assert profile["whole step", "SGD"] > profile["update", "SGD"] > 0
    assert "### The grid" in (tmp_path / "results.md").read_text()


def test_peers_compute_the_same(tmp_path: Path) -> None:
    """Every peer that is quick to start takes part, which it may only with our loss."""
    for library in ("torch", "jax", "optax", "sklearn"):
        pytest.importorskip(library)
    peers = ("torch fused", "jax scan", "jax step", "scikit-learn")
    main(["epochs", *TINY, "--optimizers", "momentum", "--peers", *peers, "--out", str(tmp_path)])
    assert {time["note"] for time in records_of(tmp_path, "epochs")} == {""}
    assert (tmp_path / "epochs.png").read_bytes().startswith(b"\x89PNG")


def test_recipes_and_estimators_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both engines and the peers train the same; the page has a table and a picture, and says which bounds are kept."""
    for library in ("torch", "sklearn", "matplotlib"):
        pytest.importorskip(library)
    monkeypatch.setattr(recipes, "RECIPES", ("report", "best"))
    monkeypatch.setattr(estimators, "TABLES", dict(itertools.islice(estimators.TABLES.items(), 1)))
    main(["recipes", "estimators", *TINY, "--peers", "torch", "scikit-learn", "--out", str(tmp_path)])
    for name, peer in (("recipes", "torch"), ("estimators", "scikit-learn")):
        assert {record["runner"] for record in records_of(tmp_path, name)} == {*ours.ENGINES, peer}
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "estimators, compiled / scikit-learn, worst" in (tmp_path / "results.md").read_text()


def untrained(recipe: recipes.Recipe) -> recipes.Trainer:
    """A peer that learns nothing."""
    return lambda: 20.0


def test_a_recipe_that_is_trained_otherwise_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The losses of the first epoch are compared before anything is timed."""
    monkeypatch.setattr(recipes, "RECIPES", ("report",))
    monkeypatch.setattr(recipes, "PEERS", {"torch": "tests.benchmarks.test_suite:untrained"})
    with pytest.raises(WorkerFailedError, match=r"torch trains something else: loss 20.0000 where"):
        recipes.measure(Settings(threads=1, quick=True, rows=70))


def test_bounds_are_judged_by_hand() -> None:
    """The better engine counts where one may choose, and a bound that is met exactly is kept."""
    record = {"table": "a", "rounds": (1.0,), "score": 1.0}
    times = {"bpfunc": 8.5, "bpfunc compiled": 4.0, "scikit-learn": 10.0}
    records = [{**record, "runner": name, "seconds": took} for name, took in times.items()]
    text = targets({"estimators": {"records": records}})
    assert "| estimators, compiled / scikit-learn, geometric mean | <= 0.4 | 0.40 | yes |" in text
    assert "| estimators, NumPy alone / scikit-learn, geometric mean | <= 0.85 | 0.85 | yes |" in text
    records[0]["seconds"] = 8.6
    assert "| <= 0.85 | 0.86 | no |" in targets({"estimators": {"records": records}})


def too_fast(problem: Problem) -> Runner:
    """A configuration that trains with another rate than it was told."""
    return ours.numpy(attrs.evolve(problem, optimizer=attrs.evolve(problem.optimizer, rate=0.5)))


def test_another_computation_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speed counts only for the same work."""
    wrong = {**ours.CONFIGURATIONS, "wrong": "tests.benchmarks.test_suite:too_fast"}
    monkeypatch.setattr(epochs, "CONFIGURATIONS", wrong)
    settings = Settings(1, (Cell((8,), 16),), ("SGD",), ("none",), quick=True, rows=70)
    with pytest.raises(WorkerFailedError, match="wrong: computes something else"):
        epochs.measure(settings)


def test_ratio_is_to_the_fastest_peer() -> None:
    """Ratio of medians, range of the ratios within rounds, and both floors, by hand."""
    times = [
        EpochTime("c", "SGD", "bpfunc", "ours", 2.0, (2.0, 1.0, 3.0)),
        EpochTime("c", "SGD", "slow", "peer", 8.0, (8.0, 8.0, 8.0)),
        EpochTime("c", "SGD", "quick", "peer", 4.0, (4.0, 4.0, 2.0)),
        EpochTime("c", "SGD", "failed", "peer", note="why"),
        EpochTime("c", "SGD", "products", "floor", 1.0, (1.0,) * 3),
        EpochTime("c", "SGD", "copy", "floor", 3.0, (3.0,) * 3),
    ]
    assert list(compared(times)) == [Comparison("c", "SGD", "bpfunc", "quick", 0.5, 0.25, 1.5, 2.0, 0.5)]


def test_mean_loss_by_hand() -> None:
    """One layer that leaves logits as they are: log(1 + e) - 1 for the right class, twice."""
    layers = [(np.eye(2, dtype=np.float32), np.zeros(2, np.float32))]
    inputs = np.array([[1, 0], [0, 1]], np.float32)
    assert mean_loss(layers, inputs, np.array([0, 1])) == pytest.approx(np.log(1 + np.e) - 1)


def test_layers_are_read_either_way_round(tmp_path: Path) -> None:
    """torch stores weights (H, D), and ten layers sort by number."""
    from safetensors.numpy import save_file

    widths = [5, 4, *[3, 2] * 5]
    weights = [np.arange(d * h, dtype=np.float32).reshape(d, h) for d, h in itertools.pairwise(widths)]
    for turn in (lambda w: w, lambda w: np.ascontiguousarray(w.T)):
        tensors = {f"{index}.weight": turn(weight) for index, weight in enumerate(weights)}
        save_file(tensors | {f"{i}.bias": np.zeros(w.shape[1]) for i, w in enumerate(weights)}, tmp_path / "w")
        for (found, _), weight in zip(_layers(tmp_path / "w", 5), weights, strict=True):
            np.testing.assert_array_equal(found, weight)


def test_page_keeps_what_stands_around_the_figures(tmp_path: Path) -> None:
    """Publishing twice leaves one set of figures; a page without marks is refused."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}stale{END}after\n")
    section = {"measured": "now", "threads": 1, "quick": True, "rows": None}
    machine = {"processor": "p", "cores": 1, "load": 0.0}
    record = {"name": "import numpy", "seconds": 0.5, "rounds": [0.5], "note": ""}
    results = {"cold_start": {**section, "machine": machine, "records": [record]}}
    for _ in range(2):
        publish(results, page, tmp_path / "page")
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert text.count("| import numpy | 0.500 | 1.00 |") == 1
    assert "stale" not in text
    page.write_text("nothing")
    with pytest.raises(ValueError, match="lacks the marks"):
        publish(results, page, tmp_path / "page")


def test_networks_of_images_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both runners train the same network: losses agree, times and memory are told; another network is noticed."""
    pytest.importorskip("torch")
    monkeypatch.setattr(images, "NETWORKS", {"tiny": images.Network((2, 3), 4, norm=True, batch=5)})
    records = images.measure(Settings(threads=1, quick=True))
    assert [record["runner"] for record in records] == list(images.RUNNERS)
    assert all(record["seconds"] > 0 and record["total"] > record["imported"] > 0 for record in records)
    assert SECTIONS["images"][2](records).count("\n") == 1 + len(records)
    monkeypatch.setitem(images.RUNNERS, "bpfunc", "tests.benchmarks.test_suite:without_norm")
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        images.measure(Settings(threads=1, quick=True))


def without_norm(network: images.Network, threads: int) -> images.Step:
    """A runner that leaves the normalisation out."""
    return images.ours(attrs.evolve(network, norm=False), threads)
