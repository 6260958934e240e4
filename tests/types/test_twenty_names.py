"""Twenty names of a first script, asked of jedi, mypy and pyright: each of the three tells what each of them is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.types.test_types import run

SCRIPT = """\
import numpy as np
import bpfunc as bp

key = bp.Key(0)  # Key
other = bp.fold_in(key, 1)  # Key
hidden = bp.dense(128)  # Layer
model = bp.serial(hidden, bp.relu(), bp.dense(3))  # Layer
chain = bp.chain(bp.clip_by_global_norm(1.0), bp.sgd(0.05))  # GradientTransform
optimizer = bp.adamw(0.001)  # GradientTransform
loss = bp.cross_entropy(label_smoothing=0.1)  # Loss
metric = bp.accuracy()  # Metric
batch = bp.Batch(np.ones((8, 784)), np.zeros(8, np.int64))  # Batch
inputs = batch.inputs  # ndarray
state = bp.init_train_state(model, optimizer, key, (784,))  # TrainState
count = state.step  # int
made = bp.value(model, loss, state.params, state.layer_state, batch, bp.INFERENCE)  # Value
outputs = made.outputs  # ndarray
answers = bp.predict(model, state.params, state.layer_state, batch.inputs)  # ndarray
table = bp.confusion_matrix(answers, batch.targets, 3)  # ndarray
params = bp.DenseParams(np.ones((2, 3)), np.zeros(3))  # DenseParams
doubled = bp.tree_scale(2.0, params)  # DenseParams
weight = doubled.weight  # ndarray
length = bp.tree_norm(params)  # float
"""
EXPECTED = {line.partition(" = ")[0]: line.rpartition("# ")[2] for line in SCRIPT.splitlines() if " = " in line}
"""Name -> class of its value."""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """The script, with a question for each name at its end."""
    path = tmp_path / "first.py"
    path.write_text(SCRIPT + "".join(f"reveal_type({name})\n" for name in EXPECTED), encoding="utf-8")
    return path


def class_of(told: str) -> str:
    """The class in a checker's words: ``numpy.ndarray[...]`` is an ``ndarray``; an alias of one is as well."""
    return re.split(r"[\[\s]", told)[0].rpartition(".")[2]


def test_there_are_twenty() -> None:
    """So many were asked for."""
    assert len(EXPECTED) == 20


def test_mypy_infers_them(script: Path) -> None:
    """Each is told, as itself."""
    pytest.importorskip("mypy")
    told = re.findall(r'Revealed type is "(.+)"', run("mypy", f"--cache-dir={script.parent / 'cache'}", script))
    assert dict(zip(EXPECTED, map(class_of, told), strict=True)) == EXPECTED


def test_pyright_infers_them(script: Path) -> None:
    """Each is told, as itself."""
    pytest.importorskip("basedpyright")
    import sys

    found = json.loads(run("basedpyright", "--outputjson", "--pythonpath", sys.executable, script))
    told = re.findall(r'Type of \\"(\w+)\\" is \\"(.+?)\\"', json.dumps(found["generalDiagnostics"]))
    alias = {"FloatArray": "ndarray", "NDArray": "ndarray", "floating": "float"}
    assert {name: alias.get(class_of(words), class_of(words)) for name, words in told} == EXPECTED


@pytest.mark.parametrize("name", EXPECTED)
def test_jedi_infers_them_and_completes_behind_them(name: str) -> None:
    """The class is found, and one of its own fields comes up behind the name."""
    jedi = pytest.importorskip("jedi")
    lines = SCRIPT.splitlines()
    number = next(index for index, line in enumerate(lines, 1) if line.startswith(f"{name} = "))
    told = {one.name for one in jedi.Script(SCRIPT).infer(number, 0)}
    assert EXPECTED[name] in told
    field = {"Key": "seed", "Layer": "backward", "GradientTransform": "update", "Loss": "vjp", "Metric": "measure"}
    field |= {"Batch": "targets", "ndarray": "shape", "TrainState": "params", "int": "bit_length", "Value": "losses"}
    field |= {"DenseParams": "bias", "float": "is_integer"}
    behind = jedi.Script(f"{SCRIPT}{name}.").complete()
    assert field[EXPECTED[name]] in {one.name for one in behind}
