"""The command line as a person or a script meets it: exit codes, one message, one JSON document, no traceback."""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
OWN = ("--unpinned", "--classes", "0,1,2", "--source", "own")
RUN_FILES = {
    "checkpoints",
    "config.toml",
    "confusion_matrix.png",
    "curves.png",
    "history.parquet",
    "metrics.json",
    "model_card.md",
    "params.safetensors",
    "predictions.parquet",
    "report.html",
}


def complaint(done: subprocess.CompletedProcess[str], code: int) -> str:
    """Check that a command failed as it should: that code, nothing on standard output, one message."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    if "Usage:" not in done.stderr:
        assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["error", "  where", "  what to do"]
    return done.stderr


def test_run_leaves_what_it_promises(cli: Cli, own_data: Path, tmp_path: Path) -> None:
    """A run writes every file under its name, and with --json one document that agrees with metrics.json."""
    done = cli("run", *OWN, "--epochs", "3", "--hidden", "8,4", "--out", "out", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert {path.name for path in (tmp_path / "out").iterdir()} == RUN_FILES
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert len(metrics.pop("sha256")) == 64
    assert metrics.items() <= document.items()
    assert sum(map(sum, metrics["confusion_matrix"])) == 30
    right = sum(metrics["confusion_matrix"][k][k] for k in range(3))
    assert metrics["test_accuracy"] == right / 30
    assert metrics["parameters"] == 784 * 8 + 8 + 8 * 4 + 4 + 4 * 3 + 3
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".tmp-")]


def test_run_ends_with_a_table(cli: Cli, own_data: Path) -> None:
    """Without --json a person reads accuracy, recall, matrix and where the report lies."""
    done = cli("run", *OWN, "--epochs", "2", "--out", "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("test accuracy ")
    assert "recall" in done.stdout
    assert done.stdout.endswith("report: out/report.html\n")


def test_same_seed_same_numbers(cli: Cli, own_data: Path) -> None:
    """Two runs of one seed agree to the last bit; another seed does not."""
    first, second, other = (
        json.loads(cli("run", *OWN, "--epochs", "2", "--seed", seed, "--out", out, "--json").stdout)
        for seed, out in (("1", "a"), ("1", "b"), ("2", "c"))
    )
    for name in ("test_loss", "train_loss", "validation_loss", "confusion_matrix"):
        assert first[name] == second[name]
    assert first["train_loss"] != other["train_loss"]


def test_config_of_a_run_repeats_it(cli: Cli, own_data: Path, tmp_path: Path) -> None:
    """The configuration that a run leaves behind is enough to do it again."""
    first = json.loads(cli("run", *OWN, "--epochs", "2", "--hidden", "8", "--out", "a", "--json").stdout)
    again = cli("run", "--config", "a/config.toml", "--source", "own", "--out", "b", "--json")
    assert json.loads(again.stdout)["test_loss"] == first["test_loss"]


def test_train_then_evaluate_then_report(cli: Cli, own_data: Path, tmp_path: Path) -> None:
    """The parts of a run in separate commands give what the run gives; `train` leaves the test split alone."""
    whole = json.loads(cli("run", *OWN, "--epochs", "2", "--out", "whole", "--json").stdout)
    trained = cli("train", *OWN, "--epochs", "2", "--out", "parts", "--json")
    assert json.loads(trained.stdout)["run"] == "parts"
    assert not (tmp_path / "parts" / "metrics.json").exists()
    evaluated = json.loads(cli("evaluate", "parts", "--source", "own", "--json").stdout)
    assert evaluated["test_loss"] == whole["test_loss"]
    assert cli("report", "parts", "--source", "own").returncode == 0
    assert (tmp_path / "parts" / "report.html").exists()


def test_data_prepare_says_what_it_did(cli: Cli, own_data: Path) -> None:
    """A miss, then a hit; status says so without writing; verify finds all intact."""
    assert json.loads(cli("data", "status", *OWN, "--json").stdout)["decision"] == "miss"
    assert json.loads(cli("data", "prepare", *OWN, "--json").stdout)["decision"] == "miss"
    assert json.loads(cli("data", "prepare", *OWN, "--json").stdout)["decision"] == "hit"
    assert json.loads(cli("data", "status", *OWN, "--json").stdout)["decision"] == "hit"
    assert json.loads(cli("data", "verify", "--json").stdout) == {"checked": 3, "damaged": {}}


def test_changed_source_is_stale(cli: Cli, own_data: Path) -> None:
    """A source whose bytes changed is named with the file that did."""
    cli("data", "prepare", *OWN)
    labels = own_data / "t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1] + b"\0")
    decision = json.loads(cli("data", "status", *OWN, "--json").stdout)["decision"]
    assert decision.startswith("stale: ")
    assert "the source test_labels changed" in decision


def test_verify_fails_on_damage(cli: Cli, own_data: Path) -> None:
    """A damaged entry gives exit code 3 and its name."""
    entry = Path(json.loads(cli("data", "prepare", *OWN, "--json").stdout)["entry"])
    (own_data.parent / entry / "test.parquet").write_bytes(b"damaged")
    done = cli("data", "verify")
    assert done.returncode == 3
    assert f"damaged: {own_data.parent}/xdg/bpfunc/" in done.stdout
    assert "test.parquet: expected SHA-256" in done.stdout


def _cut_gzip(own: Path) -> None:
    path = own / "train-images-idx3-ubyte"
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes())[:-20])
    path.unlink()


def _flip_byte(own: Path) -> None:
    path = own / "train-images-idx3-ubyte"
    data = bytearray(gzip.compress(path.read_bytes()))
    data[len(data) // 2] ^= 1
    path.with_name(f"{path.name}.gz").write_bytes(data)
    path.unlink()


def _wrong_magic(own: Path) -> None:
    path = own / "train-labels-idx1-ubyte"
    path.write_bytes(b"\0\0\x0d\1" + path.read_bytes()[4:])


def _short_labels(own: Path) -> None:
    path = own / "t10k-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:4] + (29).to_bytes(4, "big") + path.read_bytes()[8:-1])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut_gzip, "gzip stream is damaged or cut off"),
        (_flip_byte, "gzip stream is damaged or cut off"),
        (_wrong_magic, "found magic 00000d01"),
        (_short_labels, "test has 30 images and 29 labels"),
    ],
)
def test_bad_source(cli: Cli, own_data: Path, damage: Callable[[Path], None], message: str) -> None:
    """Each kind of bad source file: exit code 3, and what is wrong with which file."""
    damage(own_data)
    text = complaint(cli("run", *OWN, "--out", "out"), 3)
    assert message in text
    assert "own" in text
    assert not (own_data.parent / "out").exists()


def test_unofficial_bytes_are_refused(cli: Cli, own_data: Path) -> None:
    """Files that are not the official ones need --unpinned."""
    assert "not the official file" in complaint(cli("data", "prepare", "--source", "own"), 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--classes", "Dres,Coat"), "did you mean Dress?"),
        (("--classes", "Dress"), "expected 2 to 10 classes, found 1 (Dress)"),
        (("--classes", "Dress,Dress"), "expected each class once"),
        (("--epochs", "-1"), "expected a whole number of at least 1, found -1"),
        (("--epochs", "1.5"), "'--epochs'"),
        (("--epochs", "many"), "'--epochs'"),
        (("--hidden", "8,x"), "expected whole numbers with commas between"),
        (("--hidden", "8,0"), "expected widths of at least 1"),
        (("--recipe", "reprot"), "did you mean report?"),
        (("--config", "none.toml"), "No such file"),
        (("--config", "malformed.toml"), "this is not valid TOML"),
        (("--config", "unknown.toml"), "unknown field train.epohcs (did you mean epochs?)"),
        (("--config", "float.toml"), "train.epochs: expected a whole number, found 3.0"),
        (("--config", "text.toml"), "train.batch_size: expected a whole number, found '64'"),
        (("--colour", "red"), "--colour"),
    ],
)
def test_wrong_usage(cli: Cli, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    """Each wrong request: exit code 2 and what is wrong with it, before anything is done."""
    (tmp_path / "malformed.toml").write_text("[train\nepochs = 3")
    (tmp_path / "unknown.toml").write_text("[train]\nepohcs = 3")
    (tmp_path / "float.toml").write_text("[train]\nepochs = 3.0")
    (tmp_path / "text.toml").write_text("[train]\nbatch_size = '64'")
    assert message in complaint(cli("run", *arguments, "--out", "out"), 2)
    assert not (tmp_path / "out").exists()


def test_existing_run_directory_is_refused(cli: Cli, own_data: Path, tmp_path: Path) -> None:
    """A directory that exists is never written into."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("kept")
    assert "exists already" in complaint(cli("run", *OWN, "--out", "out"), 2)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["precious"]


def test_unwritable_cache_is_named(cli: Cli, own_data: Path, tmp_path: Path) -> None:
    """A cache that cannot be made: exit code 1 and the path."""
    (tmp_path / "file").write_text("")
    text = complaint(cli("data", "prepare", *OWN, "--cache", "file/cache"), 1)
    assert "cannot make the directory" in text
    assert "file/cache" in text


def test_no_run_there_is_named(cli: Cli, tmp_path: Path) -> None:
    """Evaluating a directory that is no run: exit code 2."""
    (tmp_path / "empty").mkdir()
    assert "not a run directory" in complaint(cli("evaluate", "empty"), 2)


@pytest.mark.parametrize(
    "arguments",
    [
        ("data", "prepare", *OWN, "--cache", "a" * 300),
        ("data", "status", *OWN, "--cache", "a" * 300),
        ("data", "verify", "--cache", "a" * 300),
        ("data", "download", "--raw", "file/raw"),
    ],
    ids=lambda arguments: "-".join(arguments[:2]),
)
def test_impossible_places_are_named(cli: Cli, own_data: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """A path that the file system cannot have is a message with that path, never an unexpected error."""
    (tmp_path / "file").write_text("")
    text = complaint(cli(*arguments), 1)
    assert "unexpected" not in text
    assert arguments[-1] in text


def test_debug_shows_the_traceback(cli: Cli) -> None:
    """BPFUNC_DEBUG=1 shows where an error came from, and 0 does not."""
    assert "Traceback" in cli("run", "--recipe", "none", BPFUNC_DEBUG="1").stderr
    complaint(cli("run", "--recipe", "none", BPFUNC_DEBUG="0"), 2)


def test_interrupt_exits_with_130(own_data: Path, tmp_path: Path) -> None:
    """Ctrl-C ends the command with code 130 and no traceback."""
    import os
    import signal
    import sys
    import time

    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines", "train", *OWN, "--epochs", "1000000", "--out", "out"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(600):
        if (tmp_path / "out" / "config.toml").exists():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr


def test_study_and_compare(cli: Cli, own_data: Path) -> None:
    """A study names every seed and the interval, goes on where it was, and compares with another."""
    small = (*OWN, "--hidden", "8", "--quiet")
    first = json.loads(cli("study", *small, "--seeds", "2", "--epochs", "2", "--out", "a", "--json").stdout)
    assert [result["seed"] for result in first["results"]] == [0, 1]
    again = json.loads(
        cli("study", *small, "--seeds", "3", "--jobs", "2", "--epochs", "2", "--out", "a", "--json").stdout
    )
    assert again["results"][:2] == first["results"]
    accuracies = [result["test_accuracy"] for result in again["results"]]
    assert again["mean_test_accuracy"] == pytest.approx(sum(accuracies) / 3)
    told = cli("study", *small, "--seeds", "3", "--epochs", "2", "--out", "a").stdout
    assert "3 seeds: mean test accuracy" in told
    assert "95 % interval" in told
    assert cli("study", *small, "--seeds", "2", "--epochs", "9", "--out", "b").returncode == 0
    found = json.loads(cli("compare", "a", "b", "--json").stdout)
    assert found["rows"] == 30
    assert "A minus B:" in cli("compare", "a", "b").stdout
    assert "McNemar" in cli("compare", "a/seed-000", "b/seed-000").stdout
    assert "another configuration" in complaint(cli("study", *small, "--seeds", "2", "--epochs", "3", "--out", "a"), 2)
    assert "this is data, not a run" in complaint(cli("compare", "a", "own"), 2)


def test_search(cli: Cli, own_data: Path, tmp_path: Path) -> None:
    """A search prints a line for each variant, the best first, and keeps its log."""
    data = 'dataset = { classes = ["0", "1", "2"], pinned = false }\nmodel = { hidden = [8] }\n'
    (tmp_path / "search.toml").write_text(
        'recipe = "report"\nfolds = 3\ntake = 1\n'
        f"[variant.short]\n{data}train = {{ epochs = 1 }}\n[variant.long]\n{data}train = {{ epochs = 9 }}\n"
    )
    done = cli("search", "search.toml", "--source", "own", "--out", "log")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2
    kept = json.loads((tmp_path / "log" / "search.json").read_text())
    assert [row["variant"] for row in kept] == [line.split()[-1] for line in done.stdout.splitlines()]
    changed = ("search", "search.toml", "--source", "own", "--out", "log", "--set")
    assert cli(*changed, "train.learning_rate=0.01").returncode == 0
    assert json.loads((tmp_path / "log" / "search.json").read_text()) != kept
    assert "train.epochs is set in variant short" in complaint(cli(*changed, "train.epochs=2"), 2)


def test_threads_are_told_before_numpy_wakes(cli: Cli) -> None:
    """The BLAS libraries are told one thread, unless the person has said otherwise."""
    import os
    import sys

    code = (
        "from pipelines.training.threads import use_threads; import os; use_threads(1); "
        "print(os.environ['OPENBLAS_NUM_THREADS']); import numpy; use_threads(3); print(os.environ['OMP_NUM_THREADS'])"
    )
    root = str(Path(__file__).parents[2])
    clean = {name: value for name, value in os.environ.items() if not name.endswith("_THREADS")}
    for given, expected in (({}, ["1", "1"]), ({"OPENBLAS_NUM_THREADS": "2"}, ["2", "1"])):
        environment = {**clean, **given, "PYTHONPATH": root}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.split() == expected
