"""Draw the architecture from the code: rooms, floors and arrows of both packages, and the tree of all modules.

A *room* is a module or folder at the root of a package. An *arrow* goes from a room to a room that it imports from
(imports for type checkers alone do not count). The *floors* are those of the layer contracts in ``pyproject.toml``;
without a contract they are computed so that few arrows go up. An arrow is *upward* when it does not lead to a lower
floor.

    python docs/draw_architecture.py            # print the figures, write docs/architecture.{md,svg}
    python docs/draw_architecture.py --check    # fail if the files do not agree with the code
    python docs/draw_architecture.py --figures --root ANOTHER_CHECKOUT
"""

from __future__ import annotations

import argparse
import ast
import sys
import tomllib
from collections import defaultdict
from html import escape
from pathlib import Path

PACKAGES = ("bpfunc", "pipelines")
WIDTH, ROW, BOX, MARGIN = 960, 74, 34, 24
STYLE = """
  text { font: 14px system-ui, sans-serif; fill: #1a1a1a } .title { font-weight: 600; font-size: 17px }
  rect { fill: #eef3fb; stroke: #35608f } path { stroke: #7a8794; fill: none }
  marker path { fill: #7a8794; stroke: none }
  @media (prefers-color-scheme: dark) {
    text { fill: #eee } rect { fill: #20303f; stroke: #8fb4dd } path { stroke: #8a97a4 }
    marker path { fill: #8a97a4 } }
"""


def modules(root: Path, package: str) -> dict[str, Path]:
    """Map the dotted name of every module of a package to its file."""
    found = {}
    for path in sorted((root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path) -> set[str]:
    """Name everything that a file imports at run time, wherever in the file the import is."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guards = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    for_types = {inner for guard in guards for inner in ast.walk(guard)}
    names: set[str] = set()
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rooms_and_arrows(root: Path, package: str) -> dict[str, set[str]]:
    """Map each room of a package to the rooms that it imports from."""
    known = modules(root, package)
    arrows: dict[str, set[str]] = {name.split(".")[1]: set() for name in known if "." in name}
    for name, path in known.items():
        targets = {target.split(".")[1] for target in imported(path) & known.keys() if "." in target}
        if "." in name:
            arrows[name.split(".")[1]] |= targets - {name.split(".")[1]}
    return arrows


def contract_floors(root: Path, package: str) -> list[list[str]]:
    """Read the floors of a package from its layer contract, the top floor first; none without a contract."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"].get("importlinter", {})
    for contract in settings.get("contracts", []):
        if contract["type"] == "layers" and contract.get("containers") == [package]:
            return [layer.replace(":", "|").replace(" ", "").split("|") for layer in contract["layers"]]
    return []


def computed_floors(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Lay rooms on floors so that few arrows go up (Eades, Lin and Smyth 1993), the top floor first."""
    left, top, bottom = {room: set(targets) for room, targets in arrows.items()}, [], []
    while left:
        users = {room: [other for other in left if room in left[other]] for room in left}
        sinks = [room for room in left if not left[room] & left.keys()]
        sources = [room for room in left if not users[room]]
        chosen = (sinks or sources or [max(left, key=lambda room: len(left[room] & left.keys()) - len(users[room]))])[0]
        (bottom if sinks else top).append(chosen)
        del left[chosen]
    height: dict[str, int] = {}
    for room in bottom + top[::-1]:
        height[room] = 1 + max((height[target] for target in arrows[room] if target in height), default=0)
    return [sorted(room for room in height if height[room] == floor) for floor in range(max(height.values()), 0, -1)]


def upward(arrows: dict[str, set[str]], floors: list[list[str]]) -> list[str]:
    """List the arrows that do not lead to a lower floor."""
    depth = {room: number for number, floor in enumerate(floors) for room in floor}
    pairs = [(room, target) for room, targets in sorted(arrows.items()) for target in sorted(targets)]
    return [f"{room} -> {target}" for room, target in pairs if depth[target] <= depth[room]]


def figures(root: Path) -> str:
    """Count rooms, floors and upward arrows of both packages."""
    lines = []
    for package in PACKAGES:
        arrows = rooms_and_arrows(root, package)
        floors = contract_floors(root, package) or computed_floors(arrows)
        up = upward(arrows, floors)
        lines.append(f"{package}: {len(arrows)} rooms, {len(floors)} floors, {len(up)} upward arrows")
        lines += [f"  {'  '.join(floor)}" for floor in floors] + [f"  upward: {arrow}" for arrow in up]
    return "\n".join(lines)


def direct(arrows: dict[str, set[str]]) -> dict[str, set[str]]:
    """Leave out an arrow where a longer way leads to the same room."""

    def reached(room: str, seen: set[str]) -> set[str]:
        for target in arrows[room] - seen:
            reached(target, seen | {target})
            seen |= {target} | reached(target, set())
        return seen

    below = {room: reached(room, set()) for room in arrows}
    return {
        room: {target for target in targets if not any(target in below[other] for other in targets - {target})}
        for room, targets in arrows.items()
    }


def drawing(root: Path) -> str:
    """Draw both packages as one SVG; an arrow that a longer way of arrows implies is left out."""
    shapes, top = [], MARGIN
    for package in reversed(PACKAGES):
        arrows, floors = rooms_and_arrows(root, package), contract_floors(root, package)
        shapes.append(f'<text class="title" x="{MARGIN}" y="{top + 6}">{package}/</text>')
        place = {}
        for number, floor in enumerate(floors):
            for column, room in enumerate(floor):
                place[room] = (WIDTH * (column + 1) / (len(floor) + 1), top + 26 + number * ROW)
        for room, targets in sorted(direct(arrows).items()):
            for target in sorted(targets):
                (x, y), (tx, ty) = place[room], place[target]
                bend = (ty - y - BOX) / 2
                d = f"M{x:.0f} {y + BOX:.0f}C{x:.0f} {y + BOX + bend:.0f} {tx:.0f} {ty - bend:.0f} {tx:.0f} {ty:.0f}"
                shapes.append(f'<path d="{d}" marker-end="url(#tip)"/>')
        for room, (x, y) in place.items():
            half = 5 * len(room) + 14
            shapes.append(f'<rect x="{x - half:.0f}" y="{y:.0f}" width="{2 * half}" height="{BOX}" rx="5"/>')
            shapes.append(f'<text x="{x:.0f}" y="{y + 22:.0f}" text-anchor="middle">{escape(room)}</text>')
        top += 26 + len(floors) * ROW + MARGIN
    size = 'markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto"'
    tip = f'<marker id="tip" {size}><path d="M0 0L8 4L0 8z"/></marker>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img">'
    title = "<title>Rooms and floors of pipelines and bpfunc; arrows show imports</title>"
    return "\n".join([head, title, f"<style>{STYLE}</style>", f"<defs>{tip}</defs>", *shapes, "</svg>", ""])


def first_sentence(path: Path) -> str:
    """Read the first paragraph of a module's docstring, on one line."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def tree_lines(root: Path, package: str) -> list[str]:
    """List every module of a package with the first sentence of its docstring, the ground floor first."""
    known = modules(root, package)
    lines: dict[str, list[str]] = defaultdict(list)
    for name, path in known.items():
        parts = path.relative_to(root).parts
        if len(parts) > 1 and path.name not in ("__main__.py",):
            folder = path.name == "__init__.py"
            depth = len(parts) - 2 - folder
            shown = f"{path.parent.name}/" if folder else path.name
            room = name.split(".")[1] if "." in name else ""
            lines[room].append(f"{'  ' * depth}- `{shown}`: {first_sentence(path)}" if depth >= 0 else "")
    order = [room for floor in reversed(contract_floors(root, package)) for room in floor]
    return [line for room in order for line in lines[room]]


def page(root: Path) -> str:
    """Return ``docs/architecture.md`` with its generated part made anew."""
    text = (root / "docs" / "architecture.md").read_text(encoding="utf-8")
    before, _, rest = text.partition("<!-- tree -->")
    _, _, after = rest.partition("<!-- /tree -->")
    parts = [f"### {package}/\n\n{chr(10).join(tree_lines(root, package))}" for package in PACKAGES]
    counts = "\n".join(f"- {line}" for line in figures(root).splitlines() if not line.startswith(" "))
    made = "\n\n".join([counts, *parts])
    return f"{before}<!-- tree -->\n\n{made}\n\n<!-- /tree -->{after}"


def main() -> int:
    """Print the figures; write or check the page and the drawing."""
    parser = argparse.ArgumentParser(description="Draw the architecture from the code.")
    parser.add_argument("--check", action="store_true", help="fail if the files do not agree with the code")
    parser.add_argument("--figures", action="store_true", help="print the figures and write nothing")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1], help="the checkout")
    given = parser.parse_args()
    print(figures(given.root))
    if given.figures:
        return 0
    made = {"architecture.md": page(given.root), "architecture.svg": drawing(given.root)}
    if given.check:
        stale = [n for n, text in made.items() if (given.root / "docs" / n).read_text(encoding="utf-8") != text]
        print(*(f"docs/{name} does not agree with the code: run `make architecture`" for name in stale), sep="\n")
        return bool(stale)
    for name, text in made.items():
        (given.root / "docs" / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
