"""Two type checkers infer for every public name what `public_api.py` says, and the values agree when it runs."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import bpfunc
from bpfunc.interop import safetensors

ROOT = Path(__file__).parents[2]
API = Path(__file__).with_name("public_api.py")

PUBLIC = {name: getattr(bpfunc, name) for name in bpfunc.__all__} | {
    name: value
    for name, value in inspect.getmembers(safetensors, inspect.isfunction)
    if value.__module__ == safetensors.__name__ and not name.startswith("_")
}
"""The public names, and those of the one bridge that needs no extra."""

EXCEPTIONS = {"readonly_arrays": "a hook for attrs, whose `Attribute[...]` exists for type checkers but not when run"}

PLANTED = '''\
"""Every line that ends in `# wrong` must be refused, and no other."""

from typing import Any, assert_type

import numpy as np

import bpfunc as bp
from bpfunc.arrays.types import FloatArray, IntArray

params = bp.DenseParams(np.ones((2, 2)), None)
assert_type(bp.tree_scale(2.0, params), bp.DenseParams)
assert_type(bp.tree_scale(2.0, params), bp.SerialParams)  # wrong
assert_type(bp.tree_scale(2.0, params), Any)  # wrong
assert_type(bp.tree_reduce(lambda count, leaf: count + 1, params, 0), Any)  # wrong
assert_type(bp.tree_norm(params), int)  # wrong
assert_type(bp.ravel(params), FloatArray)
assert_type(bp.ravel(params), IntArray)  # wrong
assert_type(bp.adam(0.1), bp.Layer)  # wrong
assert_type(bp.best([3, 1, 2], float), float)  # wrong
bp.chain(bp.relu())  # wrong
bp.sgd("fast")  # wrong
bp.adam(0.1, 0.9)  # wrong
bp.Layer(name="nothing")  # wrong
params.weight = np.ones((2, 2))  # wrong
'''

Errors = set[tuple[str, int]]
"""File name and line, from 1, of what a checker refuses."""


def run(*command: str | Path) -> str:
    """Run a checker in the project's directory; it must end with 0 (nothing found) or 1 (errors found)."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def mypy(*files: Path) -> Errors:
    """What mypy refuses, by the project's strict settings."""
    pytest.importorskip("mypy")
    printed = run("mypy", "--no-error-summary", f"--cache-dir={ROOT / '.mypy_cache'}", *files)
    return {(file, int(line)) for file, line in re.findall(r"^(.+?):(\d+): error: ", printed, re.MULTILINE)}


def pyright(*files: Path) -> Errors:
    """What pyright refuses, in its standard mode."""
    pytest.importorskip("basedpyright")
    found = json.loads(run("basedpyright", "--outputjson", "--pythonpath", sys.executable, *files))
    assert found["summary"]["filesAnalyzed"] == len(files)
    return {
        (diagnostic["file"], diagnostic["range"]["start"]["line"] + 1)
        for diagnostic in found["generalDiagnostics"]
        if diagnostic["severity"] == "error"
    }


@pytest.mark.parametrize("checker", [mypy, pyright], ids=lambda checker: checker.__name__)
def test_the_checkers_agree_with_the_file(checker: Callable[..., Errors], tmp_path: Path) -> None:
    """No claim of `public_api.py` is refused, and in a file of planted mistakes each, and nothing else."""
    planted = tmp_path / "planted.py"
    planted.write_text(PLANTED, encoding="utf-8")
    wrong = {number for number, line in enumerate(PLANTED.splitlines(), 1) if line.endswith("# wrong")}
    errors = {(Path(file).name, line) for file, line in checker(API, planted)}
    assert errors == {("planted.py", number) for number in wrong}


def test_no_part_of_the_interface_is_unknown() -> None:
    """Pyright knows the type of every symbol that the library exports: nothing is left to be guessed.

    The bridges in `bpfunc.interop` are excepted, for they inherit from libraries that are untyped; and the functions of
    `bpfunc.compiled`, whose types are those of what machine code is made for.
    """
    pytest.importorskip("basedpyright")
    options = ("--outputjson", "--pythonpath", sys.executable, "--ignoreexternal", "--verifytypes")
    report = json.loads(run("basedpyright", *options, "bpfunc"))["typeCompleteness"]
    counts = report["exportedSymbolCounts"]
    unknown = [symbol["name"] for symbol in report["symbols"] if symbol["isExported"] and not symbol["isTypeKnown"]]
    assert counts["withKnownType"] > 1000
    assert [name for name in unknown if not name.startswith(("bpfunc.compiled.", "bpfunc.interop."))] == []


def names(tree: ast.AST) -> set[str]:
    """What is read from `bp`, and the plain names."""
    return {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and ast.unparse(node.value) == "bp")
    }


def called(claim: ast.expr) -> set[str]:
    """The function whose result a claim is about, without those in its arguments."""
    return names(claim.func) if isinstance(claim, ast.Call) else set()


def missing(source: str) -> set[str]:
    """Public functions whose result is in no `assert_type`, and other public names that are nowhere in the source."""
    tree = ast.parse(source)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "assert_type"]
    held, there = {name for call in calls for name in called(call.args[0])}, names(tree)
    return {name for name, value in PUBLIC.items() if name not in (held if inspect.isfunction(value) else there)}


def test_every_public_name_has_its_type_held() -> None:
    """A new public name needs a line in `public_api.py`; to stand in another's arguments is not enough."""
    source = API.read_text(encoding="utf-8")
    assert missing(source) == set(EXCEPTIONS)
    assert missing(source.replace("assert_type(bp.relu(), bp.Layer)", "bp.relu()")) == {"relu", *EXCEPTIONS}
    assert missing("") == set(PUBLIC)


def test_the_values_are_of_the_types_that_are_inferred(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the checkers infer is what comes out: each `assert_type` is checked on its value, dtypes of arrays too."""
    door, roar = pytest.importorskip("beartype.door"), pytest.importorskip("beartype.roar")
    api = importlib.import_module("tests.types.public_api")
    checked = 0

    def check(value: object, hint: object) -> object:
        nonlocal checked
        checked += 1
        door.die_if_unbearable(value, hint)
        return value

    monkeypatch.setattr(api, "assert_type", check)
    for _, function in inspect.getmembers(api, inspect.isfunction):
        if function.__module__ == api.__name__ and not inspect.signature(function).parameters:
            function()
    written = sum(line.lstrip().startswith("assert_type(") for line in API.read_text(encoding="utf-8").splitlines())
    assert checked >= written
    with pytest.raises(roar.BeartypeDoorHintViolation):
        check(bpfunc.ravel(api.params()), api.IntArray)
