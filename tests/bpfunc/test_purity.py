"""Purity, found by looking: every public function of bpfunc is called, and each call is checked.

The docstring examples make the calls. While they run, every public function, and every function inside the records that
they return (a layer's forward, a transform's update, a step), is wrapped: arguments must be the same bytes after the
call as before, a second call with the same arguments must give the same bits, and no result may share writable memory
with an argument. Each call is then repeated under hypothesis with other numbers, read-only and in Fortran order. A
function added later is covered as soon as it has an example, and fails here as long as its example does not call it.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType

import attrs
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import bpfunc
from bpfunc.tree import tree_map

SKIPPED_MODULES = ("bpfunc.compiled", "bpfunc.interop")
RECORD_FUNCTIONS = ("Layer", "Loss", "GradientTransform", "Metric")


def modules() -> list[ModuleType]:
    """Every public module of the library."""
    names = [info.name for info in pkgutil.walk_packages(bpfunc.__path__, "bpfunc.")]
    return [importlib.import_module(name) for name in names if not name.startswith(SKIPPED_MODULES)]


def public_functions() -> dict[str, Callable[..., object]]:
    """Qualified name -> function, each where it is defined."""
    return {
        f"{module.__name__}.{name}": member
        for module in modules()
        for name, member in vars(module).items()
        if inspect.isfunction(member) and member.__module__ == module.__name__ and not name.startswith("_")
    }


FUNCTIONS = public_functions()


def arrays_in(value: object) -> Iterator[np.ndarray]:
    """Every array inside arguments or results."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from arrays_in(item)
    elif isinstance(value, dict):
        yield from arrays_in(list(value.values()))
    elif attrs.has(type(value)):
        yield from arrays_in([getattr(value, field.name) for field in attrs.fields(type(value))])


def bits(value: object) -> list[tuple[object, ...]]:
    """The exact content of every array inside a value, and of the plain numbers beside them."""
    content: list[tuple[object, ...]] = [(a.shape, a.dtype.str, a.tobytes()) for a in arrays_in(value)]
    return [*content, (repr(value),)] if isinstance(value, int | float | str | bool | np.generic) else content


def materialised(value: object) -> object:
    """Lists in place of iterators, so that they can be compared."""
    return list(value) if isinstance(value, Iterator) else value


UNFILLED = {"bpfunc.arrays.aligned.empty"}
"""Functions whose result is memory that nobody has written yet: its contents are no result."""


class Impure(AssertionError):
    """A call that was not pure."""


def checked(
    name: str, function: Callable[..., object], arguments: tuple[object, ...], options: dict[str, object]
) -> object:
    """Call a function twice and check what purity means; return the first result."""
    if any(isinstance(item, Iterator) for item in (*arguments, *options.values())):
        # An iterator can be read once only: its reader is checked by what it reads.
        return function(*arguments, **options)
    given_arrays = list(arrays_in((arguments, options)))
    before = [array.tobytes() for array in given_arrays]
    first = materialised(function(*arguments, **options))
    if [array.tobytes() for array in given_arrays] != before:
        raise Impure(f"{name} changed an argument")
    second = materialised(function(*arguments, **options))
    if name not in UNFILLED and bits(first) != bits(second):
        raise Impure(f"{name} gave two results for one question")
    for result in arrays_in(first):
        if result.flags.writeable and any(np.shares_memory(result, array) for array in given_arrays):
            raise Impure(f"{name} handed out a writable view of its argument")
    return iter(first) if inspect.isgeneratorfunction(function) else first


def is_function(value: object) -> bool:
    """Whether a value is a function, with or without some of its arguments."""
    return inspect.isfunction(value) or isinstance(value, partial)


Call = tuple[str, Callable[..., object], tuple[object, ...], dict[str, object]]


class Recorder:
    """Wraps functions so that every call is checked and remembered."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.impure: list[str] = []

    def wrap(self, name: str, function: Callable[..., object]) -> Callable[..., object]:
        """Return the function with its calls checked, and the functions in its results wrapped likewise."""

        def recorded(*arguments: object, **options: object) -> object:
            try:
                result = checked(name, function, arguments, options)
            except Impure as problem:
                self.impure.append(str(problem))
                raise
            self.calls.append((name, function, arguments, options))
            return self._watched(name, result)

        return recorded

    def _watched(self, name: str, result: object) -> object:
        if is_function(result):
            return self.wrap(f"{name}()", result)
        if type(result).__name__ in RECORD_FUNCTIONS:
            changes = {
                field.name: self.wrap(f"{name}().{field.name}", getattr(result, field.name))
                for field in attrs.fields(type(result))
                if is_function(getattr(result, field.name)) and field.name != "op"
            }
            return attrs.evolve(result, **changes)
        return result


@pytest.fixture(scope="module")
def recorder() -> Recorder:
    """All examples of the library, run with every public function wrapped."""
    recorder = Recorder()
    wrapped = {function: recorder.wrap(name, function) for name, function in FUNCTIONS.items()}
    finder, runner = doctest.DocTestFinder(exclude_empty=True), doctest.DocTestRunner(verbose=False)
    for module in modules():
        for test in finder.find(module, module.__name__):
            if not test.examples:
                continue
            test.globs = {
                name: wrapped.get(value, value) if inspect.isfunction(value) else value
                for name, value in vars(module).items()
            } | {"np": np}
            test.examples = [_rerouted(example) for example in test.examples]
            test.globs["__wrapped"] = wrapped
            runner.run(test, out=lambda text: None, clear_globs=False)
    return recorder


def _rerouted(example: doctest.Example) -> doctest.Example:
    """An example whose imports bring in the wrapped functions."""
    if "import" not in example.source:
        return example
    names = [part.strip() for part in example.source.split("import", 1)[1].split(",")]
    reroute = "".join(
        f"{name} = __wrapped.get({name}, {name}) if callable({name}) and not isinstance({name}, type) else {name}\n"
        for name in names
        if name.isidentifier()
    )
    return doctest.Example(f"exec({example.source + reroute!r})\n", "", indent=example.indent)


def test_every_public_function_is_called(recorder: Recorder) -> None:
    """A public function whose example never calls it fails here, and so does one that any example finds impure."""
    called = {name for name, *_ in recorder.calls}
    assert recorder.impure == []
    assert sorted(FUNCTIONS.keys() - called) == []


def test_records_functions_are_called_too(recorder: Recorder) -> None:
    """Forward passes, updates, steps and measures are among the calls, not their makers alone."""
    called = {name for name, *_ in recorder.calls}
    for name in (
        "dense().forward",
        "dropout().forward",
        "serial().forward",
        "make_step()",
        "cross_entropy().forward",
        "momentum().update",
        "accuracy().measure",
    ):
        assert any(name in found for found in called), name


def varied(value: object, random: np.random.Generator, layout: str) -> object:
    """The same arguments with other numbers in the float arrays, read-only, in another layout."""
    if isinstance(value, np.ndarray):
        if not np.issubdtype(value.dtype, np.floating) or value.size == 0:
            return value
        # Reordering keeps what an argument must satisfy: ranges, sums of a whole array, signs of variances.
        fresh = random.permutation(value.reshape(-1)).reshape(value.shape)
        fresh = np.asfortranarray(fresh).reshape(value.shape) if layout == "fortran" else fresh  # it makes () of (1,)
        fresh.flags.writeable = False
        return fresh
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(varied(item, random, layout) for item in value)
    if attrs.has(type(value)) and type(value).__name__ not in RECORD_FUNCTIONS:
        try:
            return tree_map(lambda leaf: varied(leaf, random, layout), value)
        except TypeError:
            return value
    return value


@settings(max_examples=12)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["c", "fortran"]))
def test_calls_are_pure_with_other_numbers(recorder: Recorder, seed: int, layout: str) -> None:
    """Every call of every example stays pure with its numbers reordered, read-only and laid out otherwise."""
    random = np.random.default_rng(seed)
    for name, function, arguments, options in recorder.calls:
        if name.startswith("bpfunc.gradient.check"):
            continue  # checks a derivative that belongs to the very numbers of its example
        others = tuple(varied(item, random, layout) for item in arguments)
        if any(isinstance(item, Iterator) for item in others):
            continue
        checked(name, function, others, options)


@pytest.mark.parametrize(
    ("plant", "message"),
    [
        (lambda x: x.__setitem__(0, 7) or x.copy(), "changed an argument"),
        (lambda x, seen=[]: seen.append(0) or x + len(seen), "two results for one question"),
        (lambda x: x[1:], "writable view"),
        (lambda x: (1, {"deep": x.reshape(-1, 1)}), "writable view"),
    ],
)
def test_planted_impurity_is_found(plant: Callable[..., object], message: str) -> None:
    """A function that writes to its argument, remembers, or hands out a view of its argument is caught."""
    with pytest.raises(Impure, match=message):
        checked("planted", plant, (np.arange(3.0),), {})


def test_pure_functions_pass() -> None:
    """A fresh result, and a read-only view, are what purity allows."""
    view = np.arange(3.0)[1:]
    view.flags.writeable = False
    checked("fresh", lambda x: x + 1, (np.arange(3.0),), {})
    checked("view", bpfunc.readonly, (np.arange(3.0),), {})
