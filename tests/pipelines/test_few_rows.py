"""However few rows there are, and whatever part of them is held out: a result, or one message that says what to do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from pipelines.cli import main
from pipelines.errors import DataProblem, UsageProblem
from pipelines.studies import executors
from tests.conftest import NAMES, idx_bytes

LABELS = {
    "two rows": [0, 1],
    "a class of one row": [0, 0, 0, 0, 1],
    "ten rows": [0, 1] * 5,
    "one class": [0] * 9,
    "one row": [1],
    "no row": [],
}
"""Labels of the training rows."""
FRACTIONS = ("0.0", "0.00001", "0.1", "0.5", "0.9")
SETTINGS = """
recipe = "report"
[{table}.dataset]
classes = ["0", "1"]
pinned = false
[{table}.model]
hidden = [4]
[{table}.train]
epochs = 2
keep = "last"
"""
FILES = {
    "run": SETTINGS.replace('recipe = "report"', "").replace("{table}.", ""),
    "search": "folds = 3\ntake = 1\n" + SETTINGS.format(table="base") + "[variant.a]\n",
    "sweep": SETTINGS.format(table="fixed") + '[parameters]\n"train.momentum" = { float = [0, 0.9] }\n',
}
COMMANDS = {
    "run": ("run", "--config", "run.toml"),
    "streamed": ("train", "--stream", "parts", "--config", "run.toml"),
    "study": ("study", "--seeds", "2", "--config", "run.toml"),
    "explain": ("explain", "--config", "run.toml"),
    "search": ("search", "search.toml"),
    "sweep": ("sweep", "--trials", "1", "sweep.toml"),
}
"""Every command that learns from rows, and the file that it reads; a search cuts its own fractions, by folds."""


def write_rows(directory: Path, labels: list[int]) -> None:
    """A data set of such training rows, and a test row of each class."""
    directory.mkdir()
    rng = np.random.default_rng(0)
    for split, own in (("train", labels), ("test", [0, 1])):
        images = rng.integers(0, 255, (len(own), 28, 28))
        (directory / NAMES[f"{split}_images"]).write_bytes(idx_bytes(images))
        (directory / NAMES[f"{split}_labels"]).write_bytes(idx_bytes(np.array(own, np.uint8)))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("rows", LABELS)
def test_few_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, rows: str) -> None:
    """Exit code 0, 2 or 3; where it is not 0, a run leaves no directory behind."""
    if command == "sweep":
        pytest.importorskip("optuna")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(executors, "open_executor", lambda *_, **__: ThreadPoolExecutor(1))
    write_rows(tmp_path / "own", LABELS[rows])
    for name, text in FILES.items():
        (tmp_path / f"{name}.toml").write_text(text)
    hopeful, done = len(set(LABELS[rows])) == 2, 0
    if command == "streamed" and hopeful:
        call("data", "partition", "parts", "--config", "run.toml", "--source", "own", "--json")
    for fraction in FRACTIONS if hopeful and command != "search" else FRACTIONS[:1]:
        given = [] if command == "search" else ["--set", f"train.validation_fraction={fraction}"]
        given += [] if command == "explain" else ["--out", f"out{fraction}"]
        try:
            call(*COMMANDS[command], "--source", "own", "--quiet", "--json", *given)
            done += 1
        except (UsageProblem, DataProblem):
            assert command not in ("run", "streamed") or not Path(f"out{fraction}").exists()
    assert (done > 0) == (hopeful and (command, rows) not in HOPELESS)


HOPELESS = {("sweep", "two rows"), ("search", "two rows")}
"""A sweep needs a row to judge by beside one of each class to learn from, and three folds need three rows."""


def call(*words: str) -> None:
    """Run a command in this process."""
    main.app([*words], standalone_mode=False, prog_name="bpfunc")
