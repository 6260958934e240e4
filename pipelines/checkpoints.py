"""Checkpoints: where a training stands after an epoch, in a file that it can be taken up from bit for bit.

A checkpoint is a safetensors file: the training state with that of the optimiser, and the network kept so far, under
their tree paths; the history and a format's name in its header. No code is in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import attrs

from bpfunc.finite import NotFiniteError
from bpfunc.interop.safetensors import safetensors_metadata, to_safetensors
from pipelines.artifacts import EpochRecord
from pipelines.config import RunSpec
from pipelines.errors import DataProblem
from pipelines.files import write_bytes
from pipelines.runs import read_tree
from pipelines.signals import Interrupted
from pipelines.stages.train import Kept, Progress, Watch, first_state

FORMAT = "bpfunc-checkpoint-1"
KEPT = 2
"""Newest checkpoints that stay."""
EVERY_SECONDS = 20.0
"""Training time between two checkpoints, at least; the last epoch always writes one."""


def saving(run: Path, epochs: int) -> Watch:
    """Make a watcher that saves checkpoints: in intervals, at the end, and when training is stopped from outside.

    Args:
        run: The run directory.
        epochs: Number of the last epoch.

    Returns:
        A wrapper around the iterator of epochs.
    """

    def watch(progress: Iterator[Progress]) -> Iterator[Progress]:
        last: Progress | None = None
        saved, since = 0, 0.0
        try:
            for last in progress:
                since += last.record.seconds
                if since >= EVERY_SECONDS or last.record.epoch == epochs:
                    write_checkpoint(run, last)
                    saved, since = last.record.epoch, 0.0
                yield last
        except (Interrupted, NotFiniteError):
            if last is not None and last.record.epoch > saved:
                write_checkpoint(run, last)
            raise

    return watch


def write_checkpoint(run: Path, progress: Progress) -> Path:
    """Save where a training stands, and remove all but the newest checkpoints.

    Args:
        run: The run directory.
        progress: After an epoch.

    Returns:
        The file.

    Raises:
        WorkFailed: The disk refused; the older checkpoints are as they were.
    """
    folder = run / "checkpoints"
    path = folder / f"epoch-{progress.record.epoch:05d}.safetensors"
    metadata = {
        "format": FORMAT,
        "kept_epoch": str(progress.kept.epoch),
        "history": json.dumps([attrs.astuple(record) for record in progress.history]),
    }
    tree = (progress.state, (progress.kept.params, progress.kept.layer_state))
    write_bytes(path, to_safetensors(tree, metadata=metadata))
    for old in checkpoint_paths(run)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def checkpoint_paths(run: Path) -> list[Path]:
    """List a run's checkpoints.

    Args:
        run: The run directory.

    Returns:
        Their files, the newest first.
    """
    return sorted((run / "checkpoints").glob("epoch-*.safetensors"), reverse=True)


def read_checkpoint(path: Path, spec: RunSpec) -> Progress:
    """Read where a training stood.

    Args:
        path: One of a run's checkpoints.
        spec: The run's specification, which fixes every name, shape and dtype in the file.

    Returns:
        What `pipelines.stages.train.train` takes as its start.

    Raises:
        DataProblem: The file is no checkpoint of such a run.
    """
    like = first_state(spec)
    state, (params, layer_state) = read_tree(path, (like, (like.params, like.layer_state)))
    try:
        metadata = safetensors_metadata(path.read_bytes())
        if metadata.get("format") != FORMAT:
            raise ValueError(f"expected the format {FORMAT}, found {metadata.get('format')}")
        history = tuple(EpochRecord(*row) for row in json.loads(metadata["history"]))
        kept = Kept(params, layer_state, int(metadata["kept_epoch"]))
        if [record.epoch for record in history] != list(range(1, len(history) + 1)) or not history:
            raise ValueError("the history does not count epochs from 1")
        if history[-1].step != state.step or not 1 <= kept.epoch <= len(history):
            raise ValueError("history and state do not belong together")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataProblem(
            f"damaged checkpoint: {error}", where=str(path), remedy="remove it; an older one will do"
        ) from None
    return Progress(state, kept, history)


def newest_checkpoint(run: Path, spec: RunSpec) -> tuple[Progress | None, tuple[Path, ...]]:
    """Find the newest checkpoint that is whole.

    Args:
        run: The run directory.
        spec: The run's specification.

    Returns:
        What it holds, or None where there is none; and the damaged ones that were passed over.
    """
    damaged: list[Path] = []
    for path in checkpoint_paths(run):
        try:
            return read_checkpoint(path, spec), tuple(damaged)
        except DataProblem:
            damaged.append(path)
    return None, tuple(damaged)
