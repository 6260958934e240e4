"""Trees survive safetensors in every layout, and files that are not what they should be are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, strategies as st
from safetensors.numpy import load

from bpfunc.interop.safetensors import (
    HEADER_LIMIT,
    from_safetensors,
    load_tensors,
    safetensors_metadata,
    to_safetensors,
)
from bpfunc.keys import Key, normal
from bpfunc.layers import DenseParams
from bpfunc.tree import Tree, flatten, tree_allclose, tree_map, tree_zeros_like

LAYOUTS = {
    "contiguous": lambda a: a,
    "fortran": np.asfortranarray,
    "transposed": lambda a: a.T.copy().T,
    "sliced": lambda a: np.repeat(a, 2, axis=0)[::2],
    "reversed": lambda a: a[::-1].copy()[::-1],
    "read-only": lambda a: _frozen(a),
}


def _frozen(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


def tree(dtype: type = np.float32) -> Tree:
    """A nest with records, tuples, an empty node, a whole number and a 0-d array."""
    weight, bias = normal(Key(0), (3, 4)).astype(dtype), normal(Key(1), (4,)).astype(dtype)
    return {"layers": (DenseParams(weight, bias), (), DenseParams(weight.T, None)), "step": 7, "rate": np.array(0.5)}


@given(st.sampled_from(sorted(LAYOUTS)), st.sampled_from([np.float32, np.float64, np.int64, np.uint8]))
def test_every_layout_round_trips(layout: str, dtype: type) -> None:
    """What is read back is what was written, whatever the strides: the format's own writer gets this wrong."""
    original = tree(dtype)
    laid_out = tree_map(lambda a: LAYOUTS[layout](a) if np.ndim(a) == 2 else a, original)
    back = from_safetensors(to_safetensors(laid_out), tree_zeros_like_numbers(original))
    assert tree_allclose(back, original, rtol=0, atol=0)
    assert flatten(back)[1] == flatten(original)[1]
    assert back["layers"][0].weight.dtype == dtype
    assert type(back["step"]) is int


def tree_zeros_like_numbers(tree: Tree) -> Tree:
    """Zeros in place of arrays, other numbers in place of numbers."""
    return tree_map(lambda leaf: tree_zeros_like(leaf) if isinstance(leaf, np.ndarray) else type(leaf)(0), tree)


def test_arrays_come_back_read_only() -> None:
    """Nobody writes into what was loaded."""
    back = from_safetensors(to_safetensors(tree()), tree())
    with pytest.raises(ValueError, match="read-only"):
        back["layers"][0].weight[0, 0] = 7


def test_same_tree_same_bytes() -> None:
    """The bytes depend on the tree and its metadata alone, and tensors are named by their paths."""
    data = to_safetensors(tree(), metadata={"seed": "0"})
    assert data == to_safetensors(tree(), metadata={"seed": "0"})
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert "['layers'][0].weight" in header
    assert safetensors_metadata(data) == {"seed": "0"}
    assert safetensors_metadata(to_safetensors(tree())) == {}


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ((np.zeros(3, np.float32),), r"tensor \[0\]: expected float32 \(3,\), found float32 \(2,\)"),
        ((np.zeros(2),), r"expected float64 \(2,\), found float32 \(2,\)"),
        ({"a": np.zeros(2, np.float32)}, r"missing \[\"\['a'\]\"\], not expected \['\[0\]'\]"),
        ((), r"not expected \['\[0\]'\]"),
    ],
)
def test_other_trees_are_refused(like: Tree, message: str) -> None:
    """Names, shapes and dtypes must be exactly those expected."""
    with pytest.raises(ValueError, match=message):
        from_safetensors(to_safetensors((np.zeros(2, np.float32),)), like)


def test_bytes_that_are_no_file_are_refused() -> None:
    """Every cut and a sample of flipped bytes either give the same tree or one clear error."""
    like = (np.arange(4.0),)
    data = to_safetensors(like)
    for length in range(len(data)):
        with pytest.raises(ValueError, match=r"not a safetensors file|tensor"):
            from_safetensors(data[:length], like)
    for position in range(len(data) - 32):
        flipped = bytearray(data)
        flipped[position] ^= 1
        try:
            from_safetensors(bytes(flipped), like)
        except ValueError:
            continue
        # A space for another white space in the header's padding changes nothing that is read.
        assert tree_allclose(from_safetensors(bytes(flipped), like), like, rtol=0, atol=0)


def test_size_is_checked_before_parsing() -> None:
    """A file far larger than the tree can be is refused unread; so is metadata behind a header that lies."""
    with pytest.raises(ValueError, match="are more than 0 of tensors"):
        from_safetensors(bytes(HEADER_LIMIT + 1), ())
    for data in (b"", b"\xff" * 8, (50).to_bytes(8, "little") + b"{}", (2).to_bytes(8, "little") + b"{x"):
        with pytest.raises(ValueError, match="not a safetensors file"):
            safetensors_metadata(data)
    assert safetensors_metadata((2).to_bytes(8, "little") + b"[]") == {}


def test_bytes_are_the_same_every_time() -> None:
    """Text in the header comes in one order, and the reader of the format's authors still finds all of it."""
    tree, about = {"w": np.arange(6.0).reshape(2, 3).T}, {name: name * 3 for name in "hgfedcba"}
    files = {
        to_safetensors(tree, metadata=dict(sorted(about.items(), key=lambda pair: order * ord(pair[0]))))
        for order in (1, -1)
    }
    files |= {to_safetensors(tree, metadata=about) for _ in range(20)}
    assert len(files) == 1
    (data,) = files
    assert safetensors_metadata(data) == about
    np.testing.assert_array_equal(load(data)["['w']"], tree["w"])


@pytest.mark.parametrize(
    "header",
    [
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        '{"__metadata__":{"seed":"0","seed":"1"},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
    ],
)
def test_a_name_that_is_there_twice_is_refused(header: str) -> None:
    """Readers disagree on which of the two counts, so a file could show one of them and mean the other."""
    padded = header.encode() + b" " * (-len(header) % 8)
    data = len(padded).to_bytes(8, "little") + padded + b"\x01"
    assert load(data)["a"].shape == (1,), "the format's own reader takes it"
    for read in (load_tensors, safetensors_metadata):
        with pytest.raises(ValueError, match="is there twice"):
            read(data)
