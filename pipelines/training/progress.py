"""What a training hands out after each epoch, and what may watch it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import attrs

from bpfunc.training.step import TrainState
from bpfunc.tree import Tree
from pipelines.artifacts import EngineUsed, EpochRecord


@attrs.frozen(eq=False)
class BestSoFar:
    """The network that would be the result if training ended here."""

    params: Tree
    """The averaged ones where an average is kept."""
    layer_state: Tree
    epoch: int


@attrs.frozen(eq=False)
class Progress:
    """Where a training stands after an epoch: all that is needed to go on, and what a watcher shows."""

    state: TrainState
    kept: BestSoFar
    history: tuple[EpochRecord, ...]
    engine: EngineUsed = attrs.field(factory=EngineUsed)
    """What trained it so far, and goes on."""

    @property
    def record(self) -> EpochRecord:
        """The figures of the epoch just finished."""
        return self.history[-1]


Observer: TypeAlias = Callable[[Iterator[Progress]], Iterator[Progress]]
"""Wraps the iterator of epochs: a progress bar, a log, checkpoints."""


def no_observer(epochs: Iterator[Progress]) -> Iterator[Progress]:
    """Watch nothing.

    Args:
        epochs: The epochs.

    Returns:
        The same iterator.

    Example:
        >>> list(no_observer(iter([])))
        []
    """
    return epochs


def never_stop() -> bool:
    """Answer that no stop was requested.

    Returns:
        False.

    Example:
        >>> never_stop()
        False
    """
    return False
