"""The frozen, validated description of a run: what data, which network, how trained.

A `RunSpec` is a value: equal specs describe equal runs. It reads from TOML (a named recipe or a file of one's
own) and writes back to the same TOML.
"""

from __future__ import annotations

from typing import Literal

import attrs

ScalingName = Literal["unit", "standard", "pixel"]


@attrs.frozen(kw_only=True)
class DatasetSpec:
    """Which rows, and how pixels become inputs."""

    classes: tuple[str, ...] = ("Dress", "Trouser", "Sneaker")
    """Names or numbers, 2 to 10 of them, in the order of the network's outputs."""
    scaling: ScalingName = "unit"
    """``unit``: pixel / 255. ``standard``: one mean and deviation for all. ``pixel``: one for each pixel."""
    scaling_offset: float = 0.0
    """Added to the deviation before dividing (``standard`` and ``pixel``), so that dead pixels stay small."""
    pinned: bool = True
    """Whether the source must be the official files; false lets one's own IDX files in, their hashes recorded."""


@attrs.frozen(kw_only=True)
class ModelSpec:
    """The network: dense layers with an activation between them, softmax in the loss."""

    hidden: tuple[int, ...] = (128, 64)
    activation: Literal["relu"] = "relu"
    dropout: float = 0.0


@attrs.frozen(kw_only=True)
class TrainSpec:
    """How the network is trained."""

    epochs: int = 40
    batch_size: int = 64
    optimizer: Literal["sgd"] = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.0
    validation_fraction: float = 0.1
    """Part of the training split that is held out to choose by; 0 trains on all of it."""
    seed: int = 0


@attrs.frozen(kw_only=True)
class RunSpec:
    """A whole run."""

    name: str = "report"
    dataset: DatasetSpec = attrs.field(factory=DatasetSpec)
    model: ModelSpec = attrs.field(factory=ModelSpec)
    train: TrainSpec = attrs.field(factory=TrainSpec)
