"""Options that commands share, and how they merge into a specification."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.completion import complete_classes, complete_field, complete_recipe, complete_run
from pipelines.cli.terminal import print_version
from pipelines.dataset.places import default_cache
from pipelines.errors import UsageProblem
from pipelines.runs.naming import find_run
from pipelines.training.threads import MOST_THREADS

if TYPE_CHECKING:
    from pipelines.spec.run_spec import RunSpec

Config = Annotated[Path | None, typer.Option("--config", "-c", metavar="FILE", help="TOML file laid over the recipe.")]
Recipe = Annotated[
    str,
    typer.Option(
        "--recipe", "-r", metavar="NAME", help="Named configuration to start from.", autocompletion=complete_recipe
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="FIELD=VALUE",
        help="Any field of the configuration; may be repeated.",
        autocompletion=complete_field,
    ),
]
Classes = Annotated[
    str | None,
    typer.Option(
        "--classes", metavar="A,B,C", help="Class names or numbers, 2 to 10.", autocompletion=complete_classes
    ),
]
Hidden = Annotated[str | None, typer.Option("--hidden", metavar="256,128", help="Widths of the hidden layers.")]
Epochs = Annotated[int | None, typer.Option("--epochs", "-e", metavar="N", help="Passes over the training rows.")]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="Seed of everything random.")]
OnNan = Annotated[
    str | None, typer.Option("--on-nan", metavar="stop|skip", help="End at a NaN or infinity, or leave out that step.")
]
Engine = Annotated[
    str | None,
    typer.Option(
        "--engine", metavar="auto|numpy|compiled", help="What trains: NumPy, or machine code (auto: where installed)."
    ),
]
CheckpointEvery = Annotated[
    float,
    typer.Option(
        "--checkpoint-every", metavar="SECONDS", min=0, help="Training time between checkpoints; 0: each epoch."
    ),
]
Source = Annotated[Path | None, typer.Option("--source", metavar="DIR", help="Directory of IDX files, gzipped or not.")]
DEFAULT_CACHE, DEFAULT_RAW = default_cache(), Path("data/raw")


def file_name(text: str) -> Path:
    """Take the name of a file to write, and refuse that of a directory.

    Args:
        text: As it was given.

    Returns:
        The path.

    Raises:
        UsageProblem: It ends in a slash.

    Example:
        >>> file_name("model.onnx").suffix
        '.onnx'
    """
    if text.endswith(os.sep):
        raise UsageProblem("this is a directory", where=text, remedy=f"name a file, such as {text}result")
    return Path(text)


def kept_apart(directory: Path) -> Path:
    """Take a directory that data is put into, and refuse one that belongs to a run, a study or such.

    Args:
        directory: As it was given; the default is taken as it is.

    Returns:
        The directory.

    Raises:
        UsageProblem: It is a file, or lies in such a directory.

    Example:
        >>> kept_apart(DEFAULT_RAW).name
        'raw'
    """
    if directory not in (DEFAULT_CACHE, DEFAULT_RAW) or "BPFUNC_CACHE" in os.environ:
        from pipelines.disk.ownership import check_new_directory
        from pipelines.errors import WorkFailed

        with suppress(WorkFailed):  # one that cannot be made is for the command to report, which may make none
            check_new_directory(directory)
    return directory


Cache = Annotated[
    Path, typer.Option("--cache", metavar="DIR", callback=kept_apart, help="Where prepared data is kept.")
]
Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="New directory for the run.")]
Raw = Annotated[Path, typer.Option("--raw", metavar="DIR", callback=kept_apart, help="Where downloaded files lie.")]
Unpinned = Annotated[bool, typer.Option("--unpinned", help="Take your own IDX files; classes by number.")]
ExecutorName = Annotated[
    str, typer.Option("--executor", metavar="NAME", help="What runs the trainings: processes, or dask://HOST:PORT.")
]
Stream = Annotated[
    str | None,
    typer.Option("--stream", metavar="PLACE", help="Stream the rows from partitions: a directory, or such as s3://..."),
]
DataParallel = Annotated[
    bool, typer.Option("--data-parallel", help="Share each batch out among the processes that mpiexec started.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document on standard output.")]
Threads = Annotated[
    int, typer.Option("--threads", metavar="N", min=1, max=MOST_THREADS, help="Threads for matrix products.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Say nothing but the result.")]
Version = Annotated[
    bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and leave.")
]


def run_or_study(text: str) -> Path:
    """Take what may be a run or a study, as `pipelines.runs.naming.find_run` finds it.

    Args:
        text: As it was given.

    Returns:
        Its directory.

    Raises:
        UsageProblem: There is none.
    """
    return find_run(text, kinds=("run", "study"))


RunDirectory = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        parser=find_run,
        help="A run: its path, its name, a beginning of its name, or `latest`.",
        autocompletion=complete_run,
    ),
]


def merged_spec(
    recipe: str,
    config: Path | None,
    *,
    classes: str | None = None,
    hidden: str | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    on_nan: str | None = None,
    engine: str | None = None,
    unpinned: bool = False,
    stream: str | None = None,
    settings: Sequence[str] | None = None,
) -> RunSpec:
    """Merge recipe, file, and what the command line says, in that order.

    Args:
        recipe: Name of a recipe.
        config: TOML file laid over it.
        classes: Value of ``--classes``.
        hidden: Value of ``--hidden``.
        epochs: Value of ``--epochs``.
        seed: Value of ``--seed``.
        on_nan: Value of ``--on-nan``.
        engine: Value of ``--engine``.
        unpinned: Whether your own IDX files are allowed.
        stream: Value of ``--stream``.
        settings: Values of ``--set``.

    Returns:
        What to run.

    Raises:
        UsageProblem: A name, file or value is wrong.

    Example:
        >>> merged_spec("report", None, epochs=3).train.epochs
        3
    """
    from pipelines.spec.settings import joined, settings_table
    from pipelines.spec.toml import load_config, load_recipe, merged

    spec = load_recipe(recipe)
    if config is not None:
        spec = load_config(config, spec)
    flags: dict[str, dict[str, object]] = {"dataset": {}, "model": {}, "train": {}}
    if classes is not None:
        flags["dataset"]["classes"] = _words(classes)
    if unpinned:
        flags["dataset"]["pinned"] = False
    if stream is not None:
        flags["dataset"]["partitions"] = stream
    if hidden is not None:
        flags["model"]["hidden"] = _whole_numbers(hidden, "--hidden")
    if epochs is not None:
        flags["train"]["epochs"] = epochs
    if seed is not None:
        flags["train"]["seed"] = seed
    if on_nan is not None:
        flags["train"]["on_nan"] = on_nan
    if engine is not None:
        flags["train"]["engine"] = engine
    return merged(spec, joined(flags, settings_table(settings or [])), where="command line")


def _words(text: str) -> list[str]:
    """Words with commas between; one more comma may stand at the end, but nothing is missing before it."""
    words = [word.strip() for word in text.strip().removesuffix(",").split(",")]
    return [] if words == [""] else words


def settings_with(engine: str | None, settings: Sequence[str] | None) -> dict[str, object]:
    """Put ``--engine`` and ``--set`` into one table, for commands that read their recipe from a file.

    Args:
        engine: Value of ``--engine``.
        settings: Values of ``--set``.

    Returns:
        Field -> value, nested as the specification is.

    Raises:
        UsageProblem: A setting is wrong, or the engine is given twice.

    Example:
        >>> settings_with("numpy", ["train.epochs=3"])
        {'train': {'engine': 'numpy', 'epochs': 3}}
    """
    from pipelines.spec.settings import joined, settings_table

    flags = {} if engine is None else {"train": {"engine": engine}}
    return joined(flags, settings_table(settings or []))


def _whole_numbers(text: str, option: str) -> list[int]:
    try:
        return [int(word) for word in _words(text)]
    except ValueError:
        raise UsageProblem(
            f"expected whole numbers with commas between, found {text!r}", where=option, remedy="write such as 256,128"
        ) from None
