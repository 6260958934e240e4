"""Convolution and pooling: dtypes, parts of a batch, and the choice of pixels, against loops over single pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from bpfunc.arrays.sums import mean_over, sum_to_last
from bpfunc.keys import Key, normal
from bpfunc.ops import windows as module
from bpfunc.ops.convolution import (
    convolution,
    convolution_example_grads,
    convolution_input_vjp,
    convolution_weight_vjp,
)
from bpfunc.ops.pooling import max_pool, max_pool_jvp, max_pool_vjp, mean_pool, mean_pool_vjp
from bpfunc.ops.windows import Windows, padded, parts_of_batch, unwindowed, windows

HOW = Windows((2, 3), (1, 2), (1, 0, 0, 2), (1, 1))
DTYPES = (np.float16, np.float32, np.float64, np.longdouble)
GROUPS = {
    "one": (1, 4, 6),
    "two": (2, 4, 6),
    "depthwise": (4, 4, 4),
    "two filters each": (2, 2, 4),
    "two of two": (2, 4, 2),
}
"""Groups, channels, features."""


def arrays(kind: str) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """Groups, images, weight and cotangent in float64."""
    groups, channels, features = GROUPS[kind]
    x = normal(Key(1), (3, 5, 6, channels), dtype=float)
    weight = normal(Key(2), (2, 3, channels // groups, features), dtype=float)
    return groups, x, weight, normal(Key(3), (3, *HOW.out_size((5, 6)), features), dtype=float)


def by_loops(x: np.ndarray, weight: np.ndarray, groups: int) -> np.ndarray:
    """The definition, one number at a time."""
    wide = np.pad(x, ((0, 0), (1, 0), (0, 2), (0, 0)))
    (rows, columns), features = HOW.out_size((5, 6)), weight.shape[3]
    channels, own = weight.shape[2], features // groups
    y = np.zeros((len(x), rows, columns, features))
    for p in range(rows):
        for q in range(columns):
            for f in range(features):
                first = f // own * channels
                window = wide[:, p : p + 2, 2 * q : 2 * q + 3, first : first + channels]
                y[:, p, q, f] = (window * weight[..., f]).sum(axis=(1, 2, 3))
    return y


@pytest.mark.parametrize("kind", GROUPS)
def test_convolution_is_its_definition(kind: str) -> None:
    """And its cotangents are its adjoints: ``<y(x, w), dy>`` is linear in both."""
    groups, x, weight, dy = arrays(kind)
    y = convolution(x, weight, HOW, groups)
    np.testing.assert_allclose(y, by_loops(x, weight, groups), rtol=1e-12, atol=1e-12)
    dx, dw = convolution_input_vjp(weight, dy, HOW, x.shape, groups), convolution_weight_vjp(x, dy, HOW, groups)
    assert float((x * dx).sum()) == pytest.approx(float((y * dy).sum()), rel=1e-11)
    assert float((weight * dw).sum()) == pytest.approx(float((y * dy).sum()), rel=1e-11)
    examples = convolution_example_grads(x, dy, HOW, groups)
    assert examples.shape == (3, *weight.shape)
    np.testing.assert_allclose(examples.sum(axis=0), dw, rtol=1e-11, atol=1e-12)
    for row in range(3):
        one = convolution_weight_vjp(x[row : row + 1], dy[row : row + 1], HOW, groups)
        np.testing.assert_allclose(examples[row], one, rtol=1e-11, atol=1e-12)


def test_one_group_by_default() -> None:
    """All functions alike."""
    _, x, weight, dy = arrays("one")
    np.testing.assert_array_equal(convolution(x, weight, HOW), convolution(x, weight, HOW, 1))
    dx = convolution_input_vjp(weight, dy, HOW, x.shape)
    np.testing.assert_array_equal(dx, convolution_input_vjp(weight, dy, HOW, x.shape, 1))
    np.testing.assert_array_equal(convolution_weight_vjp(x, dy, HOW), convolution_weight_vjp(x, dy, HOW, 1))
    np.testing.assert_array_equal(convolution_example_grads(x, dy, HOW), convolution_example_grads(x, dy, HOW, 1))


@pytest.mark.parametrize("kind", GROUPS)
def test_parts_of_a_batch_add_up(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One image at a time gives what the whole batch gives."""
    groups, x, weight, dy = arrays(kind)

    def results() -> tuple[np.ndarray, ...]:
        return (
            convolution(x, weight, HOW, groups),
            convolution_input_vjp(weight, dy, HOW, x.shape, groups),
            convolution_weight_vjp(x, dy, HOW, groups),
            convolution_example_grads(x, dy, HOW, groups),
        )

    whole = results()
    monkeypatch.setattr(module, "WINDOWS_BYTES", 1)
    for part, all_at_once in zip(results(), whole, strict=True):
        np.testing.assert_allclose(part, all_at_once, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", GROUPS)
def test_convolution_keeps_the_dtype(kind: str, dtype: type) -> None:
    """Every function, and the wider of two."""
    groups, x, weight, dy = arrays(kind)
    y = convolution(x, weight, HOW, groups)
    x, weight, dy = (array.astype(dtype) for array in (x, weight, dy))
    tolerance = {"rtol": 2e-2, "atol": 5e-2} if dtype == np.float16 else {"rtol": 1e-4, "atol": 1e-4}
    found = convolution(x, weight, HOW, groups)
    np.testing.assert_allclose(found.astype(float), y, **tolerance)
    assert found.dtype == dtype
    assert convolution_input_vjp(weight, dy, HOW, x.shape, groups).dtype == dtype
    assert convolution_weight_vjp(x, dy, HOW, groups).dtype == dtype
    assert convolution_example_grads(x, dy, HOW, groups).dtype == dtype
    wide = np.result_type(dtype, np.float64)
    for left, right in ((np.float64, dtype), (dtype, np.float64)):
        x, weight, dy = arrays(kind)[1:]
        assert convolution(x.astype(left), weight.astype(right), HOW, groups).dtype == wide
        assert convolution_input_vjp(weight.astype(left), dy.astype(right), HOW, x.shape, groups).dtype == wide
        assert convolution_weight_vjp(x.astype(left), dy.astype(right), HOW, groups).dtype == wide
        assert convolution_example_grads(x.astype(left), dy.astype(right), HOW, groups).dtype == wide


@pytest.mark.parametrize("dtype", DTYPES)
def test_pooling_keeps_the_dtype(dtype: type) -> None:
    """Values and derivatives, in types that have bits of a known kind and in one that has not."""
    x, how = normal(Key(1), (2, 5, 6, 3), dtype=float), Windows((2, 3), (1, 2), (1, 0, 0, 2), (1, 1))
    y, residual = max_pool(x, how)
    found, own = max_pool(x.astype(dtype), how)
    assert found.dtype == dtype and own.chosen.dtype == np.uint8
    np.testing.assert_array_equal(own.chosen, residual.chosen)
    np.testing.assert_array_equal(found, y.astype(dtype))
    dy = normal(Key(2), y.shape, dtype=float)
    for function, values in ((max_pool_vjp, dy), (max_pool_jvp, x)):
        result = function(own, values.astype(dtype))
        assert result.dtype == dtype
        np.testing.assert_allclose(result.astype(float), function(residual, values), rtol=1e-2, atol=1e-2)
    assert mean_pool(x.astype(dtype), how).dtype == mean_pool_vjp(dy.astype(dtype), how, x.shape).dtype == dtype
    np.testing.assert_allclose(mean_pool(x.astype(dtype), how).astype(float), mean_pool(x, how), rtol=1e-2, atol=1e-2)


NUMBERS = st.sampled_from([-2.0, -1.0, 0.0, 1.0, 1.0, math.inf, -math.inf, -math.inf, math.nan])


@settings(max_examples=200)
@given(
    st.lists(NUMBERS, min_size=20, max_size=20),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 2), st.integers(1, 3)),
    st.data(),
)
def test_the_pixel_that_is_chosen(
    numbers: list[float], kernel: tuple[int, int], stride: tuple[int, int], data: st.DataObject
) -> None:
    """The first of the largest, the last NaN, a pixel and not the padding: by a loop over each window."""
    sides = [kernel[0] - 1, kernel[0] - 1, kernel[1] - 1, kernel[1] - 1]
    pads = tuple(data.draw(st.integers(0, most)) for most in sides)
    how, x = Windows(kernel, stride, pads, (1, 1)), np.array(numbers).reshape(1, 4, 5, 1)
    rows, columns = how.out_size((4, 5))
    if min(rows, columns) < 1:
        return
    y, residual = max_pool(x, how)
    assert residual.chosen.dtype == np.uint8
    for p in range(rows):
        for q in range(columns):
            inside = []
            for position in range(kernel[0] * kernel[1]):
                i, j = p * stride[0] + position // kernel[1] - pads[0], q * stride[1] + position % kernel[1] - pads[2]
                if 0 <= i < 4 and 0 <= j < 5:
                    inside.append((position, x[0, i, j, 0]))
            unknown = [(position, pixel) for position, pixel in inside if math.isnan(pixel)]
            position, pixel = unknown[-1] if unknown else max(inside, key=lambda pair: (pair[1], -pair[0]))
            np.testing.assert_array_equal(y[0, p, q, 0], pixel)
            assert residual.chosen[0, p, q, 0] == position
    dx = max_pool_vjp(residual, np.full(y.shape, math.inf))
    assert not np.isnan(dx).any()  # 0 times infinity does not come up


def test_windows_of_many_pixels_count_beyond_a_byte() -> None:
    """The choice is kept in as many bytes as it takes."""
    x = np.arange(400.0).reshape(1, 20, 20, 1)
    _, residual = max_pool(x, Windows((20, 20), (1, 1), (0, 0, 0, 0), (1, 1)))
    assert (residual.chosen.dtype, residual.chosen.ravel().tolist()) == (np.uint16, [399])


@pytest.mark.parametrize("side", range(4))
def test_padding_of_one_side(side: int) -> None:
    """Top, bottom, left, right, each by itself; without padding nothing is copied."""
    pads = tuple(2 * (place == side) for place in range(4))
    x = normal(Key(1), (2, 3, 4, 2))
    expected = np.pad(x, ((0, 0), pads[:2], pads[2:], (0, 0)), constant_values=7)
    found = padded(x, Windows((3, 3), (1, 1), pads, (1, 1)), fill=7)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float32
    assert padded(x, Windows((3, 3), (1, 1), (0, 0, 0, 0), (1, 1))) is x


def test_windows_are_a_copy_and_come_back_in_their_dtype() -> None:
    """Windows of images without padding share no memory with these; the way back is a sum, and keeps float32."""
    x, how = normal(Key(1), (2, 3, 4, 2)), Windows((2, 2), (1, 1), (0, 0, 0, 0), (1, 1))
    rows = windows(x, how)
    assert rows.flags.writeable and not np.shares_memory(rows, x)
    back = unwindowed(np.ones_like(rows), how, x.shape)
    assert back.dtype == np.float32
    assert back[0, :, :, 0].tolist() == [[1, 2, 2, 1], [2, 4, 4, 2], [1, 2, 2, 1]]


def test_a_batch_is_cut_by_the_bytes_of_its_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many images as fit, at least one; rows, columns, both sides of the kernel, channels and bytes count."""
    how = Windows((3, 2), (1, 1), "same", (1, 1))
    image = 4 * 5 * 3 * 2 * 6 * 8
    for fit in (1, 2, 3):
        monkeypatch.setattr(module, "WINDOWS_BYTES", fit * image)
        found = list(parts_of_batch((5, 4, 5, 6), how, 8))
        assert [part.stop - part.start for part in found] == {1: [1] * 5, 2: [2, 2, 1], 3: [3, 2]}[fit]
        assert [part.start for part in found] == [0, *(part.stop for part in found[:-1])]
    monkeypatch.setattr(module, "WINDOWS_BYTES", 3 * image - 1)
    assert next(parts_of_batch((5, 4, 5, 6), how, 8)) == slice(0, 2)
    monkeypatch.setattr(module, "WINDOWS_BYTES", 0)
    assert next(parts_of_batch((5, 4, 5, 6), how, 8)) == slice(0, 1)
    assert list(parts_of_batch((0, 4, 5, 6), how, 8)) == []
    monkeypatch.setattr(module, "WINDOWS_BYTES", 7)
    assert next(parts_of_batch((9, 1, 1, 1), Windows((1, 1), (1, 1), "same", (1, 1)), 1)) == slice(0, 7)


def test_sums_and_means_over_several_axes() -> None:
    """As NumPy's, whatever the order."""
    x = normal(Key(1), (3, 4, 5, 2), dtype=float)
    np.testing.assert_allclose(sum_to_last(x), x.sum(axis=(0, 1, 2)), rtol=1e-13)
    np.testing.assert_array_equal(sum_to_last(x[:, 0, 0]), x[:, 0, 0].sum(axis=0))
    for axes in ((0, 1, 2), (0, 1), (1,), 2, -1):
        found, expected = mean_over(x, axes), x.mean(axis=axes, keepdims=True)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    calls = []

    class Counted(np.ndarray):
        def mean(self, **options: object) -> object:
            calls.append(options["axis"])
            return super().mean(**options)

        def sum(self, **options: object) -> object:
            calls.append(options["axis"])
            return super().sum(**options)

    mean_over(x.view(Counted), (0, 1))
    sum_to_last(x.view(Counted))
    assert calls == [0, (1,), 0, (0, 1)]


def test_pooling_whose_padding_follows_from_the_size() -> None:
    """Padding that is called the same is that which it amounts to, in values and derivatives."""
    x = normal(Key(1), (2, 5, 6, 3), dtype=float)
    same, told = (Windows((3, 2), (2, 1), padding, (1, 1)) for padding in ("same", (1, 1, 0, 1)))
    assert same.pads((5, 6)) == told.pads((5, 6))
    (y, residual), (expected, other) = max_pool(x, same), max_pool(x, told)
    np.testing.assert_array_equal(y, expected)
    dy = normal(Key(2), y.shape, dtype=float)
    np.testing.assert_array_equal(max_pool_vjp(residual, dy), max_pool_vjp(other, dy))
    np.testing.assert_array_equal(max_pool_jvp(residual, x), max_pool_jvp(other, x))
    np.testing.assert_array_equal(mean_pool(x, same), mean_pool(x, told))
    np.testing.assert_array_equal(mean_pool_vjp(dy, same, x.shape), mean_pool_vjp(dy, told, x.shape))
