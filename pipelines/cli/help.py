"""How ``--help`` looks: commands in groups, and examples at the end, without a library that is slow to import."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import typer
from typer.core import TyperGroup

from pipelines.cli.slips import check_words

if TYPE_CHECKING:
    from typer._click import Command, Context, HelpFormatter

OTHERS = "More"
"""Heading of the commands that no group names."""
_SENTENCE = 400
"""Letters of the longest first sentence: it is wrapped, not cut."""


class Commands(TyperGroup):
    """Commands whose help ends with examples: what a docstring says below ``Example:``."""

    groups: ClassVar[Mapping[str, Sequence[str]]] = {}
    """Heading -> names of commands, in the order to show."""

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """Find a command, and move its examples from its help to the end of it."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            words, examples = split_examples(command.help or "")
            if examples:
                command.help, command.epilog = words, epilog(examples)
        return command

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        """Find the command that words name, and refuse among its own what the parser would misread."""
        name, command, words = super().resolve_command(ctx, args)
        if command is not None and not ctx.resilient_parsing:
            check_words(command, command.context_class(command, info_name=name, parent=ctx), words)
        return name, command, words

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """List the commands below the headings of their groups."""
        shown = {
            name: command
            for name in self.list_commands(ctx)
            if (command := self.get_command(ctx, name)) is not None and not command.hidden
        }
        width = max(map(len, shown), default=0)
        for heading, names in grouped(list(shown), self.groups).items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), shown[name].get_short_help_str(_SENTENCE)) for name in names])


def grouped(names: Sequence[str], groups: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Sort names into groups; what no group names comes last, so that nothing is ever left out.

    Args:
        names: Names of commands.
        groups: Heading -> names, some of which may not be there.

    Returns:
        Heading -> names, without empty groups; one heading ``Commands`` where there are no groups.

    Example:
        >>> grouped(["run", "new", "data"], {"Prepare": ["data"], "Train": ["run", "train"]})
        {'Prepare': ['data'], 'Train': ['run'], 'More': ['new']}
    """
    if not groups:
        return {"Commands": list(names)}
    sorted_in = {heading: [name for name in members if name in names] for heading, members in groups.items()}
    known = {name for members in sorted_in.values() for name in members}
    sorted_in[OTHERS] = [name for name in names if name not in known]
    return {heading: members for heading, members in sorted_in.items() if members}


def split_examples(text: str) -> tuple[str, list[str]]:
    """Take the examples off a docstring.

    Args:
        text: Text of a command.

    Returns:
        What is before ``Example:``, and the lines below it.

    Example:
        >>> split_examples("Do it.\\n\\nExample:\\n    bpfunc do it\\n    bpfunc do that")
        ('Do it.', ['bpfunc do it', 'bpfunc do that'])
    """
    words, _, below = inspect.cleandoc(text).partition("Example:\n")
    return words.strip(), [line.strip() for line in below.splitlines() if line.strip()]


def epilog(examples: Sequence[str]) -> str:
    """Lay out examples for the end of a help text.

    Args:
        examples: Command lines.

    Returns:
        Text whose lines are kept as they are.

    Example:
        >>> epilog(["bpfunc run"])
        '\\x08\\nExamples:\\n  bpfunc run'
    """
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in examples)])


def group(
    purpose: str, groups: Mapping[str, Sequence[str]] | None = None, *, examples: Sequence[str] = ()
) -> typer.Typer:
    """Make a group of commands.

    Args:
        purpose: What the group is for.
        groups: Heading -> names of its commands; one list where None.
        examples: For the end of the group's own help.

    Returns:
        An application that commands are added to.
    """
    chosen: type[Commands] = type("GroupedCommands", (Commands,), {"groups": groups or {}})
    return typer.Typer(
        cls=chosen,
        help=purpose,
        epilog=epilog(examples) if examples else None,
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
    )
