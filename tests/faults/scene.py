"""What all fault tests play on: a small data set, a training that carries everything along, and a finished run."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import attrs

from pipelines.artifacts import EpochRecord
from pipelines.dataset.places import Places
from pipelines.runs.run import evaluate_run, train_run
from pipelines.spec.run_spec import DatasetSpec, ModelSpec, RunSpec, TrainSpec
from tests.conftest import write_own_data

SPEC = RunSpec(
    name="small",
    dataset=DatasetSpec(classes=("0", "1", "2"), scaling="standard", pinned=False),
    model=ModelSpec(hidden=(8, 8), dropout=0.2),
    train=TrainSpec(
        epochs=6,
        batch_size=16,
        learning_rate=0.05,
        schedule="one_cycle",
        optimizer="adamw",
        weight_decay=0.1,
        flip=True,
        average=0.9,
        validation_fraction=0.2,
        keep="best",
    ),
)
"""Random masks and flips, optimiser state, an average, the best epoch: what a checkpoint has to bring back."""


def places_in(directory: Path, *, zipped: bool = False) -> Places:
    """Make a data set in a directory, and name the places beside it."""
    source = write_own_data(directory / "own", zipped=zipped)
    return Places(source=source, cache=directory / "cache", raw=directory / "raw", runs=directory / "runs")


def whole_run(places: Places, out: Path, spec: RunSpec = SPEC) -> Path:
    """Train without interruption, and evaluate."""
    finished = train_run(spec, attrs.evolve(places, out=out), now=datetime(2026, 1, 1))
    evaluate_run(spec, finished)
    return out


def timeless(history: tuple[EpochRecord, ...]) -> tuple[EpochRecord, ...]:
    """A history without what the clock put there."""
    return tuple(attrs.evolve(record, seconds=0.0) for record in history)
