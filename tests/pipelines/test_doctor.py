"""`bpfunc doctor`: what it says is so, what is missing is named with its remedy, and nothing is written."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import attrs
import numpy as np
import pytest

from pipelines.inspection import doctor
from pipelines.inspection.doctor import (
    FOR_DEVELOPERS,
    Library,
    Source,
    diagnose,
    diagnosis_lines,
    problems,
    required,
    satisfies,
)

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
ROOT = Path(__file__).parents[2]


def test_doctor(cli: Cli, own_data: Path, tmp_path: Path) -> None:
    """The document says what is there: versions, threads as a run would have them, entries of the cache, data."""
    entry = cli("data", "prepare", "--unpinned", "--classes", "0,1", "--source", "own", "--quiet").stdout.strip()
    before = sorted(tmp_path.rglob("*"))
    done = cli("doctor", "--json", OPENBLAS_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert sorted(tmp_path.rglob("*")) == before
    versions = {library["name"]: library["found"] for library in found["libraries"]}
    assert versions["numpy"] == np.__version__
    assert "OPENBLAS_NUM_THREADS=1" in found["threads"]
    assert (found["cache_entries"], found["cache_leftovers"]) == (1, 0)
    assert found["cache_bytes"] == sum(file.stat().st_size for file in (tmp_path / entry).iterdir())
    assert found["sources"][0]["origin"] == "bundle"
    assert found["problems"] == []


def test_requirements_are_those_of_the_project() -> None:
    """Libraries and extras are read from where the project declares them, so that no second list can be out of date."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    libraries, extras = required()
    assert [f"{library.name}{library.wanted}" for library in libraries] == project["dependencies"]
    declared = project["optional-dependencies"]
    assert set(FOR_DEVELOPERS) <= set(declared)
    assert {extra.name: [f"{one.name}{one.wanted}" for one in extra.libraries] for extra in extras} == {
        name: needs for name, needs in declared.items() if name not in FOR_DEVELOPERS
    }


def test_requirements_of_an_installed_wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where there is no pyproject.toml, the metadata of the distribution says the same."""
    lines = ["numpy>=2.2", "onnx>=1.21; extra == 'onnx'", 'onnxruntime>=1.20; extra == "onnx"', "mypy; extra == 'lint'"]
    monkeypatch.setattr(metadata, "requires", lambda name: lines)
    monkeypatch.setattr(doctor, "__file__", str(tmp_path / "pipelines" / "inspection" / "doctor.py"))
    libraries, extras = required()
    assert [library.name for library in libraries] == ["numpy"]
    assert [(extra.name, [one.wanted for one in extra.libraries]) for extra in extras] == [
        ("onnx", [">=1.21", ">=1.20"])
    ]


@pytest.mark.parametrize(
    ("version", "wanted", "right"),
    [
        ("2.2", ">=2.2", True),
        ("2.2.0", ">=2.2", True),
        ("2.1.9", ">=2.2", False),
        ("10.0", ">=9.1", True),
        ("2026.1.0", ">=2026.1.0", True),
        ("2.13.0+cpu", "==2.13.0", True),
        ("2.13.1", "==2.13.0", False),
        ("1.5", ">=1.2,==1.6", False),
        ("1.5", "", True),
    ],
)
def test_versions_are_compared_by_their_numbers(version: str, wanted: str, right: bool) -> None:
    """Not letter by letter; trailing zeros and local parts mean nothing."""
    assert satisfies(version, wanted) is right


def test_what_is_missing_is_named_with_its_remedy(tmp_path: Path) -> None:
    """A missing or old library, no data, a cache that cannot be: each is said, and how to mend it."""
    (tmp_path / "file").write_text("")
    found = problems(
        [Library("numpy", ">=2.2", "2.1"), Library("attrs", ">=24", None), Library("rich", ">=13", "15")],
        [Source("three", None, "no bundle; get the files again")],
        tmp_path / "file" / "cache",
    )
    assert len(found) == 4
    assert found[0] == "numpy>=2.2 is needed, 2.1 is there: pip install 'numpy>=2.2'"
    assert "attrs>=24 is needed, nothing is there" in found[1]
    assert "get the files again" in found[2]
    assert "is not a directory" in found[3]


def test_lines_name_missing_extras_and_problems(tmp_path: Path) -> None:
    """A person reads how to add what is missing, and what is wrong comes last."""
    found = diagnose(tmp_path / "cache", tmp_path / "raw")
    assert diagnosis_lines(found).endswith("\nproblems: none")
    absent = attrs.evolve(found.extras[0], libraries=(Library("nowhere", ">=1", None),))
    text = diagnosis_lines(attrs.evolve(found, extras=(absent,), problems=("it is broken: mend it",)))
    assert f"missing  nowhere missing; pip install 'bpfunc[{absent.name}]'" in text
    assert text.endswith("problems:\n  it is broken: mend it")


def test_problems_end_with_code_1(cli: Cli, tmp_path: Path) -> None:
    """A script can ask."""
    (tmp_path / "file").write_text("")
    done = cli("doctor", "--cache", "file/cache")
    assert (done.returncode, done.stderr) == (1, "")
    assert "choose another --cache" in done.stdout
