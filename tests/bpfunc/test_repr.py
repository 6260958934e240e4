"""What values print as: one readable line, a table in notebooks."""

from __future__ import annotations

import pickle
import re

import attrs
import numpy as np
import pytest

import bpfunc as bp
from tests.bpfunc.members import makers, modules

LINES = {
    "serial(dense(128), relu(), dense(3))": lambda: bp.serial(bp.dense(128), bp.relu(), bp.dense(3)),
    "named(('body', dense(4)), ('head', tanh()))": lambda: bp.named(("body", bp.dense(4)), ("head", bp.tanh())),
    "residual(dense(4, use_bias=False))": lambda: bp.residual(bp.dense(4, use_bias=False)),
    "parallel(relu(), tanh(), combine='add')": lambda: bp.parallel(bp.relu(), bp.tanh(), combine="add"),
    "leaky_relu(slope=0.1)": lambda: bp.leaky_relu(slope=0.1),
    "dropout(0.5)": lambda: bp.dropout(0.5),
    "Layer('double')": lambda: bp.Layer("double", no_params, twice, twice),  # type: ignore[arg-type]
    "chain(clip_by_global_norm(1.0), sgd(0.05))": lambda: bp.chain(bp.clip_by_global_norm(1.0), bp.sgd(0.05)),
    "sgd(0.1, nesterov=True)": lambda: bp.sgd(0.1, nesterov=True),
    "adamw(0.1, decay_mask=weights_only)": lambda: bp.adamw(0.1, decay_mask=bp.weights_only),
    "lookahead(adam(0.01), every=3)": lambda: bp.lookahead(bp.adam(0.01), every=3),
    "cross_entropy(label_smoothing=0.1)": lambda: bp.cross_entropy(label_smoothing=0.1),
    "Loss('own')": lambda: bp.Loss("own", twice, twice),  # type: ignore[arg-type]
    "all_of(accuracy(), top_k(3))": lambda: bp.all_of(bp.accuracy(), bp.top_k(3)),
    "DenseParams(weight=float32[784,128], bias=None)": lambda: bp.DenseParams(np.zeros((784, 128), np.float32), None),
    "Batch(inputs=float64[3,2], targets=int64[3], weights=None)": lambda: bp.Batch(np.zeros((3, 2)), np.arange(3)),
}


def no_params(key: bp.Key, in_shape: tuple[int, ...]) -> tuple[tuple[()], tuple[()], tuple[int, ...]]:
    return (), (), in_shape


def twice(*arguments: object) -> object:
    return arguments


@pytest.mark.parametrize("line", LINES)
def test_a_value_prints_as_the_call_that_makes_it(line: str) -> None:
    """Also after pickling, as a worker's message or an error shows it."""
    value = LINES[line]()
    assert repr(value) == line
    assert repr(pickle.loads(pickle.dumps(value))) == line


def test_what_was_replaced_is_not_printed_as_the_call() -> None:
    """A record whose functions were exchanged is not what the call would make."""
    assert "adam(0.1)" not in repr(attrs.evolve(bp.adam(0.1), update=twice))
    assert repr(attrs.evolve(bp.cross_entropy(), vjp=twice)) == "Loss('cross_entropy')"
    assert repr(attrs.evolve(bp.accuracy(), measure=twice)) == "Metric('accuracy')"


def test_a_transform_given_as_argument_keeps_its_own_call() -> None:
    """`chain` of one transform prints as a chain, and the transform as before."""
    inner = bp.adam(0.1)
    assert (repr(bp.chain(inner)), repr(inner)) == ("chain(adam(0.1))", "adam(0.1)")


MAKERS = {
    name: make for kind in ("Layer", "GradientTransform", "Loss", "Metric") for name, make in makers(kind).items()
}
OTHERS = {"checked", "maker_of", "metric_for", "made_by"}
"""Functions that return a part that another function makes."""


@pytest.mark.parametrize("name", sorted(set(MAKERS) - OTHERS))
def test_every_function_that_makes_a_part_makes_one_that_prints_as_its_call(name: str) -> None:
    """A new optimiser, loss or metric that misses `recorded` would print as a row of addresses."""
    printed = repr(MAKERS[name]())
    assert f" {name}(" in f" {printed}"  # a layer of images stands between two that bring rows into its shape
    assert " at 0x" not in printed and "\n" not in printed


TRANSFORMS = [bp.adam(0.1), bp.sgd(0.1), bp.chain(bp.rmsprop(0.1), bp.ema_of_params(0.9)), bp.lion(0.1)]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=repr)
def test_states_and_parameters_print_on_one_line(transform: bp.GradientTransform) -> None:
    """A state of a million numbers is one line that counts them, without an array's numbers or NumPy's dots."""
    model = bp.serial(bp.dense(1000), bp.batch_norm(), bp.relu(), bp.dense(10))
    state = bp.init_train_state(model, transform, bp.Key(0), (784,))
    for part in (state, state.params, state.layer_state[1]):
        assert "..." not in repr(part) and "\n" not in repr(part)
    assert len(repr(state)) < 300
    assert "797,010 numbers" in repr(state)


def records_with_arrays() -> list[type]:
    """Every attrs class of the library that compares by identity, as all that hold arrays or trees do."""
    found = {value for module in modules() for value in vars(module).values() if isinstance(value, type)}
    return sorted(
        (
            cls
            for cls in found
            if attrs.has(cls) and cls.__eq__ is object.__eq__ and not cls.__name__.startswith(("_", "Call"))
        ),
        key=lambda cls: cls.__name__,
    )


@pytest.mark.parametrize("cls", records_with_arrays(), ids=lambda cls: cls.__name__)
def test_every_record_that_holds_arrays_prints_on_one_line(cls: type) -> None:
    """Fields filled with arrays of a million numbers: the line names their dtype and shape."""
    record = object.__new__(cls)
    for field in attrs.fields(cls):
        object.__setattr__(record, field.name, np.zeros((1000, 1000)))
    assert "float64[1000,1000]" in repr(record) or "1,000,000 numbers" in repr(record)
    assert "\n" not in repr(record) and len(repr(record)) < 400


def test_a_notebook_shows_a_network_as_a_table() -> None:
    """A row for each layer with its output's shape from the first layer on that settles it; text is escaped."""
    inner = bp.serial(bp.tanh(), bp.dense(8))
    branches = bp.parallel(bp.dense(2), bp.dense(3))
    model = bp.serial(bp.relu(), bp.dense(8), bp.residual(inner), bp.layer_norm(), branches, bp.relu())
    rows = re.findall("<tr>(<td>.*?)</tr>", model._repr_html_())
    assert [tuple(re.findall("<td>(.*?)</td>", row)) for row in rows] == [
        ("layers[0]", "relu()", ""),
        ("layers[1]", "dense(8)", "(8,)"),
        ("layers[2].inner.layers[0]", "tanh()", "(8,)"),
        ("layers[2].inner.layers[1]", "dense(8)", "(8,)"),
        ("layers[3]", "layer_norm()", "(8,)"),
        ("layers[4].branches[0]", "dense(2)", "(2,)"),
        ("layers[4].branches[1]", "dense(3)", "(3,)"),
        ("layers[5]", "relu()", "(5,)"),
    ]
    own = attrs.evolve(bp.relu(), name="<b>", maker=None)
    assert "<td>Layer(&#x27;&lt;b&gt;&#x27;)</td>" in own._repr_html_()
