"""Where each value of a configuration came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines.disk.untrusted.documents import parse_toml, read_toml
from pipelines.disk.untrusted.printable import Printable, in_lines, printable
from pipelines.spec.recipes import recipe_text
from pipelines.spec.run_spec import RunSpec
from pipelines.spec.settings import OPTION, field_names, flat, settings_table


def origins(recipe: str, config: Path | None, settings: Sequence[str], flags: Mapping[str, str]) -> dict[str, str]:
    """Return the origin of each value of a merged configuration.

    Args:
        recipe: Name of a recipe.
        config: TOML file laid over it, which has been read before without a problem.
        settings: Values of ``--set``.
        flags: Field -> option that gave it.

    Returns:
        Field -> ``default``, ``recipe NAME``, ``file PATH``, ``--set`` or the option's name.

    Example:
        >>> found = origins("report", None, ["train.seed=1"], {"train.epochs": "--epochs"})
        >>> found["train.seed"], found["train.epochs"], found["train.keep"], found["model.dropout"]
        ('--set', '--epochs', 'recipe report', 'default')
    """
    found = dict.fromkeys(field_names(RunSpec()), "default")
    found |= {name: f"recipe {recipe}" for name, _ in flat(parse_toml(recipe_text(recipe)))}
    if config is not None:
        found |= {name: f"file {config}" for name, _ in flat(read_toml(config, "configuration"))}
    found |= {name: OPTION for name, _ in flat(settings_table(settings))}
    return found | dict(flags)


def explained_toml(spec: RunSpec, found: Mapping[str, str]) -> Printable:
    """Write a configuration as TOML, each value with a comment that says where it came from.

    Args:
        spec: The merged configuration.
        found: From `origins`.

    Returns:
        TOML text that a file may hold.

    Example:
        >>> print(explained_toml(RunSpec(), origins("report", None, [], {})).splitlines()[0])
        name = "report"                                # recipe report
    """
    from pipelines.spec.toml import to_toml

    lines, table = [], ""
    for line in to_toml(spec).splitlines():
        if line.startswith("["):
            table = line.strip("[]") + "."
        name, equals, _ = line.partition(" = ")
        lines.append(f"{line:<46} # {printable(found.get(table + name, ''))}" if equals else line)
    return in_lines(lines)
