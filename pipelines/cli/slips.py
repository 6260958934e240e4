"""Slips on the command line: the parser's complaints in the one form of all errors, with the name that was meant."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import takewhile
from typing import TYPE_CHECKING

from typer._click.exceptions import MissingParameter, NoSuchOption, UsageError
from typer.core import TyperArgument

from pipelines.disk.untrusted.printable import shell
from pipelines.errors import UsageProblem
from pipelines.runs.naming import find_run
from pipelines.spec.recipes import recipe_names
from pipelines.spec.settings import meant_field
from pipelines.spec.toml import near_name

if TYPE_CHECKING:
    from typer._click import Command, Context
    from typer._click.core import Parameter

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


SHORT = {"-v": "--version", "-V": "--version", "-q": "--quiet", "-l": "--lr"}
"""Short options of other tools, as long ones."""
OTHER_COMMANDS = {
    "help": "--help",
    "version": "--version",
    "fit": "train",
    "learn": "train",
    "test": "evaluate",
    "eval": "evaluate",
    "score": "evaluate",
    "infer": "predict",
    "classify": "predict",
    "tune": "sweep",
    "optimize": "sweep",
    "plot": "report",
    "ls": "runs list",
    "diff": "compare",
    "rm": "runs clean",
    "continue": "resume",
    "check": "doctor",
    "settings": "config show",
    "convert": "export",
}
"""Command of other tools -> ours."""


SETTING = "FIELD=VALUE"
"""How the help writes the value of ``--set``."""
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
    near = near_name(written.strip("-"), [option.removeprefix("--") for option in known])
    near = f"--{near}" if near else None
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
    what = error.format_message().strip().rstrip(".")
    for theirs, plain in PLAIN.items():
        what = re.sub(theirs, plain, what)
    if context is None:
        return what, "bpfunc", "`bpfunc --help` shows what it takes"
    place = context.command_path
    remedy = f"`{place} --help` shows what it takes"
    if isinstance(error, NoSuchOption):
        what = f"No such option: {error.option_name}{_option_elsewhere(error.option_name, context)}"
    elif isinstance(error, MissingParameter) and error.param is not None:
        what = _missing(error.param, context)
        example = _example(context.command)
        remedy = f"write such as `{example}`; `{place} --help` shows more" if example else remedy
    elif what.startswith("No such command"):
        written = what.partition("'")[2].partition("'")[0]
        what = f"No such command {written!r}{_did_you_mean(_command_elsewhere(written, context))}"
    elif what.startswith("Got unexpected extra argument"):
        what = _too_many(what.partition("(s) (")[2].removesuffix(")"), context)
    return what, place, remedy


def check_words(command: Command, context: Context, words: Sequence[str]) -> None:
    """Refuse words of a command that the parser would take for something else.

    An option without its value takes the option behind it as one, ``-epochs`` is ``-e pochs``, and a list with spaces
    in it is a value and arguments.

    Args:
        command: Which they are for.
        context: That of the command.
        words: As they were written behind the command's name.

    Raises:
        UsageError: An option has no value, or one that takes none has one, or a long option has one dash alone, or a
            value has spaces in it.
    """
    takes = {name: parameter for parameter in command.params for name in parameter.opts if name.startswith("-")}
    flags = {name for name, parameter in takes.items() if getattr(parameter, "is_flag", False)}
    long = {name for name in takes if name.startswith("--")}
    arguments = any(isinstance(parameter, TyperArgument) for parameter in command.params)
    words = list(words)
    rest = words[: words.index("--")] if "--" in words else words
    while rest:
        word, *rest = rest
        name, equals, value = word.partition("=")
        if not name.startswith("--") and f"-{name}" in long:
            raise NoSuchOption(name, ctx=context)
        if name in flags and equals:
            raise UsageError(f"{name} takes no value: it is there or not", context)
        if name in flags or name not in takes:
            continue
        if not equals:
            if not rest or rest[0] in long:
                found = f", found the option {rest[0]}" if rest else ""
                raise UsageError(f"{name} needs a value: {_metavar(takes[name])}{found}", context)
            value, *rest = rest
        behind = list(takewhile(lambda one: not one.startswith("-"), rest))
        meant = None if arguments or not behind else _without_spaces(_metavar(takes[name]), [value, *behind])
        if meant:
            hint = _did_you_mean(shell([name, meant]))
            raise UsageError(f"the value of {name} has no spaces, found {behind[0]!r} behind it{hint}", context)


def _without_spaces(metavar: str, words: Sequence[str]) -> str | None:
    """The value that words were meant to be, where they are parts of one; None where they are not."""
    if "," in metavar:
        return ",".join(word.strip(",") for word in words)
    if metavar != SETTING:
        return None
    whole = "".join(words[:3])
    if whole in (f"{words[0]}={words[-1]}", f"{words[0]}{words[-1]}") and len(words) <= 3 and whole.count("=") == 1:
        return whole if words[0].endswith("=") or words[1].startswith("=") else None
    return "=".join(words) if len(words) == 2 and "=" not in whole else None


def _did_you_mean(meant: str | None) -> str:
    return f" (did you mean {meant}?)" if meant else ""


def _metavar(parameter: Parameter) -> str:
    """What stands for a value in the help."""
    return parameter.metavar or (parameter.name or "").upper()


def _tree(command: Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Command]]:
    """Every command with the words that call it; those of groups come after those that stand alone."""
    below = getattr(command, "commands", {})
    groups = [name for name in below if hasattr(below[name], "commands")]
    yield from (((*path, name), below[name]) for name in below if name not in groups)
    for name in groups:
        yield from _tree(below[name], (*path, name))


def _option_elsewhere(written: str, context: Context) -> str:
    """What is meant by an option that the command does not have: one of its own, or the same one at its place."""
    names = [name for parameter in context.command.params for name in parameter.opts if name.startswith("--")]
    if f"-{written}" in names:
        return _did_you_mean(f"-{written}")
    root = context.find_root()
    tree = [(" ".join(words), command.params) for words, command in _tree(root.command)]
    # A short option is known by the long one that it stands for, in whichever command.
    option = SHORT.get(written) or next(
        (max(one.opts, key=len) for _, parameters in tree for one in parameters if written in one.opts), written
    )
    if option in names:
        return _did_you_mean(option)
    if context is not root and any(option in parameter.opts for parameter in root.command.params):
        return _did_you_mean(f"bpfunc {option}")
    there = [words for words, parameters in tree if any(option in one.opts for one in parameters)]
    if context.command is root.command and there:
        return _did_you_mean(f"bpfunc {'run' if 'run' in there else there[0]} {option}")
    meant = meant_option(option if option.startswith("--") else f"-{option}", names)
    if meant is None and there:
        return f" (it belongs to {', '.join(there[:3])}{' and others' if len(there) > 3 else ''})"
    return _did_you_mean(meant)


def _command_elsewhere(written: str, context: Context) -> str | None:
    """The command that is meant: one of the group, one of another tool's words, or the same word in another group."""
    names = list(getattr(context.command, "commands", {}))
    root = context.find_root()
    paths = [words for words, _ in _tree(root.command)]
    called = [" ".join(words) for words in paths if words[-1] == written]
    called = called or [OTHER_COMMANDS[one] for one in OTHER_COMMANDS if one == written]
    if called:
        return " or ".join(f"bpfunc {words}" for words in called)
    return near_name(written, names) or next(
        (f"bpfunc {' '.join(words)}" for words in paths if near_name(written, [words[-1]])), None
    )


def _missing(parameter: Parameter, context: Context) -> str:
    """Which argument or option is missing, and all that the command needs."""
    name = context.info_name
    if not isinstance(parameter, TyperArgument):
        return f"{name} needs {parameter.opts[0]} {_metavar(parameter)}"
    needed = [_in_words(one) for one in context.command.params if isinstance(one, TyperArgument)]
    missing = f"; {_metavar(parameter)} is missing" if len(needed) > 1 else ""
    return f"{name} needs {' and '.join(needed)}{missing}"


def _in_words(argument: TyperArgument) -> str:
    """An argument with the first words of its help."""
    words = re.split(r"[:;.,]", argument.help or "")[0]
    return f"{_metavar(argument)} ({words[:1].lower()}{words[1:]})"


def _too_many(extra: str, context: Context) -> str:
    """Which argument is one too many, and what it may have been meant for."""
    first = extra.partition(" ")[0]
    needed = [_metavar(one) for one in context.command.params if isinstance(one, TyperArgument)]
    takes = f"only {' and '.join(needed)}" if needed else "no argument"
    return f"{context.info_name} takes {takes}, found {first!r}{_did_you_mean(_as_option(first, context))}"


def _as_option(word: str, context: Context) -> str | None:
    """The option whose value is given without it: a recipe, a file, a run, a setting."""
    names = {name for parameter in context.command.params for name in parameter.opts}
    if "--config" in names:
        if word.endswith(".toml"):
            return shell(["--config", word])
        with suppress(UsageProblem):
            if word not in recipe_names():
                return shell(["--config", str(find_run(word) / "config.toml")])
        recipe = near_name(word, recipe_names())
        if recipe is not None:
            return f"--recipe {recipe}"
    field, equals, value = word.partition("=")
    meant = meant_field(field) if equals and "--set" in names else None
    return shell(["--set", f"{meant}={value}"]) if meant else None


def _example(command: Command) -> str:
    """The first of a command's examples."""
    lines = (command.epilog or "").splitlines()
    return next((line.strip() for line in lines if line.startswith("  ")), "")
