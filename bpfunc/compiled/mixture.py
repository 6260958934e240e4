"""Rows that threads mirror and mix while they gather them: `flip_horizontal`, `flip_vertical`, `mixup` and `compose`.

What happens to a batch is drawn by the augmentations' own functions from its own key, so that the rows are those that
NumPy makes, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial, reduce
from math import prod

import attrs
import numpy as np
from numpy.typing import NDArray

from bpfunc.arrays.types import FloatArray, IntArray, readonly_arrays
from bpfunc.batches.augment import (
    Augmentation,
    AugmentedBatches,
    _chance,
    _composed,
    _flipped,
    _mix,
    _mixed,
    _pairs,
)
from bpfunc.batches.batch import Batch, take
from bpfunc.compiled.epoch import Mixture
from bpfunc.compiled.machine import Precision
from bpfunc.keys import Key, fold_in

MOST_FLIPS = 3
"""That are composed; there is a table for each set of them."""


def unmixed(width: int, dtype: Precision) -> Mixture:
    """Leave rows as they are.

    Args:
        width: D, numbers in a row.
        dtype: Data type of the rows.

    Returns:
        The mixture that changes nothing.

    Example:
        >>> unmixed(3, np.dtype(np.float32)).places
        array([[0, 1, 2]])
    """
    places, none = np.arange(width, dtype=np.intp)[None], np.zeros(0, np.intp)
    return Mixture(places, np.zeros((2, 0), np.uint8), none, np.zeros((2, 0), dtype))


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class Mixing:
    """An augmentation that machine code knows: flips, and at most one mix.

    Args:
        key: Key of the epoch.
        number: Number of its next batch.
        dtype: Data type of the rows.
        links: In order: the numbers that are folded into the key of a batch, and the augmentation.
        places: As in `bpfunc.compiled.epoch.Mixture`; in the number of a way, bit ``i`` is flip ``i``.
    """

    key: Key
    number: int
    dtype: Precision
    links: tuple[tuple[tuple[int, ...], partial[Batch]], ...]
    places: IntArray

    def drawn(self, data: Batch, rows: IntArray, first: int, batch_size: int) -> tuple[Mixture, Batch]:
        """Draw what happens to some batches.

        Args:
            data: The whole data set; its inputs may be left out.
            rows: (n,) of the batches in their order.
            first: Number of the first batch, counted from the next one of the epoch.
            batch_size: Rows in a batch; the last one takes what is left.

        Returns:
            What threads gather by, and the batches as one, which has the inputs of ``data`` unchanged.
        """
        starts = np.arange(0, len(rows), batch_size)
        sizes = np.diff(starts, append=len(rows)).tolist()
        keys = [fold_in(self.key, self.number + first + index) for index in range(len(sizes))]
        ways, shares, partners = zip(*map(self._of_batch, keys, sizes), strict=True)
        plain, share = take(data, rows), np.concatenate(shares)
        mixture = unmixed(self.places.shape[1], self.dtype)
        if len(self.places) > 1:
            mixture = mixture._replace(places=self.places, ways=np.concatenate(ways, axis=1))
        if not len(share):
            return mixture, plain
        partner, own = (
            np.concatenate([at + part for at, part in zip(starts, partners, strict=True)]),
            share.astype(self.dtype),
        )
        mix = partial(_mix, share, partner)
        weights = None if plain.weights is None else mix(plain.weights)
        mixed = attrs.evolve(plain, targets=mix(plain.targets), weights=weights)
        return mixture._replace(partner=partner, shares=np.stack([own, 1 - own])), mixed

    def _of_batch(self, key: Key, count: int) -> tuple[NDArray[np.uint8], FloatArray, IntArray]:
        """Ways of rows and partners, parts that rows keep, and partners, the last two empty where nothing is mixed."""
        ways, flips = np.zeros((2, count), np.uint8), 0
        share: FloatArray = np.zeros(0)
        partner: IntArray = np.zeros(0, np.intp)
        for path, link in self.links:
            own = reduce(fold_in, path, key)
            if link.func is _mixed:
                share, partner = _pairs(link.args[0], own, count)
                ways[1] = ways[0, partner]
            else:
                ways |= _chance(own, count, link.args[0]).astype(np.uint8) << flips
                flips += 1
        return ways, share, partner


def mixing_of(batches: AugmentedBatches, data: Batch, dtype: Precision) -> Mixing | None:
    """Recognise an augmentation.

    Args:
        batches: Any.
        data: What their rows are of.
        dtype: Data type of the parameters.

    Returns:
        The form that machine code knows; None where there is none, or where the augmentation would refuse the data.

    Example:
        >>> from bpfunc.batches.augment import augmented, compose, flip_horizontal, mixup, noise
        >>> data, dtype = Batch(np.zeros((2, 4)), np.eye(2)), np.dtype(np.float64)
        >>> known = compose(flip_horizontal(shape=(2, 2)), mixup(0.2))
        >>> mixing_of(augmented([], Key(0), known), data, dtype).places
        array([[0, 1, 2, 3],
               [1, 0, 3, 2]])
        >>> mixing_of(augmented([], Key(0), compose(known, noise(0.1))), data, dtype) is None
        True
    """
    links = tuple(_flat(batches.augmentation, ()))
    flips = [link.args for _, link in links if link.func is _flipped]
    mixes = [link for _, link in links if link.func is _mixed]
    if len(flips) + len(mixes) < len(links) or len(flips) > MOST_FLIPS or len(mixes) > 1:
        return None
    if data.inputs.ndim != 2 or data.inputs.dtype != dtype or (mixes and data.targets.dtype.kind != "f"):
        return None
    places = unmixed(data.inputs.shape[1], dtype).places
    for _, shape, axis in flips:
        if prod(shape) != places.shape[1]:
            return None
        places = np.concatenate([places, np.flip(places.reshape(-1, *shape), axis).reshape(places.shape)])
    return Mixing(batches.key, batches.number, dtype, links, places)


def _flat(augmentation: Augmentation, path: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], partial[Batch]]]:
    """The augmentations that one is composed of, each with the numbers that `compose` folds into the key for it."""
    if isinstance(augmentation, partial) and augmentation.func is _composed:
        for index, part in enumerate(augmentation.args[0]):
            yield from _flat(part, (*path, index))
    else:
        yield path, augmentation if isinstance(augmentation, partial) else partial(augmentation)
