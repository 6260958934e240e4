"""Law: a standard stream that is closed, full or read by nobody changes neither the work nor its exit code.

Commands are found in the command line's own tree, and each is run in each of these worlds.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipelines.commands import ALL, Stage, has_option, set_stage
from tests.pipelines.worlds import ROOT, Done, Stream, Worlds

WORLDS: dict[str, dict[str, Stream]] = {
    "<&- 2>&-": {"stdin": "closed", "stderr": "closed"},
    "2>/dev/full": {"stderr": "full"},
    ">&-": {"stdout": "closed"},
    ">/dev/full 2>&1 | true": {"stdout": "full", "stderr": "broken"},
    "<&- 2>&- | true": {"stdin": "closed", "stdout": "broken", "stderr": "closed"},
}
OFFLINE = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
"""No mirror is asked: the command that downloads fails, in every world alike."""
LONG = {"study", "search", "sweep"}
"""Commands that start processes: they find their work done, but in the first world and the last."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """Inputs for every command."""
    return set_stage(tmp_path_factory.mktemp("stage"))


@pytest.fixture(scope="module")
def worlds() -> Iterator[Worlds]:
    """One helper process for all commands."""
    with Worlds() as worlds:
        yield worlds


def files(directory: Path) -> set[str]:
    """Relative paths of all that lies below a directory."""
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def is_document_or_nothing(text: str) -> bool:
    """Whether a text is one JSON document, or nothing at all."""
    if not text:
        return True
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def check(world: dict[str, Stream], found: Done, normal: Done) -> None:
    """Compare what came of a command with what comes of it in a world where all is well."""
    assert "Traceback" not in found.stderr + found.stdout
    lost = bool(normal.stdout) and world.get("stdout", "open") != "open"
    assert found.code == (normal.code or int(lost))
    assert bool(found.stdout) == (bool(normal.stdout) and not lost)
    if world.get("stderr", "open") != "open":
        assert found.stderr == ""
    elif lost and world["stdout"] != "broken":
        assert found.stderr.count("error: the result cannot be written") == 1
    else:
        assert "cannot be written" not in found.stderr


@pytest.mark.parametrize("name", ALL)
def test_streams_change_nothing(name: str, stage: Stage, worlds: Worlds, tmp_path: Path) -> None:
    """Same files, same exit code; a result that is lost is exit code 1; under --json one document or nothing."""
    words = stage.words(name) + (["--json"] if has_option(name, "--json") else [])
    here = stage.directory(tmp_path / "normal")
    normal = worlds.run(here, words, environment=OFFLINE)
    assert normal.stdout or normal.code, "every command gives a result"
    assert is_document_or_nothing(normal.stdout)
    for number, (shown, world) in enumerate(WORLDS.items()):
        there = stage.directory(tmp_path / str(number))
        if name in LONG and number < len(WORLDS) - 1:
            shutil.copytree(here / "out", there / "out")
        found = worlds.run(there, words, environment=OFFLINE, **world)
        try:
            check(world, found, normal)
            assert is_document_or_nothing(found.stdout)
            assert files(there) == files(here)
        except AssertionError as wrong:
            raise AssertionError(f"bpfunc {' '.join(words)} {shown}: {found}") from wrong


@pytest.mark.parametrize("redirect", ["<&-", ">&-", "2>&-", ">&- 2>&- <&-", ">/dev/full", "2>/dev/full"])
@pytest.mark.parametrize("words", ["config recipes", "config show --json", "config show --recipe none", "run --none"])
def test_a_shell_sets_the_streams(words: str, redirect: str, tmp_path: Path) -> None:
    """The same with a shell that does it: what the helper process makes up is what there is."""
    shell = f"{sys.executable} -m pipelines {words} {redirect}"
    done = subprocess.run(
        ["sh", "-c", shell],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    fails = words.endswith("none")
    lost = " >" in f" {redirect}" and not fails
    assert done.returncode == (2 if fails else int(lost))
    assert bool(done.stdout) == (not fails and not lost)
    assert is_document_or_nothing(done.stdout) or "--json" not in words
    assert bool(done.stderr) == (fails or lost) * ("2>" not in redirect)
    assert "Traceback" not in done.stderr
