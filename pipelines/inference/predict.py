"""From images to answers: what a run's network predicts for images without labels."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bpfunc.arrays.types import FloatArray, IntArray, readonly_arrays
from pipelines.disk.json_text import json_value
from pipelines.disk.ownership import check_output, write_output
from pipelines.disk.parquet import fixed_size_rows
from pipelines.errors import UsageProblem
from pipelines.inference.inputs import Conversion, Images
from pipelines.runs.network import Network, probabilities


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class Answers:
    """What a network says of N images, by columns."""

    files: tuple[str, ...]
    """N names of files."""
    rows: NDArray[np.uint32]
    """(N,) row in the file; 0 for a picture."""
    conversions: tuple[Conversion, ...]
    """What was done to each image."""
    probabilities: FloatArray
    """(N, K) float32, rows sum to 1."""
    class_names: tuple[str, ...]
    """K names."""

    @property
    def labels(self) -> IntArray:
        """(N,) the most probable class; the first of several."""
        return np.asarray(self.probabilities.argmax(axis=1))


def predict(network: Network, batches: Iterable[Images]) -> Answers:
    """Ask a network about images, a batch at a time; only the answers stay in memory.

    Args:
        network: From `pipelines.runs.network.read_network`.
        batches: From `pipelines.inference.inputs.read_images`.

    Returns:
        An answer for each image, in order. They are the network's own: a temperature is not applied.

    Example:
        See ``docs/predict.md``.
    """
    files: list[str] = []
    conversions: list[Conversion] = []
    rows, found = [np.zeros(0, np.uint32)], [np.zeros((0, len(network.class_names)), np.float32)]
    for batch in batches:
        count = len(batch.pixels)
        files += [batch.file] * count
        conversions += [batch.conversion] * count
        rows.append(np.arange(batch.first, batch.first + count, dtype=np.uint32))
        found.append(probabilities(network, batch.pixels).astype(np.float32, copy=False))
    return Answers(tuple(files), np.concatenate(rows), tuple(conversions), np.concatenate(found), network.class_names)


def answers_table(answers: Answers) -> pa.Table:
    """Lay answers out as an Arrow table.

    Args:
        answers: From `predict`.

    Returns:
        ``file``, ``row``, ``label`` (index of the class), ``class``, ``probabilities`` (in the order of the metadata's
        ``class_names``) and ``conversion``; no nulls.
    """
    number = pa.field("item", pa.float32(), nullable=False)
    kinds = {
        "file": pa.string(),
        "row": pa.uint32(),
        "label": pa.uint8(),
        "class": pa.string(),
        "probabilities": pa.list_(number, len(answers.class_names)),
        "conversion": pa.string(),
    }
    columns = [
        # Bytes of a name that are not UTF-8 are shown by their numbers.
        pa.array([name.encode("utf-8", "backslashreplace").decode() for name in answers.files], pa.string()),
        pa.array(answers.rows),
        pa.array(answers.labels, pa.uint8()),
        pa.array([answers.class_names[label] for label in answers.labels], pa.string()),
        fixed_size_rows(answers.probabilities, pa.float32()),
        pa.array(answers.conversions, pa.string()),
    ]
    schema = pa.schema([pa.field(name, kind, nullable=False) for name, kind in kinds.items()])
    return pa.table(columns, schema=schema.with_metadata({"class_names": "\n".join(answers.class_names)}))


OTHER_FORMATS = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".xlsx", ".html", ".feather", ".arrow", ".npy", ".npz")
"""Endings of files that would not hold what they say."""


def check_answers_file(path: Path, *, reads: Iterable[Path]) -> None:
    """Refuse a file for answers before the network is asked for any.

    Args:
        path: Where the answers shall go.
        reads: Files and directories that are read.

    Raises:
        UsageProblem: The file's name promises another format than Parquet, or it is one that must not be written.
        WorkFailed: Its directory does not exist.
    """
    if path.suffix.lower() in OTHER_FORMATS:
        remedy = f"name it {path.with_suffix('.parquet').name}; `--json` prints the answers as text"
        raise UsageProblem("the answers are written as Parquet", where=str(path), remedy=remedy)
    check_output(path, reads=reads)


def write_answers(path: Path, answers: Answers) -> None:
    """Write answers as Parquet.

    Args:
        path: Where to.
        answers: From `predict`.

    Raises:
        UsageProblem: The file is one of those that were answered, or is not to be written, see
            `pipelines.disk.ownership.check_output`.
        WorkFailed: The file cannot be written.
    """
    sink = io.BytesIO()
    pq.write_table(answers_table(answers), sink, compression="zstd", write_page_checksum=True)
    write_output(path, sink.getvalue(), reads=[Path(name) for name in {*answers.files}])


def answers_document(answers: Answers) -> list[dict[str, object]]:
    """Put answers into the form of JSON.

    Args:
        answers: From `predict`.

    Returns:
        An object for each image; a probability that is NaN is None.
    """
    return [
        {
            "file": file,
            "row": int(row),
            "label": int(label),
            "class": answers.class_names[label],
            "probability": json_value(values[label]),
            "probabilities": {name: json_value(value) for name, value in zip(answers.class_names, values, strict=True)},
            "conversion": conversion,
        }
        for file, row, label, values, conversion in zip(
            answers.files,
            answers.rows,
            answers.labels,
            answers.probabilities.tolist(),
            answers.conversions,
            strict=True,
        )
    ]
