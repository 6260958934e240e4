"""Layers of images against torch in float64: values, all derivatives, gradients of single examples, a training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st

import bpfunc as bp
from bpfunc import layers
from bpfunc.keys import Key, fold_in, normal
from bpfunc.layers import Context, Layer
from bpfunc.layers.dropout import dropout_factor
from bpfunc.metrics.base import mean
from bpfunc.tree import Tree, tree_cast, tree_leaves
from tests.conformance.test_layers import agree, tensors

torch = pytest.importorskip("torch")
F = torch.nn.functional
TRAIN = Context(train=True, key=Key(11))
MANY = settings(max_examples=120, deadline=None)
SIZES = st.integers(1, 9)
PAIRS = st.tuples(st.integers(1, 3), st.integers(1, 3))
BATCHES = st.integers(0, 3)


def nchw(x: object) -> object:
    """Torch's layout."""
    return x.permute(0, 3, 1, 2)


def nhwc(x: object) -> object:
    """Ours."""
    return x.permute(0, 2, 3, 1)


def compare(layer: Layer, x: np.ndarray, oracle: Callable[..., object], ctx: Context = TRAIN) -> None:
    """Value and all derivatives of a layer, in its parameters and its input."""
    params, state, out_shape = layer.init(Key(0), x.shape[1:])
    params = bp.tree_map(lambda leaf: normal(fold_in(Key(1), leaf.size), leaf.shape, dtype=float), params)
    params_dot = bp.tree_map(lambda leaf: normal(fold_in(Key(2), leaf.size), leaf.shape, dtype=float), params)
    x_dot = normal(Key(3), x.shape, dtype=float)
    y, _, residual = layer.forward(params, tree_cast(state, float), x, ctx)
    assert y.shape == (len(x), *out_shape)
    dy, dy_dot = normal(Key(4), y.shape, dtype=float), normal(Key(5), y.shape, dtype=float)
    primals, directions = (*tensors(params), torch.tensor(x)), (*tensors(params_dot), torch.tensor(x_dot))

    def f(*arguments: object) -> object:
        return oracle(list(arguments[:-1]), arguments[-1])

    def pulled(*arguments: object) -> object:
        return torch.func.vjp(f, *arguments[:-1])[1](arguments[-1])

    value, tangent = torch.func.jvp(f, primals, directions)
    agree((y,), (value,))
    agree((layer.jvp(params, residual, params_dot, x_dot),), (tangent,))
    first, second = torch.func.jvp(pulled, (*primals, torch.tensor(dy)), (*directions, torch.tensor(dy_dot)))
    agree(layer.backward(params, residual, dy), first)
    agree(layer.backward_params(params, residual, dy), first[: len(tree_leaves(params))])
    agree(layer.backward_jvp(params, residual, params_dot, x_dot, dy, dy_dot), second)
    single_examples(layer, params, residual, dy, f, primals)


def single_examples(
    layer: Layer, params: Tree, residual: Tree, dy: np.ndarray, f: Callable[..., object], primals: tuple[object, ...]
) -> None:
    """Each example's gradient is that of a batch of one, and the norms are theirs."""
    try:
        grads, dx = layer.example_grads(params, residual, dy)
    except NotImplementedError:
        return
    np.testing.assert_allclose(dx, layer.backward(params, residual, dy)[1], rtol=1e-12, atol=1e-13)
    norms, _ = layer.example_norms(params, residual, dy)
    if not tree_leaves(params):
        return
    for row in range(len(dy)):
        one = slice(row, row + 1)
        theirs = torch.func.vjp(f, *primals[:-1], primals[-1][one])[1](torch.tensor(dy[one]))[:-1]
        agree(bp.tree_map(lambda leaf, row=row: leaf[row], grads), theirs)
        expected = sum(float(torch.square(leaf).sum()) for leaf in theirs)
        np.testing.assert_allclose(norms[row], expected, rtol=1e-10)


@MANY
@given(
    *(BATCHES, st.tuples(SIZES, SIZES), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)),
    *(PAIRS, PAIRS, PAIRS, st.one_of(st.sampled_from(["same", "valid"]), st.tuples(*[st.integers(0, 3)] * 4))),
    st.booleans(),
)
def test_conv2d(
    batch: int,
    size: tuple[int, int],
    groups: int,
    channels: int,
    features: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: str | tuple[int, ...],
    use_bias: bool,
) -> None:
    """Random shapes, strides, paddings, dilations, groups down to depthwise, batches of none and one."""
    layer = layers.conv2d(
        features * groups, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups, use_bias=use_bias
    )
    if padding == "same":
        outs = [-(-n // s) for n, s in zip(size, stride, strict=True)]
        sums = [
            max((o - 1) * s + (k - 1) * d + 1 - n, 0)
            for o, s, k, d, n in zip(outs, stride, kernel, dilation, size, strict=True)
        ]
        pads = (sums[0] // 2, sums[0] - sums[0] // 2, sums[1] // 2, sums[1] - sums[1] // 2)
    else:
        pads = (0, 0, 0, 0) if padding == "valid" else padding
    fits = all(
        n + pads[2 * a] + pads[2 * a + 1] > (k - 1) * d
        for a, (n, k, d) in enumerate(zip(size, kernel, dilation, strict=True))
    )
    assume(fits)
    top, bottom, left, right = pads

    def oracle(p: list[object], x: object) -> object:
        wide = F.pad(nchw(x), (left, right, top, bottom))
        bias = p[1] if use_bias else None
        weight = p[0].permute(3, 2, 0, 1)
        return nhwc(F.conv2d(wide, weight, bias, stride=stride, dilation=dilation, groups=groups))

    compare(layer, normal(Key(7), (batch, *size, channels * groups), dtype=float), oracle)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_same_is_torchs(kernel: int, dilation: int) -> None:
    """With a stride of 1, the padding that is called the same is the same."""
    layer = layers.conv2d(2, kernel, padding="same", dilation=dilation, use_bias=False)
    compare(
        layer,
        normal(Key(7), (2, 7, 6, 3), dtype=float),
        lambda p, x: nhwc(F.conv2d(nchw(x), p[0].permute(3, 2, 0, 1), padding="same", dilation=dilation)),
    )


def test_parts_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows that are taken for one image at a time give the same results."""
    monkeypatch.setattr("bpfunc.ops.windows.WINDOWS_BYTES", 1)
    compare(
        layers.conv2d(4, 3, groups=2),
        normal(Key(7), (5, 6, 5, 2), dtype=float),
        lambda p, x: nhwc(F.conv2d(nchw(x), p[0].permute(3, 2, 0, 1), p[1], padding=1, groups=2)),
    )


@MANY
@given(
    *(BATCHES, st.tuples(SIZES, SIZES), st.integers(1, 3), PAIRS, PAIRS, st.sampled_from([0, 1])),
    st.sampled_from(["max", "mean"]),
)
def test_pooling(
    batch: int,
    size: tuple[int, int],
    channels: int,
    window: tuple[int, int],
    stride: tuple[int, int],
    padding: int,
    kind: str,
) -> None:
    """Random shapes, windows, strides, paddings."""
    pads = tuple(min(padding, w // 2) for w in window)
    assume(all(n + 2 * p >= w for n, p, w in zip(size, pads, window, strict=True)))
    x = normal(Key(7), (batch, *size, channels), dtype=float)
    if kind == "max":
        layer = layers.max_pool2d(window, stride=stride, padding=pads)
        compare(layer, x, lambda p, x: nhwc(F.max_pool2d(nchw(x), window, stride, pads)))
    else:
        layer = layers.avg_pool2d(window, stride=stride, padding=pads)
        compare(layer, x, lambda p, x: nhwc(F.avg_pool2d(nchw(x), window, stride, pads, count_include_pad=False)))


def test_equal_pixels_and_nan() -> None:
    """The first of equal pixels gets the cotangent, as in torch; NaN is handed on; -inf takes no padding."""
    layer = layers.max_pool2d(2, stride=1, padding=1)
    for x in (
        np.zeros((1, 3, 3, 1)),
        np.full((1, 3, 3, 1), -np.inf),
        np.where(np.eye(3) > 0, np.nan, 1.0)[None, ..., None],
    ):
        y, _, residual = layer.forward((), (), x, TRAIN)
        theirs = torch.tensor(x, requires_grad=True)
        value = nhwc(F.max_pool2d(nchw(theirs), 2, 1, 1))
        np.testing.assert_array_equal(y, value.detach().numpy())
        if not np.isnan(x).any():
            dy = normal(Key(1), y.shape, dtype=float)
            value.backward(torch.tensor(dy))
            np.testing.assert_allclose(layer.backward((), residual, dy)[1], theirs.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_global_mean_reshape_and_channels(batch: int) -> None:
    """Means of whole images, other shapes, dropout of whole channels."""
    x = normal(Key(7), (batch, 3, 5, 4), dtype=float)
    compare(layers.global_avg_pool(), x, lambda p, x: x.mean((1, 2)))
    compare(layers.reshape((5, 12)), x, lambda p, x: x.reshape(batch, 5, 12) * 1.0)
    factor = torch.tensor(dropout_factor(TRAIN.key, np.zeros((batch, 1, 1, 4)), 0.4))
    compare(layers.channel_dropout(0.4), x, lambda p, x: x * factor)
    compare(layers.channel_dropout(0.4), x, lambda p, x: x * 1.0, Context())


@pytest.mark.parametrize("batch", [1, 4])
def test_batch_norm_of_channels(batch: int) -> None:
    """In training and at inference, and the running statistics."""
    x = normal(Key(7), (batch, 3, 5, 4), dtype=float)
    compare(
        layers.batch_norm(),
        x,
        lambda p, x: nhwc(F.batch_norm(nchw(x), None, None, p[0], p[1], training=True)),
    )
    zeros, ones = torch.zeros(4).double(), torch.ones(4).double()
    compare(layers.batch_norm(), x, lambda p, x: nhwc(F.batch_norm(nchw(x), zeros, ones, p[0], p[1])), Context())
    theirs = torch.nn.BatchNorm2d(4).double()
    theirs(nchw(torch.tensor(x)))
    params, state, _ = layers.batch_norm().init(Key(0), (3, 5, 4))
    params, state = tree_cast(params, float), tree_cast(state, float)
    _, state, _ = layers.batch_norm().forward(params, state, x, TRAIN)
    agree((state.mean, state.variance), (theirs.running_mean, theirs.running_var))


def test_combinators_take_images() -> None:
    """A residual block, and branches side by side and added."""
    conv = layers.conv2d(3, 3, use_bias=False)

    def theirs(p: list[object], x: object) -> object:
        return nhwc(F.conv2d(nchw(x), p[0].permute(3, 2, 0, 1), padding=1))

    x = normal(Key(7), (2, 5, 4, 3), dtype=float)
    compare(bp.residual(conv), x, lambda p, x: x + theirs(p, x))
    both = bp.parallel(conv, layers.max_pool2d(3, stride=1, padding=1))
    compare(both, x, lambda p, x: torch.cat([theirs(p, x), nhwc(F.max_pool2d(nchw(x), 3, 1, 1))], -1))
    compare(bp.parallel(conv, layers.tanh(), combine="add"), x, lambda p, x: theirs(p, x) + torch.tanh(x))


def small_network() -> Layer:
    """Two convolutions, normalised and pooled, and a dense layer."""
    return bp.serial(
        bp.reshape((8, 8, 1)),
        bp.conv2d(4, 3),
        bp.batch_norm(),
        bp.relu(),
        bp.max_pool2d(2),
        bp.conv2d(6, 3, stride=2, padding=1),
        bp.tanh(),
        bp.avg_pool2d(2),
        layers.flatten(),
        bp.dense(3),
    )


def test_training_follows_torch() -> None:
    """From the same weights, on the same batches, 100 steps of SGD with momentum: losses agree to 1e-8."""
    model, transform = small_network(), bp.sgd(0.05, momentum=0.9)
    state = bp.init_train_state(model, transform, Key(0), (64,))
    state = tree_cast(state, np.float64)
    w1, b1, scale, shift, w2, b2, w, b = (leaf.requires_grad_() for leaf in tensors(state.params))
    optimizer = torch.optim.SGD([w1, b1, scale, shift, w2, b2, w, b], lr=0.05, momentum=0.9)
    step = bp.make_step(model, bp.cross_entropy(), transform)
    random = np.random.default_rng(0)
    images = random.normal(size=(320, 64))
    labels = (images[:, :32].sum(axis=1) > 0).astype(int) + (images[:, 0] > 0)
    losses = []
    for number in range(100):
        rows = slice(number % 10 * 32, number % 10 * 32 + 32)
        x = torch.tensor(images[rows]).reshape(-1, 1, 8, 8)
        h = F.conv2d(x, w1.permute(3, 2, 0, 1), b1, padding=1)
        h = F.max_pool2d(F.relu(F.batch_norm(h, None, None, scale, shift, training=True)), 2)
        h = F.avg_pool2d(torch.tanh(F.conv2d(h, w2.permute(3, 2, 0, 1), b2, stride=2, padding=1)), 2)
        loss = F.cross_entropy(nhwc(h).flatten(1) @ w + b, torch.tensor(labels[rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        state, metrics = step(state, bp.Batch(images[rows], labels[rows]))
        losses.append((mean(metrics.loss), float(loss.detach())))
    ours, theirs = np.transpose(losses)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-8)
    assert ours[-10:].mean() < 0.8 * ours[:10].mean()


@pytest.mark.parametrize("function", ["convolution_input_vjp", "convolution_weight_vjp", "convolution"])
def test_planted_wrong_derivative_is_found(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A derivative that is wrong by a thousandth fails the comparison."""
    from bpfunc.layers import convolution as module

    right = getattr(module, function)
    monkeypatch.setattr(module, function, lambda *arguments: 1.001 * right(*arguments))
    with pytest.raises(AssertionError):
        test_same_is_torchs(3, 1)
