"""Completion as each shell asks for it: recipes, classes, runs and fields in bash, zsh and fish."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pipelines.test_runs_commands import make_run

Cli = Callable[..., "subprocess.CompletedProcess[str]"]

ASKED = {
    ("run", "--recipe", "bes"): "best",
    ("run", "--classes", "Dress,Tr"): "Dress,Trouser",
    ("evaluate", "my-"): "my-run",
    ("report", "lat"): "latest",
    ("run", "--set", "train.learn"): "train.learning_rate=",
}


@pytest.mark.parametrize("words", ASKED, ids=" ".join)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_is_offered(cli: Cli, tmp_path: Path, shell: str, words: tuple[str, ...]) -> None:
    """What the generated script of a shell asks is answered with the word that goes on."""
    make_run(tmp_path / "data" / "runs" / "my-run")
    line = " ".join(("bpfunc", *words))
    if shell == "bash":
        asked = {"COMP_WORDS": line.replace(" ", "\n"), "COMP_CWORD": str(len(words))}
    else:
        asked = {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = cli(_BPFUNC_COMPLETE=f"complete_{shell}", **asked)
    assert done.returncode == 0, done.stderr
    assert ASKED[words] in done.stdout.replace('"', " ").replace("\\", "").split(), done.stdout
