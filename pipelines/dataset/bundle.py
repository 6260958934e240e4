"""The embedded default: the rows of three classes of the official files, as uint8 Parquet."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.artifacts import PIXELS, Decoded, RawSplit
from pipelines.dataset.pins import BundleFile, official_sources
from pipelines.disk.atomic import make_directory, write_bytes
from pipelines.disk.parquet import fixed_size_rows, read_columns
from pipelines.errors import DataProblem

BUNDLE_SCHEMA = pa.schema(
    [
        pa.field("image", pa.list_(pa.field("item", pa.uint8(), nullable=False), PIXELS), nullable=False),
        pa.field("label", pa.uint8(), nullable=False),
        pa.field("source_index", pa.uint32(), nullable=False),
    ]
)


def bundle_bytes(split: RawSplit, classes: tuple[int, ...], source_hashes: Mapping[str, str]) -> bytes:
    """Write the rows of some classes as Parquet.

    Args:
        split: All rows of one split.
        classes: Numbers of the classes to keep.
        source_hashes: Role -> SHA-256, for the file's metadata.

    Returns:
        The file's bytes, the same for the same rows and version of pyarrow.
    """
    rows = np.flatnonzero(np.isin(split.labels, classes))
    columns = [
        fixed_size_rows(split.images[rows], pa.uint8()),
        pa.array(split.labels[rows]),
        pa.array(split.source_index[rows]),
    ]
    metadata = {"classes": ",".join(map(str, classes)), **{f"sha256.{k}": v for k, v in source_hashes.items()}}
    table = pa.table(columns, schema=BUNDLE_SCHEMA.with_metadata(metadata))
    sink = io.BytesIO()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=19,
        use_dictionary=False,
        write_page_checksum=True,
        write_statistics=False,
    )
    return sink.getvalue()


def write_bundle(decoded: Decoded, directory: Path) -> Mapping[str, str]:
    """Make the bundle from the official files.

    Args:
        decoded: Both splits of the official data.
        directory: Where ``train.parquet`` and ``test.parquet`` go.

    Returns:
        File name -> SHA-256, to be pinned in ``data/sources.toml``.

    Raises:
        DataProblem: The source is not the official data.
        WorkFailed: The files cannot be written.
    """
    if not decoded.source.pinned or decoded.source.origin == "bundle":
        raise DataProblem(
            "the bundle is made from the official IDX files only",
            where=str(decoded.source.location),
            remedy="name a --source DIR that holds them",
        )
    classes = official_sources().bundle_classes
    hashes = {file.role: file.sha256 for file in decoded.source.files}
    make_directory(directory)
    return {
        name: write_bytes(directory / name, bundle_bytes(split, classes, hashes))
        for name, split in (("train.parquet", decoded.train), ("test.parquet", decoded.test))
    }


def read_bundle_split(file: BundleFile) -> RawSplit:
    """Read one split of the bundle.

    Args:
        file: Path, pinned hash and row count.

    Returns:
        Its rows.

    Raises:
        DataProblem: It is not what was pinned.
    """
    columns = read_columns(file.path, file.sha256, BUNDLE_SCHEMA, rows=file.rows)
    return RawSplit(columns["image"], columns["label"], columns["source_index"])
