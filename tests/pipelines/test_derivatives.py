"""`bpfunc gradcheck`: passes what is right for every recipe, and finds a wrong derivative wherever it is planted."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import numpy as np
import pytest

from bpfunc import losses, ops
from bpfunc.arrays.types import FloatArray
from bpfunc.keys import Key
from bpfunc.layers import INFERENCE, DenseParams, Layer, dense, relu
from bpfunc.losses import cross_entropy
from pipelines.inspection import gradcheck as derivatives
from pipelines.inspection.gradcheck import (
    LOSS_FACTORIES,
    check_derivatives,
    check_layer,
    check_loss,
    check_model,
    op_names,
)
from pipelines.spec.run_spec import DatasetSpec, ModelSpec, RunSpec, TrainSpec
from pipelines.spec.toml import load_recipe
from pipelines.training import build
from pipelines.training.build import ACTIVATIONS

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
SMALL = RunSpec(model=ModelSpec(hidden=(3,)))


def wrong_rows(spec: RunSpec) -> list[str]:
    """What the check says is wrong."""
    return [f"{row.subject} {row.name} {row.derivative}" for row in check_derivatives(spec) if not row.found.passed]


def test_nothing_is_left_out() -> None:
    """Every op and every loss of the library is checked, the ones that come later too."""
    assert set(op_names()) == {name.removesuffix("_vjp_jvp") for name in ops.__all__ if name.endswith("_vjp_jvp")}
    factories = {
        name
        for name, member in vars(losses).items()
        if inspect.isfunction(member) and inspect.signature(member).return_annotation == "Loss"
    }
    assert set(LOSS_FACTORIES) == factories


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_right_derivatives_pass(activation: str) -> None:
    """With each activation, dropout, smoothing and the mirror, at three seeds, nothing is called wrong."""
    for seed in range(3):
        spec = RunSpec(
            dataset=DatasetSpec(scaling="mirrored"),
            model=ModelSpec(hidden=(6, 5), activation=activation, dropout=0.3, mirror=True),
            train=TrainSpec(seed=seed, label_smoothing=0.1),
        )
        found = list(check_model(spec, Key(seed)))
        assert len(found) == 12
        assert [row for row in found if not row.found.passed] == []


def test_wide_recipe_passes() -> None:
    """Many units, and so many kinks: the point is chosen away from them."""
    assert wrong_rows(attrs.evolve(load_recipe("best"), model=ModelSpec(hidden=(256,), dropout=0.2))) == []


@pytest.mark.parametrize("suffix", ["_vjp", "_jvp", "_vjp_jvp"])
def test_planted_op_is_found(monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """An op's derivative that is off by a thousandth is named, and no other op is."""
    right = getattr(ops, f"silu{suffix}")
    monkeypatch.setattr(ops, f"silu{suffix}", lambda *arguments: 1.001 * right(*arguments))
    # The second derivative is held against the first, so it disagrees with a first that is wrong.
    named = ["vjp", "vjp_jvp"] if suffix == "_vjp" else [suffix[1:]]
    assert wrong_rows(SMALL) == [f"op silu {name}" for name in named]


@pytest.mark.parametrize("field", ["vjp", "jvp", "vjp_jvp"])
def test_planted_loss_is_found(field: str) -> None:
    """So is a loss's."""
    loss = cross_entropy()
    right = getattr(loss, field)
    planted = attrs.evolve(loss, **{field: lambda *arguments: 1.001 * right(*arguments)})
    found = {row.derivative: row.found.passed for row in check_loss("cross_entropy", planted, Key(0))}
    wrong = {"vjp": {"vjp", "vjp_jvp"}}.get(field, {field})
    assert {name for name, passed in found.items() if not passed} == wrong


def test_planted_layer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """An activation whose backward pass leaves a sign out is found by itself and in the whole network."""

    def wrong() -> Layer:
        return attrs.evolve(relu(), backward=lambda params, residual, dy: ((), -relu().backward((), residual, dy)[1]))

    monkeypatch.setitem(build.ACTIVATIONS, "relu", wrong)
    rows = wrong_rows(SMALL)
    assert "layer layers[1] relu vjp" in rows
    assert "model layers[0].weight, training gradient" in rows
    assert not [row for row in rows if row.startswith(("op", "loss")) or "layers[2]" in row]


def test_one_wrong_number_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """One entry of one weight gradient: a projection may miss it, the sweep of the narrow network does not."""

    def planted(width: int) -> Layer:
        layer = dense(width)

        def wrong(params: DenseParams, residual: FloatArray, dy: FloatArray) -> DenseParams:
            grads = layer.backward_params(params, residual, dy)
            weight = grads.weight.copy()
            weight[7, 1] += 1e-5
            return DenseParams(weight, grads.bias)

        return attrs.evolve(layer, backward_params=wrong)

    monkeypatch.setattr(build, "dense", planted)
    (row,) = (row for row in check_model(SMALL, Key(0), sweep=True) if not row.found.passed)
    assert (row.name, row.found.index) == ("layers[0].weight, every number", (7, 1))


def test_nan_is_wrong() -> None:
    """A tangent that is no number does not pass."""
    layer = attrs.evolve(relu(), jvp=lambda params, residual, params_dot, x_dot: np.full_like(x_dot, np.nan))
    found = {row.derivative: row.found.passed for row in check_layer("relu", layer, (3,), Key(0))}
    assert found == {"vjp": True, "jvp": False, "vjp_jvp": True}


def test_kinks_are_stepped_around(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the choice among many draws, points lie nearer to the kinks."""

    spec = RunSpec(model=ModelSpec(hidden=(256,)))
    params, state, _ = build.build_model(spec.model, 3).init(Key(0), (784,))

    def nearest(draws: int) -> float:
        monkeypatch.setattr(derivatives, "DRAWS", draws)
        x = derivatives._smooth_inputs(spec, params, state, INFERENCE, Key(5))
        z, _, _ = dense(256).forward(params.layers[0], (), x, INFERENCE)
        return float(np.abs(z).min())

    assert nearest(20) > nearest(1)


def test_command(cli: Cli, tmp_path: Path) -> None:
    """A table or a document, code 0; with a wrong derivative planted, its name and code 1."""
    done = cli("gradcheck", "--hidden", "3", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["failed"], document["checked"]) == (0, len(document["checks"]))
    plant = (
        "import sys; from bpfunc import ops; right = ops.tanh_jvp; "
        "ops.tanh_jvp = lambda residual, x_dot: 1.001 * right(residual, x_dot); "
        "sys.argv = ['bpfunc', 'gradcheck', '--hidden', '3', '--quiet']; from pipelines.cli.main import main; main()"
    )
    root = str(Path(__file__).parents[2])
    planted = subprocess.run(
        [sys.executable, "-c", plant],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert planted.returncode == 1, planted.stderr
    assert [line.split()[:3] for line in planted.stdout.splitlines() if "WRONG" in line] == [["op", "tanh", "jvp"]]
    assert planted.stdout.endswith("derivatives checked, 1 wrong\n")
