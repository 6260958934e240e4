"""The shape of the project, read from its own files: imports point one way, and the pages about it are true."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


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


def test_library_imports_numpy_and_attrs_only() -> None:
    """Outside `interop` and `compiled`, the library's own files name no other library."""
    allowed = {"numpy", "attrs", "bpfunc", *sys.stdlib_module_names}
    for name, path in modules("bpfunc").items():
        if not name.startswith(("bpfunc.interop", "bpfunc.compiled")):
            others = {target.split(".")[0] for target in imports(path)} - allowed
            assert not others, f"{name} imports {others}"


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


def test_page_and_drawing_of_the_architecture_agree_with_the_code() -> None:
    """`docs/architecture.md` lists every module, and no other; `docs/architecture.svg` draws every room and floor."""
    check = [sys.executable, "docs/draw_architecture.py", "--check"]
    done = subprocess.run(check, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(find_spec("importlinter") is None, reason="needs import-linter")
def test_contracts_hold_and_a_planted_import_breaks_them(tmp_path: Path) -> None:
    """The floors, "bpfunc never imports pipelines", and "only evaluate opens the test split": kept, and not blind."""
    planted = {
        "bpfunc/ops/planted.py": ("import bpfunc.layers", "floors of bpfunc BROKEN"),
        "bpfunc/layers/planted.py": ("import pipelines.errors", "the library never imports the pipeline BROKEN"),
        "pipelines/disk/planted.py": ("import pipelines.runs.run", "floors of pipelines BROKEN"),
        "pipelines/studies/planted.py": (
            "import pipelines.dataset.sealed_split",
            "only evaluate opens the sealed test split BROKEN",
        ),
    }
    for package in ("bpfunc", "pipelines"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)

    def lint() -> subprocess.CompletedProcess[str]:
        code = "from importlinter.cli import lint_imports_command as command; command(['--no-cache'])"
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        return subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    clean = lint()
    assert clean.returncode == 0, clean.stdout
    for place, (line, _) in planted.items():
        (tmp_path / place).write_text(f"{line}\n")
    broken = lint()
    assert broken.returncode == 1
    assert [message for _, message in planted.values() if message not in broken.stdout] == []


def test_public_names_are_there_and_listed_once() -> None:
    """`bpfunc.__all__` names each public member once, and `bpfunc` has no other public member but modules."""
    import bpfunc

    assert len(bpfunc.__all__) == len(set(bpfunc.__all__)) > 200
    assert set(bpfunc.__all__) <= set(dir(bpfunc))
    assert not [name for name in bpfunc.__all__ if type(getattr(bpfunc, name)).__name__ == "module"]
    members = {name for name, value in vars(bpfunc).items() if name[0] != "_" and type(value).__name__ != "module"}
    assert members == set(bpfunc.__all__)
