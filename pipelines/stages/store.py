"""Stage `store`: encoded splits -> a published cache entry, and the only way to open one.

An entry is a directory named by its key: ``train.parquet``, ``test.parquet`` and ``manifest.json``, which holds the
hash of each file and everything that the key was made from. It appears by one rename and is verified on every open.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.artifacts import Encoded, EncodedSplit, Prepared
from pipelines.dataset.entry import MANIFEST, MANIFEST_FORMAT, _seal, damage, open_prepared, prepared_schema
from pipelines.disk.atomic import make_directory, publish_directory
from pipelines.disk.json_text import json_text
from pipelines.disk.parquet import fixed_size_rows

VERSION = 5


ROW_GROUP = 8192


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
    return json_text({**manifest, "seal": _seal(manifest)}, indent=2).encode()


def _file_metadata(encoded: Encoded, reasons: Mapping[str, object]) -> dict[str, str]:
    scaling = encoded.scaling
    about = {
        "class_names": list(encoded.class_names),
        "class_numbers": list(encoded.class_numbers),
        "scaling": {"kind": scaling.kind, "mean": scaling.mean.tolist(), "scale": scaling.scale.tolist()},
        "source_sha256": {file.role: file.sha256 for file in encoded.source.files},
        "reasons": reasons,
    }
    return {"bpfunc": json_text(about, sort_keys=True)}


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
