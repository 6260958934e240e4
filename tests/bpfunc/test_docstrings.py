"""Every public docstring says what it must, found by looking."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import bpfunc
from bpfunc import interop

EXTRAS = {
    "bpfunc.interop.numba": "numba",
    "bpfunc.compiled.epoch": "numba",
    "bpfunc.compiled.forward": "numba",
    "bpfunc.compiled.kept": "numba",
    "bpfunc.compiled.loops": "numba",
    "bpfunc.compiled.losses": "numba",
    "bpfunc.compiled.machine": "numba",
    "bpfunc.compiled.mixture": "numba",
    "bpfunc.compiled.network": "numba",
    "bpfunc.compiled.optimizer": "numba",
    "bpfunc.compiled.training": "numba",
    "bpfunc.compiled.work": "numba",
    "bpfunc.interop.sklearn": "sklearn",
    **{
        f"bpfunc.interop.sklearn.{part}": "sklearn"
        for part in ("classifier", "estimator", "files", "parameters", "regressor", "validation")
    },
    **{f"bpfunc.interop.{path.stem}": "onnx" for path in Path(interop.__path__[0]).glob("onnx*.py")},
}
"""Modules that need an extra, and the package by which to see whether it is installed."""


def public_members() -> dict[str, object]:
    """Every public function and class of the library, where it is defined."""
    found: dict[str, object] = {}
    for info in pkgutil.walk_packages(bpfunc.__path__, "bpfunc."):
        if info.name in EXTRAS and not importlib.util.find_spec(EXTRAS[info.name]):
            continue
        module = importlib.import_module(info.name)
        for name, member in vars(module).items():
            if name.startswith("_") or getattr(member, "__module__", None) != info.name:
                continue
            if inspect.isfunction(member) or (inspect.isclass(member) and not issubclass(member, Exception)):
                found[f"{info.name}.{name}"] = member
    return found


MEMBERS = public_members()
FUNCTIONS = {name: member for name, member in MEMBERS.items() if inspect.isfunction(member)}


def section(text: str, title: str) -> str:
    """The indented block below a title."""
    match = re.search(rf"^{title}:.*?(?=^\S|\Z)", text, re.M | re.S)
    return match.group(0) if match else ""


@pytest.mark.parametrize("name", MEMBERS)
def test_one_line_comes_first(name: str) -> None:
    """The first line is a whole sentence on its own."""
    lines = (inspect.getdoc(MEMBERS[name]) or "").splitlines()
    assert lines, name
    assert lines[0].endswith((".", ":", "``."))
    assert len(lines) == 1 or not lines[1]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_is_described(name: str) -> None:
    """Each parameter stands in the section Args by its name."""
    described = section(inspect.getdoc(FUNCTIONS[name]) or "", "Args")
    for parameter in inspect.signature(FUNCTIONS[name]).parameters:
        assert re.search(rf"^\s+\*?{parameter}: \S", described, re.M), parameter


@pytest.mark.parametrize("name", FUNCTIONS)
def test_result_and_example_are_there(name: str) -> None:
    """Each function says what it returns and shows a call that runs."""
    text = inspect.getdoc(FUNCTIONS[name]) or ""
    assert section(text, "Returns") or section(text, "Yields")
    assert name.rpartition(".")[2] in section(text, "Example")
    assert ">>>" in section(text, "Example")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_error_raised_is_described(name: str) -> None:
    """A function whose own body raises has a section Raises that names each kind."""
    source = inspect.getsource(FUNCTIONS[name])
    own = source.split('"""', 2)[-1]
    raised = {kind for kind in re.findall(r"raise ([A-Z]\w+)\(", own) if not kind.startswith("_")}
    described = section(inspect.getdoc(FUNCTIONS[name]) or "", "Raises")
    # What a returned function raises is that function's; its maker's docstring names it in prose under Raises too.
    for kind in raised - {"NotImplementedError"}:
        assert kind in described, f"{name} raises {kind}"


SOURCED = (
    "bpfunc.ops.",
    "bpfunc.losses.",
    "bpfunc.transforms.adaptive",
    "bpfunc.optimizers",
    "bpfunc.layers.initializers",
)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in FUNCTIONS
        if name.startswith(SOURCED)
        and not name.endswith(
            (
                "_vjp",
                "_jvp",
                ".zeros",
                ".weights_only",
                ".paired",
                ".class_rows",
                ".whole_numbers",
                ".weighed",
                ".labels_in_range",
                ".check_derivative",
            )
        )
        and ".special." not in name
    ],
)
def test_methods_name_their_source(name: str) -> None:
    """A method that somebody found names who and when; a factory may point to the function that does."""
    text = inspect.getdoc(FUNCTIONS[name]) or ""
    assert re.search(r"Reference: .*\(\d{4}", text, re.S) or "see `" in text
