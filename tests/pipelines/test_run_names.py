"""A run is named by a path, its name, a unique beginning of that, or `latest`; other things get the right command."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.cli.completion import complete_run
from pipelines.errors import UsageProblem
from pipelines.runs.naming import BEGAN, began, check_order, find_run
from pipelines.spec.run_spec import RunSpec
from pipelines.spec.toml import to_toml
from tests.pipelines.commands import ALL

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


def make(path: Path, start: str = "") -> Path:
    """A directory that is known as a run."""
    (path / "checkpoints").mkdir(parents=True)
    (path / "config.toml").write_text(to_toml(RunSpec()))
    if start:
        (path / BEGAN).write_text(start)
    return path


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three runs and a study."""
    place = tmp_path / "data" / "runs"
    make(place / "first", "2026-01-03T00:00:00+00:00")
    make(place / "fine", "2026-01-02T00:00:00+00:00")
    make(place / "other", "2026-01-01T00:00:00+00:00")
    make(place / "study-report" / "seed-000")
    (place / "study-report" / "config.toml").write_text(to_toml(RunSpec()))
    return place


@pytest.mark.parametrize(
    ("text", "name"),
    [("first", "first"), ("fir", "first"), ("o", "other"), ("latest", "first"), ("study-report/seed-000", "seed-000")],
)
def test_names(runs: Path, text: str, name: str) -> None:
    """Each way to name a run finds it; a path is one of them."""
    assert find_run(text, runs).name == name
    assert find_run(str(runs / name), runs) if name != "seed-000" else True


def test_latest_is_by_beginning_not_by_files(runs: Path) -> None:
    """Times of files do not count where a run says when it began."""
    os.utime(runs / "other" / "config.toml", (4e9, 4e9))
    assert find_run("latest", runs).name == "first"
    old = make(runs / "20261125-093000-000001-report-seed0")
    os.utime(old / "config.toml", (1, 1))
    assert began(old) > began(runs / "first")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fi", "2 runs begin so: fine, first"),
        ("frist", "did you mean first?"),
        ("study", "this is a study, not a run"),
        ("", "expected a run, found an empty text"),
    ],
)
def test_refused_with_one_message(runs: Path, text: str, words: str) -> None:
    """Several, none, a study: one message says which."""
    with pytest.raises(UsageProblem, match=words.replace("?", r"\?")) as caught:
        find_run(text, runs)
    assert caught.value.exit_code == 2


def test_a_comparison_takes_studies(runs: Path) -> None:
    """What may be named depends on the command."""
    assert find_run("study", runs, kinds=("run", "study")).name == "study-report"


def test_swapped_arguments(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message is the command to type."""
    monkeypatch.chdir(runs.parents[1])
    Path("shoe.png").write_bytes(b"x")
    with pytest.raises(UsageProblem, match=r"type `bpfunc predict data/runs/first shoe.png`"):
        check_order("shoe.png", [Path("data/runs/first")], ["bpfunc", "predict"])
    with pytest.raises(UsageProblem, match=r"type `bpfunc predict first shoe.png`"):
        check_order("shoe.png", [Path("first")], ["bpfunc", "predict"])
    check_order("first", [Path("shoe.png")], ["bpfunc", "predict"])


def test_completion(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of runs, paths of runs, and the word for the last one."""
    monkeypatch.chdir(runs.parents[1])
    assert complete_run("") == ["fine", "first", "other", "latest"]
    assert complete_run("data/runs/f") == ["data/runs/fine", "data/runs/first"]


TAKES_A_RUN = [name for name, command in ALL.items() if any(one.metavar in ("RUN", "A") for one in command.params)]


@pytest.mark.parametrize("name", TAKES_A_RUN)
def test_every_command_names_runs_so(cli: Cli, runs: Path, name: str) -> None:
    """A beginning that two runs share is refused by each command that takes a run, and by the same words."""
    more = {"compare": ["fi"], "runs compare": ["fi"], "predict": ["a.png"], "export": ["--to", "npz"]}
    done = cli(*name.split(), "fi", *more.get(name, []))
    assert done.returncode == 2
    assert "2 runs begin so: fine, first" in done.stderr, done.stderr
