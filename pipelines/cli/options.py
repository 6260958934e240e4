"""Options that commands share, and how they merge into a specification."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_type_hints

import attrs
import typer

from pipelines.cli.completion import complete_classes, complete_field, complete_recipe, complete_run
from pipelines.cli.terminal import print_version, say
from pipelines.dataset.places import default_cache
from pipelines.errors import UsageProblem
from pipelines.runs.naming import find_run
from pipelines.training.threads import MOST_THREADS, use_threads

if TYPE_CHECKING:
    from pipelines.dataset.places import Places
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
    str | None, typer.Option("--on-nan", metavar="stop|skip", help="Stop at a NaN or infinity, or skip that step.")
]
Engine = Annotated[
    str | None,
    typer.Option(
        "--engine",
        metavar="auto|numpy|compiled",
        help="Engine of the training: NumPy, or machine code (auto: where installed).",
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
        directory: As it was given; the default is not checked.

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


Cache = Annotated[Path, typer.Option("--cache", metavar="DIR", callback=kept_apart, help="Directory of prepared data.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="New directory for the run.")]
Raw = Annotated[Path, typer.Option("--raw", metavar="DIR", callback=kept_apart, help="Directory of downloaded files.")]
Unpinned = Annotated[bool, typer.Option("--unpinned", help="Allow your own IDX files; classes are named by number.")]
ExecutorName = Annotated[
    str, typer.Option("--executor", metavar="NAME", help="Where the trainings run: processes, or dask://HOST:PORT.")
]
Jobs = Annotated[int, typer.Option("--jobs", metavar="M", min=1, help="Processes at a time.")]
Stream = Annotated[
    str | None,
    typer.Option("--stream", metavar="PLACE", help="Stream the rows from partitions: a directory, or such as s3://..."),
]
DataParallel = Annotated[
    bool, typer.Option("--data-parallel", help="Divide each batch among the processes that mpiexec started.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document on standard output.")]
Threads = Annotated[
    int, typer.Option("--threads", metavar="N", min=1, max=MOST_THREADS, help="Threads for matrix products.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print only the result.")]
Version = Annotated[
    bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
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


@attrs.frozen(kw_only=True)
class Given:
    """The shared options as a person gave them; an option that a command does not have keeps its default."""

    config: Config = None
    recipe: Recipe = "report"
    settings: Settings = None
    classes: Classes = None
    hidden: Hidden = None
    epochs: Epochs = None
    seed: Seed = None
    on_nan: OnNan = None
    engine: Engine = None
    checkpoint_every: CheckpointEvery = 20.0
    source: Source = None
    cache: Cache = DEFAULT_CACHE
    raw: Raw = DEFAULT_RAW
    out: Out = None
    unpinned: Unpinned = False
    stream: Stream = None
    executor: ExecutorName = "processes"
    threads: Threads = 1
    as_json: AsJson = False
    quiet: Quiet = False

    def spec(self, *more: str) -> RunSpec:
        """Merge recipe, file and options, in that order; ``more`` are further values of ``--set``.

        Raises:
            UsageProblem: A name, file or value is wrong.

        Example:
            >>> Given(epochs=3).spec().train.epochs
            3
        """
        from pipelines.spec.toml import load_config, load_recipe, merged

        spec = load_recipe(self.recipe)
        if self.config is not None:
            spec = load_config(self.config, spec)
        return merged(spec, self.changes(*more), where="command line")

    def changes(self, *more: str) -> dict[str, object]:
        """Return the fields that options and ``--set`` give, nested as the specification is.

        Raises:
            UsageProblem: A setting is wrong, or a field is given twice.

        Example:
            >>> Given(engine="numpy", settings=["train.epochs=3"]).changes()
            {'train': {'engine': 'numpy', 'epochs': 3}}
        """
        from pipelines.spec.settings import joined, settings_table

        given: dict[str, dict[str, object]] = {
            "dataset": {
                "classes": None if self.classes is None else _words(self.classes),
                "pinned": False if self.unpinned else None,
                "partitions": self.stream,
            },
            "model": {"hidden": None if self.hidden is None else _whole_numbers(self.hidden, "--hidden")},
            "train": {"epochs": self.epochs, "seed": self.seed, "on_nan": self.on_nan, "engine": self.engine},
        }
        flags = {
            table: {name: value for name, value in fields.items() if value is not None}
            for table, fields in given.items()
        }
        flags = {table: fields for table, fields in flags.items() if fields}
        return joined(flags, settings_table([*(self.settings or []), *more]))

    def fields_given(self) -> dict[str, str]:
        """Return the fields of the configuration that an option of their own sets, each with that option."""
        given = {name: getattr(self, name) for name in FIELDS}
        return {FIELDS[name]: f"--{name.replace('_', '-')}" for name in FIELDS if given[name] not in (None, False)}

    def places(self) -> Places:
        """Return the directories that the command reads from and writes to."""
        from pipelines.dataset.places import Places

        return Places(source=self.source, cache=self.cache, raw=self.raw, out=self.out)

    def say(self, text: str) -> None:
        """Write a line to standard error, unless ``--quiet`` is given."""
        say(text, quiet=self.quiet)


FIELDS = {
    "classes": "dataset.classes",
    "unpinned": "dataset.pinned",
    "hidden": "model.hidden",
    "epochs": "train.epochs",
    "seed": "train.seed",
    "on_nan": "train.on_nan",
    "engine": "train.engine",
}
"""Options that set one field of the configuration."""
DATA = ("config", "recipe", "settings", "classes")
NETWORK = (*DATA, "hidden")
PLACES = ("source", "cache", "raw")
TRAINING = (*NETWORK, "epochs", "seed", "on_nan", "engine", "checkpoint_every", *PLACES, "out", "unpinned")
END = ("threads", "as_json", "quiet")


def shared(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command shared options: they become parameters of it, and reach it as one `Given`.

    The threads of matrix products are set before the command begins, and so before it imports NumPy.

    Args:
        names: Parameters in the order that ``--help`` shows: fields of `Given`, and the command's own.

    Returns:
        A decorator for a function whose first parameter takes the `Given`.

    Example:
        >>> @shared("recipe", "quiet")
        ... def example(given: Given) -> None:
        ...     print(given.recipe)
        >>> example(recipe="best", quiet=False)
        best
    """

    def spliced(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters
        kinds = get_type_hints(Given, include_extras=True)
        defaults = attrs.fields_dict(Given)
        parameters = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=own[name].default if name in own else defaults[name].default,
                annotation=own[name].annotation if name in own else kinds[name],
            )
            for name in names
        ]

        @functools.wraps(command)
        def called(**values: object) -> None:
            given = Given(**{name: values.pop(name) for name in names if name not in own})  # type: ignore[arg-type]
            use_threads(given.threads)
            command(given, **values)

        called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return called

    return spliced


def _words(text: str) -> list[str]:
    """Words with commas between; one more comma may stand at the end, but nothing is missing before it."""
    words = [word.strip() for word in text.strip().removesuffix(",").split(",")]
    return [] if words == [""] else words


def _whole_numbers(text: str, option: str) -> list[int]:
    try:
        return [int(word) for word in _words(text)]
    except ValueError:
        raise UsageProblem(
            f"expected whole numbers with commas between, found {text!r}",
            where=option,
            remedy="write, for example, 256,128",
        ) from None
