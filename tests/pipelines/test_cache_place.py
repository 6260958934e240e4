"""Where prepared data is kept: in a clone, in the user's cache directory, or where the person says."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.dataset.places import Places, default_cache, user_cache
from tests.conftest import ROOT

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
PREPARE = ("data", "prepare", "--unpinned", "--classes", "0,1,2", "--json")


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine counts."""
    monkeypatch.delenv("BPFUNC_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))


def test_inside_a_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    """At its root and below."""
    monkeypatch.chdir(ROOT)
    assert default_cache() == Path("data/cache")
    monkeypatch.chdir(ROOT / "docs")
    assert default_cache() == ROOT / "data" / "cache"


def test_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The user's cache directory; a cache that is there already stays in use; the environment comes first."""
    monkeypatch.chdir(tmp_path)
    assert default_cache() == Places().cache == tmp_path / "xdg" / "bpfunc"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_cache().is_relative_to(tmp_path)
    (tmp_path / "data" / "cache").mkdir(parents=True)
    assert default_cache() == Path("data/cache")
    monkeypatch.setenv("BPFUNC_CACHE", "mine")
    assert default_cache() == Path("mine")


@pytest.mark.parametrize(
    ("words", "environment", "place"),
    [
        ((), {}, "xdg/bpfunc"),
        ((), {"BPFUNC_CACHE": "env"}, "env"),
        (("--cache", "option"), {"BPFUNC_CACHE": "env"}, "option"),
    ],
)
def test_commands_keep_data_there(
    cli: Cli, own_data: Path, tmp_path: Path, words: tuple[str, ...], environment: dict[str, str], place: str
) -> None:
    """The option comes before the environment, and that before the user's cache directory; nothing else is made."""
    done = cli(*PREPARE, "--source", str(own_data), *words, **environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
    assert list((tmp_path / place).glob("*/manifest.json"))
    assert not (tmp_path / "data").exists()
