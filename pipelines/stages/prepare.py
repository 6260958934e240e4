"""The stages in order, what makes a cache key, and the decision whether an entry may be used.

acquire -> decode -> select -> encode -> store -> train -> examine -> evaluate -> report

The wiring is plain calls: `prepare` is the first five, and `pipelines.runs.run` adds the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

from pipelines.artifacts import Acquired, Prepared
from pipelines.dataset.cache_key import Decision, Hit, cache_key, decide
from pipelines.dataset.classes import class_names, class_numbers
from pipelines.dataset.entry import damage, entry_paths, intact_entries, open_prepared, prepared_schema
from pipelines.dataset.pins import official_sources
from pipelines.disk.atomic import remove_leftovers
from pipelines.disk.ownership import ENTRY_FILES
from pipelines.errors import DataProblem
from pipelines.spec.run_spec import DatasetSpec
from pipelines.stages.acquire import VERSION as ACQUIRE, acquire, check_bundle_file
from pipelines.stages.decode import VERSION as DECODE, decode
from pipelines.stages.encode import VERSION as ENCODE, encode
from pipelines.stages.select import VERSION as SELECT, select
from pipelines.stages.store import VERSION as STORE, store

CACHED_STAGES = {"acquire": ACQUIRE, "decode": DECODE, "select": SELECT, "encode": ENCODE, "store": STORE}
"""Name -> version of the stages whose result is cached; a stage that computes something else gets a new VERSION, which
changes every key."""


def key_reasons(spec: DatasetSpec, source: Acquired) -> dict[str, object]:
    """List everything that a prepared data set depends on.

    Args:
        spec: Classes and scaling.
        source: Content hashes of the source.

    Returns:
        A JSON object: stage versions, the choices, source hashes, schema. No paths, no times.

    Raises:
        UsageProblem: A class is unknown.
    """
    numbers = class_numbers(spec.classes, pinned=spec.pinned)
    return {
        "stages": dict(CACHED_STAGES),
        "class_numbers": list(numbers),
        "class_names": list(class_names(numbers, pinned=spec.pinned)),
        "scaling": spec.scaling,
        "scaling_offset": spec.scaling_offset,
        "source_sha256": {file.role: file.sha256 for file in source.files},
        "schema": str(prepared_schema(len(numbers))),
    }


@attrs.frozen(eq=False)
class Plan:
    """What `prepare` would do, and why."""

    source: Acquired
    key: str
    reasons: Mapping[str, object]
    entry: Path
    decision: Decision


def plan(spec: DatasetSpec, *, source: Path | None, cache: Path, raw: Path) -> Plan:
    """Compare source and cache, and decide; write nothing.

    Args:
        spec: Which data.
        source: A directory of IDX files, or None to find one.
        cache: The cache directory.
        raw: Directory of downloads.

    Returns:
        The decision with its reasons.

    Raises:
        UsageProblem: A class is unknown.
        DataProblem: There is no source, or it is not what was pinned.
    """
    acquired = acquire(spec, source=source, raw=raw)
    reasons = key_reasons(spec, acquired)
    key = cache_key(reasons)
    entry = cache / key
    problem = damage(entry) if entry.exists() else None
    decision = decide(key, reasons, str(acquired.location), problem, intact_entries(cache))
    return Plan(acquired, key, reasons, entry, decision)


def prepare(spec: DatasetSpec, *, source: Path | None, cache: Path, raw: Path) -> tuple[Prepared, Decision]:
    """Write prepared data to the cache, or find it there; leftovers of killed writers are removed.

    Several processes may prepare the same entry at once: each does the work, one publishes it, all open that one.

    Args:
        spec: Which data.
        source: A directory of IDX files, or None to find one.
        cache: The cache directory.
        raw: Directory of downloads.

    Returns:
        The verified entry, and what was decided.

    Raises:
        UsageProblem: A class is unknown.
        DataProblem: There is no source, or it is not what was pinned.
        WorkFailed: The cache cannot be written to.
    """
    remove_leftovers(cache, ENTRY_FILES)
    found = plan(spec, source=source, cache=cache, raw=raw)
    if isinstance(found.decision, Hit):
        return open_prepared(found.entry), found.decision
    decoded = decode(found.source)
    selected = select(decoded, spec)
    encoded = encode(selected, spec)
    return store(encoded, cache, found.key, found.reasons), found.decision


def verify(cache: Path) -> dict[str, str | None]:
    """Hash everything again: the embedded bundle, and every entry of the cache.

    Args:
        cache: The cache directory; may be missing.

    Returns:
        Path -> what is wrong with it, or None.
    """
    known = official_sources()
    findings: dict[str, str | None] = {}
    for file in (known.bundle_train, known.bundle_test):
        try:
            check_bundle_file(file)
            findings[str(file.path)] = None
        except DataProblem as problem:
            findings[str(file.path)] = problem.what
    return findings | {str(entry): damage(entry) for entry in entry_paths(cache)}
