"""A run in words: its network, its training, and the files that it is made of."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final

from bpfunc.arrays.types import FloatArray
from bpfunc.tree import tree_leaves_with_path, tree_size
from pipelines.artifacts import PIXELS, EngineUsed, Trained
from pipelines.disk.atomic import sha256_of
from pipelines.disk.untrusted.printable import shell
from pipelines.report.drawing.wording import plural
from pipelines.runs.directory import Finished
from pipelines.runs.metrics import library_versions
from pipelines.spec.run_spec import RunSpec, TrainSpec

LINEAGE_FILES = ("config.toml", "params.safetensors", "predictions.parquet")
"""Files of a run that its report names by their hashes."""


COURSE_CLASSES: Final = frozenset({"Dress", "Trouser", "Sneaker"})
"""What the course report classified."""
COURSE_ACCURACY: Final = 0.9848
"""What it reached; docs/report.md tells what is known of it."""
_OPTIMIZERS: Final = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}


def title_in_words(spec: RunSpec, began: float | None = None, *, seeds: int | None = None) -> str:
    """Name a run or a study for a person: network, optimiser and rate, epochs, seeds, date.

    Args:
        spec: What was run.
        began: Seconds since 1970 at which it began, or None.
        seeds: How many seeds a study has; None for a run.

    Returns:
        A title of one line.

    Example:
        >>> title_in_words(RunSpec(train=TrainSpec(epochs=30, learning_rate=0.05)))
        '784-128-64-3, SGD 0.05, 30 epochs'
    """
    train = spec.train
    optimizer = f"{_OPTIMIZERS[train.optimizer]} {train.learning_rate:g}"
    if train.momentum and train.optimizer == "sgd":
        optimizer += f" with momentum {train.momentum:g}"
    parts = [
        "-".join(map(str, (PIXELS, *spec.model.blocks, *spec.model.hidden, len(spec.dataset.classes)))),
        optimizer,
        plural(train.epochs, "epoch", "epochs"),
    ]
    parts += [] if seeds is None else [plural(seeds, "seed", "seeds")]
    if began is not None:
        date = datetime.fromtimestamp(began)
        parts.append(f"{date.day} {date:%b %Y}")
    return ", ".join(parts)


def course_accuracy(class_names: tuple[str, ...], *, pinned: bool) -> float | None:
    """Give the accuracy of the course report where a run is of the same classes.

    Args:
        class_names: Class names of the run, in any order.
        pinned: Whether its images are the official ones.

    Returns:
        A fraction, or None.

    Example:
        >>> course_accuracy(("Dress", "Trouser", "Sneaker"), pinned=True), course_accuracy(("Bag", "Coat"), pinned=True)
        (0.9848, None)
    """
    return COURSE_ACCURACY if pinned and set(class_names) == COURSE_CLASSES else None


def first_weight(trained: Trained) -> FloatArray:
    """Pick the weight of the first layer that has one.

    Args:
        trained: The network.

    Returns:
        (784, H) of a dense layer, (KH, KW, 1, F) of a convolution.
    """
    return next(leaf for path, leaf in tree_leaves_with_path(trained.params) if path.endswith("weight"))


def facts_in_words(spec: RunSpec, trained: Trained) -> dict[str, str]:
    """Describe a trained network for a person.

    Args:
        spec: What was run.
        trained: The network.

    Returns:
        Label -> value, in the order to show.
    """
    widths = (PIXELS, *spec.model.blocks, *spec.model.hidden, len(spec.dataset.classes))
    layers = " - ".join(map(str, widths))
    return {
        "Network": network_in_words(spec, layers),
        "Parameters": f"{tree_size(trained.params):,}",
        "Training": training_in_words(spec.train),
        "Validation": f"{spec.train.validation_fraction:.0%} of the training split held out",
        "Network kept": f"of epoch {trained.epoch}"
        + (", the lowest validation loss" if spec.train.keep == "best" else ", the last"),
        "Seed": str(spec.train.seed),
        "Engine": engine_in_words(trained.engine),
        "Training time": f"{trained.train_seconds:.1f} s",
    }


def engine_in_words(used: EngineUsed) -> str:
    """Name what ran a training.

    Args:
        used: The engine and its threads.

    Returns:
        A few words.

    Example:
        >>> engine_in_words(EngineUsed("compiled", 2)), engine_in_words(EngineUsed())
        ('machine code, 2 threads', 'NumPy')
    """
    name = "NumPy" if used.name == "numpy" else "machine code"
    return name if used.threads is None else f"{name}, {used.threads} thread{'s' * (used.threads > 1)}"


def lineage_in_words(finished: Finished) -> dict[str, str]:
    """Describe the origin of a run, with hashes.

    Args:
        finished: The trained run.

    Returns:
        Label -> value: source, prepared data, files of the run that are there, stages, versions.
    """
    prepared, here = finished.prepared, finished.directory
    return {
        **{f"{role.replace('_', ' ')}, SHA-256": sha for role, sha in prepared.meta.source_hashes.items()},
        "Prepared data, cache key": prepared.key,
        "train.parquet, SHA-256": prepared.train.sha256,
        "test.parquet, SHA-256": prepared.test.sha256,
        **({"Partitions, SHA-256": finished.data.partitions} if finished.data.partitions else {}),
        **{f"{name}, SHA-256": sha256_of(here / name) for name in LINEAGE_FILES if (here / name).is_file()},
        "Stages": ", ".join(f"{name} {number}" for name, number in prepared.meta.versions.items()),
        "Versions": ", ".join(f"{name} {number}" for name, number in library_versions().items()),
    }


def network_in_words(spec: RunSpec, layers: str) -> str:
    """Describe a network for a person.

    Args:
        spec: Specification of the run.
        layers: Its blocks and widths.

    Returns:
        A sentence without its full stop.

    Example:
        >>> network_in_words(RunSpec(), "784 - 128 - 64 - 3")
        '784 - 128 - 64 - 3, relu between, softmax at the end'
    """
    words = f"{layers}, {spec.model.activation} between, softmax at the end"
    if spec.model.dropout or spec.model.input_dropout:
        words += f"; dropout {spec.model.dropout} in hidden layers, {spec.model.input_dropout} on inputs"
    if spec.model.batch_norm:
        words += "; batch normalisation after each convolution"
    if spec.model.mirror:
        words += "; a prediction averages image and mirror image, at the cost of two passes"
    return words


def training_in_words(spec: TrainSpec) -> str:
    """Describe a training for a person.

    Args:
        spec: Its settings.

    Returns:
        A sentence without its full stop.

    Example:
        >>> training_in_words(TrainSpec(epochs=30, batch_size=32, learning_rate=0.05))
        'sgd, rate 0.05 (constant), batches of 32, 30 epochs'
    """
    words = f"{spec.optimizer}, rate {spec.learning_rate} ({spec.schedule}), batches of {spec.batch_size}"
    words += f", {plural(spec.epochs, 'epoch', 'epochs')}"
    extras = {
        f"momentum {spec.momentum}": spec.momentum,
        f"weight decay {spec.weight_decay}": spec.weight_decay,
        f"label smoothing {spec.label_smoothing}": spec.label_smoothing,
        f"mixup {spec.mixup}": spec.mixup,
        "random mirror images": spec.flip,
        f"random shifts by up to {plural(spec.shift, 'pixel', 'pixels')}": spec.shift,
        f"random squares of {spec.cutout} x {spec.cutout} blanked": spec.cutout,
        f"weights averaged at decay {spec.average}": spec.average,
    }
    return ", ".join([words, *(text for text, present in extras.items() if present)])


def command(directory: Path, source: Path | None = None) -> str:
    """Write the command line that repeats a run from its own configuration.

    Args:
        directory: Directory of the run.
        source: The directory of IDX files that was named, or None.

    Returns:
        A shell command.

    Example:
        >>> command(Path("data/runs/first"))
        'bpfunc run --config data/runs/first/config.toml'
        >>> command(Path("my runs/first"), Path("own"))
        "bpfunc run --config 'my runs/first/config.toml' --source own"
    """
    words = ["bpfunc", "run", "--config", str(directory / "config.toml")]
    return shell(words + ([] if source is None else ["--source", str(source)]))
