"""Layers of images: how they are made, what they count, and what they say where something does not fit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bpfunc import layers
from bpfunc.arrays.types import FloatArray
from bpfunc.keys import Key, split
from bpfunc.layers import INFERENCE, ConvParams, Layer, ShapeError, conv2d
from bpfunc.layers.base import Maker

CONV = {"kernel": (3, 3), "stride": (1, 1), "padding": "same", "dilation": (1, 1), "groups": 1, "use_bias": True}
MADE: list[tuple[Callable[[], Layer], str, Callable[[], Maker]]] = [
    (lambda: conv2d(8), "conv2d(8, 3 x 3)", lambda: Maker("conv2d", (("features", 8), *CONV.items()))),
    (
        lambda: conv2d(6, (2, 5), stride=(3, 1), padding="valid", dilation=(1, 2), groups=3, use_bias=False),
        "conv2d(6, 2 x 5)",
        lambda: Maker(
            "conv2d",
            (
                *(("features", 6), ("kernel", (2, 5)), ("stride", (3, 1)), ("padding", (0, 0, 0, 0))),
                *(("dilation", (1, 2)), ("groups", 3), ("use_bias", False)),
            ),
        ),
    ),
    (
        lambda: layers.max_pool2d(),
        "max_pool2d(2 x 2)",
        lambda: Maker("max_pool2d", (("window", (2, 2)), ("stride", (2, 2)), ("padding", (0, 0, 0, 0)))),
    ),
    (
        lambda: layers.max_pool2d((3, 2), stride=1, padding="same"),
        "max_pool2d(3 x 2)",
        lambda: Maker("max_pool2d", (("window", (3, 2)), ("stride", (1, 1)), ("padding", "same"))),
    ),
    (
        lambda: layers.avg_pool2d(),
        "avg_pool2d(2 x 2)",
        lambda: Maker("avg_pool2d", (("window", (2, 2)), ("stride", (2, 2)), ("padding", (0, 0, 0, 0)))),
    ),
    (
        lambda: layers.avg_pool2d((3, 2), stride=(1, 2), padding=(2, 1)),
        "avg_pool2d(3 x 2)",
        lambda: Maker("avg_pool2d", (("window", (3, 2)), ("stride", (1, 2)), ("padding", (2, 2, 1, 1)))),
    ),
    (lambda: layers.global_avg_pool(), "global_avg_pool", lambda: Maker("global_avg_pool")),
]


@pytest.mark.parametrize(("make", "name", "maker"), MADE, ids=[name for _, name, _ in MADE])
def test_what_a_layer_was_made_with(make: Callable[[], Layer], name: str, maker: Callable[[], Maker]) -> None:
    """Name and settings, in the order of the arguments; no layer of these draws."""
    layer = make()
    assert (layer.name, layer.maker, layer.draws) == (name, maker(), False)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: conv2d(0), "conv2d takes features of at least 1, got 0"),
        (lambda: conv2d(4, groups=0), "conv2d takes groups of at least 1, got 0"),
        (lambda: conv2d(4, groups=3), "conv2d takes features that fall into its 3 groups, got 4"),
        (lambda: conv2d(4, padding="full"), "conv2d takes a padding of 'same', 'valid' or whole numbers, got 'full'"),
        (lambda: conv2d(4, padding=(1, 2, 3)), "conv2d takes a padding of 1, 2 or 4 numbers, got (1, 2, 3)"),
        (lambda: conv2d(4, padding=-1), "conv2d takes a padding of at least 0, got -1"),
        (lambda: conv2d(4, (1, 2, 3)), "conv2d takes a kernel of 1 or 2 numbers, got (1, 2, 3)"),
        (lambda: conv2d(4, (3, 0)), "conv2d takes a kernel of at least 1, got 0"),
        (lambda: conv2d(4, (0, 3)), "conv2d takes a kernel of at least 1, got 0"),
        (lambda: conv2d(4, stride=0), "conv2d takes a stride of at least 1, got 0"),
        (lambda: conv2d(4, dilation=0), "conv2d takes a dilation of at least 1, got 0"),
        (lambda: layers.max_pool2d(0), "max_pool2d takes a kernel of at least 1, got 0"),
        (lambda: layers.avg_pool2d(stride=0), "avg_pool2d takes a stride of at least 1, got 0"),
        *(
            (
                lambda padding=padding: layers.max_pool2d((2, 3), padding=padding),
                f"max_pool2d takes a padding below its window (2, 3), got {padding}",
            )
            for padding in ((2, 0, 0, 0), (0, 2, 0, 0), (0, 0, 3, 0), (0, 0, 0, 3))
        ),
    ],
)
def test_arguments_out_of_range_are_refused(make: Callable[[], Layer], message: str) -> None:
    """The layer, the argument, what it takes and what it got."""
    with pytest.raises(ValueError) as caught:
        make()
    assert str(caught.value) == message


def test_paddings_up_to_the_window_are_taken() -> None:
    """Each side by itself, below the window's size in its direction."""
    for padding in ((1, 1, 2, 2), (0, 1, 2, 0), "same", "valid", 1):
        assert layers.max_pool2d((2, 3), padding=padding).init(Key(0), (4, 4, 1))[2][2] == 1


SHAPES: list[tuple[Callable[[], Layer], tuple[int, ...], str]] = [
    (
        lambda: conv2d(2),
        (4, 4),
        "conv2d takes examples of shape (H, W, C), found (4, 4); put reshape((H, W, C)) before it",
    ),
    (
        lambda: conv2d(2, 5, padding="valid"),
        (4, 9, 1),
        "conv2d has a kernel of (5, 5), which does not fit into examples of shape (4, 9, 1)",
    ),
    (
        lambda: conv2d(2, 5, padding="valid"),
        (9, 4, 1),
        "conv2d has a kernel of (5, 5), which does not fit into examples of shape (9, 4, 1)",
    ),
    (
        lambda: conv2d(2),
        (4, 4, 0),
        "conv2d has a kernel of (3, 3), which does not fit into examples of shape (4, 4, 0)",
    ),
    (
        lambda: conv2d(2),
        (0, 4, 1),
        "conv2d has a kernel of (3, 3), which does not fit into examples of shape (0, 4, 1)",
    ),
    (lambda: conv2d(4, groups=2), (4, 4, 3), "conv2d has 2 groups, into which the channels of (4, 4, 3) do not fall"),
    (
        lambda: layers.max_pool2d(3),
        (2, 4, 1),
        "max_pool2d has a kernel of (3, 3), which does not fit into examples of shape (2, 4, 1)",
    ),
    (
        lambda: layers.avg_pool2d(),
        (4,),
        "avg_pool2d takes examples of shape (H, W, C), found (4,); put reshape((H, W, C)) before it",
    ),
    (layers.global_avg_pool, (4, 4), "global_avg_pool takes examples of shape (H, W, C), found (4, 4)"),
    (layers.global_avg_pool, (4, 4, 0), "global_avg_pool takes examples of shape (H, W, C), found (4, 4, 0)"),
]


@pytest.mark.parametrize(("make", "shape", "message"), SHAPES)
def test_examples_that_do_not_fit_are_refused(make: Callable[[], Layer], shape: tuple[int, ...], message: str) -> None:
    """When a network is made."""
    with pytest.raises(ShapeError) as caught:
        make().init(Key(0), shape)
    assert str(caught.value) == message


W = ConvParams(np.ones((3, 3, 2, 4)), np.ones(4))


@pytest.mark.parametrize(
    ("make", "params", "shape", "message"),
    [
        (lambda: conv2d(4), W, (1, 5, 5, 3), "conv2d expected an input of shape (B, H, W, 2), found (1, 5, 5, 3)"),
        (
            lambda: conv2d(4, groups=2),
            W,
            (1, 5, 5, 2),
            "conv2d expected an input of shape (B, H, W, 4), found (1, 5, 5, 2)",
        ),
        (lambda: conv2d(4), W, (5, 5, 2), "conv2d expected an input of shape (B, H, W, 2), found (5, 5, 2)"),
        (
            lambda: conv2d(4, padding="valid"),
            W,
            (1, 2, 5, 2),
            "conv2d has a kernel of (3, 3), which does not fit into an input of shape (1, 2, 5, 2)",
        ),
        (
            lambda: conv2d(4),
            W,
            (1, 0, 5, 2),
            "conv2d has a kernel of (3, 3), which does not fit into an input of shape (1, 0, 5, 2)",
        ),
        (lambda: conv2d(5), W, (1, 5, 5, 2), "conv2d expected a weight of shape (3, 3, C, 5), found (3, 3, 2, 4)"),
        (
            lambda: conv2d(4, (3, 2)),
            W,
            (1, 5, 5, 2),
            "conv2d expected a weight of shape (3, 2, C, 4), found (3, 3, 2, 4)",
        ),
        (
            lambda: conv2d(4),
            ConvParams(np.ones((3, 3, 4)), None),
            (1, 5, 5, 2),
            "conv2d expected a weight of shape (3, 3, C, 4), found (3, 3, 4)",
        ),
        (
            lambda: conv2d(4),
            ConvParams(W.weight, np.ones(1)),
            (1, 5, 5, 2),
            "conv2d has a weight (3, 3, 2, 4), and a bias (1,) that does not fit",
        ),
        (
            lambda: layers.max_pool2d(),
            (),
            (5, 5, 2),
            "max_pool2d expected an input of shape (B, H, W, C), found (5, 5, 2)",
        ),
        (
            lambda: layers.avg_pool2d(),
            (),
            (5, 5, 2),
            "avg_pool2d expected an input of shape (B, H, W, C), found (5, 5, 2)",
        ),
        (
            lambda: layers.avg_pool2d(6),
            (),
            (1, 5, 5, 2),
            "avg_pool2d has a kernel of (6, 6), which does not fit into an input of shape (1, 5, 5, 2)",
        ),
        (
            layers.global_avg_pool,
            (),
            (5, 5, 2),
            "global_avg_pool expected an input of shape (B, H, W, C), found (5, 5, 2)",
        ),
        (
            layers.global_avg_pool,
            (),
            (1, 0, 5, 2),
            "global_avg_pool expected an input of shape (B, H, W, C), found (1, 0, 5, 2)",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    make: Callable[[], Layer], params: object, shape: tuple[int, ...], message: str
) -> None:
    """From the forward pass."""
    with pytest.raises(ShapeError) as caught:
        make().forward(params, (), np.ones(shape), INFERENCE)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("make", "name", "out"),
    [
        (lambda: conv2d(4, padding="valid"), "conv2d", (2, 3, 2, 4)),
        (lambda: layers.max_pool2d(), "max_pool2d", (2, 2, 2, 2)),
        (lambda: layers.avg_pool2d(), "avg_pool2d", (2, 2, 2, 2)),
        (layers.global_avg_pool, "global_avg_pool", (2, 2)),
    ],
)
def test_cotangents_that_do_not_fit_are_refused(make: Callable[[], Layer], name: str, out: tuple[int, ...]) -> None:
    """Each layer says what it expected; a cotangent that fits is taken."""
    layer = make()
    params, state, _ = layer.init(Key(0), (5, 4, 2))
    _, _, residual = layer.forward(params, state, np.ones((2, 5, 4, 2)), INFERENCE)
    assert layer.backward(params, residual, np.ones(out))[1].shape == (2, 5, 4, 2)
    for wrong in ((1, *out[1:]), (*out[:-1], out[-1] + 1), out[1:]):
        with pytest.raises(ShapeError) as caught:
            layer.backward(params, residual, np.ones(wrong))
        assert str(caught.value) == f"{name} expected a cotangent of shape {out}, found {wrong}"


def test_operations_are_counted() -> None:
    """Two for each number of a window and filter, one for a bias; one for each number that a pooling looks at."""
    assert isinstance(conv2d(8, groups=2).flops((5, 4, 6), (5, 4, 8)), int)
    assert conv2d(8, (3, 2)).flops((5, 4, 6), (5, 4, 8)) == 5 * 4 * 8 * (2 * 3 * 2 * 6 + 1)
    assert conv2d(8, 3, groups=2, use_bias=False).flops((5, 4, 6), (5, 4, 8)) == 5 * 4 * 8 * 2 * 9 * 3
    assert layers.max_pool2d((3, 2)).flops((6, 4, 5), (2, 2, 5)) == 2 * 2 * 5 * 6
    assert layers.avg_pool2d((3, 2)).flops((6, 4, 5), (2, 2, 5)) == 2 * 2 * 5 * 6
    assert layers.global_avg_pool().flops((6, 4, 5), (5,)) == 6 * 4 * 5


def test_parameters_are_drawn_by_the_initialisers() -> None:
    """A key of its own for each, and the shapes that groups leave."""
    seen: list[tuple[Key, tuple[int, ...]]] = []

    def record(key: Key, shape: tuple[int, ...], dtype: object = np.float32) -> FloatArray:
        seen.append((key, shape))
        return np.full(shape, len(seen), np.float32)

    layer = conv2d(6, (3, 2), groups=2, weight_init=record, bias_init=record)
    params, state, out = layer.init(Key(4), (5, 4, 4))
    assert seen == [(split(Key(4))[0], (3, 2, 2, 6)), (split(Key(4))[1], (6,))]
    assert (params.weight[0, 0, 0, 0], params.bias[0], state, out) == (1, 2, (), (5, 4, 6))
    params, _, _ = conv2d(6).init(Key(0), (5, 4, 1))
    assert params.weight.std() > 0 and not params.bias.any()
    assert conv2d(6, use_bias=False).init(Key(0), (5, 4, 1))[0].bias is None


def test_the_smallest_images() -> None:
    """One pixel of one channel."""
    for layer in (conv2d(1), layers.max_pool2d(1), layers.avg_pool2d(1), layers.global_avg_pool()):
        params, state, out = layer.init(Key(0), (1, 1, 1))
        y, _, _ = layer.forward(params, state, np.ones((1, 1, 1, 1), np.float32), INFERENCE)
        assert y.shape == (1, *out)
