"""`bpfunc runs`: lists what is there, and cleaning never touches what is no run, is at work, or holds other files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from pipelines.disk.atomic import foreign_files
from pipelines.disk.json_text import sealed_json
from pipelines.disk.ownership import ASKED, RUN_FILES
from pipelines.errors import DataProblem, UsageProblem
from pipelines.runs.listing import list_runs, list_studies, read_entry, remove_run, unwanted
from pipelines.runs.metrics import RunMetrics, metrics_table, read_metrics, write_metrics
from pipelines.runs.naming import BEGAN
from pipelines.spec.run_spec import RunSpec, TrainSpec
from pipelines.spec.toml import to_toml

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
OWN = ("--unpinned", "--classes", "0,1,2", "--source", "own")
DAY = 86_400


FIGURES = RunMetrics(
    test_accuracy=0.9,
    test_loss=None,
    test_rows=10,
    test_mistakes=7,
    class_names=("a", "b"),
    confusion_matrix=((1, 2), (3, 4)),
    recall={"a": 0.3, "b": 0.6},
    validation_accuracy=None,
    validation_loss=None,
    train_accuracy=0.9,
    train_loss=0.1,
    train_seconds=1,
    epochs=1,
    kept_epoch=1,
    steps=1,
    parameters=1,
    recipe="small",
    seed=0,
    versions={},
    lineage={},
    command="bpfunc run",
)


def make_run(path: Path, *names: str, age: float = 0.0, accuracy: float = 0.9) -> Path:
    """A directory that looks as a run's: its configuration, an empty checkpoints directory, and these files."""
    (path / "checkpoints").mkdir(parents=True)
    (path / "config.toml").write_text(to_toml(RunSpec(name="small")))
    for name in names:
        (path / name).write_bytes(b"x")
    if "metrics.json" in names:
        write_metrics(path, attrs.evolve(FIGURES, test_accuracy=accuracy))
    return aged(path, age)


def aged(path: Path, age: float) -> Path:
    """Set the times of all files below a directory back."""
    for file in (*path.rglob("*"), path):
        os.utime(file, (time.time() - age, time.time() - age), follow_symlinks=False)
    return path


def make_runs(runs: Path) -> None:
    """One of each kind, and things that are no runs."""
    make_run(runs / "old", "params.safetensors", "history.parquet", "metrics.json", age=40 * DAY)
    make_run(runs / "new", "params.safetensors", "history.parquet", "metrics.json", age=DAY, accuracy=0.5)
    make_run(runs / "sealed", "params.safetensors", "history.parquet", "sealed.txt", age=2 * DAY)
    make_run(runs / "stopped", age=3 * DAY)
    make_run(runs / "at-work")
    make_run(runs / "annotated", "notes.txt", age=50 * DAY)
    (runs / "precious").mkdir()
    (runs / "precious" / "thesis.txt").write_text("x")
    (runs / "broken").mkdir()
    (runs / "broken" / "config.toml").write_text("[[[")
    make_run(runs / "study" / "seed-000", "params.safetensors", "history.parquet", "metrics.json", age=60 * DAY)
    (runs / "study" / "config.toml").write_text(to_toml(RunSpec(name="small")))
    (runs / "link").symlink_to(runs / "stopped")


def test_list(tmp_path: Path) -> None:
    """Each run has its state, the newest last; what is no run is passed over; a study is listed as one."""
    make_runs(tmp_path)
    found = {entry.path.name: entry for entry in list_runs(tmp_path)}
    assert list(found) == ["annotated", "old", "stopped", "sealed", "new", "at-work"]
    states = {name: entry.state for name, entry in found.items()}
    assert states == {
        "annotated": "unfinished",
        "old": "finished",
        "stopped": "unfinished",
        "sealed": "trained",
        "new": "finished",
        "at-work": "unfinished",
    }
    assert found["new"].test_accuracy == 0.5
    assert found["sealed"].test_accuracy is None
    (study,) = list_studies(tmp_path)
    assert (study.path.name, study.seeds, study.mean_test_accuracy) == ("study", 1, None)
    assert list_runs(tmp_path / "nowhere") == ()


def test_damaged_figures_are_a_state(tmp_path: Path) -> None:
    """A run whose figures cannot be read is said to be damaged, not left out."""
    make_run(tmp_path / "run", "params.safetensors", "history.parquet", "metrics.json")
    (tmp_path / "run" / "metrics.json").write_text("{")
    assert read_entry(tmp_path / "run").state == "damaged"


def test_choice_of_what_goes(tmp_path: Path) -> None:
    """Unfinished runs that lie untouched; trained ones by age and only if asked; one at work never."""
    make_runs(tmp_path)
    entries, now = list_runs(tmp_path), time.time()

    def names(**settings: float) -> set[str]:
        return {one.entry.path.name for one in unwanted(entries, now, **settings)}

    assert names() == {"stopped", "annotated"}
    assert names(older_than_days=30) == {"stopped", "annotated", "old"}
    assert names(older_than_days=0) == {"stopped", "annotated", "old", "new", "sealed"}
    assert names(idle_minutes=0) == {"stopped", "annotated", "at-work"}


def test_clean_lists_and_then_removes(cli: Cli, tmp_path: Path) -> None:
    """Without --yes, and with --dry-run whatever else, nothing goes; with --yes, what was listed and no more."""
    runs = tmp_path / "data" / "runs"
    make_runs(runs)
    before = sorted(path.name for path in runs.iterdir())
    listed = cli("runs", "clean", "--older-than", "30")
    assert listed.returncode == 0, listed.stderr
    assert "stopped: unfinished" in listed.stderr
    assert "old: 40 days old" in listed.stderr
    assert "annotated: left alone, it holds what is not of a run: notes.txt" in listed.stderr
    assert listed.stdout.startswith("would remove 2 runs")
    assert "add --yes" in listed.stdout
    cli("runs", "clean", "--older-than", "30", "--yes", "--dry-run")
    assert sorted(path.name for path in runs.iterdir()) == before
    done = json.loads(cli("runs", "clean", "--older-than", "30", "--yes", "--json").stdout)
    assert done["removed"] is True
    gone = {Path(run["path"]).name for run in done["runs"]}
    assert gone == {"old", "stopped"}
    assert sorted(path.name for path in runs.iterdir()) == sorted(set(before) - gone)
    assert (runs / "link").is_symlink()


@pytest.mark.parametrize(
    "kind", ["directory", "link", "foreign", "foreign link", "foreign checkpoint", "study", "toml"]
)
def test_what_is_no_run_is_never_removed(tmp_path: Path, kind: str) -> None:
    """Whoever asks to remove it is refused, and every file stays."""
    path = make_run(tmp_path / "run", age=DAY)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "thesis.txt").write_text("x")
    if kind == "directory":
        path = outside
    elif kind == "link":
        path = tmp_path / "link"
        path.symlink_to(tmp_path / "run")
    elif kind == "foreign":
        (path / "notes.txt").write_text("x")
    elif kind == "foreign link":
        (path / "report.html").symlink_to(outside / "thesis.txt")
    elif kind == "foreign checkpoint":
        (path / "checkpoints" / "thesis.txt").write_text("x")
    elif kind == "study":
        shutil.copytree(path, path / "seed-000")
    else:
        (path / "config.toml").write_text("epochs = 'many'")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageProblem):
        remove_run(path)
    assert sorted(tmp_path.rglob("*")) == before


def test_real_runs_are_known_whole(cli: Cli, own_data: Path, tmp_path: Path) -> None:
    """All that a run writes is known to be a run's: it can be listed, shown and removed."""
    path = tmp_path / "data" / "runs" / "mine"
    done = cli("run", *OWN, "--epochs", "2", "--hidden", "8", "--out", str(path), "--json")
    assert done.returncode == 0, done.stderr
    assert foreign_files(path, RUN_FILES) == ()
    (listed,) = json.loads(cli("runs", "list", "--json").stdout)["runs"]
    assert (listed["state"], listed["epochs"], listed["recipe"]) == ("finished", 2, "report")
    assert listed["test_accuracy"] == json.loads(done.stdout)["test_accuracy"]
    shown = json.loads(cli("runs", "show", str(path), "--json").stdout)
    assert shown["metrics"].items() <= json.loads(done.stdout).items()
    text = cli("runs", "show", str(path)).stdout
    assert text.startswith("finished  report  seed 0  2 epochs")
    assert "hidden = [8]" in text
    remove_run(path)
    assert not path.exists()


def test_show_says_what_is_no_run(cli: Cli, tmp_path: Path) -> None:
    """A directory that is no run is named, with exit code 2."""
    (tmp_path / "empty").mkdir()
    done = cli("runs", "show", "empty")
    assert (done.returncode, done.stdout) == (2, "")
    assert "not a run directory" in done.stderr


BAD = {
    "brackets": b"[" * 90_000,
    "large": b" " * 2_000_000,
    "nothing": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "a text": b'{"mean_test_accuracy": "0.5", "test_accuracy": "0.5"}',
    "NaN": b'{"mean_test_accuracy": NaN, "test_accuracy": NaN}',
    "a large number": b'{"mean_test_accuracy": 1e999, "test_accuracy": 1e999}',
    "no figure": b'{"mean_test_accuracy": null, "test_accuracy": null}',
    "no UTF-8": b"\xff\xfe{}",
}


@pytest.mark.parametrize("what", [*BAD, "a pipe", "a directory", "a dead link"])
def test_one_bad_file_does_not_end_the_list(cli: Cli, tmp_path: Path, what: str) -> None:
    """A study, a run or a configuration that cannot be read is shown as damaged, and the others as ever."""
    runs = tmp_path / "data" / "runs"
    make_run(runs / "good", "params.safetensors", "history.parquet", "metrics.json")
    make_run(runs / "run", "params.safetensors", "history.parquet", "metrics.json")
    make_run(runs / "torn", "params.safetensors", "history.parquet", "metrics.json")
    make_run(runs / "study" / "seed-000", "params.safetensors", "history.parquet", "metrics.json")
    (runs / "study" / "config.toml").write_text(to_toml(RunSpec(name="small")))
    (runs / "study" / "study.json").write_text("")
    for path in (runs / "study" / "study.json", runs / "run" / "metrics.json", runs / "torn" / "config.toml"):
        path.unlink()
        if what == "a pipe":
            os.mkfifo(path)
        elif what == "a directory":
            path.mkdir()
        elif what == "a dead link":
            path.symlink_to("nowhere")
        else:
            path.write_bytes(BAD[what])
    done = cli("runs", "list", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    found = {Path(run["path"]).name: run["state"] for run in document["runs"]}
    assert found["good"] == "finished"
    if what in BAD:
        # An empty configuration is one: it changes nothing.
        assert (found["run"], found["torn"]) == ("damaged", "finished" if what == "nothing" else "damaged")
    assert [(Path(study["path"]).name, study["damaged"]) for study in document["studies"]] == [("study", True)]
    lines = cli("runs", "list").stdout.splitlines()
    assert any(line.startswith("damaged study") for line in lines)
    assert any(line.startswith("finished") and line.endswith("good") for line in lines)


@pytest.mark.parametrize(
    "change",
    [
        {"class_names": 3},
        {"class_names": ["a", 1]},
        {"confusion_matrix": [[1]]},
        {"confusion_matrix": [[1, 2], "ab"]},
        {"confusion_matrix": [[1, -2], [3, 4]]},
        {"recall": []},
        {"recall": {"a": 1}},
        {"test_accuracy": "1"},
        {"test_accuracy": 7},
        {"train_seconds": None},
        {"test_loss": "x"},
    ],
)
def test_sealed_figures_of_other_kinds_are_one_message(cli: Cli, tmp_path: Path, change: dict[str, object]) -> None:
    """A seal says that figures were written so; what a table shows is checked as well."""
    run = make_run(tmp_path / "run", "params.safetensors", "history.parquet", "metrics.json")
    assert cli("runs", "show", "run").returncode == 0
    (run / "metrics.json").write_bytes(sealed_json({**metrics_table(FIGURES), **change}))
    done = cli("runs", "show", "run")
    assert (done.returncode, done.stdout) == (3, "")
    assert f"error: damaged figures: {next(iter(change))}" in done.stderr
    assert len(done.stderr.splitlines()) <= 3


def test_figures_of_earlier_versions_are_read(cli: Cli, tmp_path: Path) -> None:
    """What came later may be missing, what every version wrote may not; a field of a later version is passed over."""
    run = make_run(tmp_path / "run", "params.safetensors", "history.parquet", "metrics.json")
    whole = metrics_table(FIGURES)
    for name in whole:
        (run / "metrics.json").write_bytes(sealed_json({key: value for key, value in whole.items() if key != name}))
        if name in ("calibration", "engine", "threads"):
            assert read_metrics(run) == FIGURES
        else:
            with pytest.raises(DataProblem, match=f"damaged figures: {name} is missing"):
                read_metrics(run)
    (run / "metrics.json").write_bytes(sealed_json({**whole, "later": 1}))
    assert read_metrics(run) == FIGURES


def listed(cli: Cli, tmp_path: Path, *words: str) -> list[str]:
    """Lines of `runs list`, of two runs that differ in epochs and seed, and a study of three seeds of ten."""
    for name, epochs, day in (("later", 3, 2), ("sooner", 1, 1)):
        path = make_run(tmp_path / "data" / "runs" / name, "metrics.json", accuracy=1 - epochs / 10)
        spec = RunSpec(name="small", train=TrainSpec(epochs=epochs, seed=epochs))
        (path / "config.toml").write_text(to_toml(spec))
        (path / BEGAN).write_text(f"2026-01-0{day}T12:00:00")
    study = tmp_path / "data" / "runs" / "study-small"
    for seed in range(3):
        make_run(study / f"seed-00{seed}", "metrics.json")
        (study / f"seed-00{seed}" / BEGAN).write_text("2026-01-03T12:00:00")
    (study / "config.toml").write_text(to_toml(RunSpec(name="small")))
    (study / ASKED).write_text("10\n")
    done = cli("runs", "list", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_list_is_a_table(cli: Cli, tmp_path: Path) -> None:
    """A header; what differs is a column; by when the runs began, whatever the times of their files."""
    header, *rows = listed(cli, tmp_path)
    assert header.split() == ["state", "began", "recipe", "epochs", "seed", "accuracy", "run"]
    assert [row.split()[-1] for row in rows] == ["sooner", "later", "study-small"]
    assert rows[0].split() == ["finished", "2026-01-01", "12:00", "small", "1", "1", "90.00", "%", "sooner"]
    assert rows[2].startswith("unfinished 3/10  2026-01-03 12:00")


def test_list_in_another_order(cli: Cli, tmp_path: Path) -> None:
    """The last row is the best; the JSON document has the same order and says when each began."""
    rows = listed(cli, tmp_path, "--sort", "accuracy")[1:]
    assert [row.split()[-1] for row in rows] == ["study-small", "later", "sooner"]
    document = json.loads(cli("runs", "list", "--sort", "accuracy", "--json").stdout)
    assert [Path(run["path"]).name for run in document["runs"]] == ["later", "sooner"]
    assert document["runs"][0]["settings"]["train.epochs"] == 3
    assert document["studies"][0]["state"] == "unfinished 3/10"
