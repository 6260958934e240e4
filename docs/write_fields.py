"""Write ``docs/fields.md`` from the declarations of the fields."""

from __future__ import annotations

from pathlib import Path

from pipelines.spec.fields import spec_fields
from pipelines.spec.text import fields_page

if __name__ == "__main__":
    Path(__file__).with_name("fields.md").write_text(fields_page(spec_fields()), encoding="utf-8")
