"""Write ``docs/commands.md`` from the commands: what ``--help`` shows of every one of them, on one page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pipelines.cli.help import grouped, split_examples
from pipelines.cli.main import GROUPS, app
from pipelines.cli.options import DEFAULT_CACHE

if TYPE_CHECKING:
    from typer._click import Command, Context

PAGE = Path(__file__).with_name("commands.md")
INTRO = """\
# Commands

Every command with its arguments and options, as `--help` shows them. This page is made from the commands:
`python docs/write_commands.py`. [The pipeline](pipeline.md) says how they work together, and
[fields](fields.md) lists what `--set` takes.

Exit codes: 0 done, 1 the work failed, 2 wrong usage, 3 the data is missing, corrupt or not what was pinned,
130 interrupted. RUN is a path, a run's name, a unique beginning of one, or `latest`. With `--json`, standard output
holds one JSON document; progress and messages go to standard error.
"""


def commands(command: Command, context: Context) -> Iterator[tuple[Command, Context]]:
    """Yield the commands of a group that are not hidden, each with its context; a group yields its own."""
    for name in command.list_commands(context):  # type: ignore[attr-defined]
        one = command.get_command(context, name)  # type: ignore[attr-defined]
        inside = type(context)(one, parent=context, info_name=name)
        if hasattr(one, "list_commands"):
            yield from commands(one, inside)
        elif not one.hidden:
            yield one, inside


def section(command: Command, context: Context) -> list[str]:
    """Lay out one command."""
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)]).replace("{", "").replace("}", "")
    words = first_words(command)
    more = [" ".join(part.split()) for part in (command.help or "").split("\n\n")[1:]]
    lines = [f"### `{context.command_path}`", "", words, "", f"    {usage}", ""]
    for part in more:
        lines += [part, ""]
    lines += ["| Argument or option | What it is |", "|---|---|"]
    records = [record for one in command.get_params(context) if (record := one.get_help_record(context))]
    lines += [f"| `{cell(names)}` | {cell(about)} |" for names, about in records]
    examples = split_examples(f"x\n\n{(command.epilog or '').replace(chr(8), '').replace('Examples:', 'Example:')}")[1]
    return [*lines, "", *(["Examples:", "", *(f"    {line}" for line in examples), ""] if examples else [])]


def first_words(command: Command) -> str:
    """Return the first paragraph of a command's help."""
    return " ".join((command.help or "").split("\n\n")[0].split())


def cell(text: str) -> str:
    """Escape text for a cell of a table; the place of the cache is that of a clone."""
    here = re.sub(r" <[^<>|]*>$", "", text.replace(str(DEFAULT_CACHE), "data/cache"))
    return " ".join(here.replace("|", "\\|").split())


def page() -> str:
    """Write the page."""
    root = typer.main.get_command(app)
    context = typer.Context(root, info_name="bpfunc", **root.context_settings)
    found = {inside.command_path.removeprefix("bpfunc "): (one, inside) for one, inside in commands(root, context)}
    lines = [INTRO, "| Command | What it does |", "|---|---|"]
    lines += [f"| `bpfunc {path}` | {first_words(one)} |" for path, (one, _) in found.items()]
    lines += ["", "## The command itself", "", *section(root, context)]
    for heading, names in grouped(list(dict.fromkeys(path.split()[0] for path in found)), GROUPS).items():
        lines += [f"## {heading}", ""]
        for name in names:
            for path, (one, inside) in found.items():
                if path.split()[0] == name:
                    lines += section(one, inside)
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
