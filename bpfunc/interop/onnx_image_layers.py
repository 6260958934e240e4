"""Operators of images among foreign ONNX nodes: convolution, pooling, and those that only turn axes.

ONNX has the channels of images on axis 1, bpfunc has them last. The order of each value is followed through the graph,
so that a network is made that takes (B, H, W, C) throughout; the parameters turn, not the images.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from bpfunc import layers
from bpfunc.interop.channels_first import kernels_last
from bpfunc.interop.onnx_chain import Chain
from bpfunc.interop.onnx_links import Link, Made, Seen, check_floating, made_layer
from bpfunc.interop.onnx_operators import Node, refuse
from bpfunc.layers import ConvParams, Layer
from bpfunc.layers.combinators import SerialParams, serial
from bpfunc.ops.windows import Windows


def read_conv(chain: Chain, node: Node) -> Link:
    """Read a Conv over the two axes of images.

    Args:
        chain: The graph.
        node: The node.

    Returns:
        The link.

    Raises:
        ValueError: Its weight, bias or attributes are not those of `conv2d`; the message names the node.

    Example:
        >>> import numpy as np
        >>> from onnx.numpy_helper import from_array
        >>> chain = Chain({}, {"w": from_array(np.ones((8, 1, 3, 3), np.float32))})
        >>> settings = {"auto_pad": "SAME_UPPER", "group": 1, "strides": [2, 2]}
        >>> made = read_conv(chain, Node("first", "Conv", ("x", "w"), settings, 11)).make(
        ...     Seen("float32", (None, 1, 28, 28), first=True)
        ... )
        >>> made.layer.name, made.seen.shape
        ('conv2d(8, 3 x 3)', (None, 8, 14, 14))
    """
    weight, bias = chain.numbers(node, 1), chain.numbers(node, 2)
    if weight is None or weight.ndim != 4 or not weight.size:
        refuse(node, f"its weight is of shape {None if weight is None else weight.shape}; known is (F, C, KH, KW)")
    features, channels, *_ = weight.shape
    groups = node.attributes["group"]
    if not isinstance(groups, int) or groups < 1 or features % groups:
        refuse(node, f"its group is {groups}, into which its {features} features do not fall")
    if bias is not None and bias.shape != (features,):
        refuse(node, f"its bias of shape {bias.shape} is none of {features} features")
    if node.attributes.get("kernel_shape", list(weight.shape[2:])) != list(weight.shape[2:]):
        refuse(node, f"its kernel_shape is {node.attributes['kernel_shape']}, and its weight is {weight.shape}")
    kernel = chain.keep(node, ("kernel", id(weight)), weight.size, lambda: kernels_last(weight))

    def make(seen: Seen) -> Made:
        _check_images(node, seen, channels * groups)
        how = _windows(node, seen, (weight.shape[2], weight.shape[3]))
        layer = made_layer(
            *(node, layers.conv2d),
            features=features,
            kernel=how.kernel,
            stride=how.stride,
            padding=how.padding,
            dilation=how.dilation,
            groups=groups,
            use_bias=bias is not None,
        )
        return Made(layer, ConvParams(kernel, bias), (), _images_after(node, seen, how, features))

    return Link(node.inputs[0], make, "first")


def read_pool(chain: Chain, node: Node) -> Link:
    """Read a MaxPool or AveragePool over the two axes of images.

    Args:
        chain: The graph.
        node: The node.

    Returns:
        The link.

    Raises:
        ValueError: Its attributes are not those of `max_pool2d` or `avg_pool2d`; the message names the node.

    Example:
        >>> node = Node("first", "MaxPool", ("x",), {"auto_pad": "NOTSET", "kernel_shape": [2, 2]}, 12)
        >>> made = read_pool(Chain({}), node).make(Seen("float32", (None, 3, 8, 8), first=True))
        >>> made.layer.name, made.seen.shape
        ('max_pool2d(2 x 2)', (None, 3, 7, 7))
    """
    kernel = _pair(node, "kernel_shape", None)
    make_layer: Callable[..., Layer] = layers.max_pool2d if node.op == "MaxPool" else layers.avg_pool2d

    def make(seen: Seen) -> Made:
        _check_images(node, seen, None)
        how = _windows(node, seen, kernel)
        if how.dilation != (1, 1):
            refuse(node, f"its dilations are {list(how.dilation)}; known is a pooling without dilation")
        _check_counted(node, seen, how)
        layer = made_layer(node, make_layer, window=kernel, stride=how.stride, padding=how.padding)
        return Made(layer, (), (), _images_after(node, seen, how, seen.example[0]))

    return Link(node.inputs[0], make, "first")


def _check_counted(node: Node, seen: Seen, how: Windows) -> None:
    """Refuse windows that reach beyond the padding, or not to the last pixel, and padding that counts."""
    ceil, counts = node.attributes.get("ceil_mode", 0), node.attributes.get("count_include_pad", 0)
    size = _size(seen)
    if str(node.attributes["auto_pad"]).startswith("SAME"):
        for n, k, s in zip(size or (None, None), how.kernel, how.stride, strict=True):
            if s > k and (n is None or (n - 1) // s * s + k < n):
                refuse(
                    node, f"its strides are {how.stride}, so that its padding would be negative; known is 0 and more"
                )
    if (ceil or counts) and size is None:
        if counts and not ceil and how.padding == (0, 0, 0, 0):
            return
        refuse(node, f"its ceil_mode is {ceil}, its count_include_pad {counts}, and it is fed {seen}, of unknown size")
    if size is None:
        return
    pads = how.pads(size)
    if counts and any(map(any, pads)):
        refuse(node, f"it counts its padding of {pads} pixels; known is a mean of the pixels of the image alone")
    left = [(n + sum(p) - k) % s for n, p, k, s in zip(size, pads, how.kernel, how.stride, strict=True)]
    if ceil and any(left):
        refuse(node, f"with ceil_mode its last windows reach {left} pixels beyond the padding; known is none")


def read_global_mean(chain: Chain, node: Node) -> Link:
    """Read a GlobalAveragePool, which keeps the axes of images with one pixel.

    Args:
        chain: The graph.
        node: The node.

    Returns:
        The link.

    Example:
        >>> node = Node("first", "GlobalAveragePool", ("x",), {}, 1)
        >>> made = read_global_mean(Chain({}), node).make(Seen("float32", (None, 3, 8, 8), first=True))
        >>> made.layer.name, made.seen.shape
        ('serial(global_avg_pool, reshape(1, 1, 3))', (None, 3, 1, 1))
    """
    return Link(node.inputs[0], lambda seen: _mean_pixel(node, seen), "first")


def _mean_pixel(node: Node, seen: Seen) -> Made:
    channels = _channels(node, seen)
    layer = serial(layers.global_avg_pool(), layers.reshape((1, 1, channels)))
    after = Seen(seen.dtype, (seen.shape[0], channels, 1, 1), first=True)
    return Made(layer, SerialParams(((), ())), ((), ()), after)


def _channels(node: Node, seen: Seen) -> int:
    channels = seen.example[0] if len(seen.example) == 3 else None
    _check_images(node, seen, channels)
    if channels is None:
        refuse(node, f"it is fed {seen}; known are images of a known number of channels")
    return channels


def to_rows(chain: Chain, node: Node, make: Callable[[Seen], Made]) -> Link:
    """Make the link of a node that lays images out as rows; the mean pixels of images are rows already.

    Args:
        chain: The graph.
        node: The node.
        make: Makes the layer that does it.

    Returns:
        The link; that of both nodes where the one before is a GlobalAveragePool.

    Example:
        >>> pool = Node("first", "GlobalAveragePool", ("x",), {}, 1)
        >>> rows = Node("last", "Flatten", ("y",), {"axis": 1}, 13)
        >>> link = to_rows(Chain({"y": pool}), rows, lambda seen: Made(None, (), (), Seen("float32", (None, 3))))
        >>> link.x, link.make(Seen("float32", (None, 3, 8, 8), first=True)).layer.name
        ('x', 'global_avg_pool')
    """
    pool = chain.made_by(node.inputs[0], "GlobalAveragePool")
    if pool is None:
        return Link(node.inputs[0], make, "own")

    def both(seen: Seen) -> Made:
        return Made(layers.global_avg_pool(), (), (), make(_mean_pixel(pool, seen).seen).seen)

    return Link(pool.inputs[0], both, "first")


def read_mean(chain: Chain, node: Node) -> Link:
    """Read a ReduceMean over the pixels of images, which is a GlobalAveragePool.

    Args:
        chain: The graph.
        node: The node.

    Returns:
        The link.

    Raises:
        ValueError: It is over other axes; the message names the node.

    Example:
        >>> node = Node("first", "ReduceMean", ("x",), {"axes": [2, 3], "keepdims": 0}, 13)
        >>> made = read_mean(Chain({}), node).make(Seen("float32", (None, 3, 8, 8), first=True))
        >>> made.layer.name, made.seen.shape
        ('global_avg_pool', (None, 3))
    """
    axes = node.attributes.get("axes")
    if node.input(1):
        found = chain.constant(node, node.input(1))
        axes = None if found is None or found.ndim != 1 else found.tolist()
    known = ([2, 3], [-2, -1]) if node.revision >= 11 else ([2, 3],)
    if not isinstance(axes, list) or sorted(axes) not in known:
        refuse(node, f"its axes are {axes}; known are [2, 3], those of the pixels")

    def make(seen: Seen) -> Made:
        if node.attributes["keepdims"]:
            return _mean_pixel(node, seen)
        channels = _channels(node, seen)
        return Made(layers.global_avg_pool(), (), (), Seen(seen.dtype, (seen.shape[0], channels)))

    return Link(node.inputs[0], make, "first")


def read_transpose(chain: Chain, node: Node) -> Link:
    """Read a Transpose that moves the channels of images to the end or to the front: no layer, another order.

    Args:
        chain: The graph.
        node: The node.

    Returns:
        The link.

    Raises:
        ValueError: It turns other axes; the message names the node.

    Example:
        >>> link = read_transpose(Chain({}), Node("first", "Transpose", ("x",), {"perm": [0, 3, 1, 2]}, 13))
        >>> str(link.make(Seen("float32", (None, 28, 28, 1))).seen)
        'float32 (batch, 1, 28, 28)'
    """
    perm = node.attributes.get("perm")
    if perm not in ([0, 2, 3, 1], [0, 3, 1, 2]):
        refuse(node, f"its perm is {perm}; known are [0, 2, 3, 1] and [0, 3, 1, 2], which move the channels of images")
    to_front = perm == [0, 3, 1, 2]

    def make(seen: Seen) -> Made:
        check_floating(node, seen)
        if len(seen.example) != 3:
            refuse(node, f"it is fed {seen}; known are images")
        h, w, c = seen.example
        moved = (c, h, w) if to_front else (w, c, h)
        return Made(None, (), (), Seen(seen.dtype, (seen.shape[0], *moved), first=to_front))

    return Link(node.inputs[0], make, "last" if to_front else "first")


def in_order(node: Node, link: Link, seen: Seen) -> Made | None:
    """Bring images to the order that a node takes them in, where that is the same numbers in another shape.

    Args:
        node: The node.
        link: How it is read.
        seen: What it is fed.

    Returns:
        A layer to be put before it; None where nothing has to be done.

    Raises:
        ValueError: The numbers would have to change their places; the message names the node.

    Example:
        >>> node = Node("first", "GlobalAveragePool", ("x",), {}, 1)
        >>> made = in_order(node, read_global_mean(Chain({}), node), Seen("float32", (None, 1, 28, 28)))
        >>> made.layer.name, made.seen.first
        ('reshape(28, 28, 1)', True)
    """
    if link.order == "last" and seen.channels != 1:
        refuse(
            node,
            f"it is fed rows of images of {seen.channels} channels, flattened channel by channel; known after such "
            "rows are dense layers, batch normalisation and elementwise operators",
        )
    wanted = link.order == "first"
    if link.order not in ("first", "last") or seen.first == wanted or len(seen.example) < 2:
        return None
    sizes = [size for size in seen.example if size is not None]
    channels, *pixels = sizes
    if len(sizes) < len(seen.example) or (channels != 1 and math.prod(pixels) != 1):
        where = "on axis 1, and is fed images that have them last" if wanted else "last, and is fed images with axis 1"
        refuse(node, f"it takes the channels of images {where}: {seen}; known is that for one channel")
    layer = layers.reshape((*pixels, channels) if wanted else sizes)
    return Made(layer, (), (), Seen(seen.dtype, seen.shape, first=wanted))


def _check_images(node: Node, seen: Seen, channels: int | None) -> None:
    check_floating(node, seen)
    if len(seen.example) != 3 or (channels is not None and seen.example[0] not in (None, channels)):
        wanted = "C" if channels is None else channels
        refuse(node, f"it takes images (batch, {wanted}, H, W), and is fed {seen}")


def _windows(node: Node, seen: Seen, kernel: tuple[int, int]) -> Windows:
    stride, dilation = _pair(node, "strides", (1, 1)), _pair(node, "dilations", (1, 1))
    if min(*kernel, *stride, *dilation) < 1:
        refuse(
            node, f"its kernel is {kernel}, its strides {stride}, its dilations {dilation}; known are numbers from 1"
        )
    how = Windows(kernel, stride, "same", dilation)
    automatic, pads = node.attributes["auto_pad"], node.attributes.get("pads", [0, 0, 0, 0])
    if not isinstance(pads, list) or len(pads) != 4 or min(pads) < 0:
        refuse(node, f"its pads are {pads}; known are four numbers from 0")
    if automatic == "NOTSET":
        top, left, bottom, right = pads
        return Windows(kernel, stride, (top, bottom, left, right), dilation)
    if "pads" in node.attributes:
        refuse(node, f"it has pads {pads} and an auto_pad {automatic}; known is one of both")
    if automatic == "VALID":
        return Windows(kernel, stride, (0, 0, 0, 0), dilation)
    if dilation != (1, 1):
        refuse(node, f"it has dilations {list(dilation)} and an auto_pad {automatic}; known is that with pads")
    size = _size(seen)
    if automatic == "SAME_UPPER":
        return how
    if size is None:
        refuse(node, f"its auto_pad is {automatic}, and it is fed {seen}; known are images of a known size")
    (top, bottom), (left, right) = how.pads(size)
    return Windows(kernel, stride, (bottom, top, right, left), dilation)


def _size(seen: Seen) -> tuple[int, int] | None:
    _, height, width = seen.example
    return None if height is None or width is None else (height, width)


def _images_after(node: Node, seen: Seen, how: Windows, channels: int | None) -> Seen:
    size = _size(seen)
    out = (None, None) if size is None else how.out_size(size)
    if size is not None and min(how.out_size(size)) < 1:
        refuse(node, f"its kernel of {how.kernel} does not fit into what it is fed, {seen}")
    return Seen(seen.dtype, (seen.shape[0], channels, *out), first=True)


def _pair(node: Node, name: str, default: tuple[int, int] | None) -> tuple[int, int]:
    found = node.attributes.get(name, default)
    if not isinstance(found, list | tuple) or len(found) != 2:
        refuse(node, f"its {name} is {found}; known are two numbers, for the two axes of images")
    return found[0], found[1]
