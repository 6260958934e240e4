"""A user's own package `pipelines` on the path or in the working directory does not keep the command from starting."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = "import sys\nfrom bpfunc_command import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
"""What an installer writes for the command."""


def package(place: Path) -> None:
    """A package of this name that does something else."""
    (place / "pipelines").mkdir()
    (place / "pipelines" / "__init__.py").write_text("raise ImportError('this is the pipeline of a user')\n")


def regular(place: Path) -> None:
    """The same without an error; it has a module of the command line's name."""
    (place / "pipelines" / "cli").mkdir(parents=True)
    for path in ("__init__.py", "cli/__init__.py"):
        (place / "pipelines" / path).write_text("")
    (place / "pipelines" / "cli" / "main.py").write_text("def main():\n    print('not this one')\n")


def module(place: Path) -> None:
    """A module of this name."""
    (place / "pipelines.py").write_text("print('not this one')\n")


def folder(place: Path) -> None:
    """A directory of this name with a script in it."""
    (place / "pipelines").mkdir()
    (place / "pipelines" / "train.py").write_text("print('not this one')\n")


@pytest.mark.parametrize("make", [package, regular, module, folder])
@pytest.mark.parametrize("start", ["script", "module"])
@pytest.mark.parametrize("on_path", [True, False])
def test_the_command_starts(make: Callable[[Path], None], start: str, on_path: bool, tmp_path: Path) -> None:
    """By the installed script and by `python -m`, with that package first on the path or in the directory."""
    make(tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bpfunc").write_text(SCRIPT)
    begin = [sys.executable, "bin/bpfunc"] if start == "script" else [sys.executable, "-m", "bpfunc_command"]
    paths = [str(tmp_path), str(ROOT)] if on_path else [str(ROOT)]
    done = subprocess.run(
        [*begin, "config", "recipes"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "The course report" in done.stdout
    assert "not this one" not in done.stdout


def test_workers_start_too(own_data: Path, tmp_path: Path) -> None:
    """Processes that a study starts take the same package."""
    package(tmp_path)
    (tmp_path / "bpfunc").write_text(SCRIPT)
    words = ["study", "--unpinned", "--classes", "0,1,2", "--source", "own", "--hidden", "4", "--epochs", "1"]
    done = subprocess.run(
        [sys.executable, "bpfunc", *words, "--seeds", "2", "--jobs", "2", "--out", "out", "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "seed-001" / "metrics.json").is_file()


def test_the_installed_command_is_that_one() -> None:
    """What is tried above is what an installer is told to write."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"bpfunc": "bpfunc_command:main"}


def test_the_path_stays_as_it_is_where_nothing_is_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """No directory is put before the standard library without need."""
    from bpfunc_command import put_first

    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])
    before, modules = list(sys.path), set(sys.modules)
    put_first(ROOT)
    assert (sys.path, set(sys.modules)) == (before, modules)
