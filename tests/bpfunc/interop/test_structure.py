"""A network can be described in plain data and made again, and its arrays can be named and found again."""

from __future__ import annotations

import inspect
import json

import attrs
import numpy as np
import pytest
from hypothesis import given, strategies as st

from bpfunc import layers
from bpfunc.interop.structure import build, describe, from_tensors, to_tensors
from bpfunc.keys import Key
from bpfunc.layers import Layer, combinators as model, mirror
from bpfunc.layers.recognition import MAKERS
from bpfunc.tree import flatten
from tests.bpfunc.interop.stacks import STACKS, lively

OWN = Layer("own", *attrs.astuple(layers.relu(), recurse=False)[1:4])


def made(layer: Layer) -> tuple[object, ...]:
    """Name and maker of a layer and of all its parts."""
    return layer.name, layer.maker, tuple((path, made(part)) for path, part in layer.parts)


def test_every_maker_is_known() -> None:
    """A layer or combinator that is added to the library without being added here fails."""
    functions = {
        name
        for module in (layers, model, mirror)
        for name, member in vars(module).items()
        if inspect.isfunction(member) and inspect.signature(member).return_annotation == "Layer"
    }
    assert functions - {"stateless"} == {*MAKERS, "named"}


def test_stacks_hold_every_maker() -> None:
    """The networks that the tests run over leave no layer out, apart from embedding."""

    def names(layer: Layer) -> set[str]:
        return {layer.maker.name}.union(*(names(part) for _, part in layer.parts))

    assert set().union(*map(names, STACKS.values())) == {*MAKERS, "named"} - {"embedding"}


@pytest.mark.parametrize("name", STACKS)
def test_settings_are_the_arguments(name: str) -> None:
    """A maker names every argument of its function but layers and initialisers."""

    def check(layer: Layer) -> None:
        function = {**MAKERS, "named": model.named}[layer.maker.name]
        arguments = {
            argument.name
            for argument in inspect.signature(function).parameters.values()
            if "Layer" not in argument.annotation and not argument.name.endswith("_init")
        }
        assert {argument for argument, _ in layer.maker.settings} - {"names"} == arguments
        for _, part in layer.parts:
            check(part)

    check(STACKS[name])


@pytest.mark.parametrize("name", STACKS)
def test_description_survives_json(name: str) -> None:
    """Names, settings and parts are the same after a journey through text."""
    again = build(json.loads(json.dumps(describe(STACKS[name]))))
    assert made(again) == made(STACKS[name])


@given(st.floats(0, 1, exclude_max=True), st.floats(allow_nan=False, allow_infinity=False))
def test_settings_survive_json_bit_for_bit(rate: float, slope: float) -> None:
    """Any number that a layer takes comes back as it was."""
    network = model.serial(layers.dropout(rate), layers.leaky_relu(slope=slope))
    assert made(build(json.loads(json.dumps(describe(network))))) == made(network)


@pytest.mark.parametrize("name", STACKS)
def test_tensors_are_the_arrays_themselves(name: str) -> None:
    """Each array has a name, and all names together are the tree again."""
    params, state = lively(STACKS[name], (784,))
    tensors = to_tensors(STACKS[name], params, state)
    again = from_tensors(STACKS[name], tensors)
    for ours, theirs in zip((params, state), again, strict=True):
        (old, structure), (new, same) = flatten(ours), flatten(theirs)
        assert structure == same
        assert [leaf.tobytes() for leaf in old] == [leaf.tobytes() for leaf in new]
    assert len(tensors) == len(flatten((params, state))[0])


RELU: dict[str, object] = {"maker": "relu", "settings": {}, "parts": []}


@pytest.mark.parametrize(
    "description",
    [
        None,
        [],
        {},
        {"maker": "conv", "settings": {}, "parts": []},
        {"maker": ["relu"], "settings": {}, "parts": []},
        {"maker": "relu", "settings": {"slope": 1}, "parts": []},
        {"maker": "relu", "settings": {}, "parts": [RELU]},
        {"maker": "relu", "settings": {}, "parts": [], "more": 1},
        {"maker": "dense", "settings": {"width": 0, "use_bias": True}, "parts": []},
        {"maker": "dense", "settings": {"width": 2}, "parts": []},
        {"maker": "dense", "settings": {"width": 2, "use_bias": True, "weight_init": "x"}, "parts": []},
        {"maker": "dropout", "settings": {"rate": "0.5"}, "parts": []},
        {"maker": "elu", "settings": {"alpha": "0.5"}, "parts": []},
        {"maker": "named", "settings": {"names": ["a"]}, "parts": []},
        {"maker": "named", "settings": {"names": ["a", "a"]}, "parts": [RELU, RELU]},
        {"maker": "parallel", "settings": {"combine": "add"}, "parts": []},
        {"maker": "residual", "settings": {}, "parts": []},
    ],
)
def test_what_is_no_description_is_refused(description: object) -> None:
    """Anything that the makers would not have written is one clear error."""
    with pytest.raises(ValueError, match=r"^no description of a network: "):
        build(description)


def test_deep_description_is_refused() -> None:
    """Nesting without end is an error, not a crash."""
    deep: dict[str, object] = RELU
    for _ in range(100_000):
        deep = {"maker": "serial", "settings": {}, "parts": [deep]}
    with pytest.raises(ValueError, match="RecursionError"):
        build(deep)
    while deep["parts"]:  # nor is taking it down one
        deep = deep["parts"][0]  # type: ignore[index]


def test_layer_of_ones_own_is_named_with_its_path() -> None:
    """The message leads to the layer and says what can be done."""
    network = model.serial(layers.dense(2), model.residual(model.named(("mine", OWN))))
    with pytest.raises(ValueError, match=r"^layers\[1\]\.inner\.parts\['mine'\]: layer own is none of .*use layers of"):
        describe(network)


@pytest.mark.parametrize(
    ("network", "other", "message"),
    [
        (model.serial(layers.dense(2)), layers.dense(2), "^the network: expected SerialParams, found DenseParams"),
        (
            model.serial(layers.dense(2)),
            model.serial(layers.relu()),
            r"^layers\[0\]: expected DenseParams, found tuple",
        ),
        (model.serial(layers.relu()), model.serial(), "of 1 parts, found those of 0 and 1"),
        (model.named(("a", layers.relu())), model.named(("b", layers.relu())), "of 1 parts, found those of 0 and 1"),
    ],
)
def test_parameters_of_another_network_are_refused(network: Layer, other: Layer, message: str) -> None:
    """The message names the place and what was expected there."""
    params, state, _ = other.init(Key(0), (2,))
    with pytest.raises(ValueError, match=message):
        to_tensors(network, params, state)


def test_missing_statistics_are_refused() -> None:
    """Batch normalisation cannot predict without its running statistics."""
    network = model.serial(layers.batch_norm())
    with pytest.raises(ValueError, match=r"layers\[0\]: expected BatchStatistics, found tuple"):
        to_tensors(network, network.init(Key(0), (2,))[0])


def test_numpy_settings_become_plain_ones() -> None:
    """Settings out of a grid or a file can be written as JSON too."""
    network = model.serial(layers.dense(np.int64(3)), layers.dropout(np.float64(0.25)), layers.elu(alpha=1))
    assert json.loads(json.dumps(describe(network)))["parts"][2]["settings"] == {"alpha": 1.0}
