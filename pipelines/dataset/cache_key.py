"""The name of a cache entry, and the pure decision whether one can be used: hit, miss, or stale with its reason."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import attrs

from pipelines.dataset.entry import Manifest
from pipelines.disk.json_text import json_text


def cache_key(reasons: Mapping[str, object]) -> str:
    """Name an entry by its reasons: SHA-256 over their canonical JSON.

    Args:
        reasons: From `key_reasons`; whatever JSON cannot hold raises.

    Returns:
        64 hex digits.

    Raises:
        TypeError: A reason is not a plain value.
        ValueError: A reason is NaN or infinite.

    Example:
        >>> cache_key({"b": 1, "a": 2}) == cache_key({"a": 2, "b": 1})
        True
    """
    return hashlib.sha256(json_text(reasons, sort_keys=True, compact=True).encode()).hexdigest()


@attrs.frozen
class Hit:
    """The entry is there and every hash agrees."""


@attrs.frozen
class Miss:
    """There is no such entry, nor one that it replaces."""


@attrs.frozen
class Stale:
    """There is an entry that may not be used."""

    why: str


Decision: TypeAlias = Hit | Miss | Stale


def decide(
    key: str, reasons: Mapping[str, object], location: str, problem: str | None, entries: Sequence[Manifest]
) -> Decision:
    """Decide, purely, whether an entry may be used.

    Args:
        key: The entry's name.
        reasons: What the key is made from.
        location: Where the source lies now.
        problem: What is wrong with the entry of that key, if it exists and is damaged.
        entries: Manifests of all intact entries.

    Returns:
        `Hit`, `Miss`, or `Stale` with its reason: damage, another version of a stage, or a source in the same place
        whose bytes have changed.

    Example:
        >>> decide("k", {}, "here", None, [])
        Miss()
    """
    if problem is not None:
        return Stale(problem)
    if any(entry.key == key for entry in entries):
        return Hit()
    for entry in entries:
        changed = [name for name in reasons if reasons[name] != entry.reasons.get(name)]
        if changed == ["stages"]:
            return Stale(
                f"entry {entry.key[:12]}: {_differences('stage', 'version', entry.reasons, reasons, 'stages')}"
            )
        if changed == ["source_sha256"] and entry.location == location:
            what = _differences("the source", "SHA-256", entry.reasons, reasons, "source_sha256")
            return Stale(f"entry {entry.key[:12]}: {what}")
    return Miss()


def _differences(noun: str, unit: str, old: Mapping[str, object], new: Mapping[str, object], name: str) -> str:
    before, after = old[name], new[name]
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    changes = [
        f"{noun} {part} changed, {unit} {str(before.get(part))[:12]} -> {str(after[part])[:12]}"
        for part in after
        if before.get(part) != after[part]
    ]
    return "; ".join(changes)
