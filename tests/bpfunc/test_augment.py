"""Augmentation: pure in (key, batch), the dtype kept, and each one does what its name says."""

from __future__ import annotations

import inspect
from typing import get_type_hints

import attrs
import numpy as np
import pytest

import bpfunc.batches.augment
from bpfunc.arrays.types import FloatDType
from bpfunc.batches.augment import (
    Augmentation,
    augmented,
    compose,
    cutout,
    flip_horizontal,
    flip_vertical,
    mixup,
    noise,
    rotate,
    rotated,
    shift,
    sometimes,
)
from bpfunc.batches.batch import Batch, epoch_batches
from bpfunc.keys import Key
from bpfunc.layers import ShapeError
from tests.bpfunc.members import makers

SHAPE = (5, 7)
ALL = {
    "compose": compose(shift(1, shape=SHAPE), noise(0.5)),
    "sometimes": sometimes(0.5, noise(1.0)),
    "flip_horizontal": flip_horizontal(shape=SHAPE),
    "flip_vertical": flip_vertical(shape=SHAPE),
    "shift": shift(2, shape=SHAPE),
    "rotate": rotate(30.0, shape=SHAPE),
    "cutout": cutout(3, shape=SHAPE),
    "noise": noise(0.5),
    "mixup": mixup(0.4),
}
ON_IMAGES = ["flip_horizontal", "flip_vertical", "shift", "rotate", "cutout"]


def images(rows: int = 16, dtype: FloatDType = np.float32) -> Batch:
    """Random images with one-hot targets."""
    rng = np.random.default_rng(0)
    inputs = rng.random((rows, SHAPE[0] * SHAPE[1])).astype(dtype)
    return Batch(inputs, np.eye(3, dtype=dtype)[np.arange(rows) % 3])


def same(left: Batch, right: Batch) -> bool:
    """Whether two batches are equal bit for bit."""
    return np.array_equal(left.inputs, right.inputs) and np.array_equal(left.targets, right.targets)


def test_table_names_every_augmentation() -> None:
    """An augmentation added later is tested too, or this fails."""
    makers = {
        name
        for name, thing in vars(bpfunc.batches.augment).items()
        if inspect.isfunction(thing) and not name.startswith("_") and get_type_hints(thing)["return"] == Augmentation
    }
    assert makers == ALL.keys()


@pytest.mark.parametrize("name", ALL)
def test_augmentation_is_pure(name: str) -> None:
    """One key gives one batch, another key another; the argument stays as it is."""
    batch = images()
    before = batch.inputs.copy(), batch.targets.copy()
    assert same(ALL[name](Key(1), batch), ALL[name](Key(1), batch))
    assert not same(ALL[name](Key(1), batch), ALL[name](Key(2), batch))
    assert np.array_equal(before[0], batch.inputs)
    assert np.array_equal(before[1], batch.targets)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [0, 1, 5])
def test_augmentation_keeps_shapes_and_dtype(name: str, dtype: FloatDType, rows: int) -> None:
    """float32 stays float32, from no row to many."""
    batch = images(rows, dtype)
    found = ALL[name](Key(0), batch)
    assert (found.inputs.shape, found.inputs.dtype) == (batch.inputs.shape, dtype)
    assert (found.targets.shape, found.targets.dtype) == (batch.targets.shape, dtype)


@pytest.mark.parametrize("name", ALL)
def test_augmentation_takes_any_layout(name: str) -> None:
    """Column-major and strided inputs give what row-major ones give."""
    batch = images()
    wide = np.repeat(batch.inputs, 2, axis=1)[:, ::2]
    for inputs in (np.asfortranarray(batch.inputs), wide):
        assert same(ALL[name](Key(3), batch), ALL[name](Key(3), attrs.evolve(batch, inputs=inputs)))


@pytest.mark.parametrize("name", ON_IMAGES)
def test_examples_have_their_own_randomness(name: str) -> None:
    """Equal images do not all change alike."""
    batch = images()
    copies = attrs.evolve(batch, inputs=np.tile(batch.inputs[:1], (16, 1)))
    assert len(np.unique(ALL[name](Key(0), copies).inputs, axis=0)) > 1


@pytest.mark.parametrize("name", ON_IMAGES)
def test_inputs_that_are_no_images_are_refused(name: str) -> None:
    """The error says which images were expected."""
    with pytest.raises(ShapeError, match=r"\(B, 35\), images of shape \(5, 7\) as rows, found \(2, 36\)"):
        ALL[name](Key(0), Batch(np.zeros((2, 36)), np.zeros(2)))


@pytest.mark.parametrize(("flip", "axis"), [(flip_horizontal, 2), (flip_vertical, 1)])
def test_flip_is_a_mirror_and_its_own_inverse(flip: object, axis: int) -> None:
    """At probability 1 it reverses one axis, and twice is not at all; at 0 it does nothing."""
    batch, always, never = images(), flip(1.0, shape=SHAPE), flip(0.0, shape=SHAPE)
    once = always(Key(0), batch)
    assert np.array_equal(once.inputs.reshape(-1, *SHAPE), np.flip(batch.inputs.reshape(-1, *SHAPE), axis))
    assert same(always(Key(1), once), batch)
    assert same(never(Key(0), batch), batch)


def test_shift_moves_each_image_by_whole_pixels() -> None:
    """Every image is one of the 25 that a move by -2..2 each way gives, and all moves occur."""
    batch = attrs.evolve(images(1), inputs=1 + images(1).inputs)
    many = Batch(np.tile(batch.inputs, (500, 1)), np.zeros(500))
    padded = np.pad(batch.inputs.reshape(SHAPE), 2, constant_values=-1)
    moved = {
        padded[down : down + SHAPE[0], right : right + SHAPE[1]].tobytes() for down in range(5) for right in range(5)
    }
    found = shift(2, shape=SHAPE, fill=-1.0)(Key(0), many).inputs
    assert {row.tobytes() for row in found} == moved


def test_rotated_by_a_right_angle_is_the_picture_turned() -> None:
    """A quarter turn of a square image is NumPy's, counter-clockwise."""
    square = np.random.default_rng(1).random((1, 6, 6))
    np.testing.assert_allclose(rotated(square, np.array([np.pi / 2]))[0], np.rot90(square[0]), atol=1e-12)


def test_rotated_by_nothing_changes_nothing() -> None:
    """An angle of 0 is the same image, bit for bit."""
    picture = images().inputs.reshape(-1, *SHAPE)
    assert np.array_equal(rotated(picture, np.zeros(16)), picture)


def test_rotated_linear_ramp_stays_linear() -> None:
    """Bilinear sampling is exact on a plane: inside, the turned ramp is the ramp at the turned place."""
    side, angle = 21, 0.3
    down, right = np.mgrid[:side, :side] - (side - 1) / 2
    turned = rotated((2 * down + 3 * right)[None], np.array([angle]))[0]
    expected = 2 * (np.cos(angle) * down + np.sin(angle) * right) + 3 * (np.cos(angle) * right - np.sin(angle) * down)
    inside = np.hypot(down, right) < side / 2 - 1
    np.testing.assert_allclose(turned[inside], expected[inside], atol=1e-12)


def test_rotation_turns_fill_in() -> None:
    """The corners of a turned image come from outside."""
    turned = rotated(np.ones((1, 9, 9), np.float32), np.array([np.pi / 4]), fill=-3.0)
    assert turned[0, [0, 0, 8, 8], [0, 8, 0, 8]].tolist() == [-3.0] * 4
    assert turned[0, 4, 4] == 1.0


def test_rotate_stays_within_its_angle() -> None:
    """A point one unit from the centre, turned by at most 10 degrees, stays in its half and both signs occur."""
    side = 21
    picture = np.zeros((side, side))
    picture[10, 20] = 1.0
    found = rotate(10.0, shape=(side, side))(Key(0), Batch(np.tile(picture.ravel(), (200, 1)), np.zeros(200)))
    turned = found.inputs.reshape(-1, side, side)
    rows = (turned.sum(axis=2) * np.arange(side)).sum(axis=1) / turned.sum(axis=(1, 2))
    assert np.abs(rows - 10).max() <= 10 * np.sin(np.radians(10)) + 1
    assert rows.min() < 9.5
    assert rows.max() > 10.5


def test_cutout_blanks_a_square() -> None:
    """What is blank is a rectangle of at most the size, and of exactly that size away from the border."""
    ones = Batch(np.ones((300, 81)), np.zeros(300))
    blank = cutout(3, shape=(9, 9), fill=7.0)(Key(0), ones).inputs.reshape(-1, 9, 9) == 7.0
    heights, widths = blank.any(axis=2).sum(axis=1), blank.any(axis=1).sum(axis=1)
    assert np.array_equal(heights * widths, blank.sum(axis=(1, 2)))
    assert (heights.max(), widths.max(), heights.min(), widths.min()) == (3, 3, 2, 2)


def test_noise_has_the_deviation_asked_for() -> None:
    """Mean 0 and the deviation, within 5 standard errors."""
    draw = noise(0.25)(Key(0), Batch(np.zeros((100, 400)), np.zeros(100))).inputs
    assert abs(draw.mean()) < 5 * 0.25 / 200
    assert abs(draw.std() / 0.25 - 1) < 5 / np.sqrt(2 * 40_000)


def test_mixup_mixes_inputs_targets_and_weights_alike() -> None:
    """Each row is one convex combination of two rows, the same in inputs, targets and weights."""
    rows = np.eye(8)
    mixed = mixup(1.0)(Key(2), Batch(rows, rows, np.arange(8.0)))
    assert np.array_equal(mixed.inputs, mixed.targets)
    np.testing.assert_allclose(mixed.inputs @ np.arange(8.0), mixed.weights, rtol=1e-14)
    np.testing.assert_allclose(mixed.inputs.sum(axis=1), 1)
    assert np.count_nonzero(mixed.inputs, axis=1).max() == 2


def test_mixup_refuses_class_indices() -> None:
    """Half of class 2 and half of class 0 is not class 1."""
    with pytest.raises(ValueError, match="one-hot rows, found int64"):
        mixup(0.4)(Key(0), Batch(np.zeros((2, 1)), np.array([0, 2])))


def test_sometimes_changes_some_rows_wholly() -> None:
    """A row is the augmented one or the old one, in inputs, targets and weights, and both occur."""
    batch = attrs.evolve(images(64), weights=np.linspace(1, 2, 64))
    mixed = sometimes(0.5, mixup(5.0))(Key(0), batch)
    kept = (mixed.inputs == batch.inputs).all(axis=1)
    assert 10 < kept.sum() < 54
    assert np.array_equal(mixed.targets[kept], batch.targets[kept])
    assert np.array_equal(mixed.weights[kept], batch.weights[kept])
    assert not (mixed.weights[~kept] == batch.weights[~kept]).any()
    assert same(sometimes(0.0, noise(1.0))(Key(0), batch), batch)


def test_compose_of_nothing_changes_nothing() -> None:
    """The empty composition is the identity."""
    batch = images()
    assert same(compose()(Key(0), batch), batch)


def test_composed_augmentations_draw_independently() -> None:
    """The same augmentation twice draws twice."""
    zero = Batch(np.zeros((4, 35)), np.zeros(4))
    twice = compose(noise(1.0), noise(1.0))(Key(0), zero).inputs
    assert not np.allclose(twice, 2 * noise(1.0)(Key(0), zero).inputs)
    assert not np.allclose(twice, 0)


def test_augmented_epoch_goes_on_where_it_was_left() -> None:
    """Batches after an interruption are those of the epoch that ran through, bit for bit."""
    data, fuzzy = images(), noise(1.0)
    whole = list(augmented(epoch_batches(data, Key(0), 3, 5), Key(1), fuzzy))
    rest = list(augmented(epoch_batches(data, Key(0), 3, 5, start=2), Key(1), fuzzy, start=2))
    assert len(rest) == 2
    assert all(same(a, b) for a, b in zip(whole[2:], rest, strict=True))


def test_batches_of_an_epoch_draw_independently() -> None:
    """The same batch twice is augmented in two ways."""
    zero = Batch(np.zeros((4, 35)), np.zeros(4))
    one, two = augmented([zero, zero], Key(1), noise(1.0))
    assert not np.array_equal(one.inputs, two.inputs)


@pytest.mark.parametrize(
    "make",
    [
        lambda: sometimes(1.5, noise(1.0)),
        lambda: flip_horizontal(-0.1),
        lambda: flip_vertical(float("nan")),
        lambda: shift(-1),
        lambda: rotate(-1.0),
        lambda: cutout(-1),
        lambda: noise(-1.0),
        lambda: mixup(0.0),
    ],
)
def test_augmentation_settings_out_of_range_are_refused(make: object) -> None:
    """A setting that means nothing is an error where it is given."""
    assert callable(make)
    with pytest.raises(ValueError, match="got"):
        make()


def test_rotated_refuses_other_shapes() -> None:
    """One angle for each image, no broadcasting."""
    with pytest.raises(ShapeError, match=r"found \(2, 3, 3\) and \(3,\)"):
        rotated(np.zeros((2, 3, 3)), np.zeros(3))


AUGMENTATIONS = makers("Augmentation")
SMALL = {"flip_horizontal", "flip_vertical", "shift", "rotate", "cutout"}


def of_small_images(name: str, **options: object) -> Augmentation:
    """An augmentation of 2 x 2 images."""
    return AUGMENTATIONS[name](**({"shape": (2, 2)} if name in SMALL else {}), **options)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_dtypes_are_kept(name: str, dtype: type) -> None:
    """Inputs, targets and weights keep theirs, with settings out of NumPy too."""
    batch = Batch(np.ones((3, 4), dtype), np.eye(3, dtype=dtype), np.ones(3, dtype))
    found = of_small_images(name)(Key(0), batch)
    assert (found.inputs.dtype, found.targets.dtype, found.weights.dtype) == (dtype, dtype, dtype)
    if name == "noise":
        assert noise(np.float64(0.5))(Key(0), batch).inputs.dtype == dtype


@pytest.mark.parametrize("kind", [np.uint8, np.int64])
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_whole_numbers_mean_what_they_say(name: str, kind: type) -> None:
    """Whole-number inputs and weights give what the same numbers give in floating form."""
    options = {"fill": 0.5} if name in {"shift", "rotate", "cutout"} else {}
    inputs, weights = np.arange(12).reshape(3, 4) * 20, np.array([1, 2, 3])
    whole, floating = (
        of_small_images(name, **options)(Key(1), Batch(inputs.astype(t), np.eye(3), weights.astype(t)))
        for t in (kind, np.result_type(kind, np.float32))
    )
    np.testing.assert_allclose(whole.inputs, floating.inputs, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(whole.weights, floating.weights, rtol=1e-5)


def test_fill_that_the_images_cannot_hold() -> None:
    """Whole-number images stay so where the fill is one of their numbers, and become floating where it is not."""
    batch = Batch(np.full((1, 4), 7, np.uint8), np.array([0]))
    for fill, kept in ((255.0, True), (0.5, False), (-1.0, False), (300.0, False)):
        found = cutout(4, shape=(2, 2), fill=fill)(Key(0), batch).inputs
        assert (found.dtype == np.uint8) is kept
        assert (found == fill).all()
