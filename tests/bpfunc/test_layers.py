"""What holds for every layer: dtype, purity, layouts, shape errors with their path, and randomness by key."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bpfunc import layers
from bpfunc.arrays.types import FloatArray
from bpfunc.keys import Key, fold_in, normal
from bpfunc.layers import Context, Layer, ShapeError, combinators as model
from bpfunc.tree import Tree, flatten, tree_cast, tree_leaves, tree_map

TRAIN, PREDICT = Context(train=True, key=Key(1)), Context()
MAKERS: dict[str, Callable[[], Layer]] = {
    "dense": lambda: layers.dense(3),
    "relu": layers.relu,
    "leaky_relu": layers.leaky_relu,
    "gelu": layers.gelu,
    "softmax": layers.softmax,
    "flatten": layers.flatten,
    "dropout": lambda: layers.dropout(0.5),
    "layer_norm": layers.layer_norm,
    "rms_norm": layers.rms_norm,
    "batch_norm": layers.batch_norm,
    "serial": lambda: model.serial(layers.dense(4), layers.relu(), layers.dense(3)),
    "residual": lambda: model.residual(layers.dense(4)),
    "parallel": lambda: model.parallel(layers.dense(2), layers.relu()),
    "named": lambda: model.named(("hidden", layers.dense(4)), ("head", layers.dense(2))),
}


@pytest.mark.parametrize("ctx", [TRAIN, PREDICT], ids=["training", "inference"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", MAKERS)
def test_dtype_and_shapes(name: str, dtype: type, ctx: Context) -> None:
    """Output, state and gradients have the dtype of what went in, and the shapes that init promised."""
    layer = MAKERS[name]()
    params, state, out_shape = layer.init(Key(0), (4,))
    params, state = tree_cast(params, dtype), tree_cast(state, dtype)
    x = normal(Key(2), (5, 4), dtype=dtype)
    y, new_state, residual = layer.forward(params, state, x, ctx)
    assert y.shape == (5, *out_shape)
    grads, dx = layer.backward(params, residual, np.ones_like(y))
    assert dx.shape == x.shape
    for leaf in (y, dx, *tree_leaves(new_state), *tree_leaves(grads)):
        assert leaf.dtype == dtype
    assert flatten(grads)[1] == flatten(params)[1]
    assert flatten(new_state)[1] == flatten(state)[1]


@pytest.mark.parametrize("name", MAKERS)
def test_layout_of_the_input_does_not_matter(name: str) -> None:
    """Read-only, sliced and Fortran-ordered inputs give what a fresh array gives; nothing is written to."""
    layer = MAKERS[name]()
    params, state, _ = layer.init(Key(0), (4,))
    x = normal(Key(2), (5, 4))
    results = []
    for variant in (x, np.asfortranarray(x), np.repeat(x, 2, axis=0)[::2]):
        variant.flags.writeable = False
        y, _, residual = layer.forward(params, state, variant, TRAIN)
        dy = np.asfortranarray(np.ones_like(y))
        dy.flags.writeable = False
        results.append((y, layer.backward(params, residual, dy)[1]))
    for y, dx in results[1:]:
        np.testing.assert_allclose(y, results[0][0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(dx, results[0][1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "batch_norm"])
def test_zero_rows(name: str) -> None:
    """A batch without rows goes through, forward and backward."""
    layer = MAKERS[name]()
    params, state, out_shape = layer.init(Key(0), (4,))
    y, _, residual = layer.forward(params, state, np.zeros((0, 4), np.float32), TRAIN)
    grads, dx = layer.backward(params, residual, y)
    assert (y.shape, dx.shape) == ((0, *out_shape), (0, 4))
    assert all(not leaf.any() for leaf in tree_leaves(grads))


def test_parameters_are_read_only() -> None:
    """Writing to a parameter raises, wherever it came from."""
    layer = MAKERS["serial"]()
    params, state, _ = layer.init(Key(0), (4,))
    y, _, residual = layer.forward(params, state, np.ones((2, 4), np.float32), TRAIN)
    for tree in (params, layer.backward(params, residual, y)[0], tree_map(lambda leaf: leaf + 1, params)):
        with pytest.raises(ValueError, match="read-only"):
            tree.layers[0].weight[0, 0] = 7


def test_dropout_depends_on_its_key_alone() -> None:
    """The same key gives the same mask; another key, and another place in a network, give others."""
    both = model.serial(layers.dropout(0.5), layers.identity(), layers.dropout(0.5))
    x = np.ones((40, 40), np.float32)
    _, _, residual = both.forward(model.SerialParams(((), (), ())), ((), (), ()), x, TRAIN)
    again = both.forward(model.SerialParams(((), (), ())), ((), (), ()), x, TRAIN)[2]
    np.testing.assert_array_equal(residual[0], again[0])
    assert (residual[0] != residual[2]).mean() > 0.3
    assert set(np.unique(residual[0])) == {0.0, 2.0}
    assert abs((residual[0] > 0).mean() - 0.5) < 0.05


def test_dropout_needs_a_key_in_training_only() -> None:
    """Without a key training says so; inference and rate 0 are the identity."""
    x = np.ones((2, 2), np.float32)
    with pytest.raises(ValueError, match="needs a key"):
        layers.dropout(0.5).forward((), (), x, Context(train=True))
    np.testing.assert_array_equal(layers.dropout(0.5).forward((), (), x, PREDICT)[0], x)
    np.testing.assert_array_equal(layers.dropout(0.0).forward((), (), x, Context(train=True))[0], x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.dense(0), "width of at least 1, got 0"),
        (lambda: layers.dropout(1.0), r"rate in \[0, 1\), got 1.0"),
        (lambda: layers.layer_norm(eps=0.0), "eps above 0"),
        (lambda: layers.batch_norm(momentum=0.0), r"momentum in \(0, 1\]"),
        (lambda: layers.embedding(0, 2), "categories of at least 1"),
        (lambda: model.parallel(), "at least one layer"),
        (lambda: model.named(("a", layers.relu()), ("a", layers.relu())), "a name of its own"),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable[[], Layer], message: str) -> None:
    """A setting that makes no sense is an error where it is given."""
    with pytest.raises(ValueError, match=message):
        make()


def test_shape_errors_name_the_path() -> None:
    """A wrong shape deep inside names the layer's path, what was expected and what was found."""
    inner = model.parallel(layers.relu(), model.serial(layers.dense(4), layers.dense(2)))
    net = model.named(("body", model.serial(layers.relu(), inner)), ("head", layers.dense(2)))
    params, state, _ = net.init(Key(0), (3,))
    expected = r"parts\['body'\].layers\[1\].branches\[1\].layers\[0\]: dense expected .* \(B, 3\), found \(2, 5\)"
    with pytest.raises(ShapeError, match=expected):
        net.forward(params, state, np.ones((2, 5), np.float32), PREDICT)


@pytest.mark.parametrize(
    ("make", "in_shape", "message"),
    [
        (lambda: model.serial(layers.dense(2)), (28, 28), r"layers\[0\]: dense takes .* put flatten\(\) before it"),
        (lambda: model.serial(layers.layer_norm()), (2, 2), r"layers\[0\]: layer_norm takes"),
        (lambda: model.residual(layers.dense(2)), (3,), r"keeps the shape \(3,\), this one gives \(2,\)"),
        (lambda: model.parallel(layers.dense(2), layers.dense(3), combine="add"), (3,), "outputs of one shape only"),
        (lambda: model.parallel(layers.embedding(3, 2), layers.relu()), (3,), "along the last axis only"),
        (lambda: layers.embedding(3, 2), (2, 2), r"embedding takes examples of shape \(\) or \(F,\)"),
    ],
)
def test_models_that_do_not_fit_are_refused_at_init(
    make: Callable[[], Layer], in_shape: tuple[int, ...], message: str
) -> None:
    """Shapes that cannot work are found before any number is computed."""
    with pytest.raises(ShapeError, match=message):
        make().init(Key(0), in_shape)


def test_batch_norm_needs_two_rows_in_training() -> None:
    """One row has no variance; and single examples have no gradient of their own."""
    layer = layers.batch_norm()
    params, state, _ = layer.init(Key(0), (2,))
    with pytest.raises(ValueError, match="at least 2 rows"):
        layer.forward(params, state, np.ones((1, 2), np.float32), TRAIN)
    y, _, residual = layer.forward(params, state, np.eye(2, dtype=np.float32), TRAIN)
    with pytest.raises(NotImplementedError, match="share the batch's statistics"):
        layer.example_grads(params, residual, y)


def test_embedding_refuses_what_is_no_category() -> None:
    """Numbers out of range, and floats, are named."""
    layer = layers.embedding(3, 2)
    params, state, _ = layer.init(Key(0), ())
    with pytest.raises(ValueError, match="from 0 to 2, found 0 to 3"):
        layer.forward(params, state, np.array([0, 3]), PREDICT)
    with pytest.raises(ValueError, match="whole numbers, found float32"):
        layer.forward(params, state, np.zeros(2, np.float32), PREDICT)
    with pytest.raises(ShapeError, match=r"\(B,\) or \(B, F\)"):
        layer.forward(params, state, np.zeros((1, 1, 1), int), PREDICT)


def test_layer_of_ones_own_says_what_it_lacks() -> None:
    """A layer with only the four needed functions trains, and names itself when more is asked of it."""
    own = Layer(
        name="own",
        init=lambda key, in_shape: ((np.ones(1),), (), in_shape),
        forward=lambda params, state, x, ctx: (params[0] * x, state, x),
        backward=lambda params, residual, dy: (((residual * dy).sum(keepdims=True)[0],), params[0] * dy),
    )
    x = np.ones((2, 1))
    assert own.backward_params((np.ones(1),), x, x)[0] == 2
    for ask in (
        lambda: own.jvp((np.ones(1),), x, (np.ones(1),), x),
        lambda: own.backward_jvp((np.ones(1),), x, (np.ones(1),), x, x, x),
        lambda: own.example_grads((np.ones(1),), x, x),
        lambda: own.example_norms((np.ones(1),), x, x),
    ):
        with pytest.raises(NotImplementedError, match="layer own has no"):
            ask()


def test_keys_are_made_where_they_are_needed() -> None:
    """A layer that says it draws nothing gets no key of its own; one that may draw does, however deep it lies."""
    seen: list[Key | None] = []

    def spy(*, draws: bool) -> Layer:
        def forward(params: Tree, state: Tree, x: FloatArray, ctx: Context) -> tuple[FloatArray, Tree, Tree]:
            seen.append(ctx.key)
            return x, state, ()

        return Layer(
            name="spy",
            init=lambda key, in_shape: ((), (), in_shape),
            forward=forward,
            backward=lambda params, residual, dy: ((), dy),
            draws=draws,
        )

    net = model.serial(
        spy(draws=False), spy(draws=True), model.serial(layers.relu(), spy(draws=True)), model.serial(spy(draws=False))
    )
    params, state, _ = net.init(Key(0), (2,))
    net.forward(params, state, np.ones((1, 2)), Context(train=True, key=Key(7)))
    assert seen == [Key(7), fold_in(Key(7), 1), fold_in(fold_in(Key(7), 2), 1), Key(7)]
    assert not model.serial(layers.dense(2), layers.relu(), layers.layer_norm()).draws
    assert model.serial(layers.dense(2), layers.dropout(0.5)).draws


def test_nothing_is_computed_before_the_first_layer_with_parameters() -> None:
    """A network whose input needs no cotangent asks no layer for one that has no parameters before it."""

    def never(*arguments: object) -> object:
        raise AssertionError("a cotangent that nobody needs")

    idle = Layer("idle", *(getattr(layers.tanh(), name) for name in ("init", "forward")), backward=never)
    network = model.serial(idle, model.serial(idle, layers.dense(3)), layers.tanh())
    params, state, _ = network.init(Key(0), (2,))
    _, _, residual = network.forward(params, state, normal(Key(1), (4, 2)), Context())
    grads = network.backward_params(params, residual, normal(Key(2), (4, 3)))
    assert grads.layers[1].layers[1].weight.shape == (2, 3)
    nothing = model.serial(idle, idle)
    params, state, _ = nothing.init(Key(0), (2,))
    assert nothing.backward_params(params, ((), ()), normal(Key(2), (4, 2))).layers == ((), ())
