"""Slips at the keyboard: one form of error for all of them, the name that was meant, and colours on a terminal only."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer._click.exceptions import UsageError

from pipelines.cli.main import app
from pipelines.cli.slips import usage_problem
from tests.conftest import ROOT
from tests.faults.killed_workers import finished_trainings
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


def in_terminal(
    words: list[str], place: Path, columns: int = 80, *, after: bytes = b"", code: str = "", **env: str
) -> tuple[int, str]:
    """Run a command, or Python, in a pseudo-terminal, interrupted once some text was shown."""
    master, slave = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": str(columns), "TERM": "xterm", **env}
    process = subprocess.Popen(
        [sys.executable, *(["-c", code] if code else ["-m", "pipelines", *words])], cwd=place, env=environment,
        stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
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


MANY = {
    "study": ("study --config given.toml --seeds 12 --out data/runs/many", "{fixed}"),
    "search": ("search given.toml --out data/runs/many", "folds = 6\ntake = 6\n[base]\n{base}\n{variants}"),
    "sweep": ("sweep given.toml --trials 12 --out data/runs/many", "[fixed]\n{base}\n{ranges}"),
}
"""Commands of twelve trainings: the words, and what each reads."""


def begun_in(place: Path, command: str) -> list[str]:
    """Write what a command reads; return its words."""
    words, text = MANY[command]
    base = "dataset = { classes = ['0', '1', '2'], pinned = false }\nmodel = { hidden = [8] }\n"
    base += "train = { epochs = 30, batch_size = 8, validation_fraction = 0.2 }"
    given = text.replace("{fixed}", base).replace("{base}", base)
    given = given.replace("{variants}", "[variant.a]\n[variant.b.train]\nmomentum = 0.5")
    given = given.replace("{ranges}", "[parameters]\n'train.momentum' = { float = [0, 0.9] }")
    (place / "given.toml").write_text(given if command == "study" else f"recipe = 'report'\n{given}")
    return [*words.split(), "--source", "own"]


def listed(place: Path, columns: int) -> tuple[str, dict[str, Any]]:
    """What `runs list` says of the one thing there: its row on a terminal, and its JSON."""
    _, table = in_terminal(["runs", "list"], place, columns)
    row = table.replace("\r", "").splitlines()[1]
    assert len(row) <= columns
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", "runs", "list", "--json"], cwd=place, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True,
    )  # fmt: skip
    (entry,) = [entry for entries in json.loads(done.stdout).values() for entry in entries]
    return row, entry


@pytest.mark.parametrize(("command", "columns"), [("study", 60), ("search", 80), ("sweep", 140)])
def test_interrupted_it_says_how_to_go_on(tmp_path: Path, own_data: Path, command: str, columns: int) -> None:
    """One bar on a terminal; Ctrl-C ends with 130 and one message; what is finished is listed, and not done again."""
    if command == "sweep":
        pytest.importorskip("optuna")
    words = begun_in(tmp_path, command)
    code, shown = in_terminal(words, tmp_path, columns, after=b"mean ")
    assert "Traceback" not in shown
    assert (code, "interrupted; the same command goes on" in shown) == (130, True), shown[-2000:]
    bars = [bar for bar in re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)) if "/12" in bar]
    assert any(re.search(rf"{command} .*[1-9]\d?/12 mean \d+\.\d\d % \d+:\d\d:\d\d|-:--:--", bar) for bar in bars)
    assert max(map(len, bars)) <= columns
    before = finished_trainings(tmp_path / "data" / "runs" / "many")
    row, entry = listed(tmp_path, columns)
    assert row.startswith(f"unfinished {len(before)}/12 ")
    assert entry["state"] == f"unfinished {len(before)}/12"
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", *words], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert not any("\x1b" in line or "mean" in line or "/12" in line for line in lines)
    assert len(lines) >= 12 - len(before)
    after = finished_trainings(tmp_path / "data" / "runs" / "many")
    # a trial that Ctrl-C met in the middle of its beginning counts as running, until its heartbeat is missed
    elsewhere = re.search(r"(\d+) of 12 trials still run elsewhere", done.stderr) if command == "sweep" else None
    assert len(after) == 12 - int(elsewhere[1] if elsewhere else 0)
    assert {name: after[name] for name in before} == before
    row, entry = listed(tmp_path, columns)
    state = f"unfinished {len(after)}/12" if elsewhere else command
    assert row.startswith(f"{state} ")
    assert entry["state"] == state


@pytest.mark.parametrize("columns", [60, 80, 140])
@pytest.mark.parametrize("colour", [True, False])
def test_the_bar_fits_the_terminal(tmp_path: Path, columns: int, colour: bool) -> None:
    """Done of all, mean so far and time left at any width; no colours where NO_COLOR asks for none."""
    code = (
        "from pipelines.cli.terminal import overall\n"
        "import time\n"
        "with overall('search', 10, quiet=False) as told:\n"
        "    for k in range(4, 9):\n"
        "        told(f'variant, fold {k}: ' + 50 * 'long ', 0.9 + 0.01 * k, k)\n"
        "        time.sleep(0.15)\n"
    )
    shown = in_terminal([], tmp_path, columns, code=code, **({} if colour else {"NO_COLOR": "1"}))[1]
    assert bool(re.search(r"\x1b\[[0-9;]*m", shown.replace("\x1b[0m", ""))) == colour
    plain = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown))
    assert max(map(len, plain)) <= columns
    (last,) = {bar for bar in plain if "8/10" in bar and "mean 96.00 %" in bar}
    assert re.fullmatch(r"search .+ 8/10 mean 96\.00 % 0:00:0[01]", last.strip()), last


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
