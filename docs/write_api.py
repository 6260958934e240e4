"""Write the reference from the code: ``docs/api.md``, ``docs/api/*.md``, and the names that ``help(bpfunc)`` shows.

Topics are the comments of ``__all__`` in ``bpfunc/__init__.pyi``; summaries are the first lines of docstrings.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import attrs

import bpfunc

DOCS = Path(__file__).parent
STUB = DOCS.parent / "bpfunc" / "__init__.pyi"
INIT = STUB.with_suffix(".py")
COMMAND = "python docs/write_api.py"
BELOW = {
    "randomness": ("bpfunc.keys",),
    "trees": ("bpfunc.tree",),
    "layers": ("bpfunc.layers",),
    "losses": ("bpfunc.losses",),
    "gradients": ("bpfunc.gradient.modes",),
    "transforms": ("bpfunc.transforms",),
    "metrics": ("bpfunc.metrics",),
}
"""Topic -> modules whose other public names stand on its page."""
BRIDGES = ("sklearn", "onnx", "torch_layout", "safetensors", "network_file")


@attrs.frozen
class Page:
    """A page of the reference."""

    slug: str
    title: str
    gloss: str
    names: tuple[str, ...] = ()
    """Names of `bpfunc` itself."""
    modules: tuple[str, ...] = ()
    """Modules whose public names follow, without those that `bpfunc` has."""
    package: str = ""
    """Package whose other modules are listed with a line each."""


def topics() -> list[tuple[str, str, tuple[str, ...]]]:
    """Read the topics of ``bpfunc.__all__``: name, gloss, and public names."""
    listed = STUB.read_text(encoding="utf-8").partition("__all__ = [\n")[2]
    parts = re.findall(r"    # (.+?): (.+)\n((?:    \".*\",\n)+)", listed)
    return [(topic, gloss, tuple(re.findall(r'"(.+)"', names))) for topic, gloss, names in parts]


def pages() -> list[Page]:
    """List the pages in their order."""
    own = [Page(topic, topic.capitalize(), gloss, names, BELOW.get(topic, ())) for topic, gloss, names in topics()]
    interop = tuple(f"bpfunc.interop.{bridge}" for bridge in BRIDGES)
    return [
        *own,
        Page("ops", "Ops", "primitive functions, each with its derivatives", (), ("bpfunc.ops",)),
        Page("testing", "Testing", "assertions on trees", (), ("bpfunc.testing",)),
        Page("types", "Types", "names for the types of arrays and shapes", (), ("bpfunc.arrays.types",)),
        Page("interop", "Interop", "bridges to other libraries and to files", (), interop, "bpfunc.interop"),
        Page(
            "compiled",
            "Compiled",
            "trainings as machine code; needs the extra `fast`",
            (),
            ("bpfunc.interop.numba", "bpfunc.compiled.choice"),
            "bpfunc.compiled",
        ),
    ]


def public(module: ModuleType) -> tuple[str, ...]:
    """List the public names of a module: its ``__all__``, or the functions, classes and types that it defines."""
    if hasattr(module, "__all__"):
        return tuple(module.__all__)
    defined = [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value) or inspect.isclass(value)
        if value.__module__ == module.__name__
    ]
    types = [name for name in aliases(module.__name__) if not name.isupper()]
    return tuple(name for name in (*types, *defined) if not name.startswith("_"))


@cache
def aliases(module: str) -> dict[str, str]:
    """Read the names of a module that are assigned with a docstring below: name -> docstring."""
    found = importlib.util.find_spec(module)
    assert found is not None and found.origin is not None
    body = ast.parse(Path(found.origin).read_text(encoding="utf-8")).body
    documented: dict[str, str] = {}
    for statement, after in pairwise(body):
        target = statement.target if isinstance(statement, ast.AnnAssign) else None
        if isinstance(statement, ast.Assign):
            target = statement.targets[0]
        text = after.value if isinstance(after, ast.Expr) else None
        if isinstance(target, ast.Name) and isinstance(text, ast.Constant) and isinstance(text.value, str):
            documented[target.id] = inspect.cleandoc(text.value)
    return documented


def alias_text(module: str, name: str) -> str:
    """Find the docstring of an alias or constant in its module, or in those that the module takes it from."""
    found = importlib.util.find_spec(module)
    assert found is not None and found.origin is not None
    source = STUB if module == "bpfunc" else Path(found.origin)
    if name in (here := aliases(module)):
        return here[name]
    for statement in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(statement, ast.ImportFrom) and statement.module is not None:
            for one in statement.names:
                if (one.asname or one.name) == name:
                    return alias_text(statement.module, one.name)
    return ""


def is_documented(value: object) -> bool:
    """Tell whether a value carries its own docstring."""
    return inspect.isfunction(value) or (inspect.isclass(value) and value.__module__.startswith("bpfunc"))


def summary(module: str, name: str) -> str:
    """Return the first sentence of the docstring of a name."""
    value = getattr(importlib.import_module(module), name)
    text = (inspect.getdoc(value) if is_documented(value) else alias_text(module, name)) or ""
    first = " ".join(text.split("\n\n")[0].split()).replace("``", "`")
    return re.split(r"(?<=\.) (?=[A-Z`])", first)[0]


def table(module: str, names: Iterable[str]) -> list[str]:
    """Lay out names and their summaries as the lines of a Markdown table."""
    rows = [f"| [`{name}`](#{module}.{name}) | {summary(module, name).replace('|', '&#124;')} |" for name in names]
    return ["| Name | What it is |", "|---|---|", *rows, ""]


def details(module: str, names: Iterable[str]) -> Iterator[str]:
    """Yield the directives that show signatures and docstrings."""
    for name in names:
        value = getattr(importlib.import_module(module), name)
        if inspect.isclass(value) and is_documented(value):
            fields = "" if issubclass(value, Exception) else "\n   :members:"
            yield f".. autoclass:: {module}.{name}{fields}"
        elif inspect.isfunction(value):
            yield f".. autofunction:: {module}.{name}"
        else:
            yield f".. py:data:: {module}.{name}\n\n{textwrap.indent(alias_text(module, name), '   ')}"


def modules_of(package: str, left_out: Sequence[str]) -> list[str]:
    """Lay out the other modules of a package, with a line each, as a table."""
    there = [info.name for info in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}.")]
    rows = []
    for name in there:
        text = inspect.getdoc(importlib.import_module(name)) or ""
        if name not in left_out:
            rows.append(f"| `{name.rpartition('.')[2]}` | {' '.join(text.split(chr(10) * 2)[0].split())} |")
    heading = [f"## The other modules of `{package}`", "", "What the functions above are made of.", ""]
    return [*heading, "| Module | What it is |", "|---|---|", *rows, ""]


def page_text(page: Page) -> str:
    """Write a page of the reference."""
    gloss = page.gloss[0].upper() + page.gloss[1:]
    lines = [f"# {page.title}", "", f"{gloss}. Made from the code by `{COMMAND}`.", ""]
    directives: list[str] = []
    if page.names:
        lines += table("bpfunc", page.names)
        directives += details("bpfunc", page.names)
    for name in page.modules:
        module = importlib.import_module(name)
        ours = [getattr(bpfunc, one) for one in bpfunc.__all__]
        rest = [
            one
            for one in public(module)
            if not isinstance(getattr(module, one), TypeVar)
            if not any(getattr(module, one) is value for value in ours)
        ]
        if not rest:
            continue
        heading = f"## More in `{name}`" if page.names else f"## `{name}`"
        about = " ".join((inspect.getdoc(module) or "").split("\n\n")[0].split())
        lines += [heading, "", about.replace("``", "`"), "", *table(name, rest)]
        directives += details(name, rest)
    if page.package:
        lines += modules_of(page.package, page.modules)
    return "\n".join([*lines, "## Details", "", "```{eval-rst}", "\n\n".join(directives), "```", ""])


def index_text(all_pages: Sequence[Page]) -> str:
    """Write the page that lists the topics."""
    rows = [
        f"| [{page.title}](api/{page.slug}.md) | {page.gloss} | "
        f"{', '.join(f'`{name}`' for name in page.names or page.modules)} |"
        for page in all_pages
    ]
    intro = (
        "A page for each topic, with one line for each name on top. `help(bpfunc)` lists the same topics, and "
        "`help(bpfunc.dense)` shows the docstring of one name. This page and its pages are made from the code by "
        f"`{COMMAND}`."
    )
    tree = ["```{toctree}", ":hidden:", "", *(f"api/{page.slug}" for page in all_pages), "```", ""]
    head = ["# Reference of the library", "", *textwrap.wrap(intro, 118, break_long_words=False), ""]
    return "\n".join([*head, "| Topic | What it is for | Names |", "|---|---|---|", *rows, "", *tree])


def names_text() -> str:
    """Write the list of names by topic, for the docstring of the package."""
    wrapped = {"width": 116, "initial_indent": "    ", "subsequent_indent": "    "}
    parts = [
        f"{topic}: {gloss}\n" + textwrap.fill(", ".join(names), **wrapped)  # type: ignore[arg-type]
        for topic, gloss, names in topics()
    ]
    return "\n\n".join(parts)


def with_names(source: str) -> str:
    """Put the list of names into the source of the package, between the sentences around it."""
    start, end = "By topic:\n\n", "In modules of their own:"
    before, _, rest = source.partition(start)
    return f"{before}{start}{names_text()}\n\n{end}{rest.partition(end)[2]}"


def written() -> dict[Path, str]:
    """Make every file: path -> text."""
    all_pages = pages()
    files = {DOCS / "api" / f"{page.slug}.md": page_text(page) for page in all_pages}
    return {**files, DOCS / "api.md": index_text(all_pages), INIT: with_names(INIT.read_text(encoding="utf-8"))}


if __name__ == "__main__":
    (DOCS / "api").mkdir(exist_ok=True)
    for path, text in written().items():
        path.write_text(text, encoding="utf-8")
