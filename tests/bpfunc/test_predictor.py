"""A predictor computes what the model's forward pass computes, up to rounding, and refuses what it refuses."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import bpfunc as bp
from bpfunc import layers
from bpfunc.compiled.choice import Engine
from bpfunc.layers import Layer, dense
from bpfunc.layers.combinators import named, parallel, residual, serial
from bpfunc.layers.mirror import mirror_averaged
from bpfunc.training import prepared as numpy_chains
from bpfunc.tree import tree_cast, tree_leaves, tree_map
from tests.bpfunc.interop.stacks import STACKS, lively

ENGINES: tuple[Engine, ...] = ("numpy", "compiled") if find_spec("numba") and find_spec("scipy") else ("numpy",)
SIZES = (0, 1, 2, 3, 32, 1000)
FEATURES = 6
ACTIVATIONS = [
    layers.relu, layers.tanh, layers.gelu, layers.sigmoid, layers.selu, layers.identity, layers.softplus,
    lambda: layers.leaky_relu(slope=-0.4), lambda: layers.elu(alpha=0.3), lambda: layers.dropout(0.5),
]  # fmt: skip
OTHERS = [layers.softmax, layers.layer_norm, layers.rms_norm, layers.batch_norm, layers.flatten]


def _init(key: Any, in_shape: Any) -> Any:
    return (), (), in_shape


def _double(params: Any, state: Any, x: Any, ctx: Any) -> Any:
    return 2 * x, state, ()


def _backward(params: Any, residual: Any, dy: Any) -> Any:
    return (), 2 * dy


def doubled() -> Layer:
    """A layer that the library does not know."""
    return Layer(name="doubled", init=_init, forward=_double, backward=_backward)


@st.composite
def networks(draw: st.DrawFn, known: bool, depth: int = 2) -> Layer:
    """Dense layers and what the engines know; or with any other layer between them."""
    parts: list[Layer] = []
    for _ in range(draw(st.integers(1, 3))):
        kinds = ["dense", "dense", "activation"] + ["combinator"] * (depth > 0) + ["other"] * (not known)
        for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=3)):
            if kind == "dense":
                parts.append(dense(draw(st.integers(1, 9)), use_bias=draw(st.booleans())))
            elif kind == "activation":
                parts.append(draw(st.sampled_from(ACTIVATIONS))())
            elif kind == "other":
                parts.append(draw(st.sampled_from([*OTHERS, doubled]))())
            else:
                parts.append(draw(combinators(known, depth)))
    parts.append(dense(draw(st.integers(1, 5))))
    whole = named(*[(f"part {index}", part) for index, part in enumerate(parts)])
    return draw(st.sampled_from([serial(*parts), whole, mirror_averaged(serial(*parts), image_shape=(2, 3))]))


@st.composite
def combinators(draw: st.DrawFn, known: bool, depth: int) -> Layer:
    inner = draw(networks(known, depth - 1).filter(lambda layer: not layer.name.startswith("mirror")))
    kind = draw(st.sampled_from(["serial", "parallel", "residual"]))
    if kind == "residual":
        return residual(serial(layers.tanh(), draw(st.sampled_from(ACTIVATIONS))()))
    return serial(inner) if kind == "serial" else parallel(inner, draw(st.sampled_from(ACTIVATIONS))())


def outcome(function: Callable[[Any], Any], x: Any) -> Any:
    """What a function returns, or the type and the message of what it raises."""
    try:
        with np.errstate(all="ignore"):
            return function(x)
    except Exception as error:
        return type(error), str(error).replace("predictor takes", "predict takes")


def assert_same(found: Any, expected: Any, dtype: Any) -> None:
    if isinstance(expected, tuple):
        assert found == expected
        return
    assert isinstance(found, np.ndarray), found
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    eps = np.finfo(dtype).eps
    size = np.abs(expected[np.isfinite(expected)]).max(initial=1)
    np.testing.assert_allclose(found, expected, rtol=200 * eps, atol=2000 * eps * size)


def check(model: Layer, engine: Engine, dtype: Any, in_shape: tuple[int, ...] = (FEATURES,)) -> None:
    """Predict rows of every number, in every layout, and rows that do not fit."""
    params, state = (tree_cast(tree, dtype) for tree in lively(model, in_shape))
    network = bp.predictor(model, params, state, engine=engine)
    assert network.engine == engine

    def plain(x: Any) -> Any:
        return bp.predict(model, params, state, x)

    rng = np.random.default_rng(5)
    for size in SIZES if in_shape == (FEATURES,) else SIZES[:-1]:
        x = rng.standard_normal((size, *in_shape)).astype(dtype)
        before = x.tobytes()
        expected, found = outcome(plain, x), outcome(network, x)
        assert_same(found, expected, dtype)
        assert x.tobytes() == before
        if isinstance(found, np.ndarray):
            assert not np.shares_memory(found, x) or np.shares_memory(expected, x)
            assert found.tobytes() == network(x).tobytes()
            assert found.tobytes() == pickle.loads(pickle.dumps(network))(x).tobytes() if size == 2 else True
        for other in (x[..., ::-1], np.asfortranarray(x), x[::-2], x.astype(x.dtype.newbyteorder()), x.astype("f8")):
            assert_same(outcome(network, other), outcome(plain, other), dtype)
    row = rng.standard_normal((1, *in_shape)).astype(dtype)
    wrong = [row[0], row[..., :-1], row[None], np.repeat(row, 2, axis=-1), row.astype(complex), row.astype(str)]
    for given_rows in (*wrong, np.ma.masked_array(row), row.tolist(), None, row.astype(int), row > 0):
        assert_same(outcome(network, given_rows), outcome(plain, given_rows), dtype)


@pytest.mark.parametrize("engine", ENGINES)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_random_networks_predict_what_forward_predicts(engine: Engine, data: st.DataObject) -> None:
    """Both engines, both dtypes, 0 to 1,000 rows, all layouts; and the same messages for what does not fit."""
    check(data.draw(networks(True)), engine, data.draw(st.sampled_from([np.float32, np.float64])))


@given(networks(False), st.sampled_from([np.float16, np.float32, np.float64]))
@settings(max_examples=15, deadline=None)
def test_other_layers_run_as_their_own_forward(model: Layer, dtype: Any) -> None:
    """Norms, softmax, custom layers and half precision between prepared dense layers."""
    check(model, "numpy", dtype)


@pytest.mark.parametrize("name", STACKS)
def test_every_layer_of_the_library_predicts(name: str) -> None:
    """All layers and combinators there are, images too."""
    check(STACKS[name], "numpy", np.float32, (784,))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_predictor_keeps_its_own_parameters(engine: Engine) -> None:
    """What is written to the arrays that it was made of does not reach it, and nobody can write to its own."""
    model = serial(dense(5), layers.tanh(), dense(2))
    params, state = lively(model, (FEATURES,))
    writable = tree_map(lambda leaf: leaf.copy(), params)
    mine = attrs.evolve(writable, layers=tuple(attrs.evolve(p) if p != () else p for p in writable.layers))
    network = bp.predictor(model, mine, state, engine=engine)
    x = np.ones((1, FEATURES), np.float32)
    before = network(x).tobytes()
    for leaf in tree_leaves(mine):
        leaf.base[...] = 7
    assert network(x).tobytes() == before
    assert not np.allclose(bp.predict(model, mine, state, x), network(x))
    assert not any(leaf.flags.writeable for leaf in tree_leaves(network.params))


@pytest.mark.parametrize("engine", ENGINES)
def test_threads_predict_at_once(engine: Engine) -> None:
    """Calls share nothing that is written to."""
    model = serial(dense(64), layers.relu(), dense(32), layers.relu(), dense(3))
    network = bp.predictor(model, *lively(model, (FEATURES,)), engine=engine)
    rows = [np.random.default_rng(seed).standard_normal((1 + seed % 3, FEATURES)).astype("f4") for seed in range(200)]
    expected = [network(x).tobytes() for x in rows]
    with ThreadPoolExecutor(4) as pool:
        assert [y.tobytes() for y in pool.map(network, rows)] == expected


@pytest.mark.parametrize("engine", ENGINES)
def test_numbers_at_the_edges(engine: Engine) -> None:
    """Infinities and NaN go through as they do through forward."""
    model = serial(dense(5), layers.relu(), dense(4), layers.gelu(), dense(2))
    params, state = lively(model, (FEATURES,))
    network = bp.predictor(model, params, state, engine=engine)
    for value in (np.inf, -np.inf, np.nan, 1e38, 1e-45):
        for size in (1, 4):
            x = np.full((size, FEATURES), value, np.float32)
            with np.errstate(all="ignore"):
                found, expected = network(x), bp.predict(model, params, state, x)
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_what_is_not_known_is_refused_by_name() -> None:
    """A wrong engine; and parameters of another network."""
    model = serial(dense(5), layers.softmax())
    params, state = lively(model, (FEATURES,))
    with pytest.raises(ValueError, match="engine is one of"):
        bp.predictor(model, params, state, engine="torch")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Layer"):
        bp.predictor(params, model, state)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="SerialParams"):
        bp.predictor(model, params.layers, state, engine="numpy")
    assert bp.predictor(model, params, state).engine == "numpy"


@pytest.mark.skipif("compiled" not in ENGINES, reason="needs the extra fast")
def test_machine_code_is_refused_by_name() -> None:
    """Layers, and dtypes, that it does not know."""
    model = serial(dense(5), serial(layers.softmax()))
    params, state = lively(model, (FEATURES,))
    with pytest.raises(ValueError, match=r"found softmax at layers\[1\]\.layers\[0\]"):
        bp.predictor(model, params, state, engine="compiled")
    with pytest.raises(ValueError, match="at least one dense"):
        bp.predictor(layers.relu(), (), (), engine="compiled")
    params, state = dense(3).init(bp.Key(0), (FEATURES,))[:2]
    with pytest.raises(TypeError, match="float32 or float64"):
        bp.predictor(dense(3), tree_cast(params, np.float16), state, engine="compiled")
    assert bp.predictor(dense(3), tree_cast(params, np.float16), state).engine == "numpy"
    assert bp.predictor(dense(3), params, state).engine == "compiled"


FAULTS: dict[str, Callable[[Any], Any]] = {
    "no bias": lambda chain: attrs.evolve(chain, dense=[attrs.evolve(part, bias=None) for part in chain.dense]),
    "no activation": lambda chain: attrs.evolve(chain, behind=tuple(() for _ in chain.behind)),
    "activations exchanged": lambda chain: attrs.evolve(chain, behind=chain.behind[::-1]),
    "nothing before": lambda chain: attrs.evolve(chain, before=()),
    "another weight": lambda chain: attrs.evolve(
        chain, dense=[attrs.evolve(part, weight=part.weight[::-1].copy()) for part in chain.dense]
    ),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_caught(fault: str, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The law can fail: what a chain is made of, changed."""
    model = serial(layers.tanh(), dense(4), layers.elu(), dense(3), layers.sigmoid())
    check(model, engine, np.float64)
    real = numpy_chains.Chain
    monkeypatch.setattr(numpy_chains, "Chain", lambda *given: FAULTS[fault](real(*given)))
    with pytest.raises(AssertionError):
        check(model, engine, np.float64)


@pytest.mark.parametrize("engine", ENGINES)
def test_last_row_of_a_block_is_computed(engine: Engine) -> None:
    """Numbers of rows around the size of a block of the machine code."""
    model = serial(dense(5), layers.relu(), dense(2))
    params, state = lively(model, (FEATURES,))
    network = bp.predictor(model, params, state, engine=engine)
    for size in (1023, 1024, 1025, 2048, 2049):
        x = np.random.default_rng(size).standard_normal((size, FEATURES)).astype("f4")
        assert_same(network(x), bp.predict(model, params, state, x), np.float32)
