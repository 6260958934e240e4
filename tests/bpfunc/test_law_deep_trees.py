"""The law of deep trees: a tree that is nested too deeply for Python, or holds itself, is refused with one message.

Members are found in the packages: every function of `bpfunc.tree` that takes a tree, every transform, what applies
updates, and files of tensors.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pytest

import bpfunc as bp
from bpfunc import tree as trees
from bpfunc.interop.safetensors import from_safetensors, to_safetensors
from bpfunc.transforms.update import apply_updates, updated
from bpfunc.tree import TreeStructureError
from tests.bpfunc.members import makers


@attrs.frozen
class Node:
    """A record that holds another."""

    inner: Any
    leaf: Any = attrs.field(factory=lambda: np.ones(2))


def nest(levels: int, kind: Callable[[Any], Any]) -> Any:
    """A tree of one chain."""
    tree: Any = np.ones(2)
    for _ in range(levels):
        tree = kind(tree)
    return tree


def endless() -> dict[str, Any]:
    """A dict that holds itself."""
    tree: dict[str, Any] = {}
    tree["a"] = tree
    return tree


KINDS: dict[str, Callable[[Any], Any]] = {
    "tuple": lambda inner: (inner,),
    "tuple twice the same": lambda inner: (inner, inner),
    "dict": lambda inner: {"b": inner, "a": np.ones(2)},
    "record": Node,
}
GIVEN: dict[str, Any] = {
    "function": lambda *leaves: leaves[0],
    "leaves": [],
    "dtype": np.float64,
    "factor": 2.0,
    "initial": 0,
    "path": "a",
    "predicate": lambda path: True,
    "value": 1.0,
    "vector": np.ones(2),
    "alpha": 1.0,
}
FUNCTIONS = {
    name: function
    for name, function in vars(trees).items()
    if inspect.isfunction(function)
    and name in trees.__all__
    and any(str(p.annotation) in ("Tree", "TreeT") for p in inspect.signature(function).parameters.values())
}


def calls(function: Callable[..., Any], tree: Any) -> Any:
    """Call with the tree as every tree that the function takes."""
    given = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            continue
        if str(parameter.annotation) in ("Tree", "TreeT"):
            given[name] = tree
        elif parameter.default is parameter.empty:
            given[name] = GIVEN[name]
    return function(**given)


MEMBERS: dict[str, Callable[[Any], Any]] = {
    **{name: (lambda tree, function=function: calls(function, tree)) for name, function in FUNCTIONS.items()},
    **{
        f"{name}.{part}": (
            lambda tree, make=make, part=part: (
                make().init(tree) if part == "init" else make().update(tree, make().init((np.ones(2),)), tree, 0)
            )
        )
        for name, make in makers("GradientTransform").items()
        for part in ("init", "update")
    },
    "apply_updates": lambda tree: apply_updates(tree, tree),
    "updated": lambda tree: updated(bp.sgd(0.1), tree, bp.sgd(0.1).init((np.ones(2),)), tree, 0),
    "to_safetensors": to_safetensors,
    "from_safetensors": lambda tree: from_safetensors(to_safetensors((np.ones(2),)), tree),
    "tree_map of two": lambda tree: trees.tree_map(lambda a, b: a, tree, tree),
    "tree_map_with_path of two": lambda tree: trees.tree_map_with_path(lambda path, a, b: a, tree, tree),
}
NOT_WALKED = {"identity", "stateless"}
"""Transforms without state or change: they hand on what they are given."""


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("kind", [*KINDS, "itself"])
def test_deep_trees_are_refused(name: str, kind: str) -> None:
    """One message, whatever walks over the tree; no RecursionError, and no endless walk over a shared part."""
    tree = endless() if kind == "itself" else nest(5_000, KINDS[kind])
    try:
        MEMBERS[name](tree)
    except TreeStructureError as refused:
        assert "nested too deeply" in str(refused) or (name, kind) == ("merge", "dict")  # a leaf that both have
    else:
        assert ".init" in name or name.split(".")[0] in NOT_WALKED or (name, kind) == ("float_dtype", "dict")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "twice" not in kind])
@pytest.mark.parametrize("levels", [60, 200, 230, 250, 300, 330, 400, 490])
def test_near_the_limit(kind: str, levels: int) -> None:
    """Wherever Python's limit lies: the result is right, or the message the same."""
    tree = nest(levels, KINDS[kind])
    for name, member in MEMBERS.items():
        try:
            member(tree)
        except TreeStructureError as refused:
            if name.startswith(("from_safetensors", "unravel", "tree_fill", "unflatten", "merge")) or ".update" in name:
                continue
            assert "nested too deeply" in str(refused), name
            assert levels > 100, name
        except (ValueError, KeyError, TypeError) as other:
            assert not isinstance(other, RecursionError), name


def test_an_endless_function_is_not_called_a_deep_tree() -> None:
    """What the mapped function does wrong is told as it is."""

    def forever(leaf: Any) -> Any:
        return forever(leaf)

    with pytest.raises(RecursionError):
        trees.tree_map(forever, (1, 2))


def test_members_are_found() -> None:
    """Were annotations to change, the law would find nothing and pass."""
    assert len(FUNCTIONS) >= 25
    assert sys.getrecursionlimit() < 5_000
