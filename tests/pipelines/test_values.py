"""Values of a document are what the program declares, or one message names the value that is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs
import pytest

from pipelines.disk.untrusted.values import checked, record

GOOD: list[tuple[Any, object, object]] = [
    (int, -(2**63), -(2**63)),
    (float, 1, 1.0),
    (float | None, None, None),
    (float | None, 0.5, 0.5),
    (str, "a", "a"),
    (bool, False, False),
    (object, [{}], [{}]),
    (Literal["a", "b"], "b", "b"),
    (tuple[int, ...], [1, 2], (1, 2)),
    (tuple[tuple[int, ...], ...], [[1], []], ((1,), ())),
    (Mapping[str, float], {"a": 1}, {"a": 1.0}),
]
WRONG: list[tuple[Any, list[object], str]] = [
    (int, [1.0, "1", True, None, 2**63, 10**5000], "here"),
    (float, ["1", True, None, 10**400], "here"),
    (float | None, ["1", True, []], "here"),
    (str, [1, None, "\ud800", ["a"]], "here"),
    (bool, [0, 1, "true", None], "here"),
    (Literal["a", "b"], ["c", None, ["a"]], "here"),
    (tuple[int, ...], [{}, "12", None], "here"),
    (tuple[tuple[int, ...], ...], [[[1], [2, 3.0]]], r"here\[1\]\[1\]"),
    (Mapping[str, float], [[], None, "a"], "here"),
    (Mapping[str, float], [{"a": 1, "b": "1"}], r"here\.b"),
]


@pytest.mark.parametrize(("kind", "value", "wanted"), GOOD)
def test_what_is_declared_is_taken(kind: object, value: object, wanted: object) -> None:
    """Whole numbers stand for real ones and lists for tuples; nothing else is converted."""
    found = checked(kind, value, "here")
    assert found == wanted
    assert type(found) is type(wanted)


@pytest.mark.parametrize(("kind", "values", "place"), WRONG)
def test_what_is_not_declared_is_named(kind: object, values: list[object], place: str) -> None:
    """One short message that names the place, what is expected and what is found."""
    for value in values:
        with pytest.raises(ValueError, match=f"^{place}: expected .*, found ") as refused:
            checked(kind, value, "here")
        assert len(str(refused.value)) < 500


@attrs.frozen
class Inner:
    """A record within a record."""

    rows: int
    names: tuple[str, ...] = ()


@attrs.frozen
class Outer:
    """A record."""

    inner: Inner
    share: float = attrs.field(validator=attrs.validators.le(1))


def test_records_are_made_strictly() -> None:
    """Fields of other versions are passed over; a missing, mistaken or impossible one is named with its table."""
    good = {"inner": {"rows": 3, "later": []}, "share": 1}
    assert record(Outer, good) == Outer(Inner(3), 1.0)
    for change, message in (
        ({"inner": {}}, r"^inner\.rows is missing$"),
        ({"inner": []}, r"^inner: expected a table, found \[\]$"),
        ({"inner": {"rows": 3, "names": ["a", 1]}}, r"^inner\.names\[1\]: expected a text, found 1$"),
        ({"share": 2}, "share"),
    ):
        with pytest.raises(ValueError, match=message):
            record(Outer, good | change)
    for document in (None, [], "a", 3):
        with pytest.raises(ValueError, match=r"^the document: expected a table, found "):
            record(Outer, document)
