"""The fields of a configuration come from their declarations, and so do list, page and messages."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest

from pipelines.cli.completion import complete_field
from pipelines.errors import UsageProblem
from pipelines.spec.fields import Field, spec_fields
from pipelines.spec.run_spec import RunSpec
from pipelines.spec.settings import field_names, settings_table
from pipelines.spec.text import fields_page
from pipelines.spec.toml import merged
from tests.conftest import ROOT

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


def test_every_field_is_described() -> None:
    """No field is without a meaning; completion offers exactly these."""
    assert tuple(field.name for field in spec_fields()) == field_names(RunSpec())
    assert [field.name for field in spec_fields() if not field.meaning.endswith(".")] == []
    assert complete_field("") == [f"{field.name}=" for field in spec_fields()]


@pytest.mark.parametrize("field", [field for field in spec_fields() if field.range], ids=lambda field: field.name)
def test_the_range_is_the_one_that_is_checked(field: Field) -> None:
    """A value outside is refused by a message that has the range as it is listed."""
    with pytest.raises(UsageProblem) as caught:
        merged(RunSpec(), settings_table([f"{field.name}=-1"]), where="test")
    assert f"{field.range}, found -1" in caught.value.what


@pytest.mark.parametrize("field", [field for field in spec_fields() if field.choices], ids=lambda field: field.name)
def test_the_choices_are_those_that_are_taken(field: Field) -> None:
    """Another text is refused, and the message names every choice."""
    with pytest.raises(UsageProblem) as caught:
        merged(RunSpec(), settings_table([f"{field.name}=nothing"]), where="test")
    assert all(repr(choice) in caught.value.what for choice in field.choices)


def test_command_and_page(cli: Cli) -> None:
    """Text, JSON and the page of the documentation have every field."""
    document = json.loads(cli("config", "fields", "--json").stdout)
    assert [one["name"] for one in document] == list(field_names(RunSpec()))
    text = cli("config", "fields").stdout
    assert "train.epochs = 40\n    whole number, at least 1. Passes over the training rows.\n" in text
    assert (ROOT / "docs" / "fields.md").read_text() == fields_page(spec_fields()), "python docs/write_fields.py"
