"""Networks over rows of pixels, with every layer and combinator that has another form; at numbers that are not dull."""

from __future__ import annotations

from bpfunc import layers
from bpfunc.arrays.types import FloatArray
from bpfunc.keys import Key, fold_in, uniform
from bpfunc.layers import Layer, dense, relu
from bpfunc.layers.combinators import named, parallel, residual, serial
from bpfunc.layers.mirror import mirror_averaged
from bpfunc.tree import Tree, tree_map_with_path


def around(layer: Layer) -> Layer:
    """A layer between two dense ones."""
    return serial(dense(12), layer, dense(3))


ELEMENTWISE: dict[str, Layer] = {
    "relu": layers.relu(),
    "leaky_relu": layers.leaky_relu(slope=0.3),
    "elu": layers.elu(alpha=1.7),
    "selu": layers.selu(),
    "gelu": layers.gelu(),
    "gelu_tanh": layers.gelu_tanh(),
    "silu": layers.silu(),
    "softplus": layers.softplus(),
    "softsign": layers.softsign(),
    "tanh": layers.tanh(),
    "sigmoid": layers.sigmoid(),
    "softmax": layers.softmax(),
    "log_softmax": layers.log_softmax(),
    "identity": layers.identity(),
    "dropout": layers.dropout(0.4),
    "flatten": layers.flatten(),
    "layer_norm": layers.layer_norm(eps=1e-3),
    "rms_norm": layers.rms_norm(eps=1e-4),
    "batch_norm": layers.batch_norm(momentum=0.2, eps=1e-3),
    "dense": dense(5),
    "dense without bias": dense(5, use_bias=False),
}


def on_images(*parts: Layer) -> Layer:
    """Layers of small images, between the pixels and a dense layer."""
    return serial(layers.reshape((28, 28, 1)), layers.max_pool2d(4), *parts, layers.flatten(), dense(3))


IMAGES: dict[str, Layer] = {
    "conv2d": on_images(layers.conv2d(4, 3), relu()),
    "conv2d, uneven": on_images(
        layers.conv2d(4, (3, 2), stride=(2, 1), padding=(1, 0, 2, 1), dilation=(1, 2), use_bias=False)
    ),
    "conv2d, depthwise": on_images(layers.conv2d(4, 1), layers.conv2d(8, 3, groups=4, padding="valid")),
    "pooling": on_images(
        layers.conv2d(3, 3, stride=2),
        layers.max_pool2d(3, stride=1, padding=1),
        layers.avg_pool2d((2, 3), stride=(2, 1), padding=(1, 0, 0, 2)),
        layers.avg_pool2d(2, padding="same"),
    ),
    "global_avg_pool": serial(
        *(layers.reshape((28, 28, 1)), layers.conv2d(5, 3, stride=3), layers.batch_norm(eps=1e-3)),
        *(layers.channel_dropout(0.2), layers.silu(), layers.global_avg_pool(), dense(3)),
    ),
    "norms of flattened images": serial(
        *(layers.reshape((28, 28, 1)), layers.conv2d(3, 4, stride=9), layers.flatten(), layers.dropout(0.1)),
        *(layers.batch_norm(), layers.layer_norm(), layers.rms_norm(), layers.tanh(), dense(3)),
    ),
}
"""Those of images, which ONNX and torch have with the channels first."""

IN_SEQUENCE: dict[str, Layer] = {
    **{name: around(layer) for name, layer in ELEMENTWISE.items()},
    "first dense": dense(3),
    "first batch_norm": serial(layers.batch_norm(), dense(3)),
    "empty serial": serial(),
    "nested serial": serial(serial(dense(8), relu()), serial(), serial(serial(dense(3)))),
    "named": named(("hidden", dense(8)), ("norm", layers.batch_norm()), ("activation", relu()), ("head.2", dense(3))),
    "mirror_averaged": mirror_averaged(serial(dense(8), layers.batch_norm(), dense(3)), image_shape=(28, 28)),
    **IMAGES,
}
"""Those that torch's Sequential can hold."""

STACKS: dict[str, Layer] = {
    **IN_SEQUENCE,
    "residual": around(residual(serial(dense(12), layers.silu()))),
    "residual of nothing": around(residual(serial())),
    "parallel, concatenated": around(parallel(dense(4), serial(dense(2), relu()), serial())),
    "parallel, added": around(parallel(dense(4), dense(4, use_bias=False), combine="add")),
    "one branch": around(parallel(layers.tanh())),
    "blocks of images": on_images(
        layers.conv2d(3, 3),
        residual(serial(layers.conv2d(3, 3), layers.batch_norm(), relu(), layers.conv2d(3, 3))),
        parallel(layers.conv2d(2, 1), layers.max_pool2d(3, stride=1, padding=1), layers.softmax()),
        parallel(layers.conv2d(2, 3), layers.conv2d(2, 1), combine="add"),
        layers.softmax(),
        residual(layers.tanh()),
        layers.reshape((7, 14)),
        layers.batch_norm(),
        layers.log_softmax(),
    ),
    "images that come out": serial(layers.reshape((28, 28, 1)), layers.conv2d(2, 5, stride=5)),
    "everything nested": mirror_averaged(
        named(
            ("trunk", serial(dense(12), residual(serial(layers.layer_norm(), dense(12), layers.gelu())))),
            ("drop", layers.dropout(0.2)),
            ("heads", parallel(serial(layers.rms_norm(), dense(2)), named(("only", dense(1))))),
        ),
        image_shape=(28, 28),
    ),
}
"""All that ONNX can hold, from (B, 784) pixels."""


def lively(layer: Layer, in_shape: tuple[int, ...], seed: int = 0) -> tuple[Tree, Tree]:
    """Parameters and state in which nothing is 0 or 1 that a mistake could hide behind."""
    params, state, _ = layer.init(Key(seed), in_shape)

    def moved(path: str, leaf: FloatArray) -> FloatArray:
        if path.endswith("weight"):
            return leaf
        return leaf + uniform(fold_in(Key(seed + 1), sum(map(ord, path))), leaf.shape).astype(leaf.dtype) / 2

    return tree_map_with_path(moved, params), tree_map_with_path(moved, state)
