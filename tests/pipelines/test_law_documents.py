"""Law: TOML and JSON are parsed in one place, with one limit on size and depth, in time that grows with their size."""

from __future__ import annotations

import ast
import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from pipelines.dataset.partitions import open_partitions
from pipelines.disk.untrusted.documents import DEPTH_LIMIT, JSON_LIMIT, TOML_LIMIT, parse_json, parse_toml
from pipelines.errors import DataProblem, PipelineError, UsageProblem
from pipelines.spec.run_spec import RunSpec
from pipelines.spec.settings import settings_table
from pipelines.spec.toml import from_toml, load_config
from pipelines.studies.tuning.cross_validation import load_search
from pipelines.studies.tuning.space import load_space

ROOT = Path(__file__).parents[2]
PARSERS = {"tomllib", "json.loads", "json.load", "json.JSONDecoder"}
READER = "pipelines/disk/untrusted/documents.py"


def parsers_in(text: str) -> set[str]:
    """Names in a source text that parse TOML or JSON."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & PARSERS
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
        elif isinstance(node, ast.Attribute):
            found.add(ast.unparse(node))
    return {name for name in found if any(name == parser or name.startswith(f"{parser}.") for parser in PARSERS)}


def test_one_module_parses() -> None:
    """Whoever reads TOML or JSON reads it through the reader with the limits."""
    found = {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "pipelines").rglob("*.py") if parsers_in(path.read_text())
    }
    assert found == {READER}


@pytest.mark.parametrize(
    "planted", ["import tomllib", "from json import loads", "x = json.load(file)", "tomllib.loads(x)"]
)
def test_planted_parser_is_found(planted: str) -> None:
    """The check above can fail."""
    assert parsers_in(planted)


DOTTED = "a." * 45_000 + "a = 1"
DEEP = {
    "one long dotted key": DOTTED,
    "a dotted key in quotes": '"a" . ' * 14_000 + "a = 1",
    "a dotted heading": "[" + "a." * 45_000 + "a]",
    "a dotted key behind a string": "x = {a = '''b'''', " + "c." * 40_000 + "c = 1}",
    "lists in lists": "a = " + "[" * 45_000 + "]" * 45_000,
    "tables in tables": "a = " + "{a=" * 20_000 + "1" + "}" * 20_000,
    "keys in tables": "".join(f"[{'.'.join(['a'] * 30)}]\n" for _ in range(1))
    + "b = "
    + "{c.c.c=" * 20
    + "1"
    + "}" * 20,
    "too large": "#" * (TOML_LIMIT + 1),
}


@pytest.mark.parametrize("name", DEEP)
def test_a_toml_text_that_would_take_for_ever_is_refused(name: str, tmp_path: Path) -> None:
    """By every way in, before it is parsed: 90 kB of one dotted key took 34 s and 8 GB."""
    text, path = DEEP[name], tmp_path / "file.toml"
    path.write_text(text)
    ways: list[Callable[[], object]] = [
        lambda: load_config(path, RunSpec()),
        lambda: from_toml(text, RunSpec(), where="the header of a file"),
        lambda: load_search(path),
        lambda: load_space(path),
    ]
    for way in ways:
        with pytest.raises(UsageProblem, match=r"nests deeper than|more than 32 parts|larger than"):
            way()
    # What is no TOML on the command line is a text, so it is no value of this field.
    assert settings_table([f"train.optimizer=1\n{text}"]) == {"train": {"optimizer": f"1\n{text}".strip()}}


@pytest.mark.parametrize(
    "text",
    [
        "[" * 400_000,
        '{"a":' * 150_000,
        "[" * (DEPTH_LIMIT + 1) + "]" * (DEPTH_LIMIT + 1),
        " " * (JSON_LIMIT + 1),
        '{"format": "bpfunc-partitions-1", "parts": ' + "[" * 60_000 + "]" * 60_000 + "}",
        '{"format": "bpfunc-partitions-1", "format": "bpfunc-partitions-1"}',
    ],
    ids=["brackets", "braces", "one too many", "too large", "manifest", "twice"],
)
def test_json_that_nests_is_large_or_ambiguous_is_refused(text: str, tmp_path: Path) -> None:
    """A ValueError for the readers, one message for a person."""
    with pytest.raises(ValueError, match=r"nests deeper than|larger than|is there twice"):
        parse_json(text)
    (tmp_path / "partitions.json").write_text(text)
    with pytest.raises(DataProblem, match="damaged manifest"):
        open_partitions(str(tmp_path))


KEYS = st.text(st.sampled_from("ab.\"'#[]{}\\= \n"), min_size=1, max_size=4)
VALUES = st.recursive(
    st.one_of(
        st.text(st.sampled_from("ab.\"'#[]{}\\=\n\x1b\u202e"), max_size=6),
        st.booleans(),
        st.integers(-9, 9),
        st.floats(-9, 9),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)


def toml(value: object) -> str:
    """Write a value as TOML, tables inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(inner)}" for key, inner in value.items()) + "}"
    return "[" + ", ".join(map(toml, value)) + "]" if isinstance(value, list) else json.dumps(value)


@given(
    st.dictionaries(KEYS, VALUES, max_size=4),
    st.sampled_from(["", " # '", '\nx1 = """\na[{"""', "\nx2 = '''[[[\n'''''"]),
)
def test_what_is_right_is_read_as_ever(table: dict[str, object], tail: str) -> None:
    """The look at brackets and dots before parsing refuses nothing that does not nest, whatever is in its strings."""
    text = "\n".join(
        f"{json.dumps(key)} = {toml(value)}{tail if number == 0 else ''}"
        for number, (key, value) in enumerate(table.items())
    )
    assert parse_toml(text) == tomllib.loads(text)
    assert parse_json(json.dumps(table)) == table


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""])
def test_a_byte_order_mark_is_left_out(mark: bytes, tmp_path: Path) -> None:
    """Editors on Windows put one before UTF-8."""
    path = tmp_path / "file.toml"
    path.write_bytes(mark + b"[train]\nepochs = 3")
    assert load_config(path, RunSpec()).train.epochs == 3
    assert parse_json(mark + b'{"a": 1}') == {"a": 1}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_other_encodings_are_named(encoding: str, tmp_path: Path) -> None:
    """One message says what to do."""
    path = tmp_path / "file.toml"
    path.write_bytes('name = "ä"'.encode(encoding))
    with pytest.raises(PipelineError, match=r"UTF-8|not valid TOML"):
        load_config(path, RunSpec())
