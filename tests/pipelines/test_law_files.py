"""The law of files: no command replaces or removes what it reads, what is of a run or such, or what it did not make.

The commands are found in the tree of the command line. Every parameter that takes a path, and is not known as one that
is only read, counts as a place to write to: a new command is tried without being named here, and fails until a line
that calls it is added below.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import typer

from pipelines.cli.main import app
from pipelines.dataset.places import Places
from pipelines.disk.atomic import make_directory, remove_directory
from pipelines.disk.ownership import check_output, kind_of
from pipelines.errors import PipelineError, UsageProblem, WorkFailed
from pipelines.runs.run import evaluate_run, report_run, train_run
from pipelines.spec.run_spec import DatasetSpec, ModelSpec, RunSpec, TrainSpec
from pipelines.spec.toml import to_toml
from pipelines.studies.study import run_study
from tests.conftest import NAMES, ROOT, write_own_data

SPEC = RunSpec(
    name="small",
    dataset=DatasetSpec(classes=("0", "1", "2"), pinned=False),
    model=ModelSpec(hidden=(4,)),
    train=TrainSpec(epochs=1, batch_size=20, validation_fraction=0.2),
)
READ = {"run", "inputs", "space", "a", "b", "config", "source", "runs"}
"""Names of parameters that take a path and are only read."""
OWN = ("--unpinned", "--classes", "0,1,2", "--source", "own")
BRIEF = ("--epochs", "1", "--hidden", "4")
CALLS: dict[str, tuple[str, ...]] = {
    "run": (*OWN, *BRIEF),
    "train": (*OWN, *BRIEF),
    "resume": ("run", "--source", "own"),
    "evaluate": ("run", "--source", "own"),
    "report": ("run", "--source", "own"),
    "study": (*OWN, *BRIEF, "--seeds", "1"),
    "search": ("search.toml", "--source", "own"),
    "sweep": ("space.toml", "--source", "own", "--trials", "1"),
    "compare": ("run", "study", "--source", "own"),
    "runs compare": ("run", "study", "--source", "own"),
    "doctor": (),
    "explain": (*OWN, "--hidden", "4", "--config", "mine.toml"),
    "predict": ("run", "images.npy", "photos"),
    "export": ("run", "--to", "safetensors"),
    "data prepare": OWN,
    "data status": OWN,
    "data partition": OWN,
    "data verify": (),
    "data bundle": ("--source", "own"),
    "data download": (),
}
"""Command -> arguments that make it do something in the workshop, without those that name a place to write to."""


def commands(group: object, before: str = "") -> Iterator[tuple[str, list[object]]]:
    """Every command below a group, by its words, and its parameters."""
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        words = f"{before} {name}".strip()
        if hasattr(command, "commands"):
            yield from commands(command, words)
        else:
            yield words, command.params


def takes_a_path(parameter: object) -> bool:
    """Whether the value is a path, a directory, a place or a file, by its type or by the word in the help."""
    annotation = parameter.type_descriptor.annotation  # type: ignore[attr-defined]
    return "Path" in repr(annotation) or parameter.metavar in ("FILE", "DIR", "PLACE")  # type: ignore[attr-defined]


TREE = dict(commands(typer.main.get_command(app)))
OUTPUTS = [
    (words, parameter.name, tuple(parameter.opts) if parameter.param_type_name == "option" else ())
    for words, parameters in TREE.items()
    for parameter in parameters
    if takes_a_path(parameter) and parameter.name not in READ and parameter.name not in ("stream", "partitions")
]
"""Command, parameter, and option of everything that may be written to."""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of everything that a command must not harm."""
    base = tmp_path_factory.mktemp("workshop")
    write_own_data(base / "own")
    places = Places(source=base / "own", cache=base / "cache", raw=base / "raw", runs=base / "runs")
    finished = train_run(SPEC, Places(**{**places_of(places), "out": base / "run"}), now=datetime(2026, 1, 1))
    evaluation, _ = evaluate_run(SPEC, finished)
    report_run(SPEC, finished, evaluation)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        list(run_study(SPEC, range(1), base / "study", places, pool))
    (base / "study" / "study.json").write_text("{}")
    (base / "sweep").mkdir()
    for name, begin in (("sweep.db", "SQLite format 3"), ("sweep.json", "[")):
        (base / "sweep" / name).write_text(begin)
    (base / "sweep" / "best.toml").write_text(to_toml(SPEC))
    (base / "search" / "trials").mkdir(parents=True)
    (base / "search" / "trials" / "wide-0-0123456789abcdef.json").write_text("{}")
    (base / "search" / "search.json").write_text("[]")
    (base / "parts").mkdir()
    for name in ("partitions.json", "part-00000.parquet"):
        (base / "parts" / name).write_text("precious")
    (base / "foreign").mkdir()
    for name in (
        "thesis.txt sweep.json best.toml search.json study.json study.html config.toml train.parquet test.parquet "
        f"part-00000.parquet metrics.json {' '.join(f'{name}.gz' for name in NAMES.values())}"
    ).split():
        (base / "foreign" / name).write_text("precious")
    shutil.copytree(base / "own", base / "theirs")
    np.save(base / "images.npy", np.zeros((2, 28, 28), np.uint8))
    (base / "photos").mkdir()
    shutil.copy(base / "images.npy", base / "photos" / "more.npy")
    (base / "mine.toml").write_text("[train]\nbatch_size = 20\n")
    (base / "search.toml").write_text(
        'recipe = "report"\nfolds = 2\ntake = 1\n[base.dataset]\nclasses = ["0", "1"]\n'
        "pinned = false\n[variant.plain.train]\nepochs = 1\n"
    )
    (base / "space.toml").write_text(
        'recipe = "report"\n[fixed.dataset]\nclasses = ["0", "1"]\npinned = false\n'
        '[fixed.train]\nepochs = 1\n[parameters]\n"train.learning_rate" = { log = [0.01, 1] }\n'
    )
    return base


def places_of(places: Places) -> dict[str, Path | None]:
    """The fields of places."""
    return {"source": places.source, "cache": places.cache, "raw": places.raw, "runs": places.runs}


@pytest.fixture
def copy(workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workshop of one's own, with links of every kind to what must not be harmed; the working directory."""
    here = tmp_path / "here"
    shutil.copytree(workshop, here)
    (here / "soft.npy").symlink_to("images.npy")
    os.link(here / "images.npy", here / "hard.npy")
    os.link(here / "mine.toml", here / "hard.toml")
    (here / "way-in").symlink_to("run")
    (here / "somedir").mkdir()
    monkeypatch.chdir(here)
    return here


FORBIDDEN_FILES = (
    *("run/params.safetensors", "run/config.toml", "run/checkpoints/epoch-00001.safetensors", "run/new.txt"),
    *("way-in/params.safetensors", "./run/../run/metrics.json", "study/study.json", "study/seed-000/history.parquet"),
    *("sweep/best.toml", "search/search.json", "search/trials/wide-0-0123456789abcdef.json"),
    *("own/t10k-labels-idx1-ubyte", "foreign/train.parquet", "somedir", "somedir/", "missing/", "soft.npy"),
    *("/dev/null", "/dev/fd/0"),
)
"""No command writes a file here, whatever it reads."""
READ_BY = {
    "predict": ("images.npy", "hard.npy", "./photos/../images.npy", "photos/more.npy"),
    "explain": ("mine.toml", "hard.toml", "own/train-labels-idx1-ubyte"),
}
"""Command -> files that it reads, under several names."""
FORBIDDEN_DIRECTORIES = (
    "run",
    "run/inner",
    "way-in",
    "study/seed-007",
    "sweep/inner",
    "search/inner",
    "run/checkpoints/x",
)
"""No command makes a directory of another kind of these, or within them."""


def state(base: Path) -> dict[str, str]:
    """Hash of every file below a directory."""
    return {
        str(path.relative_to(base)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "directory"
        for path in base.rglob("*")
        if not path.is_symlink()
    }


def called(words: str, place: str, option: tuple[str, ...]) -> BaseException | None:
    """Call a command in this process; return how it ended."""
    arguments = [*words.split(), *CALLS[words], *option[:1], place]
    if words in ("search", "data bundle") and option[:1] != ("--out",):
        arguments += ["--out", "made"]
    if words == "data partition" and option:
        arguments += ["parts-made"]
    try:
        app(arguments, prog_name="bpfunc", standalone_mode=False)
    except (PipelineError, SystemExit, typer.Exit, OSError) as ended:
        return ended
    return None


def test_commands_are_found() -> None:
    """The tree is read: the known places to write to are among those found, and every command can be called."""
    found = {(words, name) for words, name, _ in OUTPUTS}
    assert {("predict", "out"), ("explain", "html"), ("data partition", "place"), ("run", "cache")} <= found
    assert len(found) >= 40
    assert {words for words, _ in FILES} >= {"predict", "export", "explain", "compare", "runs compare"}
    assert {words for words, _ in found} <= CALLS.keys()


FILES = [
    (words, tuple(parameter.opts))
    for words, parameters in TREE.items()
    for parameter in parameters
    if parameter.metavar == "FILE" and parameter.name not in READ
]
"""Command and option of every file that may be written."""


@pytest.mark.parametrize(("words", "option"), FILES, ids=lambda value: value if isinstance(value, str) else "")
def test_no_file_of_anything_is_replaced(copy: Path, words: str, option: tuple[str, ...]) -> None:
    """Every file to write is refused with exit code 2 where something else lies, and nothing changes."""
    before = state(copy)
    for place in (*FORBIDDEN_FILES, *READ_BY.get(words, ())):
        ended = called(words, place, option)
        assert isinstance(ended, UsageProblem), (words, place, ended)
        now = state(copy)
        assert {name: now.get(name) for name in before} == before, (words, place)
        assert not {name for name in now.keys() - before.keys() if not name.startswith("data")}, (words, place)


DIRECTORIES = [output for output in OUTPUTS if (output[0], output[2]) not in FILES]
"""Commands with every directory that they may write to."""


@pytest.mark.parametrize(
    ("words", "name", "option"), DIRECTORIES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_no_directory_is_written_into(copy: Path, words: str, name: str, option: tuple[str, ...]) -> None:
    """A directory of another kind is refused with exit code 2; a foreign one may be used, but no file in it changes."""
    before = state(copy)
    for place in FORBIDDEN_DIRECTORIES:
        ended = called(words, place, option)
        assert isinstance(ended, UsageProblem), (words, place, ended)
        assert state(copy) == before, (words, place)
    fetches = (words, name) == ("data download", "raw")  # what is no IDX file is fetched anew, from the network
    for place in ("theirs",) if fetches else ("foreign", "theirs"):
        called(words, place, option)
        now = state(copy)
        kept = {name for name in before if words not in ("resume", "evaluate", "report") or not name.startswith("run/")}
        assert {name: now.get(name) for name in kept} == {name: before[name] for name in kept}, (words, place)


KINDS = (
    "study",
    "sweep",
    "search",
    "parts",
    "own",
    "cache",
    "run/checkpoints",
    "run/config.toml",
    "foreign",
    "somedir",
    ".",
)


@pytest.mark.parametrize("command", ["resume", "evaluate", "report", "predict", "export", "runs show", "compare"])
def test_what_is_no_run_is_refused(copy: Path, command: str) -> None:
    """Each kind of directory is named with exit code 2, nothing is written, and what is advised is a real command."""
    before = state(copy)
    entry = next(path for path in (copy / "cache").iterdir())
    for place in (*KINDS, str(entry.relative_to(copy)), "missing"):
        if (command, place) == ("compare", "study"):
            continue
        words = [
            *command.split(),
            place,
            *{"predict": ["images.npy"], "export": ["--to", "npz"], "compare": ["run"]}.get(command, []),
        ]
        with pytest.raises(UsageProblem) as caught:
            app(words, prog_name="bpfunc", standalone_mode=False)
        assert state(copy) == before, (command, place)
        for advice in re.findall("`bpfunc ([^`]*)`", caught.value.remedy):
            known = [words for words in TREE if f"{advice} ".startswith(f"{words} ")]
            assert known, advice
            options = {option for words in known for parameter in TREE[words] for option in parameter.opts}
            assert set(re.findall(r"(?<= )--[a-z-]+", advice)) <= options, advice
    with pytest.raises(UsageProblem, match=r"this is a (study|sweep)"):
        app(
            [*command.split(), "study" if command != "compare" else "sweep", *words[len(command.split()) + 1 :]],
            standalone_mode=False,
        )


def test_advice_for_a_study_goes_on_with_it(copy: Path) -> None:
    """The command that is printed for a study, as it stands, finishes a seed that is missing."""
    (copy / "study" / "seed-000" / "metrics.json").unlink()
    (copy / "study" / "study.json").unlink()
    with pytest.raises(UsageProblem) as caught:
        app(["resume", "study"], standalone_mode=False)
    (advice,) = re.findall("`bpfunc ([^`]*)`", caught.value.remedy)
    app([*advice.split(), "--source", "own"], standalone_mode=False)
    assert (copy / "study" / "seed-000" / "metrics.json").is_file()


@contextmanager
def living(directory: Path) -> Iterator[None]:
    """Another process that works in a directory."""
    code = (
        "import sys; from pathlib import Path; from pipelines.disk.atomic import exclusive\n"
        "with exclusive(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        assert process.stdout.readline() == b"held\n"
        yield
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def clean(capsys: pytest.CaptureFixture[str]) -> str:
    """Clean everything away that may be; return what is said."""
    app(["runs", "clean", "--runs", ".", "--older-than", "0", "--idle", "0", "--yes"], standalone_mode=False)
    return capsys.readouterr().err


def test_clean_asks_for_the_claim(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that a living process works on is named and kept, however old its files; once that has ended it goes."""
    for path in (copy / "run").rglob("*"):
        os.utime(path, (0, 0))
    os.utime(copy / "run", (0, 0))
    before = state(copy)
    with living(copy / "run"):
        assert "run: left alone, another process is at work in it" in clean(capsys)
    assert state(copy) == before
    clean(capsys)
    assert not (copy / "run").exists()


@pytest.mark.parametrize(
    "name", ["notes.txt", "checkpoints/best.safetensors", "checkpoints/notes.json", "checkpoints/old/x", "empty/"]
)
def test_clean_keeps_foreign_files(copy: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """A file or folder that no run makes keeps the whole run, and is named."""
    path = copy / "run" / name
    path.parent.mkdir(exist_ok=True)
    path.mkdir() if name.endswith("/") else path.write_text("precious")
    before = state(copy)
    assert name.rstrip("/") in clean(capsys)
    assert state(copy) == before


def test_old_checkpoints_alone_are_pruned(copy: Path) -> None:
    """Files in checkpoints/ with other names are never taken for checkpoints, neither to be read nor to be removed."""
    from pipelines.runs.checkpoints import checkpoint_paths

    for name in ("epoch-best.safetensors", "epoch-00009-copy.safetensors", "epoch-00009.safetensors.bak"):
        (copy / "run" / "checkpoints" / name).write_text("precious")
    assert [path.name for path in checkpoint_paths(copy / "run")] == ["epoch-00001.safetensors"]


def test_a_damaged_entry_with_notes_stays(copy: Path) -> None:
    """A cache entry is made anew only if nothing else lies in it."""
    entry = next(path for path in (copy / "cache").iterdir())
    (entry / "manifest.json").write_text("damaged")
    (entry / "notes.txt").write_text("precious")
    before = state(copy)
    with pytest.raises(WorkFailed, match=r"notes\.txt"):
        app(["data", "prepare", *OWN, "--cache", "cache"], standalone_mode=False)
    assert state(copy) == before
    (entry / "notes.txt").unlink()
    app(["data", "prepare", *OWN, "--cache", "cache"], standalone_mode=False)


def test_a_missing_directory_is_named(copy: Path) -> None:
    """All commands that write a file name the directory that is missing, before any work, and make none."""
    before = state(copy)
    for words, option in FILES:
        ended = called(words, "new/deep/result.out", option)
        assert isinstance(ended, WorkFailed), (words, ended)
        assert "no directory new/deep" in ended.what
        assert state(copy) == before


def test_a_file_on_the_way_is_named(copy: Path) -> None:
    """A path that leads through a file is told so, not to make a directory of the file's name."""
    (copy / "file").write_text("a person's")
    before = state(copy)
    for words, option in FILES:
        ended = called(words, "file/result.out", option)
        assert isinstance(ended, WorkFailed), (words, ended)
        assert ended.remedy.endswith("file is a file")
        assert state(copy) == before


def test_a_file_in_the_place_of_a_directory_is_named(tmp_path: Path) -> None:
    """What is there and no directory is called that, whether a file or a link to nothing."""
    (tmp_path / "file").write_text("a person's")
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "link"):
        with pytest.raises(WorkFailed, match="this is not a directory"):
            make_directory(tmp_path / name)


def test_what_may_be_written_is_written(copy: Path) -> None:
    """The refusals above are not of everything: each of these commands writes a new file, and over its own old one."""
    for number, (words, option) in enumerate(FILES):
        for _ in range(2):
            assert called(words, f"result{number}.out", option) is None
            assert (copy / f"result{number}.out").is_file()


def test_a_card_replaces_a_card_alone(copy: Path) -> None:
    """The model card beside an export takes the place of an older one, never of another text or of the export."""
    (copy / "README.md").write_text("precious")
    for name in ("README.safetensors", "README.md", "other.md"):
        with pytest.raises(UsageProblem):
            app(["export", "run", "--to", "safetensors", "--out", name], standalone_mode=False)
    assert (copy / "README.md").read_text() == "precious"
    for _ in range(2):
        app(["export", "run", "--to", "safetensors", "--out", "fine.safetensors"], standalone_mode=False)
    assert "fine.safetensors" in (copy / "fine.md").read_text()


def test_two_removers_and_a_late_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that comes while a directory is removed stays: what is removed is what was looked at, one by one."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_text("x")
    unlink = Path.unlink

    def slow(path: Path, missing_ok: bool = False) -> None:
        (tmp_path / "d" / "late.txt").write_text("precious")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", slow)
    with pytest.raises(OSError, match="not empty"):
        remove_directory(tmp_path / "d", ["a"])
    assert (tmp_path / "d" / "late.txt").read_text() == "precious"


REMOVERS = {"atomic.py", "checkpoints.py", "storage.py"}
"""Files that remove: the one home, old checkpoints by exact names, a temporary database that was just made."""


def test_removing_has_one_home() -> None:
    """No other module of the pipeline calls what removes files or directories."""
    found = set()
    for path in (ROOT / "pipelines").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if (
                    node.func.attr in ("unlink", "rmdir", "rmtree", "removedirs")
                    or ast.unparse(node.func) == "os.remove"
                ):
                    found.add(path.name)
                assert node.func.attr != "rmtree", path
    assert found == REMOVERS


def test_planted_violation_is_seen(copy: Path) -> None:
    """The law's own eyes: a writer that asks nobody changes the state that is compared."""
    before = state(copy)
    (copy / "run" / "params.safetensors").write_bytes(b"x")
    assert state(copy) != before


def test_an_unfinished_run_is_told_how_it_is_finished(copy: Path) -> None:
    """What needs a network names the command that trains it; a comparison the one that evaluates it."""
    (copy / "run" / "predictions.parquet").unlink()
    with pytest.raises(UsageProblem) as caught:
        app(["compare", "run", "run"], standalone_mode=False)
    assert "bpfunc evaluate run" in caught.value.remedy
    (copy / "run" / "params.safetensors").unlink()
    for words in (["compare", "run", "run"], ["predict", "run", "images.npy"], ["export", "run", "--to", "npz"]):
        with pytest.raises(PipelineError) as found:
            app(words, standalone_mode=False)
        assert "bpfunc resume run" in found.value.remedy


def test_a_directory_as_configuration_names_its_file(copy: Path) -> None:
    """`--config STUDY` and `--config SWEEP` are told which file in it is one."""
    for place, name in (("study", "config.toml"), ("sweep", "best.toml")):
        with pytest.raises(UsageProblem) as caught:
            app(["explain", "--config", place], standalone_mode=False)
        assert caught.value.remedy.endswith(f"{place}/{name}")


def test_links_in_a_circle(copy: Path) -> None:
    """A place that the file system cannot follow is one message."""
    (copy / "loop").symlink_to("loop")
    for place in ("loop", "loop/x"):
        with pytest.raises(PipelineError):
            app(["export", "run", "--to", "npz", "--out", place], standalone_mode=False)


def test_kinds(copy: Path) -> None:
    """Each directory is known for what it is, and a project of another tool for none of ours."""
    kinds = {name: kind_of(copy / name) for name in ("run", "study", "sweep", "search", "parts", "own", "somedir")}
    assert kinds == {
        "run": "run",
        "study": "study",
        "sweep": "sweep",
        "search": "search",
        "parts": "partitioned data",
        "own": None,
        "somedir": None,
    }
    other = copy / "another-project"
    (other / "checkpoints").mkdir(parents=True)
    (other / "config.toml").write_text("title = 'a site'\n")
    (other / "trials").mkdir()
    (other / "notes.txt").write_text("x")
    assert kind_of(other) is None
    check_output(other / "answers.parquet")
