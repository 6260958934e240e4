"""Law: text from outside reaches terminals, pages, Markdown, shell commands and file names through one escaping each.

The places are found: functions that give text or markup by what they return, commands and their parameters in the
command line's own tree. Each is given text that a terminal or a browser would obey.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import importlib
import inspect
import json
import os
import pkgutil
import re
import shlex
import subprocess
import typing
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer._click.core import Parameter
from typer.core import TyperArgument

import pipelines
from pipelines.cli.terminal import LINE_LIMIT
from pipelines.dataset.places import Places
from pipelines.disk.file_names import file_name_fault
from pipelines.disk.untrusted.printable import markdown, printable, shell
from pipelines.inference.inputs import read_images
from pipelines.inference.predict import predict
from pipelines.inference.text import answer_lines
from pipelines.inspection.doctor import diagnose, diagnosis_lines
from pipelines.inspection.explain import explain
from pipelines.inspection.explain_page import explain_page
from pipelines.inspection.gradcheck import check_derivatives
from pipelines.inspection.text import check_lines, explained_lines
from pipelines.report.figures import confusion_png
from pipelines.runs.listing import list_runs, list_studies
from pipelines.runs.metrics import RunMetrics, read_metrics, write_metrics
from pipelines.runs.model_card import CardInputs, model_card
from pipelines.runs.network import read_network
from pipelines.runs.run import evaluate_run, reopen_run, report_inputs
from pipelines.runs.text import result_table, run_line, run_lines
from pipelines.runs.wording import facts_in_words, lineage_in_words
from pipelines.spec.fields import spec_fields
from pipelines.spec.origins import explained_toml
from pipelines.spec.text import field_lines
from pipelines.stages.evaluate import evaluate
from pipelines.studies.ablation import AblationRow
from pipelines.studies.comparison import side_by_side
from pipelines.studies.comparison_page import comparison_page
from pipelines.studies.study import read_seed, summarised, train_seed
from pipelines.studies.study_page import study_page
from pipelines.studies.text import ablation_lines, comparison_lines, study_lines
from pipelines.training.rows import read_training_rows
from tests.pipelines.commands import ALL, SPEC, Stage, has_option, option, set_stage
from tests.pipelines.pages import Node, parsed
from tests.pipelines.worlds import Done, Worlds

ROOT = Path(__file__).parents[2]
CONTROL = "\x1b]0;x\x07\x1b[31m\r\n\x0b\x7f\x85\x9b\u2028\u202e\u2066\u200b\ufeff\udcff"
"""Escape sequences, line breaks old and new, marks of direction, characters without width, a byte that is not UTF-8."""
MARKUP = "<img/src=x/onerror=alert(1)><b>\"'&|`](x)[y](z)*_#~"
HOSTILE = f"..{CONTROL}{MARKUP}"
NAME = HOSTILE.replace("/", "")
"""The same as the name of a file."""


def is_clean(text: str) -> bool:
    """Whether a terminal and a browser obey nothing in a text, but for the ends of its lines."""
    return all(line == printable(line) for line in text.split("\n"))


# -- One home for each escaping: what only one module may do, found in the source.

HOMES = {
    r"print\b|typer\.echo|typer\.secho|sys\.(__)?std(out|err)\b": {
        "pipelines/cli/terminal.py",
        "pipelines/cli/streams.py",
    },
    r"shlex\b": {"pipelines/disk/untrusted/printable.py"},
    r"Printable\(": {"pipelines/disk/untrusted/printable.py"},
    r"html\.escape\b": {"pipelines/report/drawing/markup.py"},
    r"Html\(": {"pipelines/report/drawing/markup.py"},
}


def uses(text: str) -> Iterator[str]:
    """Names and calls in a source text, outside docstrings and comments."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            yield f"{ast.unparse(node.func)}("
        elif isinstance(node, ast.Name | ast.Attribute):
            yield ast.unparse(node)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("what", HOMES)
def test_one_home(what: str) -> None:
    """What brings text out of the program stands in one place."""
    sources = {path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / "pipelines").rglob("*.py")}
    found = {name for name, text in sources.items() if any(re.match(what, use) for use in uses(text))}
    assert found <= HOMES[what]
    assert found


@pytest.mark.parametrize(
    "planted", ["print(x)", "sys.stderr.write(x)", "Html(x)", "Printable(x)", "import shlex; shlex.join(x)"]
)
def test_planted_way_out_is_found(planted: str) -> None:
    """The check above can fail."""
    assert any(re.match(what, use) for what in HOMES for use in uses(planted))


# -- Functions that give text or markup, found by what they return, given hostile text.

Member = Callable[..., str]
NO_TEXT = {
    "trusted": "the project's own files",
    "fields_page": "the declarations of the project itself",
    "page_document": "style sheet and script too",
    "element": "its names of tags are the project's own; see test_report",
}
RECORDS = {
    *("answer_lines", "diagnosis_lines", "explain_page", "explained_lines", "check_lines", "model_card", "run_lines"),
    *("run_line", "field_lines"),
    *("comparison_page", "ablation_lines", "comparison_lines", "study_lines", "study_page", "result_table", "page"),
    "explained_toml",
}
"""Functions that are called with records of a real run, see the fixture `records`."""
PARTS = "pipelines.inspection.explain_"
"""Modules that the page of a step is made of; it is tried as a whole."""
COMPOSED = {"printable_lines", "text_lines", "printable_json", "printable_toml"}
"""Functions that take a text of several lines."""


def members() -> dict[str, Member]:
    """Every public function of the pipeline that gives markup, printable text, or a whole page or card."""
    found = {}
    for info in pkgutil.walk_packages(pipelines.__path__, "pipelines."):
        if info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ != info.name or name.startswith("_") or name in NO_TEXT:
                continue
            kind = inspect.signature(function).return_annotation
            if kind in ("Html", "Printable") or (
                name.endswith(("_page", "_card", "page", "document")) and kind == "str"
            ):
                found[f"{info.name}.{name}"] = function
    return found


MEMBERS = members()
WITH_EXAMPLES = {name: function for name, function in MEMBERS.items() if ">>>" in (function.__doc__ or "")}


def example(function: Member) -> list[ast.stmt]:
    """The statements of a function's examples."""
    parts = doctest.DocTestParser().get_examples(function.__doc__ or "")
    return [statement for part in parts for statement in ast.parse(part.source).body]


def results(function: Member, statements: list[ast.stmt]) -> list[str]:
    """Run examples, and gather what the function gave; nothing where an example needs its own text."""
    module = importlib.import_module(function.__module__)
    gathered: list[str] = []

    def watched(*arguments: object, **settings: object) -> str:
        result = function(*arguments, **settings)
        gathered.append(result)
        return result

    names = {**vars(module), "np": np, function.__name__: watched}
    try:
        exec(compile(ast.Module(statements, []), "example", "exec"), names)
    except Exception:
        return []
    return gathered


def tags(page: str) -> list[tuple[str, tuple[str, ...]]]:
    """The elements of a piece of markup with the names of their attributes, in order."""

    def below(node: Node) -> Iterator[tuple[str, tuple[str, ...]]]:
        for child in node.children:
            if isinstance(child, Node):
                yield child.tag, tuple(child.attributes)
                yield from below(child)

    return list(below(parsed(page)))


def check(name: str, plain: str, hostile: str) -> None:
    """Compare what a function gives of plain text with what it gives of hostile text."""
    assert is_clean(hostile), f"{name}: {hostile!r}"
    if plain.startswith("<"):
        assert tags(hostile) == tags(plain), name
    if MEMBERS[name].__name__ not in COMPOSED:
        assert hostile.count("\n") == plain.count("\n"), f"{name}: {hostile!r}"


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_with_hostile_text(name: str) -> None:
    """Each text in an example is replaced in turn; the function then gives as many lines and the same elements."""
    function = WITH_EXAMPLES[name]
    normal = results(function, example(function))
    assert normal, "the example calls its function"
    tried = 0
    for index in range(len(texts_in(example(function)))):
        statements = example(function)
        texts_in(statements)[index].value += HOSTILE
        for plain, hostile in zip(normal, results(function, statements), strict=False):
            check(name, plain, hostile)
            tried += 1
    assert tried or not texts_in(example(function)) or function.__name__ in RECORDS


def texts_in(statements: list[ast.stmt]) -> list[typing.Any]:
    """The texts in examples: what is no key of a mapping, and no tag of an element."""
    nodes = [node for statement in statements for node in ast.walk(statement)]
    own = {id(key) for node in nodes if isinstance(node, ast.Dict) for key in node.keys}
    own |= {id(n.args[0]) for n in nodes if isinstance(n, ast.Call) and ast.unparse(n.func) == "element"}
    return [n for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in own]


def planted(value: typing.Any, kind: object = None) -> typing.Any:
    """A record with hostile text in every field that holds free text, and in all records below it."""
    if attrs.has(type(value)):
        try:
            kinds = typing.get_type_hints(type(value))
        except NameError:  # a type that is imported for type checkers alone
            kinds = {field.name: field.type for field in attrs.fields(type(value))}
        for field in attrs.fields(type(value)):
            found = getattr(value, field.name)
            changed = planted(found, kinds[field.name])
            # A configuration is composed by the project; some names are checked by their record.
            if changed is not found and field.init and field.name != "config":
                with contextlib.suppress(ValueError):
                    value = attrs.evolve(value, **{field.alias: changed})
        return value
    if isinstance(value, str):
        return value + HOSTILE if kind in (str, "str") else value
    if isinstance(value, Path):
        return Path(str(value) + NAME)
    if isinstance(value, tuple) and value:
        inner = str if typing.get_args(kind)[:1] == (str,) else None
        changed = tuple(planted(item, inner) for item in value)
        return changed if any(new is not old for new, old in zip(changed, value, strict=True)) else value
    if isinstance(value, Mapping) and value and all(isinstance(key, str) for key in value):
        return {key + HOSTILE: planted(item, str if isinstance(item, str) else None) for key, item in value.items()}
    return value


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """Inputs for every command."""
    return set_stage(tmp_path_factory.mktemp("stage"))


@pytest.fixture(scope="module")
def records(
    stage: Stage, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Callable[..., str], tuple[object, ...]]]:
    """For each member without an example: a call of it, with the records that it shows."""
    root = tmp_path_factory.mktemp("records")
    places = Places(source=stage.root / "own", cache=stage.root / "cache", raw=root)
    spec, finished = reopen_run(stage.run, places)
    evaluation, _ = evaluate_run(spec, finished)
    network = read_network(stage.run)
    answers = predict(network, read_images([stage.root / "a.png"]))
    explained = explain(read_training_rows(finished.prepared.train), spec, evaluation.class_names)
    train_seed(SPEC, 0, root / "study", places)
    (root / "study" / "config.toml").write_bytes((stage.run / "config.toml").read_bytes())
    seed = read_seed(root / "study", 0)
    assert seed is not None
    study = summarised("study", evaluation.class_names, [seed])
    sides = side_by_side(stage.run, stage.root / "other", places)
    card = CardInputs(
        network=network,
        train_rows=60,
        test_rows=30,
        facts=facts_in_words(spec, finished.trained),
        lineage=lineage_in_words(finished),
        command="bpfunc run",
        evaluation=evaluation,
    )
    checks = list(check_derivatives(SPEC))[:3]
    rows = (AblationRow("flips", 0.9, 0.1, 0.01, (0.0, 0.1), (0.9,)),)
    inputs = report_inputs(spec, finished, evaluation)
    return {
        "answer_lines": (lambda a: answer_lines(a, top=2), (answers,)),
        "diagnosis_lines": (diagnosis_lines, (diagnose(stage.root / "cache", root),)),
        "explain_page": (explain_page, (explained,)),
        "explained_lines": (explained_lines, (explained,)),
        "check_lines": (check_lines, (checks,)),
        "model_card": (model_card, (card,)),
        "run_lines": (run_lines, (list_runs(stage.root), list_studies(root))),
        "run_line": (run_line, (list_runs(stage.root)[0],)),
        "field_lines": (partial(field_lines, width=10**6), (spec_fields(),)),
        "comparison_page": (comparison_page, (sides, "bpfunc compare")),
        "ablation_lines": (ablation_lines, (rows,)),
        "comparison_lines": (comparison_lines, (sides.comparison,)),
        "study_lines": (study_lines, (study,)),
        "study_page": (lambda s, r: study_page(s, "bpfunc study", ablation=r), (study, rows)),
        "result_table": (result_table, (read_metrics(stage.run),)),
        "page": (MEMBERS["pipelines.report.page.page"], (inputs,)),
        "explained_toml": (lambda found: explained_toml(SPEC, found), ({"train.seed": "--set"},)),
    }


def test_every_member_is_tried(records: dict[str, object]) -> None:
    """A new function that gives text has an example, or is called below."""
    assert records.keys() == RECORDS
    others = {name for name in MEMBERS if name not in WITH_EXAMPLES and name.rpartition(".")[2] not in RECORDS}
    assert {name for name in others if not name.startswith(PARTS)} == set()
    assert len(MEMBERS) > 50


def with_classes(values: RunMetrics, ending: str) -> RunMetrics:
    """Figures whose names of classes end in a text."""
    names = tuple(name + ending for name in values.class_names)
    return attrs.evolve(values, class_names=names, recall=dict(zip(names, values.recall.values(), strict=True)))


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_records_with_hostile_text(
    name: str, records: dict[str, tuple[Callable[..., str], tuple[object, ...]]]
) -> None:
    """Every name, path and fact in what a member shows is hostile: as many lines, the same elements, nothing obeyed."""
    function, arguments = records[name]
    full = next(member for member in MEMBERS if member.endswith(f".{name}"))
    if name == "result_table":
        hostile: tuple[object, ...] = (with_classes(typing.cast("RunMetrics", arguments[0]), HOSTILE),)
    elif name in ("explain_page", "explained_lines"):  # all else in a step is made of the network
        names = tuple(each + HOSTILE for each in arguments[0].class_names)  # type: ignore[attr-defined]
        hostile = (attrs.evolve(arguments[0], recipe=HOSTILE, class_names=names),)  # type: ignore[type-var]
    elif name == "explained_toml":
        hostile = ({"train.seed": f"file {HOSTILE}"},)
    else:
        hostile = tuple([planted(item) for item in a] if isinstance(a, list) else planted(a) for a in arguments)
    check(full, function(*arguments), function(*hostile))
    if name == "model_card":
        shown = re.sub(
            r"(?m)^    .*$|^```\w*\n(.|\n)*?^```$", "", function(*hostile).partition("\n---\n")[2]
        )  # no code
        assert r"\<img" in shown
        assert not re.search(r"(?<!\\)<(img|b)\b|(?<!\\)\]\(", shown)


def test_planting_reaches_what_is_shown(stage: Stage) -> None:
    """The helper above does plant."""
    entry = list_runs(stage.root)[0]
    assert HOSTILE in planted(entry).recipe
    assert NAME in str(planted(entry).path)
    assert planted(entry).state == entry.state


def test_pictures_show_hostile_names() -> None:
    """A class name in a PNG neither breaks its lines nor ends its drawing."""
    assert confusion_png(np.eye(2, dtype=np.int64), (HOSTILE, "$x$\n")).startswith(b"\x89PNG")


# -- Commands, found in the tree, given hostile text for every parameter.


@pytest.fixture(scope="module")
def worlds() -> Iterator[Worlds]:
    """One helper process for all commands."""
    with Worlds() as worlds:
        yield worlds


def check_told(done: Done, words: list[str]) -> None:
    """Nothing that a terminal obeys, and a complaint of three lines where the command failed."""
    shown = f"bpfunc {words}: {done}"
    assert is_clean(done.stdout), shown
    assert is_clean(done.stderr), shown
    assert "error: unexpected" not in done.stderr, shown
    if done.code and not done.stdout:
        kinds = [line.split(":")[0] for line in done.stderr.splitlines()]
        usage = [kind for kind in kinds if kind and not kind.startswith("Try ")]
        assert kinds[-3:] == ["error", "  where", "  what to do"] or usage == ["Usage", "Error"], shown


def parameters() -> dict[str, tuple[str, Parameter]]:
    """One command for each parameter that takes a value; options that commands share are tried once."""
    found = {}
    for name, command in ALL.items():
        for parameter in command.params:
            takes_value = isinstance(parameter, TyperArgument) or not getattr(parameter, "is_flag", False)
            if takes_value and option(parameter) != "--help":
                shared = "" if option(parameter) in ("--out", "--runs") else name
                found.setdefault(parameter.metavar or option(parameter), (shared or name, parameter))
    return found


PARAMETERS = parameters()


@pytest.mark.parametrize("metavar", PARAMETERS)
def test_hostile_values(metavar: str, stage: Stage, worlds: Worlds, tmp_path: Path) -> None:
    """Whatever stands on the command line, what is said about it is one message, and nothing in it is obeyed."""
    name, parameter = PARAMETERS[metavar]
    words = stage.words(name)
    if isinstance(parameter, TyperArgument):
        at = len(name.split()) + [p for p in ALL[name].params if isinstance(p, TyperArgument)].index(parameter)
        words[at] = HOSTILE
    else:
        flag = option(parameter)
        if flag in words:
            words[words.index(flag) + 1] = HOSTILE
        else:
            words += [flag, HOSTILE]
    here = stage.directory(tmp_path / "here")
    check_told(worlds.run(here, words), words)


@pytest.mark.parametrize("words", [["run", "--recipe"], ["run", "--set"], ["runs", "show"]])
def test_very_long_text_is_cut(words: list[str], worlds: Worlds, tmp_path: Path) -> None:
    """A message shows both ends of a text, and fits on a screen."""
    done = worlds.run(tmp_path, [*words, "x" * 100_000 + "end"])
    check_told(done, words)
    assert done.code
    assert len(done.stderr) < 3 * (LINE_LIMIT + 100)
    assert "end" in done.stderr


def test_hostile_names_of_options_and_commands(worlds: Worlds, tmp_path: Path) -> None:
    """What is no option and no command is shown as safely."""
    for words in (
        [HOSTILE],
        ["run", f"--{HOSTILE}"],
        ["runs", HOSTILE],
        ["run", f"--epochs={HOSTILE}"],
        ["run", HOSTILE],
    ):
        check_told(worlds.run(tmp_path, words), words)


SIDE_EFFECTS = {"data download", "data bundle"}
"""Commands that fail for want of a network or of the official files."""


@pytest.mark.parametrize("name", [name for name in ALL if name not in SIDE_EFFECTS])
def test_hostile_places(name: str, stage: Stage, worlds: Worlds, tmp_path: Path) -> None:
    """In directories with hostile names each command says as many lines, and its pages and cards obey nothing."""
    # Arrow names files in UTF-8 alone; that the command says so is tried above.
    place = NAME.replace("\udcff", "") if name == "data partition" else NAME
    plain, hostile = stage.directory(tmp_path / "plain", "x"), stage.directory(tmp_path / place, place)
    one, two = worlds.run(plain, stage.words(name, "x")), worlds.run(hostile, stage.words(name, place))
    check_told(two, stage.words(name, place))
    assert one.code == two.code, (one, two)
    assert (one.stdout.count("\n"), one.stderr.count("\n")) == (two.stdout.count("\n"), two.stderr.count("\n")), two
    for page in hostile.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert is_clean(text)
        twin = plain / str(page.relative_to(hostile)).replace(place, "x")
        assert tags(text) == tags(twin.read_text(encoding="utf-8"))
    for card in hostile.rglob("*.md"):
        assert is_clean(card.read_text(encoding="utf-8"))
    if has_option(name, "--json") and name not in ("run", "study", "search", "sweep"):
        done = worlds.run(stage.directory(tmp_path / "json", place), [*stage.words(name, place), "--json"])
        assert is_clean(done.stdout)
        if any(word.startswith(place) for word in stage.words(name, place)) and name != "runs clean":
            assert json.dumps(place)[1:-1] in json.dumps(json.loads(done.stdout)), "the document says the place itself"


# -- Files with hostile text inside.


QUOTED = json.dumps(CONTROL.replace("\udcff", "") + MARKUP)
"""Hostile text in the quotes of TOML and JSON."""
SEARCH = 'recipe = "report"\nfolds = 2\ntake = 1\n'
PART = {"format": "bpfunc-partitions-1", "parts": {NAME: {"sha256": "", "size": 1, "groups": [1]}}}
TEXTS = {
    "a key of a configuration": ("config show --config x", f"{QUOTED} = 1"),
    "a table of a configuration": ("config show --config x", f"[{QUOTED}]"),
    "a value of a configuration": ("config show --config x", f"name = {QUOTED}"),
    "a choice of a configuration": ("config show --config x", f"[train]\noptimizer = {QUOTED}"),
    "a place in a configuration": ("config show --config x", f"[dataset]\npartitions = {QUOTED}"),
    "a class of a configuration": ("data status --config x", f'[dataset]\nclasses = ["Dress", {QUOTED}]'),
    "what is not TOML": ("config show --config x", f"a = {HOSTILE}"),
    "a variant": ("search x --out out", f"{SEARCH}[variant.{QUOTED}]\nx = 1"),
    "a field of a variant": ("search x --out out", f"{SEARCH}[variant.a]\n{QUOTED} = 1"),
    "a field of a search": ("search x --out out", f"{SEARCH}[base]\n{QUOTED} = 1"),
    "a searched field": ("sweep x --out out", f"[parameters]\n{QUOTED} = {{ int = [1, 2] }}"),
    "a range": ("sweep x --out out", f'[parameters]\n"train.seed" = {{ {QUOTED} = [1, 2] }}'),
    "a choice": ("sweep x --out out", f'[parameters]\n"train.seed" = {{ choice = [{QUOTED}] }}'),
    "a recipe": ("sweep x --out out", f"recipe = {QUOTED}\n[parameters]\na = {{ int = [1, 2] }}"),
    "a pruner": ("sweep x --out out", f"pruner = {QUOTED}\n[parameters]\na = {{ int = [1, 2] }}"),
    "a part": ("data verify --partitions .", json.dumps(PART)),
    "a format": ("data verify --partitions .", json.dumps({"format": HOSTILE})),
    "a picture": ("predict run x", HOSTILE),
}


def with_hostile_classes(run: Path) -> None:
    """Seal a run's figures with other names of classes."""
    write_metrics(run, with_classes(read_metrics(run), HOSTILE[:-1].replace("\udcff", "")))


@pytest.mark.parametrize("what", [*TEXTS, "columns of a table", "classes of a result"])
def test_hostile_text_in_files(what: str, stage: Stage, worlds: Worlds, tmp_path: Path) -> None:
    """Keys, values, names of columns, parts and classes: shown, and not obeyed."""
    here = stage.directory(tmp_path / "here")
    if what == "columns of a table":
        words = ["predict", "run", "x.parquet"]
        pq.write_table(pa.table({HOSTILE.encode("utf-8", "replace").decode(): [1]}), here / "x.parquet")
    elif what == "classes of a result":
        words = ["runs", "show", "run"]
        with_hostile_classes(here / "run")
    else:
        call, text = TEXTS[what]
        words = call.split()
        name = "partitions.json" if "partitions" in call else "x"
        (here / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    done = worlds.run(here, words)
    check_told(done, words)
    assert done.stdout + done.stderr


def test_a_directory_of_pictures_with_hostile_names(stage: Stage, worlds: Worlds, tmp_path: Path) -> None:
    """A row for each picture, whatever it is called."""
    here = stage.directory(tmp_path / "here")
    for name in (f"x{NAME}.png", "a\nb.png", "b\n  Dress 100.00 %.png", "\u202egnp.a.png"):
        (here / "photos").mkdir(exist_ok=True)
        (here / "photos" / name).write_bytes((stage.root / "a.png").read_bytes())
    done = worlds.run(here, ["predict", "run", "photos"])
    check_told(done, ["predict"])
    assert (done.code, done.stdout.count("\n")) == (0, 5)


def test_a_forged_row_of_a_list(stage: Stage, worlds: Worlds, tmp_path: Path) -> None:
    """A line break in the name of a run makes no second row."""
    here = stage.directory(tmp_path / "here")
    (here / "runs").mkdir()
    (here / "run").rename(here / "runs" / "a\nfinished  best  seed 0  9 epochs  99.99 %  runs")
    done = worlds.run(here, ["runs", "list", "--runs", "runs"])
    assert done.stdout.count("\n") == 2  # the header, and the run
    assert "a\\nfinished" in done.stdout


# -- The escapings themselves.


def test_a_command_that_is_shown_can_be_run(tmp_path: Path) -> None:
    """Hostile words come out of bash as they went in."""
    words = [NAME, "a b", "$(x)", "\\", "'", "größe", "\x1b", "--out", "é\u200d\U000e0001"]
    line = shell(words)
    assert is_clean(line)
    assert "\n" not in line
    script = f"for word in {line}; do printf '%s\\0' \"$word\"; done"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, check=True, env={**os.environ, "LC_ALL": "C.UTF-8"}
    )
    assert done.stdout.split(b"\0")[:-1] == [os.fsencode(word) for word in words]
    assert shlex.split(shell(["a b", "c"])) == ["a b", "c"]


def test_markdown_shows_the_text_itself() -> None:
    """Every mark of Markdown has a backslash before it."""
    assert markdown("a|b*_`[x](y)<i>\n") == r"a\|b\*\_\`\[x\](y)\<i\>\\n"


@pytest.mark.parametrize(
    "name",
    ["..", "../x", "/x", "a/b", "a\\b", ".x", "", " x", "a\nb", "a\x1bb", "a\u202eb", "x" * 300, NAME],
)
def test_names_that_are_no_names_of_files(name: str) -> None:
    """What goes elsewhere, hides, or means something to a shell."""
    assert file_name_fault(name)


def test_evaluation_of_hostile_classes(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of classes go through files and back, whatever is in them."""
    from pipelines.dataset import classes

    names = tuple(f"{CONTROL[:-1]}{MARKUP}{number}" for number in range(10))
    monkeypatch.setattr(classes, "class_names", lambda numbers, *, pinned: tuple(names[n] for n in numbers))
    from pipelines.stages import prepare as prepare_stage, select as select_stage

    for module in (prepare_stage, select_stage):
        monkeypatch.setattr(module, "class_names", classes.class_names)
    places = Places(source=stage.root / "own", cache=tmp_path / "cache", raw=tmp_path)
    from pipelines.runs.run import report_run, train_run

    finished = train_run(SPEC, attrs.evolve(places, out=tmp_path / "run"), now=datetime(2026, 1, 1))
    evaluation, _ = evaluate_run(SPEC, finished)
    assert evaluation.class_names == names[:3]
    report_run(SPEC, finished, evaluation)
    assert is_clean((tmp_path / "run" / "report.html").read_text(encoding="utf-8"))
    assert is_clean((tmp_path / "run" / "model_card.md").read_text(encoding="utf-8"))
    assert evaluate(finished.prepared.test, finished.prepared.meta, finished.trained).class_names == names[:3]
