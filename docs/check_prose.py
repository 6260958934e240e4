"""Find the patterns of `docs/words.toml` in code, documentation and help.

python docs/check_prose.py            # exit code 1 and one line for each hit
python docs/check_prose.py FILE ...   # only these files
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SEARCHED = (
    "bpfunc/**/*.py",
    "bpfunc/*.pyi",
    "pipelines/**/*",
    "docs/*.md",
    "docs/*.ipynb",
    "data/*.md",
    "*.md",
    "Makefile",
)
KINDS = {".py", ".pyi", ".md", ".toml", ".js", ".ipynb", ""}
LEFT_OUT = {"CODE_OF_CONDUCT.md"}


def patterns() -> dict[re.Pattern[str], str]:
    """Read the patterns, each with the advice for it."""
    table = tomllib.loads((ROOT / "docs" / "words.toml").read_text(encoding="utf-8"))["avoid"]
    return {re.compile(pattern, re.IGNORECASE): advice for pattern, advice in table.items()}


def searched() -> list[Path]:
    """List the files that are searched."""
    found = {path for pattern in SEARCHED for path in ROOT.glob(pattern) if path.is_file() and path.suffix in KINDS}
    return sorted(path for path in found if path.name not in LEFT_OUT and "__pycache__" not in path.parts)


def hits(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield line number, words and advice for each pattern found; a line break counts as a space."""
    joined = re.sub(r"\n[ \t#>*]*", lambda match: "\n" + " " * (len(match[0]) - 1), text)
    for pattern, advice in patterns().items():
        spaced = re.compile(pattern.pattern.replace(" ", r"\s+"), re.IGNORECASE)
        for match in spaced.finditer(joined):
            yield joined.count("\n", 0, match.start()) + 1, " ".join(match[0].split()), advice


def main(paths: Iterable[str]) -> int:
    """Print every hit; return 1 if there is one."""
    count = 0
    for path in [Path(name).resolve() for name in paths] or searched():
        for line, words, advice in sorted(hits(path.read_text(encoding="utf-8"))):
            print(f"{path.relative_to(ROOT)}:{line}: {words!r}: {advice}")
            count += 1
    print(f"{count} hits", file=sys.stderr)
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
