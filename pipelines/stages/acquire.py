"""Stage `acquire`: find the source and prove that it holds what it should. Content is trusted, places are not."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pipelines.artifacts import Acquired, Origin, SourceFile
from pipelines.dataset.classes import class_numbers
from pipelines.dataset.idx import read_idx
from pipelines.dataset.pins import IDX_DIMENSIONS, ROLES, BundleFile, Sources, idx_file, idx_names, official_sources
from pipelines.disk.atomic import sha256_of
from pipelines.errors import DataProblem
from pipelines.spec.run_spec import DatasetSpec

VERSION = 3


def acquire(spec: DatasetSpec, *, source: Path | None = None, raw: Path = Path("data/raw")) -> Acquired:
    """Find the source of a data set and check its content.

    Args:
        spec: Which classes, and whether the source must be the official data.
        source: A directory of IDX files, or None to take the first of: the embedded bundle (if it covers the
            classes), the directory of a distribution's package, and ``raw``.
        raw: Where `bpfunc data download` puts files.

    Returns:
        Where the bytes are, with their hashes.

    Raises:
        UsageProblem: A class is unknown.
        DataProblem: Nothing covers the classes, or a file is missing, damaged or not what was pinned.

    Example:
        >>> acquire(DatasetSpec()).origin
        'bundle'
    """
    known = official_sources()
    numbers = class_numbers(spec.classes, pinned=spec.pinned)
    if source is not None:
        return _directory(source, "directory", spec, known)
    if spec.pinned and set(numbers) <= set(known.bundle_classes):
        return _bundle(known)
    for directory in known.system_directories:
        if idx_file(directory, "train_images").exists():
            return _directory(directory, "system", spec, known)
    if idx_file(raw, "train_images").exists():
        return _directory(raw, "download", spec, known)
    raise DataProblem(
        f"no source has the classes {', '.join(spec.classes)}; the embedded bundle holds Dress, Trouser and Sneaker",
        where="dataset.classes",
        remedy="install Debian's package dataset-fashion-mnist, run `bpfunc data download`, or name a --source DIR",
    )


def _bundle(known: Sources) -> Acquired:
    for file in (known.bundle_train, known.bundle_test):
        check_bundle_file(file)
    # The bundle's rows are the official files' rows, so its provenance is theirs, and so is its cache key.
    return Acquired("bundle", known.bundle_train.path.parent, known.files, pinned=True)


def check_bundle_file(file: BundleFile) -> None:
    """Compare a file of the bundle with its pin.

    Args:
        file: Path and expected hash.

    Raises:
        DataProblem: It is missing or differs.
    """
    remedy = "get the project's files again, or rebuild it with `bpfunc data bundle`"
    try:
        found = sha256_of(file.path)
    except OSError as error:
        raise DataProblem(f"the bundle cannot be read: {error.strerror}", where=str(file.path), remedy=remedy) from None
    if found != file.sha256:
        raise DataProblem(
            f"the bundle is not what was pinned: expected SHA-256 {file.sha256}, found {found}",
            where=str(file.path),
            remedy=remedy,
        )


def _directory(directory: Path, origin: Origin, spec: DatasetSpec, known: Sources) -> Acquired:
    if not directory.is_dir():
        raise DataProblem("there is no such directory", where=str(directory), remedy="check --source")
    files = tuple(_hashed(directory, role) for role in ROLES)
    for found, expected in zip(files, known.files, strict=True):
        if spec.pinned and found.sha256 != expected.sha256:
            raise DataProblem(
                f"this is not the official file: expected SHA-256 {expected.sha256} of the decompressed bytes, "
                f"found {found.sha256}",
                where=str(idx_file(directory, found.role)),
                remedy="get the file again; if these are your own data, pass --unpinned",
            )
    return Acquired(origin, directory.resolve(), files, pinned=files == known.files)


def _hashed(directory: Path, role: str) -> SourceFile:
    path = idx_file(directory, role)
    if not path.exists():
        hyphen, stop, *_ = idx_names(role)
        raise DataProblem(
            f"there is no file {hyphen} or {stop}, gzipped or not",
            where=str(directory),
            remedy="name a --source DIR that holds all four IDX files",
        )
    data, _ = read_idx(path, dimensions=IDX_DIMENSIONS[role])
    return SourceFile(role, hashlib.sha256(data).hexdigest(), len(data))
