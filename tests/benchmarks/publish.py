"""Results in ``docs/performance.md``: ``python -m tests.benchmarks.publish RESULTS``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.pictures import draw
from tests.benchmarks.settings import ROOT
from tests.benchmarks.tables import SECTIONS, circumstances
from tests.benchmarks.targets import targets

PAGE, FOLDER = ROOT / "docs" / "performance.md", ROOT / "docs" / "performance"
BEGIN, END = "<!-- figures: written by tests/benchmarks, do not edit -->\n", "<!-- end of figures -->\n"


def publish(results: Mapping[str, Any], page: Path = PAGE, folder: Path = FOLDER) -> None:
    """Put figures and pictures into the page, in place of those that were there.

    Args:
        results: What the suite measured.
        page: With the two marks.
        folder: For ``results.json`` and the pictures.
    """
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{page} lacks the marks between which the figures stand")
    folder.mkdir(exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    pictures = draw(results, folder)
    page.write_text(f"{before}{BEGIN}\n{markdown(results, folder.name, pictures)}\n{END}{after}", encoding="utf-8")


def markdown(results: Mapping[str, Any], folder: str = ".", pictures: Mapping[str, str] | None = None) -> str:
    """Write all tables.

    Args:
        results: What the suite measured.
        folder: Where the pictures lie.
        pictures: Name of a section -> file of its picture.

    Returns:
        Markdown.
    """
    sections = [f"### Asked for and found\n\n{targets(results)}"] if results else []
    for name, (title, text, table) in SECTIONS.items():
        if name in results:
            picture = f"![{title}]({folder}/{pictures[name]})\n\n" if pictures and name in pictures else ""
            body = f"{text}\n\n{picture}{table(results[name]['records'])}\n\n{circumstances(results[name])}"
            sections.append(f"### {title}\n\n{body}")
    return "\n\n".join(sections) + "\n"


if __name__ == "__main__":
    publish(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
