"""JSON has no NaN: whatever the project writes as JSON, any reader of JSON can read."""

from __future__ import annotations

import ast
import json
import math
from pathlib import Path

import numpy as np
import pytest

from bpfunc.interop.estimator_facts import FITTED, EstimatorFacts, read_facts, write_facts
from bpfunc.interop.safetensors import to_safetensors
from pipelines.disk.json_text import json_text, write_json
from tests.conftest import ROOT, Cli

WRITERS = {"pipelines/disk/json_text.py", "pipelines/disk/seal.py", "pipelines/spec/toml.py"}
"""The writer, and the two modules below it: a seal's canonical text, and TOML's values."""


def strict(text: str | bytes) -> object:
    """Read JSON as other languages do: NaN and Infinity are no numbers."""

    def refuse(name: str) -> object:
        raise ValueError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def calls(text: str) -> list[ast.Call]:
    """Find the calls that write JSON."""
    return [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("json.dumps", "json.dump", "dumps", "dump")
    ]


def careless(text: str) -> list[str]:
    """Find the calls that would write NaN."""
    return [
        ast.unparse(call)
        for call in calls(text)
        if not any(word.arg == "allow_nan" and ast.unparse(word.value) == "False" for word in call.keywords)
        and not ast.unparse(call).startswith("pickle.")
    ]


MODULES = sorted(path for package in ("bpfunc", "pipelines") for path in (ROOT / package).rglob("*.py"))


def test_every_writer_of_json_refuses_nan() -> None:
    """No call leaves it to chance, and above the disk the pipeline has one writer."""
    found = {path.relative_to(ROOT).as_posix(): calls(path.read_text(encoding="utf-8")) for path in MODULES}
    assert sum(map(len, found.values())) >= len(WRITERS) + 3
    for path in MODULES:
        assert careless(path.read_text(encoding="utf-8")) == [], path
    assert {name for name, own in found.items() if own and name.startswith("pipelines/")} == WRITERS
    assert careless("json.dumps(x, indent=2)") == ["json.dumps(x, indent=2)"]


def test_numbers_that_do_not_exist(tmp_path: Path) -> None:
    """The writer refuses them, and a document has null in their place."""
    for number in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match="JSON"):
            json_text([number])
        write_json(tmp_path / "document.json", {"a": [number], "b": (0.5, {"c": number})})
        assert strict((tmp_path / "document.json").read_bytes()) == {"a": [None], "b": [0.5, {"c": None}]}


def test_facts_of_an_estimator_are_json() -> None:
    """A best loss that is infinite, or was never a number, comes back from a file that any reader of JSON can read."""
    fitted: dict[str, object] = {
        n: 1 if kind is int else kind() for n, kind in FITTED.items() if isinstance(kind, type)
    }
    fitted |= dict.fromkeys(FITTED.keys() - fitted.keys())
    fitted |= {
        "out_activation_": "identity",
        "best_loss_": math.inf,
        "loss_curve_": [math.nan, 0.5],
        "best_validation_score_": -math.inf,
    }
    facts = EstimatorFacts("Some", {"tol": math.inf}, [], "float32", 0, [], fitted, {})
    metadata = write_facts(facts)
    strict(metadata["bpfunc"])
    again = read_facts(to_safetensors((), metadata=metadata), "Some")
    assert again.params == {"tol": math.inf}
    np.testing.assert_equal(again.fitted, fitted)
    older = {"bpfunc": metadata["bpfunc"].replace('{"number": "inf"}', "Infinity")}
    assert "Infinity" in older["bpfunc"]
    assert read_facts(to_safetensors((), metadata=older), "Some").params == {"tol": math.inf}


def test_study_of_one_seed(cli: Cli, tmp_path: Path, own_data: Path) -> None:
    """One seed has no interval, of the mean or of any ingredient: it is null, in the files and on standard output."""
    (tmp_path / "c.toml").write_text(
        '[dataset]\nclasses = ["0", "1", "2"]\npinned = false\n[model]\nhidden = [8]\n'
        "[train]\nepochs = 1\nbatch_size = 16\nmomentum = 0.5\n"
    )
    where = ("--source", str(own_data), "--cache", "cache", "--out", "s")
    done = cli("study", "--config", "c.toml", "--seeds", "1", "--ablate", "--json", *where)
    assert done.returncode == 0, done.stderr
    document = strict(done.stdout)
    assert isinstance(document, dict)
    assert document["confidence_interval_95"] is None
    assert {row["interval"] for row in document["ablation"]} == {None}
    files = {path.name: strict(path.read_bytes()) for path in (tmp_path / "s").rglob("*.json")}
    assert files.keys() == {"study.json", "ablation.json", "metrics.json"}
    assert files["ablation.json"] == document["ablation"]
