"""No message names what nobody can find: wrong calls of all that the library hands out, in Python's own words."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import attrs
import pytest

import bpfunc as bp
from tests.bpfunc.members import called, public_functions

PRIVATE = re.compile(r"(?<![\w'])_[a-z]\w*")
INSIDE = {"elementwise", "op"}
"""Fields of records for the engines, which nobody calls by hand."""
MODEL, LOSS = bp.serial(bp.dense(3)), bp.cross_entropy()


def handed_out(name: str, function: Callable[..., Any]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The function, what it returns where that is a function, and the functions of the record that it returns."""
    yield name, function
    try:
        made = called(function)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError):
        return  # it wants more than `members` has
    if isinstance(made, partial):
        yield f"{name}()", made
        try:
            yield f"{name}()(model, loss)", made(MODEL, LOSS)
        except (TypeError, ValueError, AttributeError):
            return
    if attrs.has(type(made)) and not isinstance(made, type):
        for field in attrs.fields(type(made)):
            value = getattr(made, field.name)
            if field.name not in INSIDE and callable(value) and not isinstance(value, type):
                yield f"{name}().{field.name}", value


HANDED_OUT = [pair for name, function in public_functions().items() for pair in handed_out(name, function)]
HANDED_OUT += [
    ("value_and_grad()", bp.value_and_grad(MODEL, LOSS)),
    ("accumulated()()", bp.accumulated(2)(MODEL, LOSS)),
    ("finite_gradient()()", bp.finite_gradient()(MODEL, LOSS)),
    ("make_step()", bp.make_step(MODEL, LOSS, bp.sgd(0.1))),
    ("finite_step()", bp.finite_step(bp.make_step(MODEL, LOSS, bp.sgd(0.1)))),
    ("weighted()", bp.weighted(bp.Batch(*[__import__("numpy").ones(2)] * 2).inputs)),
]
CALLS: tuple[tuple[tuple[Any, ...], dict[str, Any]], ...] = (
    ((), {}), ((None,) * 20, {}), ((), {"nonsense": 1}), ((1,), {}), (("a", "b"), {}),
)  # fmt: skip


def test_enough_is_called() -> None:
    """Functions that are returned, and those in records."""
    names = [name for name, _ in HANDED_OUT]
    assert sum(name.endswith("()") for name in names) > 25
    assert sum(".init" in name for name in names) > 30


@pytest.mark.parametrize(("name", "function"), HANDED_OUT, ids=[name for name, _ in HANDED_OUT])
def test_a_wrong_call_names_nothing_private(name: str, function: Callable[..., Any]) -> None:
    """Without arguments, with too many, with an unknown one, with few of the wrong kind."""
    for positional, named in CALLS:
        try:
            function(*positional, **named)
        except Exception as error:
            assert PRIVATE.findall(str(error)) == [], (name, str(error))


def test_what_is_handed_out_can_be_pickled_as_before() -> None:
    """By its new name, which leads from the public function to it."""
    for name, function in HANDED_OUT:
        if isinstance(function, partial) and function.func.__module__.startswith("bpfunc."):
            try:
                packed = pickle.dumps(function)
            except (AttributeError, pickle.PicklingError) as error:
                assert "<lambda>" in str(error), name  # of this test's own arguments
                continue
            assert pickle.loads(packed).func is function.func, name
