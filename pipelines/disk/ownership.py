"""What a directory is, and so what a command may write there: one decision for all commands.

Nothing that a command writes replaces a file that it reads, or lies in the directory of a run, study, search or sweep
or in a cache entry. Such directories are known by their files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeAlias

import attrs

from pipelines.disk.atomic import TEMPORARY, write_bytes
from pipelines.disk.untrusted.printable import printable, shell
from pipelines.errors import UsageProblem, WorkFailed

Kind: TypeAlias = Literal["run", "study", "search", "sweep", "cache entry", "partitioned data", "bundle"]

RUN_FILES = (
    r"config\.toml",
    r"confusion_matrix\.png",
    r"curves\.png",
    r"history\.parquet",
    r"metrics\.json",
    r"model_card\.md",
    r"params\.safetensors",
    r"predictions\.parquet",
    r"report\.html",
    r"sealed\.txt",
    r"checkpoints/began\.txt",
    r"checkpoints/epoch-[0-9]{5,}\.safetensors",
)
"""Names of all files that the project puts into the directory of a run, as regular expressions."""
ENTRY_FILES = (r"train\.parquet", r"test\.parquet", r"manifest\.json")
"""Names of all files of a cache entry, as regular expressions."""

ASKED = "seeds.txt"
"""A file in the directory of a study, there before the first seed: how many seeds the last command asked for."""
PROGRESS = "progress.txt"
"""A file in the directory of a search or a sweep, there before the first training: see `Progress`."""
_PROGRESS = re.compile(r"(search|sweep) ([0-9]{1,9})/([0-9]{1,9}) of (.*), begun (.*)\n")
_PROGRESS_LIMIT = 2000
_ONLY_IN_A_RUN = ("params.safetensors", "history.parquet", "predictions.parquet", "sealed.txt")
_IDX = re.compile(r"(train|t10k)-(images|labels)[-.]idx[13]-ubyte(\.gz)?", re.IGNORECASE)
_SEED = re.compile(r"seed-[0-9]{3,}")
_TRIAL = re.compile(r".+-[0-9]+-[0-9a-f]{16}\.json")
_CONFIG_LIMIT = 1_000_000
ELSEWHERE = "choose a new directory"
PACKAGE = Path(__file__).parents[1]


@attrs.frozen
class Progress:
    """How far a search or a sweep has come."""

    kind: Literal["search", "sweep"]
    done: int
    """Trainings that are over."""
    asked: int
    """How many the last command asked for."""
    recipe: str
    began: float
    """Seconds since 1970."""


def read_progress(directory: Path) -> Progress | None:
    """Read how far a search or a sweep has come.

    Args:
        directory: Any path.

    Returns:
        What its last command wrote; None where it is neither, or of a version that wrote nothing.

    Example:
        >>> read_progress(Path("nowhere"))
    """
    found = _PROGRESS.fullmatch(_beginning(directory / PROGRESS)[:_PROGRESS_LIMIT].decode(errors="replace"))
    with suppress(ValueError, OverflowError, OSError):  # a time that is none
        if found is not None:
            kind, done, asked, recipe, began = found.groups()
            seconds = datetime.fromisoformat(began).timestamp()
            return Progress("search" if kind == "search" else "sweep", int(done), int(asked), recipe, seconds)
    return None


def write_progress(directory: Path, progress: Progress) -> None:
    """Write how far a search or a sweep has come.

    Args:
        directory: Directory of the search or sweep.
        progress: What to write.

    Raises:
        WorkFailed: The disk refused.
    """
    began = datetime.fromtimestamp(progress.began).isoformat()
    recipe = printable(progress.recipe[:100])
    text = f"{progress.kind} {progress.done}/{progress.asked} of {recipe}, begun {began}\n"
    write_bytes(directory / PROGRESS, text.encode())


def kind_of(directory: Path) -> Kind | None:
    """Return the kind of a directory, by the names of the files in it.

    Args:
        directory: Any path.

    Returns:
        Its kind, or None where it is not one that the project makes.

    Example:
        >>> kind_of(Path("nowhere"))
    """

    def has(*names: str) -> bool:
        return all(os.path.isfile(directory / name) for name in names)  # noqa: PTH113 - False where it is not allowed

    if has("manifest.json") and (has("train.parquet") or has("test.parquet")):
        return "cache entry"
    if has("partitions.json", "part-00000.parquet"):
        return "partitioned data"
    if (progress := read_progress(directory)) is not None:
        return progress.kind
    results = _beginning(directory / "sweep.json").startswith(b"[") and _is_whole_config(directory / "best.toml")
    if results or _beginning(directory / "sweep.db").startswith(b"SQLite format 3"):
        return "sweep"
    if (directory / "trials").is_dir() and _is_search(directory):
        return "search"
    if not has("config.toml"):
        return None
    whole = _is_whole_config(directory / "config.toml")
    if (whole and (has("study.json") or has(ASKED))) or seed_directories(directory):
        return "study"
    begun = whole and (directory / "checkpoints").is_dir()
    saved = any((directory / "checkpoints").glob("epoch-*.safetensors"))
    return "run" if begun or saved or any(map(has, _ONLY_IN_A_RUN)) else None


def _beginning(path: Path) -> bytes:
    """The first part of a regular file; nothing where there is none, or it may not be read."""
    try:
        if path.is_file():
            with path.open("rb") as file:
                return file.read(_CONFIG_LIMIT)
    except OSError:
        pass
    return b""


def _is_search(directory: Path) -> bool:
    if any(_TRIAL.fullmatch(trial.name) for trial in (directory / "trials").glob("*.json")):
        return True
    return {path.name for path in directory.iterdir()} <= {"trials", "search.json"}


def _is_whole_config(path: Path) -> bool:
    """Whether a file has the tables of a configuration as it is written into a run."""
    return {b"[dataset]", b"[model]", b"[train]"} <= {line.strip() for line in _beginning(path).splitlines()}


def seed_directories(directory: Path) -> list[Path]:
    """List the directories of a study's seeds.

    Args:
        directory: Directory of the study.

    Returns:
        In the order of the seeds.
    """
    found = [path for path in directory.glob("seed-*") if _SEED.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("seed-")))


def require_run(path: Path) -> None:
    """Refuse what is not the directory of a run, and say what it is and which command takes it.

    Args:
        path: What was named as a run.

    Raises:
        UsageProblem: It is not one.
    """
    if kind_of(path) != "run":
        what, remedy = described(path)
        raise UsageProblem(what, where=str(path), remedy=remedy)


def described(path: Path) -> tuple[str, str]:
    """Put into words what a path is that was named as a run and is none, and what to do with it.

    Args:
        path: Any path that is not a run's directory.

    Returns:
        What it is, and which command takes it.
    """
    place = shell([str(path)])
    if not path.is_dir():
        where = path.parent.absolute()
        remedy = f"name its directory, {where}" if kind_of(where) == "run" else "`bpfunc runs list` lists the runs"
        return ("this is a file, no run directory" if path.exists() else "no run directory is there", remedy)
    kind = kind_of(path)
    if kind == "study":
        return "this is a study, not a run", f"name one of its seeds, or go on with it: `{study_command(path)}`"
    if kind == "sweep":
        best = f"; `bpfunc run --config {place}/best.toml` trains its best" if (path / "best.toml").is_file() else ""
        return "this is a sweep, not a run", f"go on with it: `bpfunc sweep SPACE.toml --out {place}`{best}"
    if kind == "search":
        return "this is a search, not a run", f"go on with it: `bpfunc search SEARCH.toml --out {place}`"
    if kind == "cache entry":
        cache = shell([str(path.absolute().parent)])
        return "this is prepared data, not a run", f"name a run; `bpfunc data verify --cache {cache}` checks the data"
    if kind == "partitioned data":
        return "this is partitioned data, not a run", f"train on it: `bpfunc train --stream {place}`"
    if kind_of(path.absolute().parent) == "run":
        return "this is a part of a run, no run directory", f"name the run, {path.absolute().parent}"
    return _described_by_contents(path, place)


def _described_by_contents(path: Path, place: str) -> tuple[str, str]:
    if (path / "config.toml").is_file():
        command = f"bpfunc run --config {place}/config.toml"
        return (
            "this is not a run directory: it has a config.toml and nothing that was trained",
            f"train a run by that configuration: `{command}`, or a study here: `{study_command(path)}`",
        )
    kinds = {kind_of(child) for child in path.iterdir()}
    if kinds & {"run", "study", "search", "sweep"}:
        return "this is not a run directory, it holds some", f"name one; `bpfunc runs list --runs {place}` lists them"
    if "cache entry" in kinds:
        return "this is a cache, not a run", f"name a run; `bpfunc data verify --cache {place}` checks the cache"
    if any(_IDX.fullmatch(child.name) for child in path.iterdir()):
        return "this is data, not a run", f"train on it: `bpfunc run --source {place}`"
    return "this is not a run directory: it has no config.toml", "`bpfunc runs list` lists the runs"


def study_command(path: Path, seeds: int | None = None, source: Path | None = None, *, ablate: bool = False) -> str:
    """Write the command that goes on with a study.

    Args:
        path: Directory of the study.
        seeds: How many; those that are there where None.
        source: The directory of IDX files that was named, or None.
        ablate: Whether to leave out each ingredient in turn; it is gone on with where it was begun.

    Returns:
        A shell command.

    Example:
        >>> study_command(Path("first"), 3)
        'bpfunc study --config first/config.toml --seeds 3 --out first'
    """
    there = [int(seed.name.removeprefix("seed-")) for seed in seed_directories(path)]
    count = 1 + max(there, default=-1) if seeds is None else seeds
    words = ["bpfunc", "study", "--config", f"{path}/config.toml", *(["--seeds", str(count)] if count else [])]
    words += ["--ablate"] if ablate or (path / "without").is_dir() else []
    return shell([*words, *(["--source", str(source)] if source is not None else []), "--out", str(path)])


def check_output(path: Path, *, reads: Iterable[Path] = ()) -> None:
    """Refuse a file that a command must not write; nothing is made or changed here.

    Args:
        path: Where the command was told to write.
        reads: Files that the command reads, and directories of such files.

    Raises:
        UsageProblem: It is a directory, a link or a special file; it is one of the files that are read, under
            whatever name; it lies in a directory of `kind_of`; or it is a file of raw data, of the bundle or of this
            package.
        WorkFailed: The directory that it is to lie in does not exist, or is a file.
    """
    if path.is_dir():
        raise UsageProblem("this is a directory", where=str(path), remedy=f"name a file, such as {path / 'result'}")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UsageProblem(
            "refusing to replace what is not a regular file", where=str(path), remedy="name a file that is not a link"
        )
    _check_place(path)
    _check_above(path, "write")
    if not path.parent.is_dir():
        raise WorkFailed(
            f"cannot write: there is no directory {path.parent}",
            where=str(path),
            remedy=f"make it first: mkdir -p {shell([str(path.parent)])}",
        )
    if not path.exists():
        return
    if any(path.samefile(file) for file in _files(reads)):
        raise UsageProblem("this file is read by the command", where=str(path), remedy="choose another name")
    if _is_data(_real(path)):
        raise UsageProblem("this is a file of data or of bpfunc", where=str(path), remedy="choose another name")


def _check_above(path: Path, work: str) -> None:
    """Refuse a path that leads through a file."""
    for above in path.absolute().parents:
        if above.exists() and not above.is_dir():
            raise WorkFailed(f"cannot {work}: Not a directory", where=str(path), remedy=f"{above} is a file")


def check_new_directory(
    path: Path, kind: Kind | None = None, *, reads: Iterable[Path] = (), writes: Sequence[str] = ()
) -> None:
    """Refuse a directory that a command must not write into; nothing is made or changed here.

    Args:
        path: Where the command was told to write.
        kind: What it makes of a new or empty directory; one that is of that kind already is gone on with. None takes
            any directory that lies outside those of `kind_of`.
        reads: Files that the command reads, which may lie in the directory.
        writes: Names of files in the directory that the command replaces.

    Raises:
        UsageProblem: It is a file; it lies in, or is, another directory of `kind_of`; it holds other files; or the
            command would replace a file that it reads.
        WorkFailed: It would lie below a file.
    """
    if kind is not None and os.path.lexists(path) and not path.is_dir():
        raise UsageProblem("this is not a directory", where=str(path), remedy="choose another directory")
    _check_above(path, "make the directory")
    _check_place(path)
    found, known = kind_of(path), [file for file in reads if file.exists()]
    if found not in (None, kind):
        raise UsageProblem(f"in this directory there is a {found}", where=str(path), remedy=ELSEWHERE)
    for place in (path / name for name in writes):
        if place.exists() and any(place.samefile(file) for file in known):
            raise UsageProblem(
                "this file is read by the command, which would replace it", where=str(place), remedy=ELSEWHERE
            )
    if kind is None or found is not None or not path.is_dir():
        return
    others = sorted(
        child.name
        for child in path.iterdir()
        if not child.name.startswith(TEMPORARY) and not any(child.exists() and child.samefile(file) for file in known)
    )
    if others:
        raise UsageProblem(
            f"this directory is not a {kind}: it contains {others[0]}", where=str(path), remedy=ELSEWHERE
        )


def _check_place(path: Path) -> None:
    """Refuse what lies in a directory that is another's."""
    for above in _real(path).parents:
        if (kind := kind_of(above)) is not None:
            raise UsageProblem(
                f"this lies in the directory of a {kind}, {above}", where=str(path), remedy="choose a place outside it"
            )


def _files(reads: Iterable[Path]) -> Iterator[Path]:
    for path in reads:
        yield from (child for child in (path.iterdir() if path.is_dir() else [path]) if child.exists())


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # `Path.resolve` fails on links in a circle


def _is_data(path: Path) -> bool:
    """Whether a file is one of raw data, of the bundle or of this package."""
    if (path.name == "sources.toml" and (path.parent / "bundle").is_dir()) or PACKAGE in path.parents:
        return True
    if path.name in ("train.parquet", "test.parquet"):
        return all((path.parent / name).is_file() for name in ("train.parquet", "test.parquet"))
    return _IDX.fullmatch(path.name) is not None


def write_output(path: Path, data: bytes, *, reads: Iterable[Path] = ()) -> None:
    """Write the file that a command was asked for, where `check_output` allows it.

    Args:
        path: Where to.
        data: What to write.
        reads: As `check_output` takes them.

    Raises:
        UsageProblem: The file must not be written, see `check_output`.
        WorkFailed: It cannot be written.
    """
    check_output(path, reads=reads)
    write_bytes(path, data)
