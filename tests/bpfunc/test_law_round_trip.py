"""The law of round trips: whatever a writer accepts, its reader reads back equal; anything else is refused by path.

Values, dtypes, structure: over trees of every kind, names, metadata, dtypes and layouts.
"""

from __future__ import annotations

import copy
import enum
import importlib
import io
import pickle
import pkgutil
import re
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from types import MappingProxyType
from typing import NamedTuple

import attrs
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings, strategies as st

import bpfunc
from bpfunc.arrays.types import readonly, readonly_arrays
from bpfunc.interop.safetensors import (
    DTYPES,
    HEADER_LIMIT,
    from_safetensors,
    safetensors_metadata,
    save_tensors,
    to_safetensors,
)
from bpfunc.interop.torch_layout import from_torch_state_dict, to_torch_state_dict
from bpfunc.tree import (
    STATIC,
    Tree,
    TreeStructureError,
    flatten,
    tree_leaves,
    tree_leaves_with_path,
    tree_map,
    tree_map_with_path,
    unflatten,
)
from tests.bpfunc.interop.stacks import IN_SEQUENCE, lively
from tests.bpfunc.test_docstrings import EXTRAS


class Point(NamedTuple):
    """A named tuple."""

    x: object
    y: object = 0


@attrs.frozen(eq=False)
class Plain:
    """A record."""

    left: object
    right: object


@attrs.frozen(eq=False, slots=False, kw_only=True)
class Named:
    """A record by names alone, one of which is private, one part of the structure."""

    _inner: object
    unit: str = attrs.field(default="m", metadata=STATIC)
    other: object = None


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class Late:
    """A record with fields that nobody gives: one with a default, one made from the others."""

    given: object
    count: object = attrs.field(init=False, default=7)
    twice: object = attrs.field(init=False)
    name: str = attrs.field(init=False, default="late", metadata=STATIC)
    made: object = attrs.field(init=False, default=0, converter=lambda value: (value,))

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "twice", (self.given, self.given))


@attrs.define(eq=False)
class Own:
    """A record with an ``__init__`` of its own."""

    value: object
    more: object

    def __init__(self, both: object) -> None:
        self.__attrs_init__(both, both)


class Other(dict):
    """A dict of another class."""


class Odd:
    """A key that has no order, and prints like others."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return "odd"

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Odd) and other.number == self.number

    def __lt__(self, other: object) -> bool:
        return self.number < other.number if isinstance(other, Odd) else NotImplemented


class Level(enum.IntEnum):
    """A whole number with a name."""

    LOW = 1
    HIGH = 2


def empty_list() -> list[object]:
    """What a defaultdict starts with."""
    return []


LAYOUTS: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    lambda a: a,
    np.asfortranarray,
    lambda a: a.T,
    lambda a: a[::-1] if a.ndim else a,
    lambda a: np.repeat(a, 2, axis=0)[::2] if a.ndim else a,
    lambda a: np.broadcast_to(a, (2, *a.shape)),
    lambda a: a[..., :0] if a.ndim else a,
    readonly,
)
HELD = (*DTYPES, ">f4", ">i8", ">u2", "<f8")
NOT_HELD = ("complex64", "complex128", "longdouble", "object", "<U3", "S2", "datetime64[s]", "f4,i4")


@st.composite
def arrays(draw: Callable[..., object], dtypes: tuple[str, ...]) -> np.ndarray:
    """An array of some dtype, shape and layout."""
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    shape = draw(st.sampled_from([(), (1,), (3,), (0,), (2, 3), (0, 2), (2, 1, 2)]))
    bits = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 100, shape)
    array = np.zeros(shape, dtype) if dtype.kind == "V" else (bits.astype("<U3") if dtype.kind in "US" else bits)
    array = array.astype(dtype)
    if dtype.kind == "f" and array.size and draw(st.booleans()):
        array = array.copy()
        array.flat[0] = draw(st.sampled_from([np.nan, np.inf, -np.inf, -0.0, 1e-40]))
    return draw(st.sampled_from(LAYOUTS))(array)


NUMBERS = st.one_of(
    *(st.integers(-(2**63), 2**64 - 1), st.floats(), st.booleans(), st.sampled_from(Level)),
    *(st.sampled_from([np.float32(0.1), np.float16(0.1), np.int8(-3), np.bool_(True), np.uint64(2**63)]),),
)
ODDITIES = st.one_of(
    *(st.integers(min_value=2**64), st.complex_numbers(), st.text(max_size=3), st.binary(max_size=3)),
    *(st.just(Fraction(1, 3)), st.just({1, 2}), st.just(np.ma.masked_array([1.0, 2.0], [False, True]))),
    *(st.just(MappingProxyType({"a": 1})), arrays(NOT_HELD)),
)
TEXT = st.one_of(st.text(max_size=4), st.sampled_from(["", "a.b", "a", "/", "..", "[0]", "['a']", "\ud800", "0", "\n"]))
KEYS = st.one_of(TEXT, st.integers(-3, 3), st.tuples(st.integers(0, 2), TEXT))
ODD_KEYS = st.one_of(
    st.integers(0, 3).map(Odd), st.just(float("nan")), st.frozensets(st.integers(0, 2)), st.complex_numbers()
)


def no_list(part: object) -> object:
    """A record with arrays refuses lists itself."""
    return tuple(part) if isinstance(part, list) else part


def nodes(inner: st.SearchStrategy[Tree], keys: st.SearchStrategy[object]) -> st.SearchStrategy[Tree]:
    """A node of some kind."""
    pairs = st.dictionaries(keys, inner, max_size=3)
    return st.one_of(
        *(st.lists(inner, max_size=3).map(tuple), st.builds(Point, inner, inner), pairs),
        *(pairs.map(OrderedDict), pairs.map(lambda items: OrderedDict(reversed(items.items())))),
        *(pairs.map(lambda items: defaultdict(empty_list, items)), pairs.map(lambda items: defaultdict(None, items))),
        *(pairs.map(Counter), st.builds(Plain, inner, inner), st.builds(Named, inner=inner, other=inner)),
        *(st.builds(Late, inner.map(no_list)), st.builds(Own, inner)),
    )


def odd_nodes(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    """A node of a kind that cannot be made again."""
    return st.one_of(
        *(st.lists(inner, max_size=2), st.dictionaries(TEXT, inner, max_size=2).map(Other)),
        *(nodes(inner, ODD_KEYS), st.just(np.zeros((2, 3)).flags), st.just(__import__("time").gmtime(0))),
    )


LEAVES = st.none() | NUMBERS | arrays(HELD)
TREES = st.recursive(LEAVES, lambda inner: nodes(inner, KEYS), max_leaves=8)
ODD_TREES = st.recursive(LEAVES | ODDITIES, lambda inner: nodes(inner, KEYS) | odd_nodes(inner), max_leaves=8)
SETTINGS = settings(max_examples=300, suppress_health_check=list(HealthCheck))


def equal(left: object, right: object) -> bool:
    """One class at every node, one dtype, shape and bit pattern at every leaf."""
    if type(left) is not type(right):
        return False
    if isinstance(left, np.ndarray | np.generic):
        return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
    if isinstance(left, tuple):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, dict):
        same = list(left) == list(right) if isinstance(left, OrderedDict) else left.keys() == right.keys()
        factory = getattr(left, "default_factory", None) is getattr(right, "default_factory", None)
        return same and factory and all(equal(left[key], right[key]) for key in left)
    if attrs.has(type(left)):
        names = [field.name for field in attrs.fields(type(left))]
        return all(equal(getattr(left, name), getattr(right, name)) for name in names)
    if isinstance(left, float):
        return np.float64(left).tobytes() == np.float64(right).tobytes()
    return left == right


# Trees.


@SETTINGS
@given(TREES)
@example(OrderedDict([("a.b", 1), ("a", OrderedDict(b=2))]))
@example(Counter(a=1, b=2))
def test_trees_of_every_kind_are_made_again(tree: Tree) -> None:
    """Mapping nothing changes nothing, in every way of mapping; no two leaves share a path."""
    leaves, structure = flatten(tree)
    assert equal(tree_map(lambda leaf: leaf, tree), tree)
    assert equal(tree_map_with_path(lambda path, leaf: leaf, tree), tree)
    assert equal(unflatten(structure, leaves), tree)
    assert hash(structure) == hash(flatten(tree)[1])
    paths = [path for path, _ in tree_leaves_with_path(tree)]
    assert len(set(paths)) == len(paths) == len(leaves)
    numbered = unflatten(structure, range(len(leaves)))
    assert tree_leaves(tree_map(lambda number, other: (number, other)[0], numbered, numbered)) == tuple(
        range(len(leaves))
    )


@SETTINGS
@given(st.permutations(["b", "a", "c", 3, 1, (0, "x"), (0, "a")]))
def test_the_order_of_leaves_is_that_of_the_keys(keys: list[object]) -> None:
    """However a dict was filled; but an OrderedDict, whose order is part of it, keeps its own."""
    expected = tree_leaves({key: str(key) for key in sorted(keys, key=str)})
    for kind in (dict, Counter, lambda items: defaultdict(None, items)):
        assert tree_leaves(kind({key: str(key) for key in keys})) == expected
    assert tree_leaves(OrderedDict((key, str(key)) for key in keys)) == tuple(map(str, keys))


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (Other(a=1), "a Other in a tree: of dict classes only dict, OrderedDict, defaultdict and Counter"),
        (__import__("time").gmtime(0), "a struct_time in a tree: of tuples only plain and named ones"),
        ([1], "a list in a tree"),
        ({1j: 1, 2j: 2}, "a dict in a tree: its keys, of the class complex, cannot be put in order"),
        ({float("nan"): 1, 1.0: 2}, "its keys, of the class float, cannot be put in order"),
        ({frozenset({1}): 1, frozenset({2}): 2}, "its keys, of the class frozenset"),
        (attrs.make_class("Unset", {"x": attrs.field(init=False)})(), "a Unset in a tree: its field x was never set"),
    ],
)
def test_nodes_that_cannot_be_made_again_are_refused_by_class(tree: Tree, message: str) -> None:
    """One clear error, wherever they stand."""
    for nest in (tree, (tree,), {"a": Plain(tree, None)}):
        for walk in (flatten, tree_leaves, tree_leaves_with_path, lambda t: tree_map(lambda leaf: leaf, t)):
            with pytest.raises(TypeError, match=message):
                walk(nest)


def test_two_leaves_of_one_path_are_refused() -> None:
    """Keys that print alike could not be told apart in a file."""
    tree = {Odd(1): 1, Odd(2): 2}
    assert tree_leaves(tree_map(lambda leaf: 10 * leaf, tree)) == (10, 20)
    for walk in (tree_leaves_with_path, to_safetensors, lambda t: tree_map_with_path(lambda path, leaf: leaf, t)):
        with pytest.raises(TreeStructureError, match=r"two leaves of the tree have the path \[odd\]"):
            walk(tree)


# Files of tensors.


def held(tree: Tree) -> bool:
    """Whether every leaf is a number or an array of a type that a file holds."""
    return all(
        not isinstance(leaf, np.ma.MaskedArray) and np.asarray(leaf).dtype.name in DTYPES for leaf in tree_leaves(tree)
    )


@SETTINGS
@given(TREES, st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3))
def test_what_safetensors_hold_comes_back(tree: Tree, metadata: dict[str, str]) -> None:
    """Every tree of numbers that a file holds is written, and read back equal, and read-only."""
    assume(held(tree))
    data = to_safetensors(tree, metadata=metadata)
    assert data == to_safetensors(tree, metadata=dict(reversed(metadata.items())))
    back = from_safetensors(data, tree)
    assert equal(back, tree)
    assert safetensors_metadata(data) == metadata
    assert not any(leaf.flags.writeable for leaf in tree_leaves(back) if isinstance(leaf, np.ndarray))


@SETTINGS
@given(ODD_TREES, st.dictionaries(TEXT, TEXT | st.integers() | st.none(), max_size=2))
def test_what_safetensors_do_not_hold_is_refused(tree: Tree, metadata: dict[str, object]) -> None:
    """Whatever is in a tree: it comes back equal, or the message says which leaf, node or entry."""
    try:
        data = to_safetensors(tree, metadata=metadata)
    except (TypeError, ValueError) as error:
        message = str(error)
        try:
            paths = [path for path, _ in tree_leaves_with_path(tree)]
        except (TypeError, ValueError) as other:
            assert message == str(other)
            assert " in a tree: " in message or "two leaves of the tree have the path" in message
        else:
            named = [f"tensor {path}: " for path in paths] + [f"metadata {name!r}: " for name in metadata]
            assert message.startswith((*named, "tensor '"))
        return
    assert equal(from_safetensors(data, tree), tree)
    assert safetensors_metadata(data) == metadata


MASKED = np.ma.masked_array([1.0, 2.0], [False, True])
LONELY = (
    *(np.zeros(2, dtype) for dtype in NOT_HELD),
    MASKED,
    2**64,
    -(2**63) - 1,
    1j,
    "a",
    b"a",
    Fraction(1, 3),
    {1, 2},
    range(3),
    deque([1]),
    memoryview(b"a"),
)


@pytest.mark.parametrize("leaf", LONELY, ids=lambda leaf: repr(leaf).partition(" at 0x")[0])
def test_leaves_that_no_file_holds_are_refused_by_path(leaf: object) -> None:
    """Each on its own, in a tree and as a tensor."""
    with pytest.raises(ValueError, match=r"^tensor \['a'\]\[0\]: expected numbers of float64, .*, found "):
        to_safetensors({"a": (leaf, 1.0)})
    with pytest.raises(ValueError, match=r"^tensor w: expected numbers of "):
        save_tensors({"w": leaf})


@given(st.integers(-300, 300))
def test_a_header_is_written_only_if_it_is_read(near: int) -> None:
    """Metadata up to the limit come back; a byte more is refused, by name."""
    tree = {"w": np.arange(3.0)}
    metadata = {"a": "1", "long": "x" * (HEADER_LIMIT - 200 + near)}
    try:
        data = to_safetensors(tree, metadata=metadata)
    except ValueError as error:
        assert "header" in str(error) and "'long'" in str(error) and near > 0
        return
    assert safetensors_metadata(data) == metadata
    assert equal(from_safetensors(data, tree), tree)


@given(st.dictionaries(TEXT | st.integers() | st.just("__metadata__"), arrays((*HELD, "complex64")), max_size=4))
def test_tensors_of_any_names_come_back(tensors: dict[object, np.ndarray]) -> None:
    """Names with dots, slashes, nothing at all: as they are, or refused by name."""
    from safetensors.numpy import load

    try:
        data = save_tensors(tensors)
    except ValueError as error:
        assert str(error).startswith("tensor ")
        assert any(not isinstance(name, str) or name in ("__metadata__", "\ud800") for name in tensors) or any(
            array.dtype.kind == "c" for array in tensors.values()
        )
        return
    found = load(data)
    assert found.keys() == tensors.keys()
    for name, array in tensors.items():
        assert equal(found[name], np.array(array.astype(array.dtype.newbyteorder("=")), order="C")), name


# torch's layout.


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64, ">f4", np.complex64, "mixed"])
@pytest.mark.parametrize("name", IN_SEQUENCE)
def test_torchs_layout_comes_back_or_is_refused(name: str, dtype: object) -> None:
    """Parameters of any dtype, in any memory layout."""
    network, trees = IN_SEQUENCE[name], lively(IN_SEQUENCE[name], (784,))
    kinds = iter([np.float64, np.float32] * 50) if dtype == "mixed" else iter([dtype] * 100)
    params, state = tree_map(lambda leaf: np.asfortranarray(leaf.astype(next(kinds))), trees)
    try:
        there = to_torch_state_dict(network, params, state)
    except ValueError as error:
        assert dtype not in (np.float32, np.float64, "mixed") and ": expected float32 or float64 (" in str(error)
        return
    assert equal(from_torch_state_dict(network, there, in_shape=(784,)), (params, state))


def test_parameters_of_another_network_are_not_written() -> None:
    """Arrays too many, too few or of other shapes: what no reader takes back."""
    network, norm = bpfunc.serial(bpfunc.dense(3)), bpfunc.serial(bpfunc.layer_norm(), bpfunc.rms_norm())
    records = bpfunc.layers

    def of(weight: object, bias: object) -> Tree:
        return bpfunc.layers.combinators.SerialParams((records.DenseParams(weight, bias),))

    def norms(shift: object, other: object) -> Tree:
        both = (records.NormParams(np.ones(2), shift), records.NormParams(np.ones(2), other))
        return bpfunc.layers.combinators.SerialParams(both)

    for model, params, message in (
        (network, of(np.ones((2, 3)), None), r"layers\[0\]\.bias: expected float32 or float64 \(3,\), found none"),
        (network, of(np.ones((2, 4)), np.ones(3)), r"layers\[0\]\.weight: expected float32 or float64 \(2, 3\)"),
        (network, of(np.ones(3), np.ones(3)), r"layers\[0\]\.weight"),
        (norm, norms(None, None), r"layers\[0\]\.shift: expected float32 or float64 \(2,\), found none"),
        (norm, norms(np.ones(2), np.ones(2)), r"layers\[1\]\.shift: expected none, found float64 \(2,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            to_torch_state_dict(model, params)


# Estimators.


LABELS: dict[str, np.ndarray] = {
    "whole numbers": np.array([3, -1]),
    "bytes": np.array([3, 1], np.uint8),
    "large": np.array([2**63, 2**64 - 1], np.uint64),
    "the other way round": np.array([3, 1], ">i4"),
    "truth": np.array([True, False]),
    "fractions": np.array([1.0, 2.0]),
    "text": np.array(["no", "yes"]),
    "wide text": np.array(["no", "yes"], "<U40"),
    "far too wide text": np.array(["no", "yes"], "<U20000"),
    "text as objects": np.array(["no", "ja\0"], object),
    "odd text": np.array(["\u202e", "\U0001f600"], object),
    "surrogates": np.array(["\ud800", "a"], object),
    "a pair of surrogates": np.array(["\ud83d\ude00", "a"], object),
    "numbers as objects": np.array([np.int64(1), np.int64(2)], object),
}
PARAMS: tuple[dict[str, object], ...] = (
    {"hidden_layer_sizes": [3, 2]},
    {"hidden_layer_sizes": (3,)},
    {"hidden_layer_sizes": 4},
    {"dtype": np.float32},
    {"dtype": "float64", "n_iter_no_change": np.inf},
    {"class_weight": "balanced", "alpha": np.float32(0.1)},
    {"random_state": None, "solver": "sgd", "momentum": 0.5},
)


def estimator(**params: object) -> object:
    """A classifier that is soon done."""
    sklearn = pytest.importorskip("bpfunc.interop.sklearn", exc_type=ImportError)
    return sklearn.BackpropClassifier(**{"hidden_layer_sizes": (3,), "max_iter": 2, "random_state": 0} | params)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("params", PARAMS, ids=str)
def test_estimators_come_back_or_are_refused(params: dict[str, object], labels: str) -> None:
    """Classes of every type, parameters of every kind."""
    X, y = np.random.default_rng(0).normal(size=(20, 2)), np.tile(LABELS[labels], 10)
    model = estimator(**params)
    try:
        model.fit(X, y)
    except (TypeError, ValueError):
        pytest.skip("scikit-learn knows no such classes")
    try:
        data = model.to_bytes()
    except ValueError as error:
        assert labels in ("far too wide text", "surrogates", "a pair of surrogates")
        assert str(error).startswith("classes_ are ")
        return
    again = type(model).from_bytes(data)
    assert again.get_params() == model.get_params()
    assert again.classes_.dtype == model.classes_.dtype and again.classes_.tolist() == model.classes_.tolist()
    assert again.predict(X).tolist() == model.predict(X).tolist()
    assert equal(again.predict_proba(X), model.predict_proba(X))
    assert again.to_bytes() == data
    assert equal(flatten(again.state_)[0], flatten(model.state_)[0])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("count", [10, 60_000, 600_000])
def test_estimators_of_many_features_come_back_or_are_refused(count: int) -> None:
    """Names of columns: 60,000 of them fit, 600,000 do not, which is said."""
    pytest.importorskip("sklearn")
    model = estimator(hidden_layer_sizes=(1,))
    model.fit(np.zeros((4, 2)), [0, 1, 0, 1])
    model.n_features_in_ = count
    model.fit(np.zeros((4, count), np.float32), [0, 1, 0, 1])
    model.feature_names_in_ = np.array([f"column {number}" for number in range(count)], object)
    try:
        data = model.to_bytes()
    except ValueError as error:
        assert count == 600_000 and "a header of more than" in str(error)
        return
    again = type(model).from_bytes(data)
    assert again.feature_names_in_.tolist() == model.feature_names_in_.tolist()
    assert again.to_bytes() == data


# Arrays of NumPy.


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), min_size=3, max_size=3))
def test_npz_come_back(names: list[str]) -> None:
    """Every array of a network under its path, and its texts, by NumPy alone."""
    from pipelines.artifacts import PIXELS, Scaling
    from pipelines.inference.export import npz_bytes
    from pipelines.runs.network import Network
    from pipelines.spec.run_spec import ModelSpec, RunSpec
    from pipelines.training.build import build_model

    spec = attrs.evolve(RunSpec(), model=ModelSpec(hidden=(2,)))
    params, state, _ = build_model(spec.model, 3).init(bpfunc.Key(0), (PIXELS,))
    params = tree_map(np.asfortranarray, params)
    network = Network(params, state, Scaling("unit", np.zeros(PIXELS), np.ones(PIXELS)), spec, tuple(names), 1)
    found = np.load(io.BytesIO(npz_bytes(network)), allow_pickle=False)
    expected = dict(tree_leaves_with_path(network))
    assert set(found) == {*expected, "class_names", "config"}
    assert all(equal(np.ascontiguousarray(found[path]), np.ascontiguousarray(leaf)) for path, leaf in expected.items())
    assert [name.rstrip("\0") for name in names] == found["class_names"].tolist()


# Copies.


def array_records() -> Iterator[type]:
    """Every record of the library that has arrays for fields."""
    for info in pkgutil.walk_packages(bpfunc.__path__, "bpfunc."):
        if info.name not in EXTRAS:
            module = importlib.import_module(info.name)
            for member in vars(module).values():
                own = isinstance(member, type) and attrs.has(member) and member.__module__ == info.name
                if own and not member.__name__.startswith("_") and any(map(holds_array, attrs.fields(member))):
                    yield member


def holds_array(field: attrs.Attribute) -> bool:
    """Whether a field is an array by its type."""
    return re.match(r"(Float|Int|Bool)Array|NDArray|numpy\.ndarray", str(field.type)) is not None


RECORDS = list(array_records())
COPIES: dict[str, Callable[[object], object]] = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "old pickle": lambda value: pickle.loads(pickle.dumps(value, protocol=2)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}


def test_records_of_arrays_are_found() -> None:
    """Those that everybody knows are among them."""
    assert {"DenseParams", "Batch", "NormParams"} <= {record.__name__ for record in RECORDS}
    assert len(RECORDS) > 10


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("record", [*RECORDS, Late], ids=lambda record: record.__name__)
def test_copies_of_records_are_read_only(record: type, way: str) -> None:
    """Whatever a record is copied by, nobody writes to its arrays."""
    original = record.__new__(record)
    for place, field in enumerate(attrs.fields(record)):
        value = readonly(np.arange(3.0) + place) if field.init else (1.0, np.float32(2))
        object.__setattr__(original, field.name, value)
    again = COPIES[way](original)
    assert equal(again, original)
    for field in attrs.fields(record):
        value = getattr(again, field.name)
        if isinstance(value, np.ndarray):
            assert not value.flags.writeable, field.name
            assert way == "copy" or not np.shares_memory(value, getattr(original, field.name))


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("name", IN_SEQUENCE)
def test_copies_of_parameters_are_read_only(name: str, way: str) -> None:
    """Of whole networks, and equal to what was copied."""
    trees = lively(IN_SEQUENCE[name], (784,))
    again = COPIES[way](trees)
    assert equal(again, trees)
    assert not any(leaf.flags.writeable for leaf in tree_leaves(again))
