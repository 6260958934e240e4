"""An entry of the cache: its manifest, its two Parquet files, and how they are read and checked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args

import attrs
import numpy as np
import pyarrow as pa

from pipelines.artifacts import PIXELS, Prepared, PreparedMeta, PreparedTrain, Scaling, SealedTest
from pipelines.disk.atomic import TEMPORARY, sha256_of
from pipelines.disk.json_text import json_text
from pipelines.disk.parquet import open_parquet
from pipelines.disk.untrusted.documents import parse_json, read_json
from pipelines.disk.untrusted.files import open_file
from pipelines.disk.untrusted.values import checked, record
from pipelines.errors import DataProblem, first_line
from pipelines.spec.run_spec import ScalingName

MANIFEST = "manifest.json"


MANIFEST_FORMAT = 2


def intact_entries(cache: Path) -> list[Manifest]:
    """List the entries of a cache that have a readable manifest.

    Args:
        cache: The cache directory; may be missing.

    Returns:
        Their manifests, in the order of their keys.
    """
    manifests = []
    for entry in entry_paths(cache):
        try:
            manifests.append(read_manifest(entry))
        except DataProblem:
            continue
    return manifests


def entry_paths(cache: Path) -> list[Path]:
    """List the directories of a cache that are entries, whole or damaged.

    Args:
        cache: The cache directory; may be missing.

    Returns:
        Paths in the order of their keys, leftovers of killed writers left out.
    """
    if not cache.is_dir():
        return []
    return sorted(path for path in cache.iterdir() if path.is_dir() and not path.name.startswith(TEMPORARY))


def prepared_schema(classes: int) -> pa.Schema:
    """Name the columns of a prepared split.

    Args:
        classes: K.

    Returns:
        ``pixels`` float32[784], ``target`` float32[K], ``label`` uint8, ``source_index`` uint32; no nulls.

    Example:
        >>> prepared_schema(3).names
        ['pixels', 'target', 'label', 'source_index']
    """
    number = pa.field("item", pa.float32(), nullable=False)
    return pa.schema(
        [
            pa.field("pixels", pa.list_(number, PIXELS), nullable=False),
            pa.field("target", pa.list_(number, classes), nullable=False),
            pa.field("label", pa.uint8(), nullable=False),
            pa.field("source_index", pa.uint32(), nullable=False),
        ]
    )


@attrs.frozen
class Manifest:
    """Contents of an entry's manifest."""

    key: str
    reasons: Mapping[str, object]
    """What the key was made from."""
    files: Mapping[str, str]
    """File name -> SHA-256."""
    rows: Mapping[str, int]
    """File name -> rows."""
    location: str
    """Where the source lay; for messages, never part of the key."""


def _seal(manifest: Mapping[str, object]) -> str:
    """Hash a manifest, so that it carries a checksum of itself as of the files."""
    return hashlib.sha256(json_text(manifest, sort_keys=True).encode()).hexdigest()


def read_manifest(entry: Path) -> Manifest:
    """Read the manifest of an entry; its files are not checked.

    Args:
        entry: The entry's directory.

    Returns:
        Its manifest.

    Raises:
        DataProblem: There is none, or it is damaged.
    """
    path = entry / MANIFEST
    remedy = "run `bpfunc data prepare` again"
    try:
        table = checked(Mapping[str, object], read_json(path), "manifest")
        if table.get("format") != MANIFEST_FORMAT:
            raise ValueError(f"format {table.get('format')}, expected {MANIFEST_FORMAT}")
        if table.pop("seal", None) != _seal(table):
            raise ValueError("its content is not what was written")
        manifest = record(Manifest, table)
        if manifest.files.keys() != {"train.parquet", "test.parquet"} or manifest.rows.keys() != manifest.files.keys():
            raise ValueError(f"it lists {', '.join(manifest.files)}")
        return manifest
    except OSError as error:
        raise DataProblem(f"no manifest: {error.strerror}", where=str(path), remedy=remedy) from None
    except ValueError as error:
        raise DataProblem(f"damaged manifest: {first_line(error)}", where=str(path), remedy=remedy) from None


def open_prepared(entry: Path) -> Prepared:
    """Open a cache entry; every file is hashed before anything is believed.

    Args:
        entry: The entry's directory.

    Returns:
        Handles to the splits, and what the files say about themselves.

    Raises:
        DataProblem: The entry is missing, incomplete or damaged; the message names the file.
    """
    manifest = read_manifest(entry)
    if manifest.key != entry.name:
        raise DataProblem(
            f"the entry is of key {manifest.key}", where=str(entry), remedy="remove the directory; it was renamed"
        )
    for name, expected in manifest.files.items():
        try:
            found = sha256_of(entry / name)
        except OSError as error:
            raise DataProblem(
                f"cannot read: {error.strerror}", where=str(entry / name), remedy="run `bpfunc data prepare` again"
            ) from None
        if found != expected:
            raise DataProblem(
                f"expected SHA-256 {expected}, found {found}",
                where=str(entry / name),
                remedy="run `bpfunc data prepare` again",
            )
    meta = read_meta(entry / "train.parquet")
    train, test = (
        (entry / name, manifest.files[name], manifest.rows[name], len(meta.class_names))
        for name in ("train.parquet", "test.parquet")
    )
    return Prepared(manifest.key, entry, PreparedTrain(*train), SealedTest(*test), meta)


def damage(entry: Path) -> str | None:
    """Check a cache entry.

    Args:
        entry: Its directory.

    Returns:
        What is wrong with it, or None.
    """
    try:
        open_prepared(entry)
    except DataProblem as problem:
        return f"{Path(problem.where).name}: {problem.what}"
    return None


def read_meta(path: Path) -> PreparedMeta:
    """Read what a file of an entry says about itself.

    Args:
        path: ``train.parquet`` or ``test.parquet``.

    Returns:
        Class names, scaling, and where the rows came from.

    Raises:
        DataProblem: It does not say, or cannot be read.
    """
    try:
        with open_file(path) as file:
            metadata = open_parquet(file).schema_arrow.metadata
    except (pa.ArrowException, OSError) as error:
        text = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
        raise _damaged_metadata(path, text) from None
    return parse_meta(metadata, path)


def parse_meta(metadata: Mapping[bytes, bytes] | None, path: Path) -> PreparedMeta:
    """Parse what a file of an entry says about itself.

    Args:
        metadata: Metadata of the file's schema.
        path: The file, for messages.

    Returns:
        Class names, scaling, and where the rows came from.

    Raises:
        DataProblem: It does not say.
    """
    try:
        about = cast("dict[str, Any]", parse_json((metadata or {})[b"bpfunc"]))
        names, numbers = tuple(about["class_names"]), tuple(about["class_numbers"])
        if not all(type(name) is str for name in names) or not all(type(number) is int for number in numbers):
            raise ValueError("classes are a name and a whole number each")
        return PreparedMeta(
            names,
            numbers,
            _scaling(about["scaling"]),
            {str(role): str(digest) for role, digest in about["source_sha256"].items()},
            {name: str(version) for name, version in about["reasons"]["stages"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise _damaged_metadata(path, first_line(error)) from None


def _damaged_metadata(path: Path, text: str) -> DataProblem:
    return DataProblem(f"damaged metadata: {text}", where=str(path), remedy="run `bpfunc data prepare` again")


def _scaling(values: Mapping[str, Any]) -> Scaling:
    kind, mean, scale = values["kind"], *(np.array(values[name], np.float64) for name in ("mean", "scale"))
    if kind not in get_args(ScalingName) or mean.shape != (PIXELS,) or scale.shape != (PIXELS,):
        raise ValueError("the scaling is not one mean and one deviation for each pixel")
    if not (np.isfinite(mean).all() and np.isfinite(scale).all() and (scale > 0).all()):
        raise ValueError("the scaling cannot be divided by")
    return Scaling(kind, mean, scale)
