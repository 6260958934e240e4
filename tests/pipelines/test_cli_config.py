"""Configurations on the command line, help and completion, and terminals that are not as one would like them."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer._click import Command, Context
from typer.core import TyperGroup
from typer.main import get_command

from pipelines.cli.help import grouped
from pipelines.cli.main import GROUPS, app
from pipelines.disk.atomic import make_directory
from pipelines.errors import UsageProblem
from pipelines.runs.directory import write_config
from pipelines.spec.origins import explained_toml, origins
from pipelines.spec.recipes import recipe_names
from pipelines.spec.run_spec import RunSpec
from pipelines.spec.settings import field_names, flat, joined, settings_table
from pipelines.spec.toml import from_toml, load_recipe, merged, to_table
from pipelines.studies.tuning.space import load_space

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
ROOT = Path(__file__).parents[2]


def commands(group: Command, path: str = "bpfunc", parent: Context | None = None) -> Iterator[tuple[str, Command]]:
    """Every command below a group, by the words that call it."""
    context = Context(group, info_name=path, parent=parent)
    assert isinstance(group, TyperGroup)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, TyperGroup):
            yield from commands(command, f"{path} {name}", context)
        else:
            yield f"{path} {name}", command


ALL = dict(commands(get_command(app)))


@pytest.mark.parametrize("name", ALL)
def test_examples_in_help_are_real(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command's help ends with examples, and each of these is parsed by the command it names, options and all."""
    monkeypatch.chdir(tmp_path)
    for run in ("first", "second"):
        make_directory(tmp_path / "data" / "runs" / run / "checkpoints")
        write_config(tmp_path / "data" / "runs" / run, RunSpec())
    epilog = ALL[name].epilog or ""
    lines = [line.strip() for line in epilog.splitlines() if line.strip().startswith("bpfunc ")]
    assert lines, "give the docstring a section Example:"
    for line in lines:
        words = shlex.split(line.partition(" | ")[0].partition(" > ")[0])
        called = next(other for other in ALL if words[: len(other.split())] == other.split())
        assert ALL[called].help == ALL[name].help
        # Parsing raises for an option that is not there, or an argument too many or too few.
        ALL[called].make_context(called, words[len(called.split()) :])


def test_help_lists_every_command_once() -> None:
    """Groups have their headings; a command that no group names comes last, and none is left out."""
    text = get_command(app).get_help(Context(get_command(app), info_name="bpfunc"))
    headings = re.findall(r"^(\w+):", text, re.M)
    assert headings[:2] == ["Usage", "Options"]
    assert headings[2:5] == list(GROUPS)[:3]
    names = re.findall(r"^  ([a-z][\w-]*) +\S", text.partition("Prepare:")[2], re.M)
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    assert sorted(set(names) - {"bpfunc"}) == sorted(group.commands)
    assert grouped(["new", "run"], {"Train": ["run", "gone"], "Use": []}) == {"Train": ["run"], "More": ["new"]}


def test_every_field_can_be_set() -> None:
    """Each field of a recipe's configuration, set to its own value as TOML writes it, gives the same configuration."""
    for recipe in recipe_names():
        spec = load_recipe(recipe)
        settings = [f"{name}={json.dumps(value)}" for name, value in flat(to_table(spec))]
        assert [setting.partition("=")[0] for setting in settings] == list(field_names(RunSpec()))
        assert merged(RunSpec(), settings_table(settings), where="test") == spec


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        (" 3 ", 3),
        ("0.5", 0.5),
        ("true", True),
        ('"adamw"', "adamw"),
        ("adamw", "adamw"),
        ("[8, 4]", [8, 4]),
        ("True", "True"),
        ("1\nother = 2", "1\nother = 2"),
        ("[8", "[8"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_values_are_toml_or_text(text: str, value: object) -> None:
    """A value is what TOML takes it for; what TOML does not take is a text, and never more than one value."""
    found = settings_table([f"train.seed={text}"])["train"]
    assert found == {"seed": value}
    assert type(found["seed"]) is type(value)  # type: ignore[index]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["train.epohcs=3"], "unknown field train.epohcs (did you mean train.epochs?)"),
        (["learning_rate=3"], "unknown field learning_rate (did you mean train.learning_rate?)"),
        (["lerning_rate=3"], "unknown field lerning_rate (did you mean train.learning_rate?)"),
        (["model.epochs=3"], "unknown field model.epochs (did you mean train.epochs?)"),
        (["qqqq=3"], "unknown field qqqq ("),
        (["train={epochs=3}"], "train is a table, not a field"),
        (["train.epochs"], "expected FIELD=VALUE, found 'train.epochs'"),
        (["=3"], "unknown field  ("),
        (["train.seed=1", "train.seed=2"], "train.seed is set twice"),
    ],
)
def test_settings_that_make_no_sense(settings: list[str], message: str) -> None:
    """What is wrong with a setting is said with its name, and with the name that was meant where one is near."""
    with pytest.raises(UsageProblem, match=re.escape(message)):
        settings_table(settings)


def test_set_and_an_option_may_not_disagree() -> None:
    """Neither is taken over the other in silence; together they are one table, so that fields may depend on both."""
    with pytest.raises(UsageProblem, match=r"train\.epochs is given twice"):
        joined({"train": {"epochs": 3}}, {"train": {"epochs": 4}})
    both = joined({"train": {"epochs": 3}, "model": {}}, {"train": {"keep": "best"}, "name": "mine"})
    assert both == {"train": {"epochs": 3, "keep": "best"}, "model": {}, "name": "mine"}


def test_origins_name_the_last_who_spoke(tmp_path: Path) -> None:
    """Default, recipe, file, --set and option: each value is said to come from the last that gave it."""
    file = tmp_path / "mine.toml"
    file.write_text("[train]\nepochs = 5\nmomentum = 0.5\nseed = 3\n")
    found = origins("best", file, ["train.momentum=0.9"], {"train.seed": "--seed"})
    assert set(found) == set(field_names(RunSpec()))
    assert {name: found[f"train.{name}"] for name in ("keep", "mixup", "epochs", "momentum", "seed")} == {
        "keep": "default",
        "mixup": "recipe best",
        "epochs": f"file {file}",
        "momentum": "--set",
        "seed": "--seed",
    }


def test_explained_configuration_is_one() -> None:
    """What `config show` prints reads back as the configuration it explains, whatever stands in a path."""
    spec = load_recipe("ten-class")
    text = explained_toml(spec, dict.fromkeys(field_names(spec), "file a\nname = 'b"))
    assert from_toml(text, RunSpec(), where="test") == spec


def test_config_show(cli: Cli, tmp_path: Path) -> None:
    """`config show` merges as `run` does, and says for each value who gave it."""
    (tmp_path / "mine.toml").write_text("[train]\nbatch_size = 16\n")
    words = ("config", "show", "--config", "mine.toml", "--set", "train.optimizer=adamw", "--epochs", "3")
    done = cli(*words, "--json")
    document = json.loads(done.stdout)
    train, said = document["config"]["train"], document["origins"]
    assert (train["batch_size"], train["optimizer"], train["epochs"]) == (16, "adamw", 3)
    assert said["train.batch_size"] == "file mine.toml"
    assert (said["train.optimizer"], said["train.epochs"], said["train.keep"]) == ("--set", "--epochs", "recipe report")
    text = cli(*words).stdout
    assert to_table(from_toml(text, RunSpec(), where="test")) == document["config"]
    assert re.search(r"^epochs = 3 +# --epochs$", text, re.M)
    assert set(json.loads(cli("config", "recipes", "--json").stdout)) == set(recipe_names())


def test_set_reaches_the_run(cli: Cli, own_data: Path, tmp_path: Path) -> None:
    """What --set says is what the run's own configuration holds, and it changes the result."""
    own = ("--unpinned", "--classes", "0,1,2", "--source", "own", "--epochs", "1", "--json")
    done = cli("train", *own, "--set", "train.learning_rate=0.25", "--set", "model.hidden=[5]", "--out", "a")
    assert done.returncode == 0, done.stderr
    spec = tomllib.loads((tmp_path / "a" / "config.toml").read_text())
    assert (spec["train"]["learning_rate"], spec["model"]["hidden"]) == (0.25, [5])
    refused = cli("train", *own, "--set", "train.epochs=3", "--out", "b")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "train.epochs is given twice" in refused.stderr
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("rnu",), "did you mean run?"),
        (("data", "prepair"), "did you mean prepare?"),
        (("run", "--epoch", "3"), "--epochs"),
        (("run", "--set", "train.batchsize=3"), "did you mean train.batch_size?"),
    ],
)
def test_slips_are_answered_with_what_was_meant(cli: Cli, words: tuple[str, ...], hint: str) -> None:
    """A mistyped command, option or field: exit code 2 and the right name; for classes and recipes see test_cli."""
    done = cli(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert hint in done.stderr


@pytest.mark.parametrize(
    ("words", "offered", "missing"),
    [
        ("bpfunc run --recipe b", {"best"}, {"report"}),
        ("bpfunc run --classes Dress,", {"Dress,Trouser"}, {"Dress,Dress"}),
        ("bpfunc run --set train.le", {"train.learning_rate="}, {"train.epochs="}),
        ("bpfunc con", {"config"}, {"run"}),
    ],
)
def test_completion(cli: Cli, words: str, offered: set[str], missing: set[str]) -> None:
    """Bash is offered recipes, classes, fields, commands and options that begin as what is written."""
    done = cli(_BPFUNC_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(len(words.split()) - 1))
    found = set(done.stdout.split())
    assert offered <= found, done.stderr
    assert not missing & found


def test_completion_script_is_shown_and_installed(cli: Cli, tmp_path: Path) -> None:
    """The script that a shell reads names the command; installing writes below the home directory and nowhere else."""
    home = tmp_path / "home"
    home.mkdir()
    names = {"HOME": str(home), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    shown = cli("--show-completion", "bash", **names)
    assert "complete -o default -F _bpfunc_completion bpfunc" in shown.stdout
    installed = cli("--install-completion", "bash", **names)
    assert installed.returncode == 0, installed.stderr
    assert sorted(path.name for path in home.rglob("*") if path.is_file()) == [".bashrc", "bpfunc.sh"]


def test_version(cli: Cli) -> None:
    """--version says the version of the library and leaves."""
    from bpfunc import __version__

    assert cli("--version").stdout == f"bpfunc {__version__}\n"


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "COLUMNS": "many"},
        {"COLUMNS": "1", "NO_COLOR": "1", "FORCE_COLOR": "1", "TERM": "dumb"},
    ],
    ids=lambda environment: next(iter(environment)),
)
def test_poor_terminals(cli: Cli, tmp_path: Path, environment: dict[str, str]) -> None:
    """Letters that the terminal does not know, strange widths and no colours: the same answer, and no traceback."""
    name = "größe ☃ 🖼.toml"
    (tmp_path / name).write_text("[train]\nepochs = 3\n", encoding="utf-8")
    done = cli("config", "show", "--config", name, "--json", **environment)
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)["origins"]["train.epochs"]
    # A name that the locale cannot read travels as its bytes.
    assert said.encode("utf-8", "surrogateescape").decode() == f"file {name}"
    done = cli("run", "--config", "nix ☃ 🖼.toml", **environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: cannot read the configuration")
    done = cli("--help", **environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout


def test_letters_that_a_terminal_lacks_are_shown_by_number(cli: Cli) -> None:
    """Text, unlike JSON, has no way of its own to write them."""
    done = cli("runs", "list", "--runs", "größe", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout, done.stderr) == (0, "no runs in gr\\xf6\\xdfe\n", "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [("--help",), ("config", "show", "--json")])
def test_reader_that_leaves(tmp_path: Path, words: tuple[str, ...], unbuffered: str) -> None:
    """`bpfunc ... | head -1`: the reader goes, and nothing is said about it."""
    reading, writing = os.pipe()
    os.close(reading)  # gone before the first word
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pipelines", *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered},
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_message_to_nobody_does_not_end_the_work(own_data: Path, tmp_path: Path) -> None:
    """A training goes on when whoever read its messages is gone."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pipelines", "data", "prepare", "--unpinned", "--classes", "0,1", "--source", "own"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=writing,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writing)
    assert done.returncode == 0
    assert (tmp_path / done.stdout.strip() / "train.parquet").is_file()


def test_quiet_data_commands(cli: Cli, own_data: Path) -> None:
    """With --quiet, `data status` says its decision alone, and `data verify` only what is damaged."""
    own = ("--unpinned", "--classes", "0,1,2", "--source", "own")
    assert cli("data", "status", *own, "--quiet").stdout == "miss\n"
    entry = Path(cli("data", "prepare", *own, "--quiet").stdout.strip())
    (own_data.parent / entry / "test.parquet").write_bytes(b"damaged")
    done = cli("data", "verify", "--quiet")
    assert (done.returncode, len(done.stdout.splitlines())) == (3, 1)


def test_set_reaches_a_sweep(tmp_path: Path) -> None:
    """A sweep's fixed settings may be changed, but not the ones that it searches; what makes no sense is refused."""
    file = tmp_path / "space.toml"
    file.write_text('[parameters]\n"train.learning_rate" = { log = [0.01, 1.0] }\n')
    assert load_space(file, settings_table(["train.epochs=2"])).base.train.epochs == 2
    with pytest.raises(UsageProblem, match=r"train\.learning_rate is searched"):
        load_space(file, settings_table(["train.learning_rate=0.5"]))
    with pytest.raises(UsageProblem, match="none are held out"):
        load_space(file, settings_table(["train.keep=last", "train.validation_fraction=0"]))
