"""The space of a sweep: parameters, their ranges, and the specification that a choice gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import attrs

from pipelines.disk.untrusted.documents import read_toml
from pipelines.disk.untrusted.printable import shell
from pipelines.errors import UsageProblem
from pipelines.spec.run_spec import RunSpec
from pipelines.spec.settings import flat, put
from pipelines.spec.toml import check_fields, load_recipe, merged

Value: TypeAlias = str | int | float | bool | Sequence["Value"]


Pruner: TypeAlias = Literal["median", "hyperband", "none"]

ROWS = frozenset({"dataset.classes", "dataset.partitions", "dataset.pinned", "train.seed", "train.validation_fraction"})
"""Fields that decide which rows a trial is judged on, so that trials which differ in them cannot be compared."""


@attrs.frozen
class Parameter:
    """The range of one field."""

    name: str
    """Dotted, such as ``train.learning_rate``."""
    kind: Literal["float", "log", "int", "choice"]
    values: tuple[Value, ...]
    """Lower and upper bound, both included; or the choices."""


@attrs.frozen
class Space:
    """What to search."""

    base: RunSpec
    """The recipe with the file's fixed changes."""
    parameters: tuple[Parameter, ...]
    pruner: Pruner
    seed: int
    """Of the search, not of the trainings."""


def load_space(path: Path, changes: Mapping[str, object] | None = None) -> Space:
    """Read a space file.

    Args:
        path: TOML: ``recipe``, tables ``[fixed.dataset]``, ``[fixed.model]``, ``[fixed.train]`` of changes to it,
            ``[parameters]`` with such as ``"train.learning_rate" = { log = [0.01, 1.0] }`` (or ``float``, ``int``,
            ``choice``), and where wanted ``pruner`` (median, hyperband or none) and ``seed``.
        changes: Laid over the file's fixed changes, such as the values of ``--set``.

    Returns:
        The space; each bound and choice by itself makes a valid specification.

    Raises:
        UsageProblem: The file cannot be read or is not valid.
    """
    where = str(path)
    table = read_toml(path, "space")
    if "variant" in table:
        raise UsageProblem("this is a search", where=where, remedy=f"`bpfunc search {shell([where])} --out DIR`")
    check_fields(table, ("recipe", "fixed", "parameters", "pruner", "seed"), where=where)
    recipe, fixed, ranges = table.get("recipe", "report"), table.get("fixed", {}), table.get("parameters")
    pruner, seed = table.get("pruner", "median"), table.get("seed", 0)
    if pruner not in ("median", "hyperband", "none"):
        raise UsageProblem(f"pruner: found {pruner!r}", where=where, remedy="write median, hyperband or none")
    if not isinstance(recipe, str) or not isinstance(fixed, dict) or type(seed) is not int or seed < 0:
        raise UsageProblem("recipe, fixed or seed is of another type", where=where, remedy="see docs/scale.md")
    if not isinstance(ranges, dict) or not ranges:
        raise UsageProblem("there is nothing to search", where=where, remedy="add a table [parameters]")
    base = merged(merged(load_recipe(recipe), fixed, where=where), changes or {}, where="--set")
    searched = sorted({name for name, _ in flat(changes or {})} & ranges.keys())
    if searched:
        raise UsageProblem(f"{searched[0]} is searched, and set as well", where="--set", remedy="leave one of them out")
    if base.train.validation_fraction == 0:
        raise UsageProblem(
            "a sweep judges by validation rows, and none are held out",
            where=where,
            remedy="set fixed.train.validation_fraction",
        )
    for name in sorted(ROWS & ranges.keys()):
        raise UsageProblem(
            f"{name} decides which rows a trial is judged on, so it cannot be searched",
            where=where,
            remedy="fix it in a table [fixed]",
        )
    parameters = tuple(_parameter(name, given, where) for name, given in ranges.items())
    for parameter in parameters:
        for value in parameter.values:
            with_settings(base, {parameter.name: value}, where=where)
    return Space(base, parameters, pruner, seed)


def _parameter(name: str, given: object, where: str) -> Parameter:
    remedy = 'write such as { log = [0.01, 1.0] }, { int = [1, 9] } or { choice = ["relu", "tanh"] }'
    if not isinstance(given, dict) or len(given) != 1:
        raise UsageProblem(f"{name}: expected one kind of range, found {given!r}", where=where, remedy=remedy)
    kind, values = next(iter(given.items()))
    if kind not in ("float", "log", "int", "choice") or not isinstance(values, list) or not values:
        raise UsageProblem(f"{name}: found {given!r}", where=where, remedy=remedy)
    if kind != "choice":
        right = (int,) if kind == "int" else (int, float)
        if len(values) != 2 or any(type(value) not in right for value in values) or not values[0] < values[1]:
            raise UsageProblem(
                f"{name}: expected two bounds, the lower first, found {values}", where=where, remedy=remedy
            )
        if kind == "log" and values[0] <= 0:
            raise UsageProblem(f"{name}: a logarithm takes bounds above 0", where=where, remedy=remedy)
        values = values if kind == "int" else [float(value) for value in values]
    return Parameter(name, kind, tuple(values))


def with_settings(base: RunSpec, settings: Mapping[str, Value], *, where: str) -> RunSpec:
    """Lay settings over a specification.

    Args:
        base: The specification.
        settings: Dotted name -> value.
        where: Names the settings in messages.

    Returns:
        The new specification.

    Raises:
        UsageProblem: A field is unknown, or a value is not one it may have.

    Example:
        >>> with_settings(RunSpec(), {"train.epochs": 3, "model.hidden": [8]}, where="example").model.hidden
        (8,)
    """
    table: dict[str, object] = {}
    for name, value in settings.items():
        put(table, name, value)
    return merged(base, table, where=where)
