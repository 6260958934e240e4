"""The words that `docs/words.toml` avoids: none are in the project, and a planted one is found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def checked(*files: Path) -> subprocess.CompletedProcess[str]:
    """Run the check of prose over some files, or over all that it searches."""
    command = [sys.executable, "docs/check_prose.py", *map(str, files)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_no_avoided_words() -> None:
    """Code, help and documentation keep to plain English."""
    done = checked()
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    "planted", ["the file is no TOML", "whoever asks", "in place of\n    the other", "Mend the file."]
)
def test_planted_words_are_found(planted: str) -> None:
    """Each pattern is found, also across lines, with its place and advice."""
    place = ROOT / "docs" / "planted-words.tmp.md"
    place.write_text(f"A first line.\n{planted}\n", encoding="utf-8")
    try:
        done = checked(place)
    finally:
        place.unlink()
    assert done.returncode == 1
    assert done.stdout.startswith("docs/planted-words.tmp.md:2: ")
