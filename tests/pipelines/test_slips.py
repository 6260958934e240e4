"""Slips at the keyboard: one form of error for all of them, the name that was meant, and colours on a terminal only."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer._click.exceptions import UsageError

from pipelines.cli.main import app
from pipelines.cli.slips import usage_problem
from tests.conftest import ROOT
from tests.pipelines.commands import ALL

Cli = Callable[..., "subprocess.CompletedProcess[str]"]

MEANT = {
    "run --lr 0.1": "--set train.learning_rate=VALUE",
    "run --learning-rate 0.1": "--set train.learning_rate=VALUE",
    "run --momentum 0.9": "--set train.momentum=VALUE",
    "run --batch 32": "--set train.batch_size=VALUE",
    "run --bs 32": "--set train.batch_size=VALUE",
    "run --layers 8": "--hidden",
    "train --epoch 3": "--epochs",
    "run --optimiser adam": "--set train.optimizer=VALUE",
    "sweep --num-workers 2": "--jobs",
    "rnu": "run",
    "data prep": "prepare",
    "run --set lr=1": "train.learning_rate",
    "run --recipe rport": "report",
    "run -epochs 3": "--epochs",
    "run -lr 0.1": "--set train.learning_rate=VALUE",
    "explain -e 3": "--set train.epochs=VALUE",
    "--recipe best": "bpfunc run --recipe",
    "-v": "--version",
    "run --version": "bpfunc --version",
    "run best": "--recipe best",
    "run own.toml": "--config own.toml",
    "run epochs=3": "--set train.epochs=3",
    "run --classes Dress, Sneaker": "--classes Dress,Sneaker",
    "run --hidden 64 32": "--hidden 64,32",
    "run --set lr = 0.1": "--set lr=0.1",
    "run --set lr 0.1": "--set lr=0.1",
    "run --set lr= 0.1": "--set lr=0.1",
    "help": "bpfunc --help",
    "eval": "bpfunc evaluate",
    "list": "bpfunc runs list",
    "show latest": "bpfunc config show or bpfunc runs show",
    "config explain": "bpfunc explain",
}


@pytest.mark.parametrize("line", MEANT)
def test_the_name_that_was_meant(cli: Cli, line: str) -> None:
    """Words of other tools and slips of a letter are answered by what to write; never by two dialects."""
    done = cli(*line.split())
    assert (done.returncode, done.stdout) == (2, "")
    first, where, remedy = done.stderr.splitlines()
    assert first.startswith("error: ")
    assert first.endswith(f"(did you mean {MEANT[line]}?)")
    assert (where[:9], remedy[:14]) == ("  where: ", "  what to do: ")


@pytest.mark.parametrize("line", ["predict", "run --epochs x", "run --config", "run extra", "export a --to nothing"])
def test_other_wrong_usage_has_the_same_form(cli: Cli, line: str) -> None:
    """The parser's own complaints are three lines as well."""
    done = cli(*line.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert [text.split(":")[0] for text in done.stderr.splitlines()] == ["error", "  where", "  what to do"]


WORDED = {
    "run --epochs three": "Invalid value for '--epochs' / '-e': expected a whole number",
    "study --seeds 0": "Invalid value for '--seeds': expected a number of at least 1",
    "runs list --sort size": "Invalid value for '--sort': 'size' is not one of 'date', 'accuracy', 'name', 'recipe'",
    "run --checkpoint-every soon": "Invalid value for '--checkpoint-every': expected a number",
}
"""Command line -> what is said of its value."""


@pytest.mark.parametrize("line", WORDED)
def test_a_value_is_refused_in_plain_words(cli: Cli, line: str) -> None:
    """The parser's library speaks of inputs and strings; here the words are those of all other errors."""
    assert cli(*line.split()).stderr.splitlines()[0] == f"error: {WORDED[line]}"


SAID = {
    "compare": "compare needs A (a run or a study) and B (another); A is missing",
    "compare {run}": "compare needs A (a run or a study) and B (another); B is missing",
    "predict {run}": "predict needs RUN (a run) and INPUT (pictures); INPUT is missing",
    "resume": "resume needs RUN (a run)",
    "export {run} onnx": "export needs --to onnx|safetensors|npz|torch-state-dict",
    "resume {run} {run}": "resume takes only RUN, found '{run}'",
    "run --out --quiet": "--out needs a value: DIR, found the option --quiet",
    "run --recipe": "--recipe needs a value: NAME",
    "run --json=yes": "--json takes no value: it is there or not",
    "run --gpu": "No such option: --gpu",
    "evaluate {run} -e 3": "No such option: -e (it belongs to run, train, study and others)",
    "run foo": "run takes no argument, found 'foo'",
    "run latest.toml.bak": "run takes no argument, found 'latest.toml.bak'",
}
"""Command line -> what is said first; ``{run}`` is the directory of a run."""


@pytest.mark.parametrize("line", SAID)
def test_what_is_missing_or_too_much_is_said_in_words(line: str, tmp_path: Path) -> None:
    """The arguments of a command are named with what they are, the parser's own words are not shown."""
    from tests.pipelines.test_runs_commands import make_run

    run = make_run(tmp_path / "first", "metrics.json")
    said, _, _ = complained(line.format(run=run).split())
    assert said == SAID[line].format(run=run)


def complained(words: list[str]) -> tuple[str, str, str]:
    """What is said of wrong usage, in this process: only what the parser refuses."""
    with pytest.raises(UsageError) as caught:
        app(words, prog_name="bpfunc", standalone_mode=False)
    return usage_problem(caught.value)


NEEDY = sorted(name for name, command in ALL.items() if any(one.required for one in command.params))


@pytest.mark.parametrize("name", NEEDY)
def test_a_command_without_its_arguments_shows_a_call_that_has_them(name: str) -> None:
    """Law over all commands: what they need, in words, and a call to copy."""
    said, place, remedy = complained(name.split())
    assert said.startswith(f"{name.split()[-1]} needs ")
    assert place == f"bpfunc {name}"
    assert remedy.startswith((f"write such as `bpfunc {name} ", f"write such as `bpfunc {name.split()[-1]} "))
    example = remedy.partition("`")[2].partition("`")[0].split()
    assert all(option in example for one in ALL[name].params if one.required for option in one.opts if option[0] == "-")


@pytest.mark.parametrize("name", ALL)
def test_no_option_takes_another_for_its_value(name: str) -> None:
    """Law over all options of all commands: without a value, before another option, and with one dash alone."""
    for one in ALL[name].params:
        flag = getattr(one, "is_flag", None)
        for option in one.opts if flag is not None else ():
            alone = complained([*name.split(), option] if not flag else [*name.split(), f"{option}=1"])
            assert alone[0].startswith(f"{option} {'takes no value' if flag else 'needs a value'}"), option
            assert alone[1] == f"bpfunc {name}"
            if not flag:
                long = max(one.opts, key=len)
                assert complained([*name.split(), option, long])[0].endswith(f", found the option {long}")
            if option.startswith("--"):
                assert complained([*name.split(), option[1:]])[0].endswith(f"(did you mean {option}?)")


@pytest.mark.parametrize("name", ALL)
def test_a_command_is_found_from_anywhere(name: str) -> None:
    """Law over all commands: the last word alone, or in another group, names the whole."""
    *group, last = name.split()
    assert not group or f"bpfunc {name}" in complained([last])[0] or last in TOP
    others = {words[0] for words in map(str.split, ALL) if len(words) > 1} - set(group)
    for other in others:
        if f"{other} {last}" not in ALL:
            assert f"bpfunc {name}" in complained([other, last])[0]


TOP = {words for words in ALL if " " not in words}


def test_short_help_everywhere() -> None:
    """Each command takes -h."""
    for name, command in ALL.items():
        assert "-h" in command.context_settings.get("help_option_names", ["-h"]), name


def in_terminal(words: list[str], place: Path, columns: int = 80, *, after: bytes = b"", **env: str) -> tuple[int, str]:
    """Run a command in a pseudo-terminal, interrupted once some text was shown."""
    master, slave = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": str(columns), "TERM": "xterm", **env}
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines", *words], cwd=place, env=environment, stdin=slave, stdout=slave,
        stderr=slave, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    text, end = b"", time.monotonic() + 200
    while time.monotonic() < end:
        ready, _, _ = select.select([master], [], [], 0.1)
        if ready:
            try:
                part = os.read(master, 65536)
            except OSError:  # the other side is closed
                break
            if not part:
                break
            text += part
        if after and after in text:
            os.killpg(process.pid, signal.SIGINT)
            after = b""
    os.close(master)
    return process.wait(30), text.decode()


def test_colours_on_a_terminal_only(tmp_path: Path) -> None:
    """Red on a terminal, plain with NO_COLOR; the words are the same."""
    code, red = in_terminal(["run", "--lr", "1"], tmp_path)
    _, plain = in_terminal(["run", "--lr", "1"], tmp_path, NO_COLOR="1")
    assert code == 2
    assert red.startswith("\x1b[1;31merror:\x1b[0m No such option")
    assert "\x1b" not in plain
    assert plain == red.replace("\x1b[1;31m", "").replace("\x1b[0m", "")


def test_an_interrupted_study_says_how_to_go_on(tmp_path: Path, own_data: Path) -> None:
    """One bar on the terminal; Ctrl-C ends with 130, one message, and a study that is listed as unfinished."""
    words = ["study", "--unpinned", "--classes", "0,1,2", "--source", str(own_data), "--epochs", "2", "--seeds", "40"]
    code, shown = in_terminal(words, tmp_path, after=b"mean ")
    assert "/40" in shown
    assert "mean " in shown
    assert "interrupted; the same command goes on" in shown, shown[-2000:]
    assert "Traceback" not in shown
    assert code == 130
    _, listed = in_terminal(["runs", "list"], tmp_path, 60)
    assert "unfinished " in listed
    assert "/40" in listed


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_the_list_fits_the_terminal(tmp_path: Path, columns: int) -> None:
    """No line is longer than the terminal is wide, and the name and accuracy are always there."""
    from tests.pipelines.test_runs_commands import make_run

    for number in range(4):
        run = make_run(tmp_path / "data" / "runs" / f"2026112{number}-093000-000001-report", "metrics.json")
        config = (run / "config.toml").read_text()
        changed = config.replace("epochs = 40", f"epochs = {number + 1}").replace("seed = 0", f"seed = {number}")
        changed = changed.replace("batch_size = 64", f"batch_size = {number + 1}")
        (run / "config.toml").write_text(changed)
    code, text = in_terminal(["runs", "list"], tmp_path, columns)
    assert code == 0
    lines = text.replace("\r", "").splitlines()
    assert max(map(len, lines)) <= columns
    assert all(line.endswith("-report") and "90.00 %" in line for line in lines[1:])
    assert ("batch_size" in lines[0]) == (columns == 140)
