"""Random networks over random images: any geometry of convolutions and pooling, in any order, nested."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

from bpfunc import layers
from bpfunc.keys import Key
from bpfunc.layers import Layer, ShapeError, dense
from bpfunc.layers.combinators import parallel, residual, serial

PAIRS = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def convolutions(draw: Callable[..., object], channels: int) -> Layer:
    """Strides, paddings, dilations, groups down to depthwise, with and without bias."""
    groups = draw(st.sampled_from([g for g in (1, 2, 3) if channels % g == 0]))
    return layers.conv2d(
        groups * draw(st.integers(1, 2)),
        draw(PAIRS),
        stride=draw(PAIRS),
        padding=draw(st.one_of(st.sampled_from(["same", "valid"]), st.tuples(*[st.integers(0, 3)] * 4))),
        dilation=draw(PAIRS),
        groups=groups,
        use_bias=draw(st.booleans()),
    )


@st.composite
def poolings(draw: Callable[..., object]) -> Layer:
    """Windows that overlap or leave pixels out, with even and uneven padding."""
    window = draw(PAIRS)
    sides = [window[0] - 1, window[0] - 1, window[1] - 1, window[1] - 1]
    padding = draw(st.one_of(st.sampled_from(["same", "valid"]), st.tuples(*(st.integers(0, most) for most in sides))))
    make = layers.max_pool2d if draw(st.booleans()) else layers.avg_pool2d
    return make(window, stride=draw(PAIRS), padding=padding)


def keeping(kind: str, channels: int) -> Layer:
    """A layer that keeps the shape of images."""
    same = layers.conv2d(channels, 3)
    simple = (layers.batch_norm(), layers.channel_dropout(0.3), layers.relu(), layers.silu(), layers.softmax())
    blocks = {
        "block": residual(same),
        "residual": residual(serial()),
        "sum": parallel(same, layers.tanh(), combine="add"),
    }
    return ({layer.name.partition("(")[0]: layer for layer in simple} | blocks)[kind]


KEEPING = ("batch_norm", "batch_norm", "channel_dropout", "relu", "silu", "softmax", "block", "residual", "sum")
HEADS = {"identity": layers.identity(), "batch_norm": layers.batch_norm(), "layer_norm": layers.layer_norm()}


@st.composite
def image_networks(draw: Callable[..., object], *, head: bool = True) -> tuple[Layer, tuple[int, ...]]:
    """A network, and the shape of an example: rows or images; with a head it gives rows of 3 numbers."""
    shape = (draw(st.integers(3, 9)), draw(st.integers(3, 9)), draw(st.integers(1, 4)))
    in_shape, parts = shape, []
    if draw(st.booleans()):
        in_shape, parts = (shape[0] * shape[1] * shape[2],), [layers.reshape(shape)]
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["conv", "conv", "pool", "keep", "branch"]))
        if kind == "conv":
            part = draw(convolutions(shape[2]))
        elif kind == "pool":
            part = draw(poolings())
        elif kind == "keep":
            part = keeping(draw(st.sampled_from(KEEPING)), shape[2])
        else:
            part = parallel(layers.conv2d(2, 1), layers.max_pool2d(3, stride=1, padding=1))
        try:
            shape = part.init(Key(0), shape)[2]
        except ShapeError:  # it does not fit any more
            continue
        parts.append(part)
    if head:
        end = draw(st.sampled_from(["flatten", "global", "reshape"]))
        parts += [layers.global_avg_pool()] if end == "global" else []
        parts += [layers.flatten()] if end == "flatten" else []
        parts += [layers.reshape((shape[0] * shape[1] * shape[2],))] if end == "reshape" else []
        parts += [HEADS[draw(st.sampled_from(sorted(HEADS)))], dense(3)]
    return serial(*parts), in_shape
