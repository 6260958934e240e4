"""Augmentation: what a batch might have been, as pure functions of (key, batch).

Images are rows (B, H * W) of one channel, row-major. Each example gets its own randomness. The dtype is kept, but that
whole numbers become floating ones where something between them is drawn. What moves in from outside the picture is
``fill``, in the unit of the inputs: background as it is after normalising.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeAlias, TypeVar

import attrs
import numpy as np
from numpy.typing import NDArray

from bpfunc.arrays.calls import hands_out
from bpfunc.arrays.ranges import FINITE, number, whole
from bpfunc.arrays.types import BoolArray, FloatArray, IntArray
from bpfunc.batches.batch import Batch, row_count
from bpfunc.keys import Key, fold_in, generator, normal, split, uniform
from bpfunc.layers import ShapeError

Augmentation: TypeAlias = Callable[[Key, Batch], Batch]
"""``(key, batch) -> batch`` with the same number of rows."""
ImageShape: TypeAlias = tuple[int, int]
"""(rows, columns) of an image."""

FASHION: ImageShape = (28, 28)
"""The shape of a Fashion-MNIST image, and of MNIST's."""

ScalarT = TypeVar("ScalarT", bound=np.generic)


def augmented(batches: Iterable[Batch], key: Key, augmentation: Augmentation, *, start: int = 0) -> Iterator[Batch]:
    """Augment the batches of an epoch; each batch's randomness depends on the key and its number alone.

    Args:
        batches: Batches of one epoch, such as `bpfunc.batches.batch.epoch_batches` gives them.
        key: Names the randomness of this epoch: ``fold_in(key, epoch)``.
        augmentation: What to do to each batch.
        start: Number of the first batch, at least 0: the ``start`` that `bpfunc.batches.batch.epoch_batches` was given.

    Returns:
        An iterator of batches, each made when it is asked for.

    Raises:
        ValueError: ``start`` is negative.

    Example:
        >>> batch = Batch(np.arange(4.0)[None], np.array([0]))
        >>> [b.inputs.tolist() for b in augmented([batch], Key(0), flip_horizontal(1.0, shape=(2, 2)))]
        [[[1.0, 0.0, 3.0, 2.0]]]
    """
    first = whole("augmented", "start", start, "[0, inf)")
    return AugmentedBatches(iter(batches), key, augmentation, first)


class AugmentedBatches(Iterator[Batch]):
    """Batches that are augmented one by one; a caller that augments by itself takes the parts.

    Args:
        batches: Of one epoch.
        key: Names the randomness of this epoch.
        augmentation: What to do to each batch.
        number: Number of the next batch.

    Example:
        >>> batch = Batch(np.arange(4.0)[None], np.array([0]))
        >>> next(AugmentedBatches(iter([batch]), Key(0), flip_vertical(1.0, shape=(2, 2)), 0)).inputs
        array([[2., 3., 0., 1.]])
    """

    def __init__(self, batches: Iterator[Batch], key: Key, augmentation: Augmentation, number: int) -> None:
        """Stand before the first batch."""
        self.batches: Iterator[Batch] = batches
        self.key: Key = key
        self.augmentation: Augmentation = augmentation
        self.number: int = number

    def __next__(self) -> Batch:
        """Augment the next batch."""
        batch = next(self.batches)
        key, self.number = fold_in(self.key, self.number), self.number + 1
        return self.augmentation(key, batch)


def compose(*augmentations: Augmentation) -> Augmentation:
    """Augment by one after the other, each with a key of its own.

    Args:
        augmentations: In the order in which they work; none at all change nothing.

    Returns:
        An augmentation.

    Example:
        >>> batch = Batch(np.arange(4.0)[None], np.array([0]))
        >>> turned = compose(flip_horizontal(1.0, shape=(2, 2)), flip_vertical(1.0, shape=(2, 2)))
        >>> turned(Key(0), batch).inputs
        array([[3., 2., 1., 0.]])
    """
    return partial(_composed, augmentations)


def _composed(augmentations: tuple[Augmentation, ...], key: Key, batch: Batch) -> Batch:
    for index, augmentation in enumerate(augmentations):
        batch = augmentation(fold_in(key, index), batch)
    return batch


def sometimes(probability: float, augmentation: Augmentation) -> Augmentation:
    """Augment each example with a probability; leave the others as they are.

    Args:
        probability: In [0, 1].
        augmentation: What may happen to an example; it must keep shapes and the kind of targets.

    Returns:
        An augmentation.

    Raises:
        ValueError: The probability is outside [0, 1].

    Example:
        >>> batch = Batch(np.zeros((1, 4)), np.array([0]))
        >>> bool(sometimes(0.0, noise(1.0))(Key(0), batch).inputs.any())
        False
    """
    probability = number("sometimes", "probability", probability, "[0, 1]")
    return partial(_sometimes, probability, augmentation)


def _sometimes(probability: float, augmentation: Augmentation, key: Key, batch: Batch) -> Batch:
    choice_key, inner_key = split(key)
    changed = augmentation(inner_key, batch)
    chosen = _chance(choice_key, len(batch.inputs), probability)
    weights = None if batch.weights is None or changed.weights is None else (changed.weights, batch.weights)
    return Batch(
        np.where(_across(chosen, batch.inputs), changed.inputs, batch.inputs),
        np.where(_across(chosen, batch.targets), changed.targets, batch.targets),
        None if weights is None else np.where(chosen, *weights),
    )


def flip_horizontal(probability: float = 0.5, *, shape: ImageShape = FASHION) -> Augmentation:
    """Mirror images left to right, each with a probability; at 1 twice is not at all.

    Args:
        probability: In [0, 1].
        shape: (rows, columns) of an image.

    Returns:
        An augmentation; it raises ShapeError where the inputs are no such images.

    Raises:
        ValueError: The probability is outside [0, 1].

    Example:
        >>> flip_horizontal(1.0, shape=(2, 2))(Key(0), Batch(np.arange(4.0)[None], np.array([0]))).inputs
        array([[1., 0., 3., 2.]])
    """
    return _flip("flip_horizontal", probability, shape, axis=2)


def flip_vertical(probability: float = 0.5, *, shape: ImageShape = FASHION) -> Augmentation:
    """Turn images upside down, each with a probability; at 1 twice is not at all.

    Args:
        probability: In [0, 1].
        shape: (rows, columns) of an image.

    Returns:
        An augmentation; it raises ShapeError where the inputs are no such images.

    Raises:
        ValueError: The probability is outside [0, 1].

    Example:
        >>> flip_vertical(1.0, shape=(2, 2))(Key(0), Batch(np.arange(4.0)[None], np.array([0]))).inputs
        array([[2., 3., 0., 1.]])
    """
    return _flip("flip_vertical", probability, shape, axis=1)


def _flip(name: str, probability: float, shape: ImageShape, *, axis: int) -> Augmentation:
    probability = number(name, "probability", probability, "[0, 1]")
    return partial(_flipped, probability, shape, axis)


def _flipped(probability: float, shape: ImageShape, axis: int, key: Key, batch: Batch) -> Batch:
    images = _images(batch, shape)
    chosen = _chance(key, len(images), probability)
    return _with_images(batch, np.where(_across(chosen, images), np.flip(images, axis), images))


def shift(pixels: int, *, shape: ImageShape = FASHION, fill: float = 0.0) -> Augmentation:
    """Move images by whole pixels, up to ``pixels`` each way, every distance alike.

    Args:
        pixels: Largest distance along each axis, at least 0.
        shape: (rows, columns) of an image.
        fill: What moves in, finite.

    Returns:
        An augmentation; it raises ShapeError where the inputs are no such images.

    Raises:
        ValueError: The distance is below 0, or what moves in is not finite.

    Example:
        >>> shift(0, shape=(2, 2))(Key(0), Batch(np.arange(4.0)[None], np.array([0]))).inputs
        array([[0., 1., 2., 3.]])
    """
    pixels = whole("shift", "pixels", pixels, "[0, inf)")
    return partial(_shifted, pixels, shape, number("shift", "fill", fill, FINITE))


def _shifted(pixels: int, shape: ImageShape, fill: float, key: Key, batch: Batch) -> Batch:
    images = _that_hold(_images(batch, shape), fill)
    down, right = generator(key).integers(-pixels, pixels, (2, len(images), 1, 1), endpoint=True)
    rows, columns = np.arange(shape[0])[:, None] - down, np.arange(shape[1]) - right
    laid, index, _ = _bordered(images, rows, columns, fill)
    return _with_images(batch, laid[index])


def rotate(degrees: float, *, shape: ImageShape = FASHION, fill: float = 0.0) -> Augmentation:
    """Turn images about their centre by up to ``degrees`` each way, every angle alike, with bilinear sampling.

    Args:
        degrees: Largest angle, at least 0.
        shape: (rows, columns) of an image.
        fill: What turns in, finite.

    Returns:
        An augmentation; it raises ShapeError where the inputs are no such images.

    Raises:
        ValueError: The angle is below 0, or what turns in is not finite.

    Example:
        >>> rotate(0.0, shape=(2, 2))(Key(0), Batch(np.arange(4.0)[None], np.array([0]))).inputs
        array([[0., 1., 2., 3.]])
    """
    limit = math.radians(number("rotate", "degrees", degrees, "[0, inf)"))
    return partial(_rotated, shape, number("rotate", "fill", fill, FINITE), limit)


def _rotated(shape: ImageShape, fill: float, limit: float, key: Key, batch: Batch) -> Batch:
    images = _images(batch, shape)
    angles = uniform(key, (len(images), 1, 1), low=-limit, high=limit, dtype=np.float64)
    return _with_images(batch, rotated(images, angles[:, 0, 0], fill=fill))


def rotated(images: FloatArray, angles: FloatArray, *, fill: float = 0.0) -> FloatArray:
    """Turn each image by its own angle about its centre: each pixel is the bilinear mean of the four it comes from.

    Args:
        images: (B, H, W).
        angles: (B,) radians, counter-clockwise as the picture is seen.
        fill: What lies around the images, finite.

    Returns:
        (B, H, W) of the images' dtype; floating where they hold whole numbers.

    Raises:
        ShapeError: The images are not (B, H, W), or there is not one angle for each.
        ValueError: ``fill`` is not finite.

    Example:
        >>> rotated(np.arange(4.0).reshape(1, 2, 2), np.array([np.pi / 2])).round(6)
        array([[[1., 3.],
                [0., 2.]]])
    """
    if images.ndim != 3 or angles.shape != images.shape[:1]:
        raise ShapeError(f"expected images (B, H, W) and angles (B,), found {images.shape} and {angles.shape}")
    images, fill = _floating(images), number("rotated", "fill", fill, FINITE)
    height, width = images.shape[1:]
    cosine, sine = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    down, right = np.arange(height)[:, None] - (height - 1) / 2, np.arange(width) - (width - 1) / 2
    rows = cosine * down + sine * right + (height - 1) / 2
    columns = cosine * right - sine * down + (width - 1) / 2
    top, left = np.floor(rows), np.floor(columns)
    below, beside = (rows - top).astype(images.dtype), (columns - left).astype(images.dtype)
    pixels, index, stride = _bordered(images, top.astype(np.intp), left.astype(np.intp), fill)
    upper = (1 - beside) * pixels[index] + beside * pixels[index + 1]
    lower = (1 - beside) * pixels[index + stride] + beside * pixels[index + stride + 1]
    turned: FloatArray = (1 - below) * upper + below * lower
    return turned


def cutout(size: int, *, shape: ImageShape = FASHION, fill: float = 0.0) -> Augmentation:
    """Blank a square with its centre anywhere in the image; near the border part of it lies outside.

    Args:
        size: Side of the square in pixels, at least 0.
        shape: (rows, columns) of an image.
        fill: What the square is filled with, finite.

    Returns:
        An augmentation; it raises ShapeError where the inputs are no such images.

    Raises:
        ValueError: The size is below 0, or the filling is not finite.

    Example:
        >>> cutout(4, shape=(2, 2))(Key(0), Batch(np.ones((1, 4)), np.array([0]))).inputs
        array([[0., 0., 0., 0.]])

    Reference: DeVries and Taylor, "Improved regularization of convolutional neural networks with cutout" (2017).
    """
    size = whole("cutout", "size", size, "[0, inf)")
    return partial(_cut_out, size, shape, number("cutout", "fill", fill, FINITE))


def _cut_out(size: int, shape: ImageShape, fill: float, key: Key, batch: Batch) -> Batch:
    images = _that_hold(_images(batch, shape), fill)
    rows, columns = (
        _near(generator(axis_key).integers(0, length, len(images)), length, size)
        for axis_key, length in zip(split(key), shape, strict=True)
    )
    hidden = rows[:, :, None] & columns[:, None, :]
    return _with_images(batch, np.where(hidden, images.dtype.type(fill), images))


def _near(centre: IntArray, length: int, size: int) -> BoolArray:
    """(B, length) whether each place is among the ``size`` places around the centre."""
    first = (centre - size // 2)[:, None]
    places = np.arange(length)
    return (places >= first) & (places < first + size)


def noise(deviation: float) -> Augmentation:
    """Add normal noise to the inputs: ``x + deviation * n``, whatever their shape.

    Args:
        deviation: Standard deviation in the unit of the inputs, at least 0.

    Returns:
        An augmentation.

    Raises:
        ValueError: The deviation is below 0.

    Example:
        >>> noise(0.0)(Key(0), Batch(np.ones((1, 2)), np.array([0]))).inputs
        array([[1., 1.]])

    Reference: Bishop, "Training with noise is equivalent to Tikhonov regularization" (1995).
    """
    deviation = number("noise", "deviation", deviation, "[0, inf)")
    return partial(_noisy, deviation)


def _noisy(deviation: float, key: Key, batch: Batch) -> Batch:
    inputs = _floating(batch.inputs)
    draw = normal(key, inputs.shape, dtype=np.float32 if inputs.dtype == np.float32 else np.float64)
    draw *= deviation
    return attrs.evolve(batch, inputs=inputs + draw.astype(inputs.dtype, copy=False))


def mixup(alpha: float) -> Augmentation:
    """Mix each example with another of the batch: ``a x_i + (1 - a) x_j``, targets and weights alike.

    ``a`` is drawn from Beta(alpha, alpha) for each example. The targets become soft, so the loss must take such.

    Args:
        alpha: Above 0; small ones keep most examples nearly as they are.

    Returns:
        An augmentation; it raises ValueError where the targets are class indices.

    Raises:
        ValueError: ``alpha`` is not above 0.

    Example:
        >>> mixed = mixup(0.4)(Key(0), Batch(np.eye(2), np.eye(2)))
        >>> mixed.targets.sum(axis=1)
        array([1., 1.])

    Reference: Zhang, Cisse, Dauphin and Lopez-Paz, "mixup: beyond empirical risk minimization" (2018), but with a mix
    for each example instead of one for the batch.
    """
    alpha = number("mixup", "alpha", alpha, "(0, inf)")
    return partial(_mixed, alpha)


def _mixed(alpha: float, key: Key, batch: Batch) -> Batch:
    targets = batch.targets
    if not np.issubdtype(targets.dtype, np.floating):
        raise ValueError(f"mixup takes floating targets, such as one-hot rows, found {targets.dtype}")
    mix = partial(_mix, *_pairs(alpha, key, row_count(batch)))
    weights = None if batch.weights is None else mix(batch.weights)
    return Batch(mix(batch.inputs), mix(targets), weights)


def _pairs(alpha: float, key: Key, rows: int) -> tuple[FloatArray, IntArray]:
    """What part of itself each row keeps, and which row the rest comes from."""
    draw = generator(key)
    return draw.beta(alpha, alpha, rows), draw.permutation(rows)


def _mix(part: FloatArray, partner: IntArray, given: FloatArray | IntArray) -> FloatArray:
    values = _floating(given)
    own = _across(part.astype(values.dtype), values)
    mixed: FloatArray = own * values + (1 - own) * values[partner]
    return mixed


def _floating(values: FloatArray | IntArray) -> FloatArray:
    """Whole numbers as floating ones, for what lies between them; floating ones as they are."""
    dtype = values.dtype if values.dtype.kind == "f" else np.result_type(values, np.float32)
    floating: Any = np.asarray(values, dtype)
    result: FloatArray = floating
    return result


def _that_hold(images: FloatArray, fill: float) -> FloatArray:
    """Images of a dtype that has the number ``fill``."""
    with np.errstate(invalid="ignore"):  # NaN is not a whole number
        holds = images.dtype.kind == "f" or np.array(fill).astype(images.dtype) == fill
    return images if holds else _floating(images)


def _chance(key: Key, count: int, probability: float) -> BoolArray:
    return uniform(key, (count,), dtype=np.float64) < probability


def _across(values: NDArray[ScalarT], like: FloatArray | IntArray) -> NDArray[ScalarT]:
    """Give (B,) values the axes of ``like``, so that each counts for a whole example."""
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def _images(batch: Batch, shape: ImageShape) -> FloatArray:
    if batch.inputs.ndim != 2 or batch.inputs.shape[1] != math.prod(shape):
        raise ShapeError(
            f"expected inputs (B, {math.prod(shape)}), images of shape {shape} as rows, found {batch.inputs.shape}"
        )
    return batch.inputs.reshape(-1, *shape)


def _with_images(batch: Batch, images: FloatArray) -> Batch:
    return attrs.evolve(batch, inputs=images.reshape(batch.inputs.shape))


def _bordered(images: FloatArray, rows: IntArray, columns: IntArray, fill: float) -> tuple[FloatArray, IntArray, int]:
    """Lay (B, H, W) images into borders of ``fill``, so that any place has a pixel, and so has the next one.

    Returns all pixels as one vector, the index in it of each place (``rows`` and ``columns`` broadcast to
    (B, H, W)), and the distance from one row to the next: one flat gather is several times faster than one by axes.
    """
    height, width = images.shape[1:]
    pixels = np.pad(images, ((0, 0), (2, 2), (2, 2)), constant_values=fill).ravel()
    number = np.arange(len(images))[:, None, None]
    row, column = rows.clip(-2, height) + 2, columns.clip(-2, width) + 2
    return pixels, (number * (height + 4) + row) * (width + 4) + column, width + 4


hands_out(compose, augmentation=_composed)
hands_out(sometimes, augmentation=_sometimes)
hands_out(flip_horizontal, augmentation=_flipped)
hands_out(shift, augmentation=_shifted)
hands_out(rotate, augmentation=_rotated)
hands_out(cutout, augmentation=_cut_out)
hands_out(noise, augmentation=_noisy)
hands_out(mixup, augmentation=_mixed)
