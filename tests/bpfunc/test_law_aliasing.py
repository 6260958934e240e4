"""The law of aliasing: what a function hands out is an array of its own, or read-only. So nothing written to a result
changes what comes later: a derivative, another result, or an argument.

Ops, layers and losses are found by looking. Combinators are tried with every layer inside.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import attrs
import numpy as np
import pytest

from bpfunc import layers, losses, ops
from bpfunc.keys import Key, normal
from bpfunc.layers import Context, Layer
from bpfunc.layers.combinators import named, parallel, residual, serial
from bpfunc.losses import Loss
from tests.bpfunc.members import makers

ROWS = 3
GIVEN: dict[str, dict[str, Any]] = {
    "dense": {"width": 4},
    "serial": {"layers": (layers.dense(4), layers.relu())},
    "parallel": {"layers": (layers.relu(), layers.identity())},
    "named": {"parts": (("first", layers.tanh()), ("second", layers.relu()))},
    "residual": {"layer": layers.relu()},
}
"""Arguments that keep the shape, so that every layer goes into every combinator."""


def networks() -> dict[str, Callable[[], Layer]]:
    """Every layer, alone and last and first in the combinators."""
    found = {name: partial(make, **GIVEN.get(name, {})) for name, make in makers("Layer").items()}
    for name, make in list(found.items()):
        if name in ("serial", "parallel", "named", "embedding", "mirror_averaged", "flatten"):
            continue
        found[f"serial(dense, {name})"] = lambda make=make: serial(layers.dense(4), make())
        found[f"serial({name})"] = lambda make=make: serial(make())
        found[f"residual({name})"] = lambda make=make: residual(make())
        found[f"parallel({name})"] = lambda make=make: parallel(make())
        found[f"parallel({name}, added)"] = lambda make=make: parallel(make(), combine="add")
        found[f"named({name})"] = lambda make=make: named(("only", make()))
    return found | {"serial()": serial, "serial(flatten)": lambda: serial(layers.flatten())}


def arrays_in(value: Any) -> Iterator[np.ndarray]:
    """Every array inside a value."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from arrays_in(item)
    elif isinstance(value, dict):
        yield from arrays_in(list(value.values()))
    elif attrs.has(type(value)):
        yield from arrays_in([getattr(value, field.name) for field in attrs.fields(type(value))])


class Ledger:
    """All arrays that went in or came out so far; what comes out is checked against them."""

    def __init__(self, *given: Any) -> None:
        self.known = [("an argument", array) for value in given for array in arrays_in(value)]

    def call(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function twice, writing to what the first call gave; check both results and return the second."""
        before = [array.tobytes() for _, array in self.known]
        results = function(*arguments)
        for result in arrays_in(results):
            if result.flags.writeable:
                for other, array in self.known:
                    assert not np.shares_memory(result, array), f"{name} hands out {other}, writable"
        written = list(arrays_in(results))
        bits = [array.tobytes() for array in written]
        for index, array in enumerate(written):
            if array.flags.writeable and array.size:
                array[...] = 7 if array.dtype.kind != "b" else not array.flat[0]
                others = [other.tobytes() for other in written]
                del others[index]
                assert others == bits[:index] + bits[index + 1 :], f"two results of {name} share memory"
                bits[index] = array.tobytes()
        assert [array.tobytes() for _, array in self.known] == before, f"a result of {name} changes what it came from"
        results = function(*arguments)
        self.known += [(f"a result of {name}", array) for array in arrays_in(results)]
        return results


def inputs_of(layer: Layer) -> tuple[tuple[int, ...], np.ndarray]:
    """The shape of an example, and a batch."""
    if layer.name.startswith("embedding"):
        return (2,), np.array([[0, 1], [2, 3], [4, 4]])
    return (4,), normal(Key(1), (ROWS, 4), dtype=np.float64)


@pytest.mark.parametrize("ctx", [Context(train=True, key=Key(5)), Context()], ids=["training", "inference"])
@pytest.mark.parametrize("name", networks())
def test_layers(name: str, ctx: Context) -> None:
    """Outputs, states, gradients and tangents of a layer are its own, or read-only."""
    layer = networks()[name]()
    in_shape, x = inputs_of(layer)
    params, state, _ = layer.init(Key(0), in_shape)
    ledger = Ledger(x, params, state)
    y, _, kept = ledger.call("forward", layer.forward, params, state, x, ctx)
    dy, dy_dot = np.cos(y), np.sin(y)
    x_dot = np.cos(x)
    ledger.known += [("an argument", array) for array in (dy, dy_dot, x_dot)]
    calls: dict[str, tuple[Any, ...]] = {
        "backward": (params, kept, dy),
        "backward_params": (params, kept, dy),
        "jvp": (params, kept, params, x_dot),
        "backward_jvp": (params, kept, params, x_dot, dy, dy_dot),
        "example_grads": (params, kept, dy),
        "example_norms": (params, kept, dy),
    }
    for function, arguments in calls.items():
        with suppress(NotImplementedError):  # gradients of single examples, or tangents, that do not exist
            ledger.call(function, getattr(layer, function), *arguments)


OPS = [name for name in ops.__all__ if f"{name}_vjp_jvp" in ops.__all__]


@pytest.mark.parametrize("shape", [(ROWS, 4), (4,), (ROWS, 1)])
@pytest.mark.parametrize("name", OPS)
def test_ops(name: str, shape: tuple[int, ...]) -> None:
    """Values and derivatives of an op are its own, or read-only; writing to ``y`` leaves the derivatives alone."""
    f, f_vjp, f_jvp, f_vjp_jvp = (getattr(ops, name + suffix) for suffix in ("", "_vjp", "_jvp", "_vjp_jvp"))
    x, x_dot, dy, dy_dot = (normal(Key(number), shape, dtype=np.float64) for number in range(4))
    ledger = Ledger(x, x_dot, dy, dy_dot)
    _, kept = ledger.call("f", f, x)
    ledger.call("f_vjp", f_vjp, kept, dy)
    ledger.call("f_jvp", f_jvp, kept, x_dot)
    ledger.call("f_vjp_jvp", f_vjp_jvp, kept, x_dot, dy, dy_dot)


LOSSES = makers("Loss")


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str) -> None:
    """Values and derivatives of a loss are its own, or read-only, and so is what the loss keeps of the outputs."""
    loss: Loss = LOSSES[name]()
    width = 1 if name == "binary_cross_entropy" else 4
    outputs, outputs_dot = (normal(Key(number), (ROWS, width), dtype=np.float64) for number in range(2))
    dlosses, dlosses_dot = (normal(Key(number), (ROWS,), dtype=np.float64) for number in range(2))
    targets = np.full((ROWS, width), 1 / width)
    ledger = Ledger(outputs, targets, outputs_dot, dlosses, dlosses_dot)
    _, kept = ledger.call("forward", loss.forward, outputs, targets)
    first = loss.vjp(kept, dlosses).copy()
    outputs[...] = 9
    np.testing.assert_array_equal(loss.vjp(kept, dlosses), first)
    ledger.call("vjp", loss.vjp, kept, dlosses)
    ledger.call("jvp", loss.jvp, kept, outputs_dot)
    ledger.call("vjp_jvp", loss.vjp_jvp, kept, outputs_dot, dlosses, dlosses_dot)


def test_all_members_are_found() -> None:
    """Every layer and loss that the package names is among those tried."""
    assert {name for name in layers.__all__ if name in makers("Layer")} >= {"dense", "relu", "dropout", "batch_norm"}
    assert {"serial", "parallel", "named", "residual", "mirror_averaged"} <= makers("Layer").keys()
    assert {name for name in losses.__all__ if inspect.isfunction(getattr(losses, name))} >= LOSSES.keys() - {"scaled"}
    assert len(OPS) >= 14
    assert len(LOSSES) >= 8


@pytest.mark.parametrize(
    ("planted", "message"),
    [
        (lambda x: x[1:], "hands out an argument"),
        (lambda x: (1, {"deep": x.reshape(-1, 1)}), "hands out an argument"),
        (lambda x: (lambda y: (y, y))(x + 1), "share memory"),
        (lambda x: (lambda y: (y, (y[:2],)))(x + 1), "share memory"),
    ],
)
def test_planted_alias_is_found(planted: Callable[..., Any], message: str) -> None:
    """A view of an argument, and an output that is the residual, fail."""
    x = np.arange(3.0)
    with pytest.raises(AssertionError, match=message):
        Ledger(x).call("planted", planted, x)
