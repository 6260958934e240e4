"""The data that a result was made from, as hashes: recorded with the result, compared when the result is used again.

What is compared, averaged or resumed must come from the same rows. A run records the hashes of its source files and of
the parts that it streamed; the functions here say in which of them two records differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import cast

import attrs

from pipelines.artifacts import Prepared
from pipelines.dataset.partitions import Partitions, check_partitions, open_partitions
from pipelines.disk.json_text import json_text
from pipelines.disk.untrusted.documents import parse_json
from pipelines.disk.untrusted.values import record
from pipelines.errors import DataProblem, UsageProblem, first_line
from pipelines.spec.run_spec import DatasetSpec

NAMED_PARTS = 2000
"""Most parts that a record lists one by one; of more, the hash of the whole list alone is kept."""
SHOWN = 3
"""Most differing parts that a message names."""
TRAIN_ROLES = ("train_images", "train_labels")
"""Source files of the training and validation rows."""
TEST_ROLES = ("test_images", "test_labels")
"""Source files of the test rows."""


@attrs.frozen
class DataHashes:
    """Hashes of all data that a training and its evaluation read."""

    sources: Mapping[str, str] = attrs.field(factory=dict)
    """Role, such as ``train_images`` -> SHA-256 of the decompressed file; empty where nothing was recorded."""
    partitions: str = ""
    """SHA-256 over names, hashes and row groups of all parts in order; empty where no rows were streamed."""
    parts: Mapping[str, str] = attrs.field(factory=dict)
    """Name of a part -> its SHA-256, shortened to 16 digits; empty above `NAMED_PARTS` parts."""


UNKNOWN = DataHashes()
"""The record of a run that recorded nothing."""


def data_hashes(prepared: Prepared, spec: DatasetSpec, *, read: bool = False) -> DataHashes:
    """Return the hashes of the data that a specification names, as it is now.

    Args:
        prepared: The cache entry of the specification.
        spec: The data of a run.
        read: Whether each part is read and hashed, and not only looked up in the manifest.

    Returns:
        The hashes.

    Raises:
        UsageProblem: The URI of the partitions is not valid.
        DataProblem: The partitions are missing or damaged.
    """
    sources = dict(prepared.meta.source_hashes)
    if not spec.partitions:
        return DataHashes(sources)
    partitions = open_partitions(spec.partitions)
    if read:
        for path, problem in check_partitions(partitions).items():
            if problem is not None:
                raise DataProblem(problem, where=path, remedy="restore this part, or write the partitions again")
    return DataHashes(sources, *_part_hashes(partitions))


def _part_hashes(partitions: Partitions) -> tuple[str, Mapping[str, str]]:
    rows = [[part.path.rpartition("/")[2], part.sha256, part.groups] for part in partitions.parts]
    digest = hashlib.sha256(json_text(rows, compact=True).encode()).hexdigest()
    return digest, {str(name): str(sha)[:16] for name, sha, _ in rows} if len(rows) <= NAMED_PARTS else {}


def differences(
    first: DataHashes,
    second: DataHashes,
    roles: Sequence[str] | None = None,
    *,
    names: tuple[str, str] = ("expected", "found"),
) -> str:
    """Describe in which data two records differ.

    Args:
        first: A record.
        second: Another one.
        roles: The source files to compare; all of them, and the partitions, where None.
        names: The words before the hash of each.

    Returns:
        The differences, joined by semicolons; an empty text where there are none.

    Example:
        >>> differences(DataHashes({"train_images": "c59f" * 16}), DataHashes({"train_images": "0011" * 16}))
        'train images: expected SHA-256 c59fc59fc59f, found 001100110011'
    """
    files = sorted({*first.sources, *second.sources}) if roles is None else roles
    pairs = {role.replace("_", " "): (first.sources.get(role, ""), second.sources.get(role, "")) for role in files}
    parts = [] if roles is not None else _part_differences(first, second)
    if roles is None and not parts:  # too many to be named, in another order, or streamed by one of the two
        pairs["partitions"] = (first.partitions, second.partitions)
    texts = [
        f"{what}: {names[0]} SHA-256 {one[:12] or 'none'}, {names[1]} {other[:12] or 'none'}"
        for what, (one, other) in pairs.items()
        if one != other
    ]
    return "; ".join([*texts, *parts])


def _part_differences(first: DataHashes, second: DataHashes) -> list[str]:
    """Name the parts that differ, where both records name all of theirs."""
    before, after = first.parts, second.parts
    if not before or not after:
        return []
    changed = [
        *(f"{name} was rewritten" for name, sha in before.items() if name in after and after[name] != sha),
        *(f"{name} is missing" for name in before if name not in after),
        *(f"{name} was added" for name in after if name not in before),
    ]
    rest = len(changed) - SHOWN
    return [*changed[:SHOWN], *([f"and {rest} more parts differ"] if rest > 0 else [])]


def require_recorded(recorded: DataHashes, found: DataHashes, what: str, *, where: str) -> None:
    """Refuse to go on with data that differ from those recorded.

    Args:
        recorded: The record of the result that is used again; one without sources, of an earlier version, fits all.
        found: The hashes of the data as they are now.
        what: The result and the refusal, the beginning of the message.
        where: The file or directory of the result.

    Raises:
        DataProblem: They differ.
    """
    texts = differences(recorded, found) if recorded.sources else ""
    if texts:
        raise DataProblem(
            f"{what}: {texts}",
            where=where,
            remedy="name the --source that the run began with and restore its partitions, or begin a new run",
        )


def require_same(
    records: Mapping[str, DataHashes],
    what: str,
    *,
    roles: Sequence[str] | None = None,
    where: str | None = None,
    remedy: str,
) -> None:
    """Refuse to compare or average results of different data.

    Args:
        records: Name of each result -> its record.
        what: The refusal, the beginning of the message.
        roles: The source files to compare; all of them, and the partitions, where None.
        where: The directory of both; the two names where None.
        remedy: What to do.

    Raises:
        UsageProblem: Two differ; the message names both and the short hashes of their data.

    Example:
        >>> record = DataHashes({"test_images": "c5"})
        >>> require_same({"a": record, "b": record}, "other rows", remedy="compare runs of the same rows")
    """
    names = list(records)
    for name in names[1:]:
        texts = differences(records[names[0]], records[name], roles, names=(f"{names[0]} has", f"{name} has"))
        if texts:
            raise UsageProblem(f"{what}: {texts}", where=where or f"{names[0]} and {name}", remedy=remedy)


def to_text(hashes: DataHashes) -> str:
    """Write a record as text, for the header of a file.

    Args:
        hashes: Any record.

    Returns:
        JSON on one line.

    Example:
        >>> from_text(to_text(DataHashes({"train_images": "c5"}))).sources
        {'train_images': 'c5'}
    """
    return json_text(attrs.asdict(hashes), compact=True)


def from_text(text: str | None) -> DataHashes:
    """Read a record back.

    Args:
        text: From `to_text`; None for a file of an earlier version, which has none.

    Returns:
        The record.

    Raises:
        ValueError: The text is not a record.
    """
    if text is None:
        return UNKNOWN
    try:
        table = parse_json(text)
        found = record(DataHashes, table)
        if missing := attrs.fields_dict(DataHashes).keys() - cast("dict[str, object]", table).keys():
            raise ValueError(f"{min(missing)} is missing")
        return found
    except ValueError as error:
        raise ValueError(f"the hashes of the data are damaged: {first_line(error)}") from None


def lineage_table(hashes: DataHashes) -> dict[str, object]:
    """Turn a record into plain values, as they stand in ``metrics.json``; parts are not listed there.

    Args:
        hashes: Any record.

    Returns:
        ``source_sha256``, and ``partitions_sha256`` where rows were streamed.

    Example:
        >>> lineage_hashes(lineage_table(DataHashes({"train_images": "c5"}, "a0"))).partitions
        'a0'
    """
    streamed = {"partitions_sha256": hashes.partitions} if hashes.partitions else {}
    return {"source_sha256": dict(hashes.sources), **streamed}


def lineage_hashes(lineage: object) -> DataHashes:
    """Read a record from the lineage in ``metrics.json``.

    Args:
        lineage: The object there.

    Returns:
        Sources and partitions; `UNKNOWN` where the object names none.
    """
    table = lineage if isinstance(lineage, Mapping) else {}
    sources = table.get("source_sha256")
    if not isinstance(sources, Mapping):
        return UNKNOWN
    texts = {str(name): str(text) for name, text in sources.items()}
    return DataHashes(texts, str(table.get("partitions_sha256", "")))
