"""Stage `encode`: pixels -> inputs, labels -> one-hot rows. The statistics come from the training split alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.artifacts import IMAGE_SIDE, PIXELS, Encoded, EncodedSplit, RawSplit, Scaling, Selected
from pipelines.spec.run_spec import DatasetSpec

VERSION = 3
CHUNK = 4096
"""Rows scaled at a time; bounds the memory that float64 arithmetic takes."""


def encode(selected: Selected, spec: DatasetSpec) -> Encoded:
    """Normalise both splits by the training split's statistics, and one-hot the labels.

    Args:
        selected: The chosen rows.
        spec: The scaling.

    Returns:
        float32 inputs and targets.

    Example:
        >>> from pipelines.stages.acquire import acquire
        >>> from pipelines.stages.decode import decode
        >>> from pipelines.stages.select import select
        >>> spec = DatasetSpec()
        >>> encode(select(decode(acquire(spec)), spec), spec).test.target.shape
        (3000, 3)
    """
    scaling = fit_scaling(selected.train, spec)
    classes = len(selected.class_names)
    return Encoded(
        train=_encoded(selected.train, scaling, classes),
        test=_encoded(selected.test, scaling, classes),
        scaling=scaling,
        class_names=selected.class_names,
        class_numbers=selected.class_numbers,
        source=selected.source,
    )


def fit_scaling(train: RawSplit, spec: DatasetSpec) -> Scaling:
    """Find the statistics of a scaling; the signature lets no other split in.

    Args:
        train: The training split.
        spec: ``unit`` needs none; ``standard`` takes one mean and deviation over all pixels, ``pixel`` one for each,
            ``mirrored`` one for each over images and mirror images. The spec's offset is added to the deviation.

    Returns:
        Mean and scale of pixels in 0..1, (784,) float64.

    Example:
        >>> rows = RawSplit(np.full((2, 784), 51, np.uint8), np.zeros(2, np.uint8), np.zeros(2, np.uint32))
        >>> float(fit_scaling(rows, DatasetSpec(scaling="standard", scaling_offset=0.1)).mean[0])
        0.2
    """
    if spec.scaling == "unit":
        return Scaling("unit", np.zeros(PIXELS), np.ones(PIXELS))
    # Whole numbers of any size are exact: the order of summation cannot matter, and the deviation of a pixel that
    # never varies is 0, not a rounding error to divide by.
    total = train.images.sum(axis=0, dtype=np.uint64).astype(object)
    squares = np.square(train.images, dtype=np.uint32).sum(axis=0, dtype=np.uint64).astype(object)
    count = len(train.images)
    if spec.scaling == "mirrored":
        total, squares, count = total + _mirror(total), squares + _mirror(squares), 2 * count
    if spec.scaling == "standard":
        total, squares = (np.full(PIXELS, sums.sum(), object) for sums in (total, squares))
        count *= PIXELS
    mean = (total / (255 * count)).astype(np.float64)
    deviation = np.sqrt((count * squares - total**2).astype(np.float64)) / (255 * count)
    scale = deviation + spec.scaling_offset
    return Scaling(spec.scaling, mean, np.where(scale > 0, scale, 1.0))


def _mirror(row: NDArray[np.object_]) -> NDArray[np.object_]:
    return row.reshape(IMAGE_SIDE, IMAGE_SIDE)[:, ::-1].reshape(-1)


def scaled(images: NDArray[np.uint8], scaling: Scaling) -> NDArray[np.float32]:
    """Make inputs of pixels: ``(pixel / 255 - mean) / scale``.

    Args:
        images: (N, 784) uint8.
        scaling: Its statistics.

    Returns:
        (N, 784) float32.

    Example:
        >>> scaled(np.full((1, 784), 51, np.uint8), Scaling("unit", np.zeros(784), np.ones(784)))[0, 0]
        np.float32(0.2)
    """
    pixels = np.empty(images.shape, np.float32)
    for start in range(0, len(pixels), CHUNK):
        rows = slice(start, start + CHUNK)
        pixels[rows] = (images[rows] / 255 - scaling.mean) / scaling.scale
    return pixels


def unscaled(pixels: NDArray[np.float32], scaling: Scaling) -> NDArray[np.uint8]:
    """Undo `scaled`: ``255 (x * scale + mean)``, rounded.

    Args:
        pixels: (N, 784) float32, normalised.
        scaling: How they were normalised.

    Returns:
        (N, 784) uint8, the pixels as they were.

    Example:
        >>> unscaled(np.full((1, 784), 0.2, np.float32), Scaling("unit", np.zeros(784), np.ones(784)))[0, 0]
        np.uint8(51)
    """
    return np.clip(np.rint(255 * (pixels * scaling.scale + scaling.mean)), 0, 255).astype(np.uint8)


def _encoded(split: RawSplit, scaling: Scaling, classes: int) -> EncodedSplit:
    target = np.zeros((len(split.labels), classes), np.float32)
    target[np.arange(len(split.labels)), split.labels] = 1
    return EncodedSplit(scaled(split.images, scaling), target, split.labels, split.source_index)
