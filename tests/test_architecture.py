"""The shape of the project, read from its own files: imports point one way, and the README draws what exists."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = (
    "types",
    "memory",
    "denormals",
    "tree",
    "keys",
    "initializers",
    "ops",
    "layers",
    "model",
    "losses",
    "batches",
    "gradient",
    "parallel_step",
    "schedules",
    "transforms",
    "optimizers",
    "update",
    "metrics",
    "step",
    "loop",
    "finite",
)
"""The library's modules, each importing only from those before it."""


def modules(package: str) -> dict[str, Path]:
    """Dotted name -> file, of every module of a package."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports, wherever in it, but for type checkers alone."""
    names: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def graph(package: str) -> dict[str, set[str]]:
    """Module -> modules of the same package that it imports."""
    known = modules(package)
    return {name: (imports(path) & known.keys()) - {name} for name, path in known.items()}


def first_cycle(edges: dict[str, set[str]]) -> list[str]:
    """Return the modules of some cycle, or nothing."""
    remaining = {name: set(targets) for name, targets in edges.items()}
    while True:
        free = [name for name, targets in remaining.items() if not targets & remaining.keys()]
        if not free:
            return sorted(remaining)
        for name in free:
            del remaining[name]


def without_packages(edges: dict[str, set[str]]) -> dict[str, set[str]]:
    """Leave out a package's own re-exports: its ``__init__`` imports its files, its files never the ``__init__``."""
    return {
        name: {target for target in targets if not name.startswith(f"{target}.")} for name, targets in edges.items()
    }


@pytest.mark.parametrize("package", ["bpfunc", "pipelines"])
def test_no_cycle(package: str) -> None:
    """No module imports itself by way of others."""
    assert first_cycle(without_packages(graph(package))) == []


def test_planted_cycle_is_found() -> None:
    """The check above can fail."""
    assert first_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]


def test_library_never_imports_the_pipeline() -> None:
    """The arrow points from pipelines to bpfunc alone."""
    for name, path in modules("bpfunc").items():
        assert not [target for target in imports(path) if target.split(".")[0] == "pipelines"], name


def test_library_imports_numpy_and_attrs_only() -> None:
    """Outside `interop`, the library's own files name no other library."""
    allowed = {"numpy", "attrs", "bpfunc", *sys.stdlib_module_names}
    for name, path in modules("bpfunc").items():
        if not name.startswith("bpfunc.interop"):
            others = {target.split(".")[0] for target in imports(path)} - allowed
            assert not others, f"{name} imports {others}"


def test_library_modules_import_in_order() -> None:
    """types <- tree <- keys <- ops <- layers <- losses <- gradient <- transforms <- optimizers <- step <- loop."""
    for name, targets in graph("bpfunc").items():
        own = name.split(".")[1] if "." in name else None
        if own not in ORDER:
            continue
        for target in targets:
            other = target.split(".")[1] if "." in target else own
            assert ORDER.index(other) <= ORDER.index(own), f"{name} imports {target}"


def loaded_after(code: str) -> set[str]:
    """Names of the modules that a fresh process holds after some code."""
    printing = f"{code}\nimport sys; print('loaded:', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", printing], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_import_bpfunc_loads_nothing_else() -> None:
    """`import bpfunc` pays for no name before it is used: neither for the library's modules nor for NumPy."""
    loaded = loaded_after("import bpfunc")
    assert "bpfunc" in loaded
    assert {name for name in loaded if name.startswith(("bpfunc.", "numpy", "attr"))} == set()


def test_a_name_loads_what_it_needs() -> None:
    """A name brings its module and what that is built on, and nothing of what comes later in the data flow."""
    loaded = loaded_after("import bpfunc; bpfunc.dense")
    assert "bpfunc.layers.dense" in loaded
    assert not loaded & {"bpfunc.transforms", "bpfunc.losses", "bpfunc.training.step", "bpfunc.gradient.check"}


def test_all_names_load_numpy_and_attrs_only() -> None:
    """The whole library pays for nothing of the pipeline."""
    before = loaded_after("import numpy, attrs")
    loaded = loaded_after("from bpfunc import *")
    others = {name.split(".")[0] for name in loaded - before} - {"bpfunc", "numpy", "attr", "attrs"}
    assert others - sys.stdlib_module_names == set()


@pytest.mark.parametrize("name", ["gradcheck", "summary"])
@pytest.mark.parametrize("first", ["import bpfunc.{0}", "from bpfunc.{0} import {0}", "import bpfunc; bpfunc.{0}"])
def test_a_function_wins_over_the_module_of_its_name(name: str, first: str) -> None:
    """Whoever imports the module, and whenever, `bpfunc.gradient.check` is the function."""
    code = f"{first.format(name)}\nimport bpfunc\nassert bpfunc.{name}.__module__ == 'bpfunc.{name}', bpfunc.{name}"
    assert f"bpfunc.{name}" in loaded_after(code)


def test_what_is_not_there_is_an_attribute_error_with_a_suggestion() -> None:
    """A slip of the pen is answered as by any module, and Python knows the names to suggest."""
    import bpfunc

    with pytest.raises(AttributeError, match="module 'bpfunc' has no attribute 'dens'") as caught:
        bpfunc.dens  # type: ignore[attr-defined]
    assert caught.value.name == "dens"
    assert "dense" in dir(caught.value.obj)
    with pytest.raises(ImportError, match="cannot import name 'dens' from 'bpfunc'"):
        from bpfunc import dens  # type: ignore[attr-defined]  # noqa: F401


def test_help_loads_no_heavy_library() -> None:
    """`bpfunc --help` imports neither NumPy nor pyarrow nor matplotlib nor rich."""
    code = (
        "import sys; sys.argv = ['bpfunc', '--help']\n"
        "from pipelines.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'pyarrow', 'matplotlib', 'rich', 'safetensors'} & set(sys.modules)\n"
        "print('heavy:', *sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].strip() == "heavy:"


def test_readme_draws_exactly_the_files_that_exist() -> None:
    """The tree in the README names every module, and nothing else."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    drawn = set()
    folders: list[str] = []
    for line in text.split("<!-- tree -->")[1].splitlines():
        name = line.strip().split(" ")[0]
        if not name or name == "```" or name.startswith("```"):
            continue
        depth = (len(line) - len(line.lstrip())) // 2
        folders = [*folders[:depth], name.rstrip("/")]
        if name.endswith(".py"):
            drawn.add("/".join(folders))
    exist = {
        str(path.relative_to(ROOT))
        for package in ("bpfunc", "pipelines")
        for path in (ROOT / package).rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py")
    }
    assert drawn == exist


def test_public_names_are_there_and_listed_once() -> None:
    """`bpfunc.__all__` names each public member once, and `bpfunc` has no other public member but modules."""
    import bpfunc

    assert len(bpfunc.__all__) == len(set(bpfunc.__all__)) > 200
    assert set(bpfunc.__all__) <= set(dir(bpfunc))
    assert not [name for name in bpfunc.__all__ if type(getattr(bpfunc, name)).__name__ == "module"]
    members = {name for name, value in vars(bpfunc).items() if name[0] != "_" and type(value).__name__ != "module"}
    assert members == set(bpfunc.__all__)
