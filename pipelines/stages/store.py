"""Stage `store`: encoded splits -> a published cache entry, and the only way to open one.

An entry is a directory named by its key: ``train.parquet``, ``test.parquet`` and ``manifest.json``, which holds the
hash of each file and everything that the key was made from. It appears by one rename and is verified on every open.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.artifacts import (
    PIXELS,
    Encoded,
    EncodedSplit,
    Prepared,
    PreparedMeta,
    PreparedTrain,
    Scaling,
    SealedTest,
)
from pipelines.errors import DataProblem, first_line
from pipelines.files import make_directory, publish_directory, sha256_of
from pipelines.tables import fixed_size_rows, read_columns

VERSION = 5
ROW_GROUP = 8192
MANIFEST = "manifest.json"
MANIFEST_FORMAT = 2
MANIFEST_LIMIT = 1_000_000
"""Largest manifest that is read, in bytes."""


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
    """What an entry says about itself."""

    key: str
    reasons: Mapping[str, object]
    """What the key was made from."""
    files: Mapping[str, str]
    """File name -> SHA-256."""
    rows: Mapping[str, int]
    """File name -> rows."""
    location: str
    """Where the source lay; for messages, never part of the key."""


def store(encoded: Encoded, cache: Path, key: str, reasons: Mapping[str, object]) -> Prepared:
    """Write a cache entry and open it.

    Args:
        encoded: Both splits.
        cache: The cache directory; made where it does not exist.
        key: The entry's name.
        reasons: What the key was made from, for the manifest and the files' metadata.

    Returns:
        The verified entry.

    Raises:
        WorkFailed: The cache cannot be written to.
        DataProblem: What was written cannot be read back.
    """
    make_directory(cache)
    metadata = _file_metadata(encoded, reasons)
    files = {
        "train.parquet": _parquet_bytes(encoded.train, metadata),
        "test.parquet": _parquet_bytes(encoded.test, metadata),
    }
    manifest = {
        "format": MANIFEST_FORMAT,
        "key": key,
        "reasons": reasons,
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        "rows": {"train.parquet": len(encoded.train.label), "test.parquet": len(encoded.test.label)},
        "location": str(encoded.source.location),
    }
    publish_directory(cache / key, {**files, MANIFEST: _sealed(manifest)}, keep=lambda entry: damage(entry) is None)
    return open_prepared(cache / key)


def _sealed(manifest: Mapping[str, object]) -> bytes:
    return json.dumps({**manifest, "seal": _seal(manifest)}, indent=2).encode()


def _seal(manifest: Mapping[str, object]) -> str:
    """Hash a manifest, so that it vouches for itself as it does for the files."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _file_metadata(encoded: Encoded, reasons: Mapping[str, object]) -> dict[str, str]:
    scaling = encoded.scaling
    about = {
        "class_names": list(encoded.class_names),
        "class_numbers": list(encoded.class_numbers),
        "scaling": {"kind": scaling.kind, "mean": scaling.mean.tolist(), "scale": scaling.scale.tolist()},
        "source_sha256": {file.role: file.sha256 for file in encoded.source.files},
        "reasons": reasons,
    }
    return {"bpfunc": json.dumps(about, sort_keys=True)}


def _parquet_bytes(split: EncodedSplit, metadata: Mapping[str, str]) -> bytes:
    columns = [
        fixed_size_rows(split.pixels, pa.float32()),
        fixed_size_rows(split.target, pa.float32()),
        pa.array(split.label),
        pa.array(split.source_index),
    ]
    schema = prepared_schema(split.target.shape[1]).with_metadata(dict(metadata))
    sink = io.BytesIO()
    pq.write_table(
        pa.table(columns, schema=schema),
        sink,
        row_group_size=ROW_GROUP,
        compression="none",
        use_dictionary=True,  # pixels of 256 levels: a fifth of the size, and nothing lost where there are more
        write_page_checksum=True,
    )
    return sink.getvalue()


def read_manifest(entry: Path) -> Manifest:
    """Read what an entry says about itself, without checking its files.

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
        if path.stat().st_size > MANIFEST_LIMIT:
            raise ValueError("too large")
        table = json.loads(path.read_bytes())
        if table["format"] != MANIFEST_FORMAT:
            raise ValueError(f"format {table['format']}, expected {MANIFEST_FORMAT}")
        if table.pop("seal") != _seal(table):
            raise ValueError("its content is not what was written")
        files = {str(name): str(digest) for name, digest in table["files"].items()}
        rows = {str(name): int(count) for name, count in table["rows"].items()}
        if files.keys() != {"train.parquet", "test.parquet"} or rows.keys() != files.keys():
            raise ValueError(f"it lists {', '.join(files)}")
        return Manifest(str(table["key"]), dict(table["reasons"]), files, rows, str(table["location"]))
    except OSError as error:
        raise DataProblem(f"no manifest: {error.strerror}", where=str(path), remedy=remedy) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
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
        about = json.loads(pq.read_schema(path).metadata[b"bpfunc"])
        scaling = Scaling(
            about["scaling"]["kind"], np.array(about["scaling"]["mean"]), np.array(about["scaling"]["scale"])
        )
        return PreparedMeta(
            tuple(about["class_names"]),
            tuple(about["class_numbers"]),
            scaling,
            about["source_sha256"],
            {name: str(version) for name, version in about["reasons"]["stages"].items()},
        )
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataProblem(
            f"damaged metadata: {first_line(error)}", where=str(path), remedy="run `bpfunc data prepare` again"
        ) from None


def read_split(handle: PreparedTrain | SealedTest) -> EncodedSplit:
    """Read the rows behind a handle. `train` calls it with its own, `evaluate` with the sealed test split.

    Args:
        handle: From `open_prepared`.

    Returns:
        The rows.

    Raises:
        DataProblem: The file is not what it was when the entry was opened.
    """
    columns = read_columns(handle.path, handle.sha256, prepared_schema(handle.classes), rows=handle.rows)
    return EncodedSplit(columns["pixels"], columns["target"], columns["label"], columns["source_index"])
