"""The fields of a specification as text and as a page of the documentation."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipelines.disk.untrusted.printable import Printable, in_lines
from pipelines.spec.toml import toml_value

if TYPE_CHECKING:
    from pipelines.spec.fields import Field


def _type_in_words(field: Field) -> str:
    words = f"{field.kind} {', '.join(field.choices)}" if field.choices else field.kind
    return f"{words}, {field.range}" if field.range else words


def field_lines(fields: Sequence[Field], *, width: int) -> Printable:
    """Lay out fields for a terminal.

    Args:
        fields: From `pipelines.spec.fields.spec_fields`.
        width: Letters in a line.

    Returns:
        For each field a line with its default, and its type and meaning below, indented.
    """
    lines = []
    for field in fields:
        lines.append(f"{field.name} = {toml_value(field.default)}")
        text = f"{_type_in_words(field)}. {field.meaning}"
        lines += textwrap.wrap(text, max(width, 40), initial_indent="    ", subsequent_indent="    ")
    return in_lines(lines)


def fields_page(fields: Sequence[Field]) -> str:
    """Write the page ``docs/fields.md``.

    Args:
        fields: From `pipelines.spec.fields.spec_fields`.

    Returns:
        Markdown: a table with a row for each field.
    """
    rows = [
        f"| `{field.name}` | {_type_in_words(field)} | `{toml_value(field.default)}` | {field.meaning} |"
        for field in fields
    ]
    head = [
        "# Fields of a configuration",
        "",
        "Each may stand in a TOML file (`--config`) or on the command line (`--set FIELD=VALUE`). This page is made",
        "from the declarations: `python docs/write_fields.py`; `bpfunc config fields` lists them.",
        "",
        "| Field | Type and range | Default | Meaning |",
        "| --- | --- | --- | --- |",
    ]
    return "\n".join([*head, *rows]) + "\n"
