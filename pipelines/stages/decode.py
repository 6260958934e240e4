"""Stage `decode`: bytes -> images and labels, checked against the hashes that `acquire` took."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from pipelines.artifacts import IMAGE_SIDE, PIXELS, Acquired, Decoded, RawSplit, SplitName
from pipelines.dataset.bundle import read_bundle_split
from pipelines.dataset.idx import read_idx
from pipelines.dataset.pins import IDX_DIMENSIONS, idx_file, official_sources
from pipelines.errors import DataProblem

VERSION = 4


def decode(source: Acquired) -> Decoded:
    """Read both splits of a source.

    Args:
        source: From `acquire`.

    Returns:
        Images as rows of 784 pixels, labels 0..9, and each row's number in the original file.

    Raises:
        DataProblem: A file is damaged, has changed since `acquire` looked, is not 28 x 28, or images and labels do
            not match.

    Example:
        >>> from pipelines.spec.run_spec import DatasetSpec
        >>> from pipelines.stages.acquire import acquire
        >>> decode(acquire(DatasetSpec())).test.images.shape
        (3000, 784)
    """
    if source.origin == "bundle":
        known = official_sources()
        train, test = read_bundle_split(known.bundle_train), read_bundle_split(known.bundle_test)
    else:
        train, test = _idx_split(source, "train"), _idx_split(source, "test")
    return Decoded(train, test, source)


def _idx_split(source: Acquired, split: SplitName) -> RawSplit:
    images = _idx_values(source, f"{split}_images")
    labels = _idx_values(source, f"{split}_labels")
    where = str(source.location)
    if images.shape[1:] != (IMAGE_SIDE, IMAGE_SIDE):
        raise DataProblem(
            f"{split} images are {images.shape[1]} x {images.shape[2]} pixels, expected {IMAGE_SIDE} x {IMAGE_SIDE}",
            where=where,
            remedy="bring images to 28 x 28",
        )
    if len(images) != len(labels):
        raise DataProblem(
            f"{split} has {len(images)} images and {len(labels)} labels",
            where=where,
            remedy="take images and labels of one data set",
        )
    if len(labels) and labels.max() > 9:
        raise DataProblem(
            f"{split} labels go up to {labels.max()}, expected 0 to 9", where=where, remedy="number the classes 0 to 9"
        )
    return RawSplit(images.reshape(-1, PIXELS), labels, np.arange(len(labels), dtype=np.uint32))


def _idx_values(source: Acquired, role: str) -> NDArray[np.uint8]:
    path = idx_file(source.location, role)
    data, values = read_idx(path, dimensions=IDX_DIMENSIONS[role])
    expected = next(file.sha256 for file in source.files if file.role == role)
    if hashlib.sha256(data).hexdigest() != expected:
        raise DataProblem("the file changed while it was being read", where=str(path), remedy="try again")
    return values
