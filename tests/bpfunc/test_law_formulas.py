"""The law of formulas: elementwise ops and losses are formulas that symbols can pass through, and that write nowhere.

What makes machine code of the formulas runs them on symbols. Here a symbol remembers what was done to it, and replays
that on arrays: the bits must be those of the formula itself. Ops and losses are found by looking.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.lib.mixins import NDArrayOperatorsMixin

import bpfunc
from bpfunc import layers, losses, ops
from bpfunc.keys import Key, normal
from bpfunc.ops.elementwise import Elementwise, elementwise, formulas_of


def found() -> dict[str, tuple[Elementwise, dict[str, float]]]:
    """Name -> formulas and settings, of every elementwise op and loss in the library."""
    members: dict[str, tuple[Elementwise, dict[str, float]]] = {}
    for info in pkgutil.walk_packages(bpfunc.__path__, "bpfunc."):
        if info.name.startswith(("bpfunc.ops.", "bpfunc.losses.")):
            for name, member in vars(importlib.import_module(info.name)).items():
                formulas = formulas_of(member) if inspect.isfunction(member) else None
                if formulas is not None:
                    members[name] = formulas
    return members


FOUND = found()


class Symbol(NDArrayOperatorsMixin):
    """Stands for an array or a number, and computes from the real ones what a formula made of it."""

    def __init__(self, value: Callable[[], Any]) -> None:
        self.value = cache(value)
        self.dtype = SimpleNamespace(type=lambda number: Symbol(lambda: DTYPE[0](real(number))))

    def __bool__(self) -> bool:
        raise TypeError("a formula may not branch: use np.where")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Symbol:
        if method != "__call__" or options:
            raise TypeError(f"np.{ufunc.__name__} is called in a way that cannot be traced: {method} {options}")
        return Symbol(lambda: plain(ufunc(*map(real, inputs)), inputs))

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Symbol:
        if function is not np.where or options:
            raise TypeError(f"np.{function.__name__} is not a universal function, and cannot be traced")
        return Symbol(lambda: np.where(*map(real, arguments)))

    def clip(self, low: Any, high: Any) -> Symbol:
        return Symbol(lambda: real(self).clip(real(low), real(high)))

    def astype(self, dtype: Any) -> Symbol:
        return Symbol(lambda: real(self).astype(np.float64 if dtype is np.float64 else DTYPE[0]))

    def copy(self) -> Symbol:
        return Symbol(lambda: real(self).copy())


DTYPE: list[Any] = [None]
"""The dtype that is replayed."""


def real(value: Any) -> Any:
    """What a symbol stands for."""
    return value.value() if isinstance(value, Symbol) else value


def plain(result: Any, inputs: tuple[Any, ...]) -> Any:
    """What is made of Python's own numbers alone stays such a number, as in the formula itself."""
    return result.item() if all(isinstance(real(value), int | float) for value in inputs) else result


def arrays(formulas: Elementwise, dtype: Any) -> list[np.ndarray]:
    """Inputs of an op: one, or outputs and targets."""
    count = len([p for p in inspect.signature(formulas.function).parameters.values() if p.kind is not p.KEYWORD_ONLY])
    inputs = [3 * normal(Key(number), (5, 4), dtype=dtype) for number in range(count)]
    for array in inputs:
        array.flags.writeable = False
    return inputs


def kept_by(formulas: Elementwise, inputs: list[np.ndarray], y: np.ndarray) -> list[np.ndarray]:
    """What slope and curvature take."""
    return {"x": inputs, "y": [y], "difference": [inputs[0] - inputs[-1]]}[formulas.keeps]


def test_all_elementwise_members_are_found() -> None:
    """The layers and losses that are elementwise lead to formulas of the table above, with their settings."""
    names = {name for name in ops.__all__ if f"{name}_vjp" in ops.__all__} - {"softmax", "log_softmax", "standardize"}
    assert names <= FOUND.keys()
    for name in names:
        made = formulas_of(getattr(layers, name)().op)
        assert made == FOUND[name]
    for loss in (losses.squared_error(), losses.absolute_error(), losses.multilabel_cross_entropy()):
        assert formulas_of(loss.forward) in FOUND.values()
    assert formulas_of(losses.huber(delta=2.0).forward) == (FOUND["huber_errors"][0], {"delta": 2.0})
    assert formulas_of(layers.leaky_relu(slope=0.5).op) == (FOUND["leaky_relu"][0], {"slope": 0.5})
    assert formulas_of(layers.softmax().op) is None
    assert formulas_of(partial(np.clip, a_min=0)) is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FOUND)
def test_symbols_pass_through(name: str, dtype: Any) -> None:
    """What symbols remember of a formula, settings included, gives the bits and the dtype of the formula."""
    formulas, settings = FOUND[name]
    DTYPE[0] = dtype
    inputs = arrays(formulas, dtype)
    y = formulas.function(*inputs, **settings)
    kept = kept_by(formulas, inputs, y)
    numbers = {setting: Symbol(lambda value=value: value) for setting, value in settings.items()}
    symbols = [Symbol(lambda array=array: array) for array in inputs]
    assert_same(formulas.function(*symbols, **numbers), y, dtype)
    symbols = [Symbol(lambda array=array: array) for array in kept]
    assert_same(formulas.slope(*symbols, *numbers.values()), formulas.slope(*kept, *settings.values()), dtype)
    if formulas.curvature is not None:
        second = formulas.curvature(*symbols, *numbers.values())
        assert_same(second, formulas.curvature(*kept, *settings.values()), dtype)


def assert_same(traced: Any, direct: Any, dtype: Any) -> None:
    """Bits and dtype; a number that holds for all inputs, and truth values, are allowed."""
    found = real(traced)
    if isinstance(direct, np.ndarray):
        assert direct.dtype in (dtype, bool)
        assert found.dtype == direct.dtype
    np.testing.assert_array_equal(found, direct)


@pytest.mark.parametrize("name", FOUND)
def test_results_are_fresh(name: str) -> None:
    """No formula hands on what it is given: its result is an array of its own, or a number."""
    formulas, settings = FOUND[name]
    inputs = arrays(formulas, np.float64)
    y = formulas.function(*inputs, **settings)
    kept = kept_by(formulas, inputs, y)
    results = [y, formulas.slope(*kept, *settings.values())]
    results += [] if formulas.curvature is None else [formulas.curvature(*kept, *settings.values())]
    for result in results:
        assert not any(np.shares_memory(result, array) for array in inputs if isinstance(result, np.ndarray))


@pytest.mark.parametrize(
    "formula",
    [
        lambda x: np.add(x, 1, out=np.empty((5, 4))),
        lambda x: np.add.reduce(x),
        lambda x: np.sort(x),
        lambda x: x if x > 0 else -x,
        lambda x: np.asarray(x) + 1.0,
    ],
    ids=["buffer", "reduction", "no ufunc", "branch", "array of symbols"],
)
def test_planted_formula_is_found(formula: Callable[..., Any]) -> None:
    """A formula that no symbol can pass through fails."""

    @elementwise(keeps="x", slope=formula)
    def planted(x: np.ndarray) -> np.ndarray:
        return x + 1

    x = normal(Key(0), (5, 4), dtype=np.float64)
    with pytest.raises((TypeError, ValueError, AssertionError)):
        found = planted(x)[1].formulas.slope(Symbol(lambda: x))
        assert isinstance(found, Symbol)
        assert_same(found, x, np.float64)
