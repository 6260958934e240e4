"""Parameters go to torch's names and layout and come back bit for bit; what does not fit is named."""

from __future__ import annotations

import numpy as np
import pytest

from bpfunc import layers
from bpfunc.interop.torch_layout import from_torch_state_dict, to_torch_state_dict
from bpfunc.keys import Key
from bpfunc.layers import Layer, dense, relu
from bpfunc.layers.combinators import named, parallel, residual, serial
from bpfunc.layers.mirror import mirror_averaged
from bpfunc.tree import flatten, tree_cast
from tests.bpfunc.interop.stacks import IN_SEQUENCE, lively
from tests.bpfunc.interop.test_structure import OWN

MLP = serial(dense(4), layers.batch_norm(), relu(), dense(3))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", IN_SEQUENCE)
def test_round_trip_is_the_identity(name: str, dtype: type) -> None:
    """Parameters and statistics come back bit for bit, in their own type and in memory of their own."""
    trees = tree_cast(lively(IN_SEQUENCE[name], (784,)), dtype)
    there = to_torch_state_dict(IN_SEQUENCE[name], *trees)
    (old, structure), (new, same) = (
        flatten(trees),
        flatten(from_torch_state_dict(IN_SEQUENCE[name], there, in_shape=(784,))),
    )
    assert structure == same
    for before, after in zip(old, new, strict=True):
        assert (before.dtype, before.shape, before.tobytes()) == (after.dtype, after.shape, after.tobytes())
        assert not after.flags.writeable
        assert not any(np.shares_memory(array, other) for array in there.values() for other in (before, after))


def test_names_are_those_of_sequential() -> None:
    """A layer without parameters takes up a number; weights are (out, in)."""
    found = to_torch_state_dict(MLP, *lively(MLP, (2,)))
    norm = {f"1.{name}": (4,) for name in ("weight", "bias", "running_mean", "running_var")}
    assert {name: array.shape for name, array in found.items()} == {
        "0.weight": (4, 2),
        "0.bias": (4,),
        **norm,
        "1.num_batches_tracked": (),
        "3.weight": (3, 4),
        "3.bias": (3,),
    }
    assert found["1.num_batches_tracked"].dtype == np.int64


def test_parts_keep_their_names() -> None:
    """As a Sequential of an OrderedDict does; an averaged network has the names of the one inside."""
    network = named(("body", serial(dense(2), relu())), ("head", dense(1)))
    for model in (network, mirror_averaged(network, image_shape=(1, 2))):
        found = to_torch_state_dict(model, *lively(model, (2,)))
        assert list(found) == ["body.0.weight", "body.0.bias", "head.weight", "head.bias"]


def test_modules_may_be_called_otherwise() -> None:
    """Networks that are attributes of a module of one's own, such as fc1, come and go by a mapping."""
    names = {"0": "fc1", "1": "norm", "3": "net.head"}
    params, state = lively(MLP, (2,))
    found = to_torch_state_dict(MLP, params, state, names=names)
    assert {name.rpartition(".")[0] for name in found} == set(names.values())
    again = from_torch_state_dict(MLP, found, in_shape=(2,), names=names)
    assert again[0].layers[3].weight.tobytes() == params.layers[3].weight.tobytes()
    with pytest.raises(ValueError, match="names give two modules one name"):
        to_torch_state_dict(MLP, params, state, names={"0": "fc", "3": "fc"})


def test_the_count_of_batches_may_be_missing() -> None:
    """It is not used with a momentum."""
    params, state = lively(MLP, (2,))
    found = to_torch_state_dict(MLP, params, state)
    del found["1.num_batches_tracked"]
    assert from_torch_state_dict(MLP, found, in_shape=(2,))[1][1].mean.tobytes() == state[1].mean.tobytes()


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (serial(relu(), residual(relu())), r"^layers\[1\]: residual\(relu\) has no twin in torch\.nn\.Sequential"),
        (parallel(relu()), r"^the network: parallel\(relu\) has no twin"),
        (serial(OWN), r"^layers\[0\]: layer own is none of"),
    ],
)
def test_networks_without_a_twin_are_refused(network: Layer, message: str) -> None:
    """The message leads to the layer."""
    params, state, _ = network.init(Key(0), (2,))
    with pytest.raises(ValueError, match=message):
        to_torch_state_dict(network, params, state)


def test_rows_of_flattened_images_change_their_order() -> None:
    """A dense weight after flatten has its rows by pixel here and by channel in torch; the axes of kernels turn."""
    network = serial(layers.reshape((1, 2, 1)), layers.conv2d(3, (1, 2)), layers.flatten(), dense(1, use_bias=False))
    params, state = lively(network, (2,))
    found = to_torch_state_dict(network, params, state)
    by_pixel = params.layers[3].weight.ravel()
    assert found["3.weight"].tolist() == [by_pixel[[0, 3, 1, 4, 2, 5]].tolist()]
    assert found["1.weight"].shape == (3, 1, 1, 2)
    assert found["1.weight"][2, 0, 0, 1] == params.layers[1].weight[0, 1, 0, 2]


POOLED = serial(layers.max_pool2d(2), layers.flatten(), dense(3))


@pytest.mark.parametrize(
    ("network", "in_shape", "message"),
    [
        (POOLED, (4, 4, 2), r"^layers\[2\]: its rows are flattened images, and how many channels .* give in_shape"),
        (
            serial(layers.reshape((2, 2, 3)), layers.conv2d(1)),
            (12,),
            r"^layers\[0\]: reshape\(2, 2, 3\) orders .* torch",
        ),
        (
            serial(layers.conv2d(2), layers.reshape((8, 4))),
            (4, 4, 1),
            r"^layers\[1\]: reshape\(8, 4\) orders the numbers",
        ),
        (
            serial(layers.conv2d(2), layers.flatten(), layers.reshape((4, 4, 2))),
            (4, 4, 1),
            r"^layers\[2\]: reshape\(4, 4, 2\) orders the numbers",
        ),
    ],
)
def test_orders_that_are_not_known_are_refused(network: Layer, in_shape: tuple[int, ...], message: str) -> None:
    """Never another order silently."""
    params, state, _ = network.init(Key(0), in_shape)
    with pytest.raises(ValueError, match=message):
        to_torch_state_dict(network, params, state)


def test_channels_may_be_told() -> None:
    """The shape of an example settles what no convolution does; parameters of another count of pixels are refused."""
    params, state = lively(POOLED, (4, 4, 2))
    there = to_torch_state_dict(POOLED, params, state, in_shape=(4, 4, 2))
    assert not np.array_equal(there["2.weight"], params.layers[2].weight.T)
    again, _ = from_torch_state_dict(POOLED, there, in_shape=(4, 4, 2))
    assert again.layers[2].weight.tobytes() == params.layers[2].weight.tobytes()
    with pytest.raises(
        ValueError, match=r"^layers\[2\]\.weight: expected rows of images of 3 channels, found \(8, 3\)"
    ):
        to_torch_state_dict(POOLED, params, state, in_shape=(4, 4, 3))


def test_kernels_of_another_shape_are_refused() -> None:
    """As those of a dense layer are."""
    network = serial(layers.conv2d(3, 2))
    params, state = lively(network, (4, 4, 2))
    with pytest.raises(ValueError, match=r"^layers\[0\]\.weight: expected float32 or float64 \(2, 2, 2, 4\), found"):
        to_torch_state_dict(serial(layers.conv2d(4, 2)), params, state)
    found = to_torch_state_dict(network, params, state)
    with pytest.raises(ValueError, match=r"^0\.weight: expected \(3, 2, 2, 2\), found \(2, 2, 2, 3\)"):
        from_torch_state_dict(network, found | {"0.weight": found["0.weight"].T}, in_shape=(4, 4, 2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"0.weight": None}, r"missing \['0\.weight'\], not expected \[\]"),
        ({"0.bias": None, "9.bias": np.ones(2)}, r"missing \['0\.bias'\], not expected \['9\.bias'\]"),
        ({"0.weight": np.ones((2, 4))}, r"^0\.weight: expected \(4, 2\), found \(2, 4\)$"),
        (
            {"0.bias": np.ones(3), "1.running_mean": np.ones(())},
            r"0\.bias: expected \(4,\), found \(3,\); 1\.running_mean: expected \(4,\), found \(\)",
        ),
        ({"3.bias": np.ones(3, int)}, r"^3\.bias: expected float32 or float64, found int64"),
        ({"3.bias": ["a", "b", "c"]}, r"^3\.bias: expected float32 or float64, found <U1"),
    ],
)
def test_dicts_that_do_not_fit_are_refused(changes: dict[str, object], message: str) -> None:
    """All names that are missing, too many or of another shape, at once."""
    found = to_torch_state_dict(MLP, *lively(MLP, (2,))) | changes
    with pytest.raises(ValueError, match=message):
        from_torch_state_dict(MLP, {n: a for n, a in found.items() if a is not None}, in_shape=(2,))
