"""The page of the commands has every command with every option, and is what its command writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from pipelines.cli.main import app
from tests.test_docs_reference import command

PAGE = Path(__file__).parents[1] / "docs" / "commands.md"


def options(group: Any, path: str) -> Iterator[tuple[str, str]]:
    """(command, option or argument) of every command below a group."""
    context = typer.Context(group, info_name=path)
    for name in group.list_commands(context):
        one = group.get_command(context, name)
        if hasattr(one, "list_commands"):
            yield from options(one, f"{path} {name}")
        elif not one.hidden:
            for parameter in one.params:
                word = parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.metavar
                yield f"{path} {name}", word


def missing(page: str) -> set[tuple[str, str]]:
    """(command, option or argument) that is not in the command's section of the page."""
    sections = {part.partition("`\n")[0]: part for part in page.split("\n### `")[1:]}
    return {
        (path, word)
        for path, word in options(typer.main.get_command(app), "bpfunc")
        if not any(
            word in row.split("` |")[0].replace(",", " ").replace("`", " ").split()
            for row in sections.get(path, "").splitlines()
            if row.startswith("| `")
        )
    }


def test_every_command_has_every_option() -> None:
    """Found in the commands themselves; and an option or a command that is left out is seen."""
    page = PAGE.read_text(encoding="utf-8")
    assert missing(page) == set()
    assert ("bpfunc run", "--seed") in missing(page.replace("| `--seed N`", "| `--seeds N`"))
    assert {path for path, _ in missing(page.replace("### `bpfunc doctor`", "###"))} == {"bpfunc doctor"}


def test_the_page_is_current() -> None:
    """It is what `python docs/write_commands.py` writes."""
    assert PAGE.read_text(encoding="utf-8") == command("write_commands").page(), "python docs/write_commands.py"
