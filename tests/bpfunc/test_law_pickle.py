"""The law of pickling: every part that the library makes can be sent to another process, and does the same there.

Parts are functions and records of functions: layers, losses, transforms, metrics, schedules, samplers, steps. Their
makers are found by looking: every public function that is annotated to return such a thing. What a part is given is
importable here, as it has to be for a user.
"""

from __future__ import annotations

import collections.abc
import copy
import inspect
import pickle
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

import bpfunc as bp
from bpfunc.training.prepared import Chain
from bpfunc.tree import tree_leaves
from tests.bpfunc.members import BY_HAND, IMAGES, called, on_rows, public_functions

ROOT = Path(__file__).parents[2]


def one_label(path: str) -> str:
    return "all"


def largest(outputs: np.ndarray, batch: bp.Batch) -> np.ndarray:
    return outputs.max(axis=1)


ODDS = np.arange(1.0, 7.0)
GIVEN: dict[str, Any] = {
    "applies": bp.weights_only,
    "augmentation": bp.noise(0.1),
    "augmentations": (bp.flip_horizontal(shape=(2, 2)), bp.noise(0.5)),
    "chain": Chain((np.tanh,), (bp.DenseParams(np.eye(4, 3, dtype=np.float32), np.ones(3, np.float32)),), ((np.sin,),)),
    "comm": bp.Alone(),
    "figures": largest,
    "label": one_label,
    "loss": bp.cross_entropy(label_smoothing=0.1, class_weights=[1.0, 2.0, 3.0]),
    "model": bp.serial(bp.dense(4, weight_init=bp.truncated_normal(0.1)), bp.gelu(), bp.dropout(0.5), bp.dense(3)),
    "parts": (("body", bp.dense(3)), ("head", bp.parallel(bp.elu(), bp.residual(bp.layer_norm())))),
    "project": np.abs,
    "schedule": bp.one_cycle(0.1, 10),
    "schedules": (bp.cosine(0.1, 3), bp.constant(0.5)),
    "boundaries": (3,),
    "shape": (2, 2),
    "step": None,
    "targets": np.array([0, 1, 2, 2, 1, 1]),
    "weights": ODDS,
    "transform": bp.chain(bp.adamw(bp.warm_up(0.1, 3), decay_mask=bp.weights_only), bp.ema_of_params(0.9)),
}
GIVEN_TO: dict[str, dict[str, Any]] = {
    "accumulated": {"parts": 2},
    "as_schedule": {"value": bp.cosine(0.1, 3)},
    "finite_step": {"step": bp.make_step(bp.dense(3), bp.cross_entropy(), bp.sgd(bp.exponential(0.1, 0.5, 3)))},
    "made_by": {"name": "leaky_relu", "parts": [], "settings": {"slope": 0.5}},
    "piecewise": {"values": (0.1, 0.2)},
}
DATA = bp.Batch(np.linspace(0, 1, 24).reshape(6, 4).astype(np.float32), np.eye(3, dtype=np.float32)[GIVEN["targets"]])


def makes_a_part(function: Callable[..., Any]) -> bool:
    """Whether a function is annotated to return a function, or a record that holds functions."""
    annotation = inspect.signature(function).return_annotation
    try:
        kind = eval(annotation, function.__globals__) if isinstance(annotation, str) else annotation
    except (NameError, TypeError):  # known to type checkers alone
        return False
    if attrs.has(kind):
        kind = attrs.resolve_types(kind)
        return any(typing.get_origin(field.type) is collections.abc.Callable for field in attrs.fields(kind))
    is_protocol = getattr(kind, "_is_protocol", False) and "__call__" in vars(kind)
    return is_protocol or typing.get_origin(kind) is collections.abc.Callable


DECORATORS = {"elementwise", "elementwise_loss"}
"""They take functions and give functions, which are importable where they are defined."""
MAKERS = {
    name: function
    for name, function in public_functions().items()
    if makes_a_part(function) and function.__name__ not in BY_HAND | DECORATORS
}


def part(name: str) -> Any:
    """One part, made with what its maker needs."""
    function = MAKERS[name]
    if function.__name__ in IMAGES:
        return on_rows(function)
    parameters = inspect.signature(function).parameters
    own = {**GIVEN, **GIVEN_TO.get(function.__name__, {})}
    return called(function, **{key: value for key, value in own.items() if key in parameters})


def bits(value: Any) -> Any:
    """What can be compared: arrays as bytes, numbers and names as they are."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, tuple | list):
        return [bits(item) for item in value]
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    if attrs.has(type(value)) and not isinstance(value, bp.Layer | bp.Metric):
        return [bits(getattr(value, field.name)) for field in attrs.fields(type(value)) if field.name != "formulas"]
    return repr(value) if isinstance(value, int | float | str | bool | np.generic | None) else type(value).__name__


def behaviour(name: str, made: Any) -> Any:
    """What a part does, whatever it is."""
    key, ctx = bp.Key(3), bp.Context(train=True, key=bp.Key(5))
    if isinstance(made, bp.Layer):
        shape, x = ((2,), np.array([[0, 1], [2, 3]])) if "embedding" in made.name else ((4,), DATA.inputs)
        params, state, out = made.init(key, shape)
        y, state, kept = made.forward(params, state, x, ctx)
        found = [out, y, state, made.backward(params, kept, np.cos(y)), made.flops(shape, out)]
        return bits([*found, made.backward_params(params, kept, y), params, made.name, made.draws, made.maker])
    if isinstance(made, bp.Loss):
        width = 1 if made.name == "binary_cross_entropy" else 3
        outputs, targets = np.sin(DATA.inputs[:, :width]), DATA.targets[:, :width]
        losses, kept = made.forward(outputs, targets)
        return bits(
            [losses, made.vjp(kept, losses), made.jvp(kept, outputs), made.vjp_jvp(kept, outputs, losses, losses)]
        )
    if isinstance(made, bp.GradientTransform):
        params = bp.dense(3).init(key, (4,))[0]
        state = made.init(params)
        for step in range(3):
            updates, state = made.update(params, state, params, step)
        return bits([updates, state, made.elementwise is None])
    if isinstance(made, bp.Metric):
        state = made.measure(np.sin(5 * DATA.inputs[:, :3]), DATA)
        return bits([state, made.value(made.merge(state, state)), made.name])
    if ".schedules." in name:
        return [made(step) for step in range(12)]
    if ".initializers." in name:
        return bits(made(key, (4, 3)))
    if ".augment." in name:
        return bits(made(key, DATA))
    if ".prepared." in name:
        return bits(made(DATA.inputs))
    if ".batch." in name:
        return bits(made(key, 6))
    model, loss = bp.dense(3), bp.cross_entropy()
    if ".gradient." in name:
        function = made if name.endswith(".value_and_grad") else made(model, loss)
        model = GIVEN["model"] if name.endswith(".value_and_grad") else model
        params, state, _ = model.init(key, (4,))
        return bits(pickle.loads(pickle.dumps(function))(params, state, DATA, ctx))
    if ".training." in name:
        if name.endswith("finite_gradient"):
            params, state, _ = model.init(key, (4,))
            return bits(pickle.loads(pickle.dumps(made(model, loss)))(params, state, DATA, ctx))
        whole = (GIVEN["model"], GIVEN["transform"]) if name.endswith("make_step") else (model, bp.sgd(0.1))
        state = bp.init_train_state(*whole, key, (4,))
        for _ in range(2):
            state, metrics = made(state, DATA)
        return bits([state, metrics.loss])
    raise AssertionError(f"{name} makes a part of a kind that this law does not know: say here what it does")


@pytest.mark.parametrize("name", MAKERS)
def test_parts_survive(name: str) -> None:
    """Pickled and deeply copied, by each protocol, a part does bit for bit what it did."""
    made = part(name)
    expected = behaviour(name, made)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert behaviour(name, pickle.loads(pickle.dumps(made, protocol))) == expected
    assert behaviour(name, copy.deepcopy(made)) == expected


def test_parts_arrive_in_another_process(tmp_path: Path) -> None:
    """A process that has made none of them reads them all, each of its own class, and without a module of the tests."""
    sent = {name: pickle.dumps(part(name)) for name in MAKERS}
    sent = {name: raw for name, raw in sent.items() if b"test_law_pickle" not in raw}
    assert len(sent) > len(MAKERS) - 5
    (tmp_path / "parts").write_bytes(pickle.dumps(sent))
    script = (
        "import pickle, sys; sent = pickle.load(open(sys.argv[1], 'rb'));"
        "print(*[type(pickle.loads(raw)).__name__ for raw in sent.values()])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "parts")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [type(part(name)).__name__ for name in sent]


def test_arrays_of_a_part_are_its_own() -> None:
    """What a sampler and a loss were made from can be written to afterwards: they keep copies."""
    targets, odds, classes = np.array([0, 1, 1, 1]), np.ones(4), np.array([1.0, 2.0])
    balanced, weighted, loss = bp.class_balanced(targets), bp.weighted(odds), bp.cross_entropy(class_weights=classes)
    outputs, labels = np.zeros((2, 2)), np.array([0, 1])
    before = balanced(bp.Key(0), 4), weighted(bp.Key(0), 4), loss.forward(outputs, labels)[0]
    targets[...], odds[...], classes[...] = 0, [0, 0, 0, 9], 5
    after = balanced(bp.Key(0), 4), weighted(bp.Key(0), 4), loss.forward(outputs, labels)[0]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_makers_of_all_kinds_are_found() -> None:
    """One of each kind is among those tried."""
    found = {name.rpartition(".")[2] for name in MAKERS}
    assert found >= {
        "dense",
        "named",
        "mirror_averaged",
        "huber",
        "focal",
        "adamw",
        "partitioned",
        "lookahead",
        "roc_auc",
    }
    assert found >= {"warm_restarts", "truncated_normal", "mixup", "class_balanced", "make_step", "finite_step"}
    assert found >= {"sharpness_aware", "accumulated", "data_parallel", "value_and_grad"}
    assert len(MAKERS) > 110


def test_planted_closure_is_found() -> None:
    """A part that holds a function without a name fails."""
    planted = bp.Loss("planted", lambda outputs, targets: (outputs, ()), np.add, np.add, np.add)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(planted)
    assert tree_leaves(()) == ()
