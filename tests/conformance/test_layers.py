"""Every layer and combinator against torch's autodiff in float64, in parameters and input, to 1e-10 relative."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np
import pytest

from bpfunc import layers
from bpfunc.keys import Key, fold_in, normal
from bpfunc.layers import Context, Layer, combinators as model
from bpfunc.layers.dropout import dropout_factor
from bpfunc.tree import Tree, flatten, tree_allclose, tree_cast, tree_leaves, tree_map, unflatten

torch = pytest.importorskip("torch")
F = torch.nn.functional
TRAIN = Context(train=True, key=Key(11))
PREDICT = Context()
Oracle = Callable[..., object]


def _dropped(x: object, key: Key, rate: float) -> object:
    return x * torch.tensor(dropout_factor(key, np.zeros(tuple(x.shape)), rate))


def _nest() -> Layer:
    inner = model.residual(model.serial(layers.dense(5), layers.tanh(), layers.layer_norm()))
    wide = model.parallel(layers.dense(3), model.serial(layers.dense(2, use_bias=False), layers.gelu()))
    return model.named(("inner", inner), ("drop", layers.dropout(0.4)), ("wide", wide))


def _nest_oracle(leaves: list[object], x: object) -> object:
    # Leaves in sorted order of the names: inner (dense, layer_norm), then wide.
    w, b, scale, shift, w1, b1, w2 = leaves
    h = x + F.layer_norm(torch.tanh(x @ w + b), (5,), scale, shift)
    h = _dropped(h, fold_in(TRAIN.key, 1), 0.4)
    return torch.cat([h @ w1 + b1, F.gelu(h @ w2)], dim=-1)


CASES: dict[str, tuple[Layer, Context, Oracle]] = {
    "dense": (layers.dense(4), TRAIN, lambda p, x: x @ p[0] + p[1]),
    "dense without bias": (layers.dense(4, use_bias=False), TRAIN, lambda p, x: x @ p[0]),
    "dense of width 1": (layers.dense(1), TRAIN, lambda p, x: x @ p[0] + p[1]),
    "relu": (layers.relu(), TRAIN, lambda p, x: F.relu(x)),
    "leaky_relu": (layers.leaky_relu(slope=0.3), TRAIN, lambda p, x: F.leaky_relu(x, 0.3)),
    "elu": (layers.elu(alpha=1.7), TRAIN, lambda p, x: F.elu(x, 1.7)),
    "selu": (layers.selu(), TRAIN, lambda p, x: F.selu(x)),
    "gelu": (layers.gelu(), TRAIN, lambda p, x: F.gelu(x)),
    "gelu_tanh": (layers.gelu_tanh(), TRAIN, lambda p, x: F.gelu(x, approximate="tanh")),
    "silu": (layers.silu(), TRAIN, lambda p, x: F.silu(x)),
    "softplus": (layers.softplus(), TRAIN, lambda p, x: F.softplus(x)),
    "softsign": (layers.softsign(), TRAIN, lambda p, x: F.softsign(x)),
    "tanh": (layers.tanh(), TRAIN, lambda p, x: torch.tanh(x)),
    "sigmoid": (layers.sigmoid(), TRAIN, lambda p, x: torch.sigmoid(x)),
    "softmax": (layers.softmax(), TRAIN, lambda p, x: F.softmax(x, -1)),
    "log_softmax": (layers.log_softmax(), TRAIN, lambda p, x: F.log_softmax(x, -1)),
    "identity": (layers.identity(), TRAIN, lambda p, x: x * 1.0),
    "flatten": (layers.flatten(), TRAIN, lambda p, x: x.flatten(1) * 1.0),
    "dropout in training": (layers.dropout(0.4), TRAIN, lambda p, x: _dropped(x, TRAIN.key, 0.4)),
    "dropout at inference": (layers.dropout(0.4), PREDICT, lambda p, x: x * 1.0),
    "layer_norm": (layers.layer_norm(), TRAIN, lambda p, x: F.layer_norm(x, x.shape[1:], p[0], p[1])),
    "rms_norm": (layers.rms_norm(eps=1e-3), TRAIN, lambda p, x: F.rms_norm(x, x.shape[1:], p[0], 1e-3)),
    "batch_norm in training": (
        layers.batch_norm(),
        TRAIN,
        lambda p, x: F.batch_norm(x, None, None, p[0], p[1], training=True),
    ),
    "batch_norm at inference": (
        layers.batch_norm(),
        PREDICT,
        lambda p, x: F.batch_norm(x, torch.full((5,), 0.5).double(), torch.full((5,), 2.0).double(), p[0], p[1]),
    ),
    "serial": (
        model.serial(layers.dense(4), layers.silu(), layers.dense(3)),
        TRAIN,
        lambda p, x: F.silu(x @ p[0] + p[1]) @ p[2] + p[3],
    ),
    "empty serial": (model.serial(), TRAIN, lambda p, x: x * 1.0),
    "residual": (model.residual(layers.dense(5)), TRAIN, lambda p, x: x + x @ p[0] + p[1]),
    "parallel, concatenated": (
        model.parallel(layers.dense(2), layers.tanh()),
        TRAIN,
        lambda p, x: torch.cat([x @ p[0] + p[1], torch.tanh(x)], -1),
    ),
    "parallel, added": (
        model.parallel(layers.dense(5), layers.tanh(), combine="add"),
        TRAIN,
        lambda p, x: x @ p[0] + p[1] + torch.tanh(x),
    ),
    "named nest": (_nest(), TRAIN, _nest_oracle),
}
NOT_BY_TORCH = {
    "embedding": "below, since categories have no derivative",
    "stateless": "makes every activation",
    **dict.fromkeys(
        ("conv2d", "max_pool2d", "avg_pool2d", "global_avg_pool", "reshape", "channel_dropout"),
        "in test_convolution, on images",
    ),
}


def makers() -> set[str]:
    """Every public function that makes a layer."""
    return {
        name
        for module in (layers, model)
        for name, member in vars(module).items()
        if inspect.isfunction(member) and inspect.signature(member).return_annotation == "Layer"
    }


def test_every_layer_has_an_oracle() -> None:
    """A layer added without an oracle fails here."""
    covered = {case.split(",")[0].split(" ")[0] for case in CASES} | {"named"} - {"empty"}
    assert makers() <= covered | NOT_BY_TORCH.keys()


class Setup:
    """A layer at random parameters, and all the directions that its derivatives are taken in."""

    def __init__(self, layer: Layer, ctx: Context, *, rows: int = 6) -> None:
        params, state, _ = layer.init(Key(0), (5,))
        self.params = self._random(params, 1)
        self.state = tree_map(
            lambda leaf: np.full(leaf.shape, 0.5 if leaf.max() == 0 else 2.0), tree_cast(state, float)
        )
        self.params_dot = self._random(params, 2)
        self.x = self._away_from_kinks(normal(Key(3), (rows, 5), dtype=np.float64))
        self.x_dot = normal(Key(4), (rows, 5), dtype=np.float64)
        self.y, self.new_state, self.residual = layer.forward(self.params, self.state, self.x, ctx)
        self.dy = normal(Key(5), self.y.shape, dtype=np.float64)
        self.dy_dot = normal(Key(6), self.y.shape, dtype=np.float64)

    @staticmethod
    def _random(params: Tree, number: int) -> Tree:
        leaves, structure = flatten(params)
        return unflatten(structure, [normal(Key(number, (i,)), np.shape(p), dtype=float) for i, p in enumerate(leaves)])

    @staticmethod
    def _away_from_kinks(x: np.ndarray) -> np.ndarray:
        return x + 0.05 * np.sign(x)


def tensors(tree: Tree) -> tuple[object, ...]:
    """The leaves as tensors."""
    return tuple(torch.tensor(np.array(leaf)) for leaf in tree_leaves(tree))


def agree(mine: Tree, theirs: object) -> None:
    """Agreement of all leaves to 1e-10 of each leaf's size."""
    leaves = tree_leaves(mine)
    assert len(leaves) == len(theirs)
    for leaf, tensor in zip(leaves, theirs, strict=True):
        expected = tensor.detach().numpy()
        assert leaf.shape == expected.shape
        atol = 1e-10 * np.abs(expected).max(initial=0.0) + 1e-13
        np.testing.assert_allclose(leaf, expected, rtol=1e-10, atol=atol)


@pytest.mark.parametrize("rows", [6, 2])
@pytest.mark.parametrize("name", CASES)
def test_value_and_derivatives(name: str, rows: int) -> None:
    """Value, backward, jvp and the tangent of backward agree in every parameter and the input."""
    layer, ctx, oracle = CASES[name]
    s = Setup(layer, ctx, rows=rows)
    count = len(tree_leaves(s.params))
    primals = (*tensors(s.params), torch.tensor(s.x))
    directions = (*tensors(s.params_dot), torch.tensor(s.x_dot))

    def f(*arguments: object) -> object:
        return oracle(list(arguments[:-1]), arguments[-1])

    def pulled(*arguments: object) -> object:
        return torch.func.vjp(f, *arguments[:-1])[1](arguments[-1])

    value, tangent = torch.func.jvp(f, primals, directions)
    agree((s.y,), (value,))
    agree((layer.jvp(s.params, s.residual, s.params_dot, s.x_dot),), (tangent,))
    both = torch.func.jvp(pulled, (*primals, torch.tensor(s.dy)), (*directions, torch.tensor(s.dy_dot)))
    grads, dx = layer.backward(s.params, s.residual, s.dy)
    agree((grads, dx), both[0])
    agree(layer.backward_params(s.params, s.residual, s.dy), both[0][:count])
    agree(layer.backward_jvp(s.params, s.residual, s.params_dot, s.x_dot, s.dy, s.dy_dot), both[1])
    assert flatten(grads)[1] == flatten(s.params)[1]


@pytest.mark.parametrize("name", [name for name in CASES if name != "batch_norm in training"])
def test_gradients_of_single_examples(name: str) -> None:
    """They equal a loop over examples, sum to the batch's, and have the norms that are computed without them."""
    layer, ctx, _ = CASES[name]
    if "dropout in training" in name or name == "named nest":
        ctx = PREDICT
    s = Setup(layer, ctx)
    grads, dx = layer.example_grads(s.params, s.residual, s.dy)
    whole, whole_dx = layer.backward(s.params, s.residual, s.dy)
    np.testing.assert_allclose(dx, whole_dx, rtol=1e-12)
    assert tree_allclose(tree_map(lambda leaf: leaf.sum(axis=0), grads), whole, rtol=1e-10, atol=1e-12)
    for row in range(len(s.x)):
        one = slice(row, row + 1)
        _, _, residual = layer.forward(s.params, s.state, s.x[one], ctx)
        single, _ = layer.backward(s.params, residual, s.dy[one])
        assert tree_allclose(tree_map(lambda leaf, row=row: leaf[row], grads), single, rtol=1e-10, atol=1e-12)
    norms, norms_dx = layer.example_norms(s.params, s.residual, s.dy)
    expected = sum((np.square(leaf).reshape(len(s.x), -1).sum(axis=1) for leaf in tree_leaves(grads)), np.zeros(6))
    np.testing.assert_allclose(norms, expected, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(norms_dx, whole_dx, rtol=1e-12)


def test_batch_norm_follows_torch_over_steps() -> None:
    """Running statistics after three training batches, and the inference that uses them, are torch's."""
    layer, theirs = layers.batch_norm(momentum=0.2), torch.nn.BatchNorm1d(5, momentum=0.2).double()
    params, state, _ = layer.init(Key(0), (5,))
    params, state = tree_cast(params, np.float64), tree_cast(state, np.float64)
    for step in range(3):
        x = 3 * normal(Key(step), (7, 5), dtype=np.float64) + step
        y, state, _ = layer.forward(params, state, x, TRAIN)
        agree((y,), (theirs(torch.tensor(x)),))
    agree((state.mean, state.variance), (theirs.running_mean, theirs.running_var))
    x = normal(Key(9), (1, 5), dtype=np.float64)
    agree((layer.forward(params, state, x, PREDICT)[0],), (theirs.eval()(torch.tensor(x)),))


@pytest.mark.parametrize("shape", [(6,), (6, 3), (0, 3), (1, 1)])
def test_embedding(shape: tuple[int, ...]) -> None:
    """Look-up, table gradient, tangents and gradients of single examples agree with torch's."""
    layer = layers.embedding(4, 2)
    table, table_dot = normal(Key(1), (4, 2), dtype=float), normal(Key(2), (4, 2), dtype=float)
    x = np.arange(int(np.prod(shape))).reshape(shape) % 4
    params, dot = layers.EmbeddingParams(table), layers.EmbeddingParams(table_dot)
    y, _, residual = layer.forward(params, (), x, TRAIN)
    dy, dy_dot = normal(Key(3), y.shape, dtype=float), normal(Key(4), y.shape, dtype=float)
    value, pull = torch.func.vjp(lambda t: F.embedding(torch.tensor(x), t), torch.tensor(table))
    agree((y,), (value,))
    grads, dx = layer.backward(params, residual, dy)
    agree(grads, pull(torch.tensor(dy)))
    assert dx.shape == x.shape
    assert not dx.any()
    agree((layer.jvp(params, residual, dot, dx),), (F.embedding(torch.tensor(x), torch.tensor(table_dot)),))
    agree(layer.backward_jvp(params, residual, dot, dx, dy, dy_dot)[0], pull(torch.tensor(dy_dot)))
    single, _ = layer.example_grads(params, residual, dy)
    np.testing.assert_allclose(single.table.sum(axis=0), grads.table, atol=1e-12)
