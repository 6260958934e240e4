"""Configurations as TOML: read with checks, merged field by field, and written."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_type_hints

import attrs

from pipelines.disk.untrusted.documents import read_toml, toml_table
from pipelines.disk.untrusted.printable import printable_toml
from pipelines.disk.untrusted.values import checked
from pipelines.errors import UsageProblem
from pipelines.spec.recipes import recipe_names, recipe_text
from pipelines.spec.run_spec import RunSpec, SpecT


def load_recipe(name: str) -> RunSpec:
    """Load a recipe that comes with the package.

    Args:
        name: Such as ``report``.

    Returns:
        Its specification.

    Raises:
        UsageProblem: There is no such recipe; the message lists those there are.

    Example:
        >>> load_recipe("report").name
        'report'
    """
    if name not in recipe_names():
        raise UsageProblem(
            f"there is no recipe {name!r}{_did_you_mean(name, recipe_names())}",
            where="--recipe",
            remedy=f"choose one of {', '.join(recipe_names())}",
        )
    return from_toml(recipe_text(name), RunSpec(name=name), where=f"recipe {name}")


def load_config(path: Path, base: RunSpec) -> RunSpec:
    """Load a TOML file over a base: what the file does not name stays.

    Args:
        path: The file.
        base: Gives all other fields.

    Returns:
        The merged specification.

    Raises:
        UsageProblem: The file cannot be read, is not valid TOML, or has an unknown or wrong field.
    """
    inside = next((path / name for name in ("config.toml", "best.toml") if (path / name).is_file()), None)
    if inside is not None:
        raise UsageProblem(
            "cannot read the configuration: it is a directory", where=str(path), remedy=f"name the file in it, {inside}"
        )
    return merged(base, read_toml(path, "configuration"), where=str(path))


def from_toml(text: str, base: RunSpec, *, where: str) -> RunSpec:
    """Read a specification from TOML text over a base.

    Args:
        text: Such as ``[train]`` and ``epochs = 3`` below it.
        base: Gives all fields that the text leaves out.
        where: Names the text in messages.

    Returns:
        The merged specification.

    Raises:
        UsageProblem: No TOML, or an unknown or wrong field; the message names field, expected and found.

    Example:
        >>> from_toml("[train]\\nepochs = 3", RunSpec(), where="example").train.epochs
        3
    """
    return merged(base, toml_table(text, where=where), where=where)


def merged(base: SpecT, table: Mapping[str, object], *, where: str, path: str = "") -> SpecT:
    """Lay a table of plain values over a specification, strictly: no value is converted, no name is guessed.

    Args:
        base: A specification.
        table: Field -> value, nested as the specification is.
        where: Names the table in messages.
        path: Path of the specification within the whole, such as ``train.``.

    Returns:
        A new specification.

    Raises:
        UsageProblem: An unknown field, a value of another type, or one out of range.

    Example:
        >>> from pipelines.spec.run_spec import TrainSpec
        >>> merged(TrainSpec(), {"epochs": 3}, where="example").epochs
        3
    """
    types = get_type_hints(type(base))
    check_fields(table, list(types), where=where, path=path)
    changes: dict[str, object] = {}
    try:
        for name, value in table.items():
            current = getattr(base, name)
            if attrs.has(type(current)):
                inner = checked(Mapping[str, object], value, path + name)
                changes[name] = merged(current, inner, where=where, path=f"{path}{name}.")
            else:
                changes[name] = checked(types[name], value, path + name)
    except ValueError as error:
        raise UsageProblem(str(error), where=where, remedy="fix the value") from None
    try:
        return attrs.evolve(base, **changes)  # type: ignore[misc]
    except ValueError as error:
        raise UsageProblem(f"{path}{error}", where=where, remedy="choose a value in that range") from None


def check_fields(table: Mapping[str, object], known: Sequence[str], *, where: str, path: str = "") -> None:
    """Refuse a table with a field that is not read.

    Args:
        table: From a document.
        known: The fields that are read.
        where: File, for the message.
        path: What the table's fields are called by, such as ``train.``.

    Raises:
        UsageProblem: There is another field.

    Example:
        >>> check_fields({"seed": 1}, ["seed", "recipe"], where="example")
    """
    for name in table:
        if name not in known:
            raise UsageProblem(
                f"unknown field {path}{name[:100]}{_did_you_mean(name, known)}",
                where=where,
                remedy=f"the fields here are {', '.join(known)}",
            )


def near_name(name: str, known: Sequence[str]) -> str | None:
    """Find the known name that is meant by one with a slip in it.

    Args:
        name: As it was written.
        known: Names there are.

    Returns:
        The nearest, or None where none is near.

    Example:
        >>> near_name("epohcs", ["epochs", "seed"]), near_name("colour", ["epochs", "seed"])
        ('epochs', None)
    """
    return next(iter(difflib.get_close_matches(name, known, n=1)), None)


def _did_you_mean(name: str, known: Sequence[str]) -> str:
    near = near_name(name, known)
    return f" (did you mean {near}?)" if near else ""


def to_table(spec: attrs.AttrsInstance) -> dict[str, object]:
    """Turn a specification into plain values: what JSON and TOML can hold.

    Args:
        spec: Any specification.

    Returns:
        Field -> value; tuples become lists.

    Example:
        >>> from pipelines.spec.run_spec import ModelSpec
        >>> to_table(ModelSpec(hidden=(8,)))["hidden"]
        [8]
    """
    table: dict[str, object] = {}
    for field in attrs.fields(type(spec)):
        value = getattr(spec, field.name)
        if attrs.has(type(value)):
            table[field.name] = to_table(value)
        else:
            table[field.name] = list(value) if isinstance(value, tuple) else value
    return table


def recorded_table(spec: attrs.AttrsInstance) -> dict[str, object]:
    """Turn a specification into plain values as a record keeps them: a field that came later stands there if it is set.

    Args:
        spec: Any specification.

    Returns:
        Field -> value, as from `to_table`.

    Example:
        >>> from pipelines.spec.run_spec import ModelSpec
        >>> [name for name in to_table(ModelSpec()) if name not in recorded_table(ModelSpec())]
        ['blocks', 'batch_norm']
    """
    table = to_table(spec)
    for field in attrs.fields(type(spec)):
        value = getattr(spec, field.name)
        if attrs.has(type(value)):
            table[field.name] = recorded_table(value)
        elif field.metadata.get("left out") and value == field.default:
            del table[field.name]
    return table


def reasons_table(spec: RunSpec) -> dict[str, object]:
    """List what the figures of a training depend on, for a name that stands for its reasons.

    Args:
        spec: Any run.

    Returns:
        Field -> value, as from `recorded_table`; the engine stands there only where it is not NumPy, so that what was
        named before there was a choice keeps its name.

    Example:
        >>> from pipelines.spec.run_spec import RECORDED
        >>> "engine" in reasons_table(RECORDED)["train"]
        False
    """
    table = recorded_table(spec)
    train = {name: value for name, value in recorded_table(spec.train).items() if (name, value) != ("engine", "numpy")}
    return table | {"train": train}


def to_toml(spec: RunSpec) -> str:
    """Write a specification as TOML; `from_toml` reads it back to an equal one.

    Args:
        spec: Any run.

    Returns:
        TOML text with every field of `recorded_table`.

    Example:
        >>> from_toml(to_toml(RunSpec()), RunSpec(name="other"), where="example") == RunSpec()
        True
    """
    table = recorded_table(spec)
    lines = [_toml_line(name, value) for name, value in table.items() if not isinstance(value, dict)]
    for name, value in table.items():
        if isinstance(value, dict):
            lines += ["", f"[{name}]", *(_toml_line(key, item) for key, item in value.items())]
    return "\n".join(lines) + "\n"


def _toml_line(name: str, value: object) -> str:
    return f"{name} = {toml_value(value)}"


def toml_value(value: object) -> str:
    """Write a text, a number, a truth value or a list of these as TOML.

    Args:
        value: The value.

    Returns:
        Its text; what a terminal would obey is written as a number.

    Raises:
        ValueError: A number is NaN or infinite.

    Example:
        >>> toml_value(["a", 1, True])
        '["a", 1, true]'
    """
    # JSON's texts, lists, numbers and truth values are TOML's.
    return printable_toml(json.dumps(value, ensure_ascii=False, allow_nan=False))
