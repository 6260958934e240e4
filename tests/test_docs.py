"""The pages tell the truth: their Python runs, prints what they say it prints, and type-checks."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

import bpfunc

ROOT = Path(__file__).parents[1]
PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if page.exists()]
NEEDS = {"engine.md": ("numba",), "onnx.md": ("onnx", "onnxruntime"), "sklearn.md": ("sklearn",)}
"""Pages whose code needs libraries of extras."""
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str) -> list[tuple[int, str, str]]:
    """(line of the first character, language, body) of every block marked ``python`` or ``text``."""
    return [(text.count("\n", 0, m.start(2)), m.group(1), m.group(2)) for m in BLOCK.finditer(text)]


def run(text: str, name: str) -> None:
    """Run the Python blocks in order in one namespace; a text block is what the Python block before it printed."""
    namespace: dict[str, object] = {"__name__": "__page__"}
    printed: str | None = None
    for line, language, body in blocks(text):
        if language == "text":
            assert printed == body, f"{name}, line {line + 1}"
            continue
        with contextlib.redirect_stdout(io.StringIO()) as output:
            # The empty lines make a traceback name the page's own line.
            exec(compile("\n" * line + body, name, "exec", dont_inherit=True), namespace)
        printed = output.getvalue()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_runs(page: Path) -> None:
    """Whoever copies the page's code gets what the page says."""
    for library in NEEDS.get(page.name, ()):
        pytest.importorskip(library, reason=f"the page needs {library}")
    run(page.read_text(encoding="utf-8"), page.name)


def test_planted_mistakes_are_found() -> None:
    """The check above can fail: for code that raises, and for code that prints something else."""
    with pytest.raises(ZeroDivisionError):
        run("```python\n1 / 0\n```\n", "planted")
    with pytest.raises(AssertionError, match="planted, line 5"):
        run("```python\nprint(1)\n```\n```text\n2\n```\n", "planted")


def check_types(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run mypy --strict on the Python blocks of a page as one module."""
    module = folder / "page.py"
    module.write_text("".join(body for _, language, body in blocks(text) if language == "python"), encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={ROOT / '.mypy_cache'}", module],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_compose_page_is_strictly_typed(tmp_path: Path) -> None:
    """Parts of one's own snap on under mypy --strict, and a part of the wrong type does not."""
    pytest.importorskip("mypy", reason="needs the extra `lint`")
    text = (ROOT / "docs" / "compose.md").read_text(encoding="utf-8")
    done = check_types(text, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    planted = check_types(f"{text}\n```python\nbp.chain(halved)\n```\n", tmp_path)
    assert "incompatible type" in planted.stdout


def called_names(text: str) -> set[str]:
    """Names that the right-hand column of a page's tables calls."""
    cells = [line.strip().strip("|").split("|")[-1] for line in text.splitlines() if line.startswith("|")]
    return {
        name for cell in cells for code in re.findall(r"`([^`]+)`", cell) for name in re.findall(r"\b(\w+)\(", code)
    }


def test_twins_exist() -> None:
    """Every function that the page for newcomers from elsewhere calls ours is one."""
    known = {*dir(bpfunc), "step", "update"}  # what `make_step` returns, and of a transform
    known |= {"to_safetensors", "to_torch_state_dict", "from_torch_state_dict"}  # of the interop modules
    names = called_names((ROOT / "docs" / "coming-from.md").read_text(encoding="utf-8"))
    assert len(names) > 25
    assert names - known == set()


def test_planted_twin_is_found() -> None:
    """The check above sees a name that does not exist."""
    assert called_names("| `theirs(1)` | `no_such_thing(2)`, an idea |\n") == {"no_such_thing"}


def test_compose_page_is_as_short_as_it_says() -> None:
    """The training takes less than 30 lines, and each of the six parts of one's own less than ten."""
    text = (ROOT / "docs" / "compose.md").read_text(encoding="utf-8")
    whole, *parts = (
        [body for _, language, body in blocks(section) if language == "python"] for section in text.split("\n## ")[1:]
    )
    assert len(lines_of_code(whole[1])) < 30
    assert [len(lines_of_code(part[0])) < 10 for part in parts] == [True] * 6


def lines_of_code(body: str) -> list[str]:
    """The lines that are not empty and no check."""
    return [line for line in body.splitlines() if line and not line.startswith("assert")]


def unreachable(start: Path, pages: Iterable[Path], left_out: str = "") -> set[str]:
    """Pages that no row of links leads to from a page; one link may be left out, to see that it is missed."""
    seen, todo = set(), [start.resolve()]
    while todo:
        page = todo.pop()
        if page in seen or not page.exists():
            continue
        seen.add(page)
        text = page.read_text(encoding="utf-8") if page.suffix == ".md" else ""
        links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if link != left_out and "://" not in link]
        todo += [(page.parent / link).resolve() for link in links]
    return {str(page.relative_to(ROOT)) for page in pages if page.resolve() not in seen}


def test_every_page_is_reached_from_the_readme() -> None:
    """By links in the text alone; a page whose only link is left out is found."""
    pages = [*PAGES, *(ROOT / "docs").glob("*.ipynb"), *ROOT.glob("*.md"), ROOT / "data" / "README.md"]
    assert unreachable(ROOT / "README.md", pages) == set()
    assert unreachable(ROOT / "README.md", pages, "api/layers.md") == {"docs/api/layers.md"}


def test_every_page_is_in_the_navigation() -> None:
    """The table of contents of the built documentation has every page of `docs`."""
    docs = ROOT / "docs"
    for index, folder in ((docs / "index.md", docs), (docs / "api.md", docs / "api")):
        tree = index.read_text(encoding="utf-8").partition("```{toctree}")[2].partition("```")[0]
        listed = {Path(line).name for line in tree.split() if not line.startswith(":")}
        assert {page.stem for page in folder.glob("*.md")} - {"index"} <= listed


def test_every_link_leads_to_a_file() -> None:
    """A link between pages whose file is not there is found."""
    for page in PAGES:
        links = re.findall(r"\]\(([^)#\s]+\.(?:md|ipynb|svg|png))\)", page.read_text(encoding="utf-8"))
        assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == [], page.name
