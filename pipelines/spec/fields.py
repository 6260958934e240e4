"""Every field of the specification with type, range, default and meaning, read from its declaration in `run_spec`.

The command ``bpfunc config fields``, its page in the documentation, completion and messages are made from this.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from functools import cache
from typing import Literal, get_args, get_origin, get_type_hints

import attrs

from pipelines.spec.run_spec import RunSpec
from pipelines.spec.toml import to_table

_NAMES = {int: "whole number", float: "number", str: "text", bool: "true or false"}


@attrs.frozen
class Field:
    """A field, as a person sets it."""

    name: str
    """Dotted, such as ``train.epochs``."""
    kind: str
    choices: tuple[str, ...]
    """All values of a closed choice; empty for others."""
    range: str
    """Such as ``[0, 1)``; empty where the type says all."""
    default: object
    """As JSON and TOML hold it."""
    meaning: str


@cache
def spec_fields() -> tuple[Field, ...]:
    """List the fields of a specification.

    Returns:
        In the order of their declaration.

    Example:
        >>> [field.range for field in spec_fields() if field.name == "model.dropout"]
        ['[0, 1)']
    """
    return tuple(_fields(RunSpec(), ""))


def _fields(spec: attrs.AttrsInstance, path: str) -> Iterator[Field]:
    types, meanings, table = get_type_hints(type(spec)), _meanings(type(spec)), to_table(spec)
    for declared in attrs.fields(type(spec)):
        name, value = declared.name, getattr(spec, declared.name)
        if attrs.has(type(value)):
            yield from _fields(value, f"{path}{name}.")
            continue
        wanted = types[name]
        choices = tuple(map(str, get_args(wanted))) if get_origin(wanted) is Literal else ()
        many = get_origin(wanted) is tuple
        kind = "one of" if choices else f"list of {_NAMES[get_args(wanted)[0]]}s" if many else _NAMES[wanted]
        bounds = str(getattr(declared.validator, "range", ""))
        yield Field(path + name, kind, choices, bounds, table[name], meanings.get(name, ""))


def _meanings(kind: type) -> dict[str, str]:
    """The text below each field's declaration."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for declared, below in zip(body.body, body.body[1:], strict=False):
        if not (isinstance(declared, ast.AnnAssign) and isinstance(below, ast.Expr)):
            continue
        if isinstance(declared.target, ast.Name):
            found[declared.target.id] = " ".join(str(ast.literal_eval(below.value)).split()).replace("``", "`")
    return found
