"""The reference has every public name with a summary, and is what its command writes."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import pydoc
import re
from pathlib import Path
from types import ModuleType

import pytest

import bpfunc

DOCS = Path(__file__).parents[1] / "docs"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((DOCS / "api").glob("*.md"))}
BRIDGES = {
    "bpfunc.interop.numba": "numba",
    "bpfunc.interop.onnx": "onnx",
    "bpfunc.interop.sklearn": "sklearn",
    "bpfunc.interop.network_file": "",
    "bpfunc.interop.safetensors": "",
    "bpfunc.interop.torch_layout": "",
}
"""Modules of `bpfunc.interop` for users -> the library that each needs."""


def command(name: str) -> ModuleType:
    """A command of the project that writes pages, as a module."""
    found = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def defined(module: ModuleType) -> set[str]:
    """The public functions and classes of a module, by ``__all__`` or by where they are defined."""
    values = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    return {
        name
        for name, value in values.items()
        if inspect.isfunction(value) or inspect.isclass(value)
        if name in getattr(module, "__all__", ()) or value.__module__ == module.__name__
    }


def public() -> set[str]:
    """Full names of what is public: `bpfunc.__all__`, every other ``__all__``, testing, and the bridges."""
    ours = {id(getattr(bpfunc, name)) for name in bpfunc.__all__}
    names = {f"bpfunc.{name}" for name in bpfunc.__all__}
    packages = [f"bpfunc.{info.name}" for info in pkgutil.iter_modules(bpfunc.__path__)]
    listed = [name for name in packages if hasattr(importlib.import_module(name), "__all__")]
    bridges = [name for name, library in BRIDGES.items() if not library or importlib.util.find_spec(library)]
    for name in (*listed, *bridges, "bpfunc.testing", "bpfunc.keys", "bpfunc.compiled.choice"):
        module = importlib.import_module(name)
        names |= {f"{name}.{one}" for one in defined(module) if id(getattr(module, one)) not in ours}
    return names


def left_out(pages: dict[str, str]) -> set[str]:
    """Public names that have no row in a table, or no details, on any page; and modules that have no row."""
    text = "\n".join(pages.values())
    rows = set(re.findall(r"^\| \[`\w+`\]\(#([\w.]+)\) \| \S.* \|$", text, re.MULTILINE))
    details = set(re.findall(r"^\.\. (?:autofunction|autoclass|py:data):: ([\w.]+)$", text, re.MULTILINE))
    missing = public() - (rows & details)
    for package in ("interop", "compiled"):
        page = pages.get(package, "") + pages.get("compiled", "")
        for info in pkgutil.iter_modules(importlib.import_module(f"bpfunc.{package}").__path__):
            if f"| `{info.name}` | " not in page and f"## `bpfunc.{package}.{info.name}`" not in page:
                missing.add(f"bpfunc.{package}.{info.name}")
    return missing


def test_nothing_public_is_left_out() -> None:
    """Every public name is on a page with its summary; and a row, a page or a name that is missing is found."""
    assert left_out(PAGES) == set()
    empty = re.sub(r"(#bpfunc.dense\) \|) .* \|", r"\1  |", PAGES["layers"])
    assert left_out({**PAGES, "layers": empty}) == {"bpfunc.dense"}
    without = {name: text for name, text in PAGES.items() if name != "testing"}
    assert left_out(without) == {"bpfunc.testing.assert_trees_close", "bpfunc.testing.assert_trees_equal"}
    assert "bpfunc.interop.structure" in left_out({**PAGES, "interop": ""})


def test_the_reference_is_current() -> None:
    """Pages, index and docstring are what `python docs/write_api.py` writes, and no page is left of another time."""
    for library in ("numba", "onnx", "sklearn"):
        pytest.importorskip(library, reason="the reference has the bridges")
    written = command("write_api").written()
    assert [path.name for path, text in written.items() if path.read_text(encoding="utf-8") != text] == []
    assert {path.stem for path in written if path.parent.name == "api"} == set(PAGES)


def test_help_lists_the_names_by_topic() -> None:
    """`help(bpfunc)` begins with every public name below its topic, in the order of `bpfunc.__all__`."""
    shown = pydoc.plain(pydoc.render_doc(bpfunc)).partition("By topic:")[2].partition("In modules of their own")[0]
    lines = [line.strip() for line in shown.splitlines() if line.strip()]
    names = " ".join(line for line in lines if not re.match(r"[a-z ]+: ", line)).replace(",", "").split()
    assert names == bpfunc.__all__
    assert [line.partition(":")[0] for line in lines if re.match(r"[a-z ]+: ", line)] == [
        topic for topic, _, _ in command("write_api").topics()
    ]


def test_dir_lists_what_is_public() -> None:
    """`dir(bpfunc)` has the public names and the modules, and nothing that begins with one underscore."""
    shown = set(dir(bpfunc))
    assert {*bpfunc.__all__, "interop", "ops", "testing"} <= shown
    assert [name for name in shown if name.startswith("_") and not name.startswith("__")] == []
