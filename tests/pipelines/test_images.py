"""Pictures become images step by step; each step does what its sentence in the paper says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from pipelines.inference.images import CLOSE, converted, extended, is_ready, sharpened, subsampled, trimmed


def picture(height: int, width: int, level: int = 255) -> np.ndarray:
    """A plain picture."""
    return np.full((height, width, 3), level, np.uint8)


@given(arrays(np.uint8, st.tuples(st.integers(1, 70), st.integers(1, 70), st.just(3))))
def test_any_picture_becomes_an_image(image: np.ndarray) -> None:
    """Whatever its size and colours, down to one pixel; and the picture stays as it is."""
    before = image.copy()
    image.flags.writeable = False
    small = converted(image)
    assert (small.shape, small.dtype) == ((28, 28), np.uint8)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(("difference", "width"), [(12, 4), (13, 6)])
def test_close_is_five_percent(difference: int, width: int) -> None:
    """A column that differs from the corner by less than 5 % of the way from black to white is cut off."""
    assert 12 < 255 * CLOSE < 13
    image = picture(20, 20)
    image[5:15, 8:12] = 0
    image[5:15, [7, 12]] = 255 - difference
    assert trimmed(image).shape == (10, width, 3)


def test_distance_is_taken_in_all_three_colours() -> None:
    """One colour may differ by more than 5 % where the others do not: the distance is that of the RGB cube."""
    image = picture(9, 9)
    image[4, 4] = 0
    image[4, 2, 0] = 255 - 22  # 22 / sqrt(3) = 12.7 levels
    assert trimmed(image).shape == (1, 1, 3)
    image[4, 2, 0] = 255 - 23
    assert trimmed(image).shape == (1, 3, 3)


def test_each_corner_has_a_say() -> None:
    """A background that is light above and dark below is cut off all the same."""
    image = picture(40, 20)
    image[20:] = 40
    image[10:30, 5:15] = 140
    assert trimmed(image).shape == (20, 10, 3)


def test_nothing_but_background_is_left_whole() -> None:
    """A blank picture has no edges to cut; it becomes a blank image."""
    assert trimmed(picture(7, 9)).shape == (7, 9, 3)
    assert not converted(picture(7, 9)).any()


def test_subsampling_leaves_out_and_never_mixes() -> None:
    """Each pixel of the result is one of the picture's, from the middle of its share."""
    image = np.arange(280 * 140 * 3).reshape(280, 140, 3).astype(np.uint8)
    small = subsampled(image)
    assert small.shape == (28, 14, 3)
    np.testing.assert_array_equal(small, image[5::10, 5::10])


def test_sharpening_is_strongest_at_outlines() -> None:
    """An even surface stays; at an outline dark becomes darker and light lighter, and more so the harder it is."""
    image = picture(9, 30, 100)
    image[:, 10:20], image[:, 20:] = 140, 150
    sharper = sharpened(image)[4, :, 0].astype(int)
    assert sharper[[2, 14, 27]].tolist() == [100, 140, 150]
    hard, soft = sharper[[9, 10]] - [100, 140], sharper[[19, 20]] - [140, 150]
    assert hard[0] < 0 < hard[1]
    assert abs(hard).min() > 4 * abs(soft).max()


@pytest.mark.parametrize("shape", [(28, 10), (9, 28), (28, 27), (28, 28)])
def test_the_article_is_centred(shape: tuple[int, int]) -> None:
    """Both margins are equal, or differ by the one pixel that cannot be shared."""
    canvas = extended(np.zeros((*shape, 3), np.uint8), np.full(3, 255, np.uint8))
    for axis in (0, 1):
        dark = np.flatnonzero((canvas[..., 0] == 0).any(axis=1 - axis))
        assert len(dark) == shape[axis]
        assert (27 - dark[-1]) - dark[0] in (0, 1)


def test_white_becomes_black() -> None:
    """The whole way: a dark article on white is bright on black, its longest edge 28."""
    photo = picture(500, 300)
    photo[100:400, 100:200] = (30, 60, 90)
    small = converted(photo)
    assert small[14, 14] == 255 - round(0.2126 * 30 + 0.7152 * 60 + 0.0722 * 90)
    columns, rows = np.flatnonzero(small.any(axis=0)), np.flatnonzero(small.any(axis=1))
    assert (len(rows), len(columns), columns[0]) == (28, 9, 9)


@pytest.mark.parametrize(
    ("change", "ready"),
    [
        (lambda image: image, True),
        (lambda image: 255 - image, False),
        (lambda image: image[:27], False),
        (lambda image: np.pad(image, ((0, 1), (0, 0), (0, 0))), False),
        (lambda image: image * np.array([1, 1, 0], np.uint8), False),
    ],
    ids=["as it is", "light background", "too small", "too large", "coloured"],
)
def test_what_is_ready(change: object, ready: bool) -> None:
    """Dark corners, no colour, 28 x 28."""
    image = np.zeros((28, 28, 3), np.uint8)
    image[5:20, 8:20] = 200
    assert is_ready(change(image)) is ready  # type: ignore[operator]
