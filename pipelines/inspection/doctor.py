"""What this installation is made of: versions, matrix products, processor, cache, data, extras; and what is wrong."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import attrs
import numpy as np
from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

import bpfunc
from pipelines.dataset.entry import entry_paths
from pipelines.dataset.pins import data_directory
from pipelines.disk.atomic import TEMPORARY
from pipelines.disk.untrusted.documents import read_toml
from pipelines.disk.untrusted.printable import Printable, in_lines
from pipelines.errors import PipelineError
from pipelines.spec.run_spec import DatasetSpec
from pipelines.stages.acquire import acquire
from pipelines.training.threads import VARIABLES

DISTRIBUTION = "bpfunc"
FOR_DEVELOPERS = ("test", "lint", "oracles", "bench", "mutation", "docs")
"""Extras for those who change the project, not for those who use it."""


@attrs.frozen
class Library:
    """A library that the project takes, and what is there of it."""

    name: str
    wanted: str
    """Such as ``>=2.2``."""
    found: str | None
    """Version that is installed, or None."""

    @property
    def right(self) -> bool:
        """Whether it is there, and new enough."""
        return self.found is not None and satisfies(self.found, self.wanted)


@attrs.frozen
class Extra:
    """An optional part of the project."""

    name: str
    libraries: tuple[Library, ...]

    @property
    def present(self) -> bool:
        """Whether everything that it needs is there."""
        return all(library.right for library in self.libraries)

    @property
    def how_to_add(self) -> str:
        """The command that adds it."""
        return f"pip install '{DISTRIBUTION}[{self.name}]'"


@attrs.frozen
class Source:
    """Where some classes of the data would come from."""

    classes: str
    origin: str | None
    """``bundle``, ``system``, ``download``, or None where there is no source."""
    location: str
    """A directory, or what to do to get one."""


@attrs.frozen(kw_only=True)
class Diagnosis:
    """What was found."""

    bpfunc: str
    python: str
    platform: str
    libraries: tuple[Library, ...]
    blas: str
    threads: str
    processor: str
    cores: int
    memory: int | None
    """Bytes, or None where the system does not say."""
    cache: str
    cache_entries: int
    cache_bytes: int
    cache_leftovers: int
    """Temporary directories of writers that were killed, or are at work."""
    sources: tuple[Source, ...]
    extras: tuple[Extra, ...]
    engines: tuple[str, ...]
    """What can run a training."""
    problems: tuple[str, ...]
    """What keeps the project from working, each with its remedy."""


def diagnose(cache: Path, raw: Path) -> Diagnosis:
    """Look at the installation; nothing is written and nothing is fetched.

    Args:
        cache: The cache directory.
        raw: Directory of downloads.

    Returns:
        What was found.
    """
    libraries, extras = required()
    ten = DatasetSpec(classes=tuple(map(str, range(10))))
    sources = (_source("Dress, Trouser, Sneaker", DatasetSpec(), raw), _source("all ten", ten, raw))
    entries = entry_paths(cache)
    return Diagnosis(
        bpfunc=bpfunc.__version__,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        platform=platform.platform(),
        libraries=libraries,
        blas=blas_in_words(np.show_config(mode="dicts")),
        threads=threads_in_words(os.environ),
        processor=processor_name(),
        cores=cores_to_use(),
        memory=_memory(),
        cache=str(cache),
        cache_entries=len(entries),
        cache_bytes=sum(directory_bytes(entry) for entry in entries),
        cache_leftovers=len(list(cache.glob(f"{TEMPORARY}*"))) if cache.is_dir() else 0,
        sources=sources,
        extras=extras,
        engines=("numpy", *(["compiled"] if any(extra.name == "fast" and extra.present for extra in extras) else [])),
        problems=problems(libraries, sources, cache),
    )


def required() -> tuple[tuple[Library, ...], tuple[Extra, ...]]:
    """Read what the project requires, from its metadata where it is installed, else from pyproject.toml beside it.

    Returns:
        Libraries that it always needs, and its extras without those for developers.
    """
    lines = requirement_lines()
    libraries = tuple(_library(line) for line in lines[""])
    extras = tuple(
        Extra(name, tuple(_library(line) for line in needs))
        for name, needs in lines.items()
        if name and name not in FOR_DEVELOPERS
    )
    return libraries, extras


def requirement_lines() -> dict[str, list[str]]:
    """List requirements by the extra that asks for them.

    Returns:
        Extra -> requirements such as ``onnx>=1.21``; the empty name holds those of the project itself.
    """
    beside = Path(__file__).parents[2] / "pyproject.toml"
    if beside.is_file():
        project = cast("dict[str, Any]", read_toml(beside, "project")["project"])
        return {"": project["dependencies"], **project["optional-dependencies"]}
    found: dict[str, list[str]] = {"": []}
    for line in metadata.requires(DISTRIBUTION) or []:
        need, _, condition = line.partition(";")
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", condition)
        found.setdefault(extra[1] if extra else "", []).append(need.strip())
    return found


def _library(requirement: str) -> Library:
    need = Requirement(requirement)
    try:
        found = metadata.version(need.name)
    except metadata.PackageNotFoundError:
        found = None
    return Library(need.name, str(need.specifier), found)


def satisfies(version: str, wanted: str) -> bool:
    """Compare a version with bounds.

    Args:
        version: Such as ``1.7.2``.
        wanted: Such as ``>=1.7`` or ``==2.13.0``; several with commas between.

    Returns:
        Whether each bound holds.

    Example:
        >>> satisfies("1.10.0", ">=1.9"), satisfies("1.7", "==1.8"), satisfies("2.13.0+cpu", "==2.13.0")
        (True, False, True)
    """
    try:
        return SpecifierSet(wanted).contains(version, prereleases=True)
    except InvalidSpecifier:  # metadata of another packaging tool
        return False


def blas_in_words(config: object) -> str:
    """Name the library that multiplies matrices, as NumPy was built.

    Args:
        config: From ``numpy.show_config(mode="dicts")``.

    Returns:
        Name and version.

    Example:
        >>> blas_in_words({"Build Dependencies": {"blas": {"name": "openblas", "version": "0.3"}}})
        'openblas 0.3'
    """
    built = config.get("Build Dependencies", {}) if isinstance(config, Mapping) else {}
    blas = built.get("blas", {})
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()


def threads_in_words(environment: Mapping[str, str]) -> str:
    """Return the number of threads of matrix products: that of the libraries, or that of their variables.

    Args:
        environment: Environment of the process.

    Returns:
        A number, and who says so.

    Example:
        >>> "OMP_NUM_THREADS=2" in threads_in_words({"OMP_NUM_THREADS": "2"})
        True
    """
    told = ", ".join(f"{name}={environment[name]}" for name in VARIABLES if name in environment)
    if importlib.util.find_spec("threadpoolctl") is not None:
        from threadpoolctl import threadpool_info

        counts = sorted({pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"})
        return f"{', '.join(map(str, counts)) or 'unknown'} ({told or 'no variable is set'})"
    return told or "one for each core (no variable is set)"


def processor_name() -> str:
    """Name the processor.

    Returns:
        Such as the model's name, or the architecture where the system says no more.
    """
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cores_to_use() -> int:
    """Count the cores that this process may use.

    Returns:
        At least 1.

    Example:
        >>> cores_to_use() >= 1
        True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def directory_bytes(directory: Path) -> int:
    """Add up the sizes of the files below a directory.

    Args:
        directory: Any.

    Returns:
        Bytes; a file that goes away meanwhile counts nothing.
    """
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.lstat().st_size if path.is_file() and not path.is_symlink() else 0
        except OSError:
            continue
    return total


def _source(classes: str, spec: DatasetSpec, raw: Path) -> Source:
    try:
        found = acquire(spec, raw=raw)
    except PipelineError as problem:
        return Source(classes, None, f"{problem.what}; {problem.remedy}")
    return Source(classes, found.origin, str(found.location))


def problems(libraries: Sequence[Library], sources: Sequence[Source], cache: Path) -> tuple[str, ...]:
    """List what keeps the project from working.

    Args:
        libraries: That it always needs.
        sources: Sources of the data; the first is that of the recipe `report`.
        cache: The cache directory.

    Returns:
        A sentence for each problem, with its remedy.
    """
    found = [
        f"{library.name}{library.wanted} is needed, {library.found or 'nothing'} is there: "
        f"pip install '{library.name}{library.wanted}'"
        for library in libraries
        if not library.right
    ]
    if sources[0].origin is None:
        found.append(f"there is no data for the recipe report in {data_directory()}: {sources[0].location}")
    place = next((path for path in (cache, *cache.absolute().parents) if path.exists()), cache)
    if not place.is_dir():
        found.append(f"the cache cannot be made, {place} is not a directory: choose another --cache")
    elif not os.access(place, os.W_OK):
        found.append(f"the cache cannot be written to, {place} is not writable: choose another --cache")
    return tuple(found)


def diagnosis_table(found: Diagnosis) -> dict[str, object]:
    """Turn a diagnosis into plain values.

    Args:
        found: Any diagnosis.

    Returns:
        A JSON object.
    """
    table = attrs.asdict(found)
    for record, extra in zip(table["extras"], found.extras, strict=True):
        record |= {"present": extra.present, "how_to_add": extra.how_to_add}
    return table


def diagnosis_lines(found: Diagnosis) -> Printable:
    """Lay a diagnosis out for a person.

    Args:
        found: Any diagnosis.

    Returns:
        Lines of text.
    """
    facts = {
        "bpfunc": found.bpfunc,
        "Python": found.python,
        "system": found.platform,
        "processor": f"{found.processor}, {found.cores} core{'s' * (found.cores > 1)} to use",
        "memory": "unknown" if found.memory is None else size_in_words(found.memory),
        "matrix products": f"{found.blas}, threads {found.threads}",
        "engines": ", ".join(found.engines),
        "libraries": ", ".join(f"{library.name} {library.found or 'MISSING'}" for library in found.libraries),
        "cache": f"{found.cache}: {found.cache_entries} entr{'y' if found.cache_entries == 1 else 'ies'}, "
        f"{size_in_words(found.cache_bytes)}, {found.cache_leftovers} unfinished",
        **{f"data, {source.classes}": _source_in_words(source) for source in found.sources},
    }
    width = max(map(len, facts))
    lines = [f"{name:<{width}}  {value}" for name, value in facts.items()]
    lines += ["", "extras"]
    for extra in found.extras:
        needs = ", ".join(f"{one.name} {one.found or 'missing'}" for one in extra.libraries)
        lines.append(
            f"  {extra.name:<10} {'present' if extra.present else 'missing':<8} {needs}"
            + ("" if extra.present else f"; {extra.how_to_add}")
        )
    lines += ["", "problems: none" if not found.problems else "problems:"]
    return in_lines([*lines, *(f"  {problem}" for problem in found.problems)])


def _source_in_words(source: Source) -> str:
    return source.location if source.origin is None else f"{source.origin}, {source.location}"


def size_in_words(count: int) -> str:
    """Write a number of bytes.

    Args:
        count: At least 0.

    Returns:
        In the largest unit that leaves a whole part.

    Example:
        >>> size_in_words(512), size_in_words(7_300_000), size_in_words(2 * 10**9)
        ('512 B', '7.3 MB', '2.0 GB')
    """
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
