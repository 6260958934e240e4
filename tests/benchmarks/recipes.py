"""Seconds for an epoch of each recipe, with all that the recipe asks for, beside torch as its experts write it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from tests.benchmarks.ours import ENGINES
from tests.benchmarks.problem import Floats, NotOfferedError, bundle
from tests.benchmarks.settings import CLASSES, INPUTS, Settings
from tests.benchmarks.turns import interleaved
from tests.benchmarks.worker import Worker, WorkerFailedError, load, started, timed

RECIPES = ("report", "best", "ten-class")
OURS = {name: f"tests.benchmarks.recipes:{engine}" for name, engine in ENGINES.items()}
PEERS = {"torch": "tests.benchmarks.peers.recipes_with_torch:trainer"}
"""Name -> function that makes a `Trainer`."""
EPOCHS = 200
"""Of the schedule, so that no turn comes to its end."""
TEN_CLASS_ROWS = 60_000
TOLERANCE = 0.15
"""Of the mean loss of the first epoch, relative: everybody draws weights, orders and mixtures of its own."""
TOLERANCE_FEW = 1.0
"""The same for a few random rows, where these count more."""
Trainer = Callable[[], float]
"""Trains one more epoch, and gives the mean loss of its training rows."""


@attrs.frozen(eq=False)
class Recipe:
    """What a recipe asks for, in plain numbers, so that a peer needs nothing of ours.

    Args:
        name: Of the recipe.
        hidden: Widths.
        batch: Rows of a step.
        epochs: Of the schedule.
        optimizer: ``sgd`` or ``adamw``.
        rate: Peak of the learning rate.
        schedule: ``constant`` or ``one_cycle``.
        weight_decay: Of the weights alone.
        dropout: After each hidden layer.
        smoothing: Of the labels.
        mixup: Parameter of the beta distribution, 0 for none.
        flip: Whether half of the images are mirrored.
        average: Decay of the exponential average of the parameters, 0 for none.
        inputs: (N, 784) float32.
        labels: (N,) int64.
        validation: Inputs and labels that are looked at after each epoch, or None.
        threads: That the runner may use.
    """

    name: str
    hidden: tuple[int, ...]
    batch: int
    epochs: int
    optimizer: str
    rate: float
    schedule: str
    weight_decay: float
    dropout: float
    smoothing: float
    mixup: float
    flip: bool
    average: float
    inputs: Floats
    labels: np.ndarray[Any, np.dtype[np.int64]]
    validation: tuple[Floats, np.ndarray[Any, np.dtype[np.int64]]] | None
    threads: int

    @property
    def classes(self) -> int:
        """Number of outputs."""
        return int(self.labels.max()) + 1


@attrs.frozen
class RecipeTime:
    """One runner on one recipe.

    Args:
        recipe: Name.
        runner: Name.
        kind: ``ours`` or ``peer``.
        seconds: Median for an epoch; None where it did not run.
        rounds: Every round's.
        cores: Kept busy.
        loss: Mean of the first epoch, in nats.
        note: Why it did not run.
    """

    recipe: str
    runner: str
    kind: str
    seconds: float | None = None
    rounds: tuple[float, ...] = ()
    cores: float | None = None
    loss: float | None = None
    note: str = ""


def measure(settings: Settings) -> tuple[RecipeTime, ...]:
    """Train each recipe in turns.

    Args:
        settings: Threads, rounds; ``rows`` makes all recipes small.

    Returns:
        Times of every runner.

    Raises:
        WorkerFailedError: One of ours failed, or somebody's first epoch comes to another loss.
    """
    builds = {**OURS, **{name: build for name, build in PEERS.items() if settings.offers(name)}}
    found: list[RecipeTime] = []
    for recipe in RECIPES:
        print(f"recipes: {recipe}", flush=True)
        with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
            _write_rows(Path(name), recipe, settings.rows)
            workers = [stack.enter_context(started(runner, Path(name), settings.threads)) for runner in builds]
            found += _times(workers, builds, recipe, settings)
    return tuple(found)


def _times(workers: list[Worker], builds: dict[str, str], recipe: str, settings: Settings) -> Iterator[RecipeTime]:
    losses, notes = {}, {}
    for worker in workers:
        values = {"build": builds[worker.name], "recipe": recipe, "threads": settings.threads}
        try:
            worker.ask("open", tasks="tests.benchmarks.recipes:RecipeTasks", values=values)
            losses[worker.name] = worker.ask("first_epoch")
        except WorkerFailedError as error:
            if worker.name in OURS:
                raise
            notes[worker.name] = str(error)
    reference = losses[next(iter(OURS))]
    for name, loss in losses.items():
        if not abs(loss - reference) <= (TOLERANCE_FEW if settings.rows else TOLERANCE) * reference:
            raise WorkerFailedError(f"{name} trains something else: loss {loss:.4f} where {reference:.4f} was expected")
    times = interleaved([worker for worker in workers if worker.name in losses], settings)
    for runner in builds:
        time = RecipeTime(recipe, runner, "ours" if runner in OURS else "peer", note=notes.get(runner, ""))
        if runner in times:
            took = times[runner]
            time = attrs.evolve(time, seconds=took.median, rounds=took.rounds, cores=took.cores, loss=losses[runner])
        yield time


class RecipeTasks:
    """Epochs of a recipe."""

    def __init__(self, folder: Path, *, build: str, recipe: str, threads: int) -> None:
        self.train: Trainer = load(build)(_read_recipe(folder, recipe, threads))

    def first_epoch(self) -> float:
        """Mean loss."""
        return float(self.train())

    def turn(self, repeats: int) -> dict[str, float]:
        """Train on."""
        return timed(self.train, repeats)


def numpy(recipe: Recipe) -> Trainer:
    """The pipeline's training on NumPy."""
    return _ours(recipe, "numpy")


def compiled(recipe: Recipe) -> Trainer:
    """The pipeline's training in machine code."""
    return _ours(recipe, "compiled")


def _ours(recipe: Recipe, engine: str) -> Trainer:
    """What `bpfunc train --recipe NAME` runs for each epoch, without the files that it writes."""
    import bpfunc as bp
    from pipelines.spec.toml import load_recipe
    from pipelines.stages.train import fit

    spec = load_recipe(recipe.name)
    settings = attrs.evolve(spec.train, epochs=recipe.epochs, engine=engine, keep="last")
    eye = np.eye(recipe.classes, dtype=np.float32)
    rows = bp.Batch(recipe.inputs, eye[recipe.labels])
    held_out = None if recipe.validation is None else bp.Batch(recipe.validation[0], eye[recipe.validation[1]])
    epochs: list[Iterator[Any]] = []

    def paused(progress: Iterator[Any]) -> Iterator[Any]:
        """Let the training end after one epoch, and keep what would go on with it."""
        first = next(progress)
        epochs.append(chain([first], progress))
        yield first

    fit(rows, held_out, attrs.evolve(spec, train=settings), observe=paused)
    return lambda: float(next(epochs[0]).history[-1].train_loss)


def _write_rows(folder: Path, recipe: str, rows: int | None) -> None:
    """The rows of the bundle, scaled as the recipe asks; for ten classes random ones, as the bundle has three."""
    from pipelines.spec.toml import load_recipe

    dataset = load_recipe(recipe).dataset
    if len(dataset.classes) == CLASSES and rows is None:
        inputs, labels = bundle(dataset)
    else:
        random, count = np.random.default_rng(2), rows or TEN_CLASS_ROWS
        labels = random.integers(0, len(dataset.classes), count)
        inputs = random.standard_normal((count, INPUTS), dtype=np.float32)
        inputs[np.arange(count), labels] += 20
    np.save(folder / "inputs.npy", inputs)
    np.save(folder / "labels.npy", labels)


def numbers_of(name: str) -> dict[str, Any]:
    """What a recipe asks for, as `Recipe` takes it."""
    from pipelines.spec.toml import load_recipe

    spec = load_recipe(name)
    train, model = spec.train, spec.model
    if train.momentum or train.shift or train.cutout or model.input_dropout or model.blocks:
        raise NotOfferedError(f"the recipe {name} asks for what the peers here were not written for")
    return {
        "name": name,
        "hidden": model.hidden,
        "batch": train.batch_size,
        "epochs": train.epochs,
        "optimizer": train.optimizer,
        "rate": train.learning_rate,
        "schedule": train.schedule,
        "weight_decay": train.weight_decay,
        "dropout": model.dropout,
        "smoothing": train.label_smoothing,
        "mixup": train.mixup,
        "flip": train.flip,
        "average": train.average,
    }


def _read_recipe(folder: Path, name: str, threads: int) -> Recipe:
    from pipelines.spec.toml import load_recipe

    inputs, labels = np.load(folder / "inputs.npy"), np.load(folder / "labels.npy")
    held = int(len(inputs) * load_recipe(name).train.validation_fraction)
    order = np.random.default_rng(3).permutation(len(inputs))
    chosen, kept = order[:held], order[held:]
    validation = (inputs[chosen], labels[chosen]) if held else None
    numbers = {**numbers_of(name), "epochs": EPOCHS}
    return Recipe(**numbers, inputs=inputs[kept], labels=labels[kept], validation=validation, threads=threads)
