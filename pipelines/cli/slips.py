"""Slips on the command line: the parser's complaints in the one form of all errors, with the name that was meant."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from typer._click.exceptions import NoSuchOption

from pipelines.spec.settings import meant_field
from pipelines.spec.toml import near_name

if TYPE_CHECKING:
    from typer._click.exceptions import UsageError

OTHER_WORDS = {
    "--layers": "--hidden",
    "--hidden-layers": "--hidden",
    "--hidden-sizes": "--hidden",
    "--units": "--hidden",
    "--data": "--source",
    "--data-dir": "--source",
    "--dataset": "--source",
    "--output": "--out",
    "--output-dir": "--out",
    "--num-epochs": "--epochs",
    "--n-epochs": "--epochs",
    "--max-iter": "--epochs",
    "--iterations": "--epochs",
    "--random-state": "--seed",
    "--random-seed": "--seed",
    "--workers": "--jobs",
    "--num-workers": "--jobs",
    "--n-jobs": "--jobs",
    "--num-threads": "--threads",
    "--labels": "--classes",
    "--silent": "--quiet",
    "--cache-dir": "--cache",
}
"""Option of other tools -> ours; those of fields are in `pipelines.spec.settings`."""


PLAIN = {
    r"Input should be a valid integer.*": "expected a whole number",
    r"Input should be a valid number.*": "expected a number",
    r"Input should be greater than or equal to ": "expected a number of at least ",
    r"Input should be less than or equal to ": "expected a number of at most ",
    r"Value error, ": "",
}
"""What the library that converts values says -> plain words."""


def meant_option(written: str, known: list[str]) -> str | None:
    """Find the option that is meant by one that does not exist.

    Args:
        written: Such as ``--lr``.
        known: Options of the command.

    Returns:
        What to write instead, or None.

    Example:
        >>> meant_option("--layers", ["--hidden", "--set"]), meant_option("--lr", ["--set"])
        ('--hidden', '--set train.learning_rate=VALUE')
    """
    other = OTHER_WORDS.get(written)
    if other in known:
        return other
    name = written.lstrip("-").replace("-", "_")
    field = meant_field(name) if "--set" in known and name else None
    near = near_name(written, known)
    # A field's exact or usual word is surer than an option that looks alike.
    if field is not None and (near is None or field.rpartition(".")[2] == name or meant_field(name, near=False)):
        own = f"--{field.rpartition('.')[2].replace('_', '-')}"
        return own if own in known else f"--set {field}=VALUE"
    return near


def usage_problem(error: UsageError) -> tuple[str, str, str]:
    """Put the parser's complaint into the form of all errors.

    Args:
        error: The complaint.

    Returns:
        What, where, and what to do.
    """
    context = error.ctx
    place = "bpfunc" if context is None else context.command_path
    what = error.format_message().strip().rstrip(".")
    for theirs, plain in PLAIN.items():
        what = re.sub(theirs, plain, what)
    hint = ""
    if isinstance(error, NoSuchOption):
        what = f"No such option: {error.option_name}"
        parameters = [] if context is None else context.command.params
        known = [name for one in parameters for name in one.opts if name.startswith("--")]
        meant = meant_option(error.option_name, known)
        hint = f" (did you mean {meant}?)" if meant else ""
    elif what.startswith("No such command") and context is not None:
        written = what.partition("'")[2].partition("'")[0]
        what = f"No such command {written!r}"
        meant = near_name(written, getattr(context.command, "list_commands", lambda _: [])(context))
        hint = f" (did you mean {meant}?)" if meant else ""
    return what + hint, place, f"`{place} --help` shows what it takes"
