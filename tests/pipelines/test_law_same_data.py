"""Whatever is compared, averaged or resumed was made from the same rows: hashes decide, not places or names."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import attrs
import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load
from typer.main import get_command

from bpfunc.tree import Tree
from pipelines.artifacts import RawSplit
from pipelines.cli import main
from pipelines.dataset.data_hashes import NAMED_PARTS, UNKNOWN, DataHashes, data_hashes, differences, from_text, to_text
from pipelines.dataset.partitions import MANIFEST, write_partitions
from pipelines.dataset.places import Places
from pipelines.dataset.streaming import Stream, open_stream
from pipelines.disk.tensors import sealed_tensors
from pipelines.errors import DataProblem, PipelineError, UsageProblem
from pipelines.runs import checkpoints, network
from pipelines.runs.metrics import read_metrics, write_metrics
from pipelines.runs.network import read_network
from pipelines.runs.run import evaluate_run, reopen_run, resume_run, train_run
from pipelines.spec.run_spec import DatasetSpec, ModelSpec, RunSpec, TrainSpec
from pipelines.stages.acquire import acquire
from pipelines.stages.decode import decode
from pipelines.stages.prepare import prepare
from pipelines.stages.select import select
from pipelines.studies import executors
from pipelines.studies.ablation import ablation_rows
from pipelines.studies.compare import compare
from pipelines.studies.comparison import side_by_side
from pipelines.studies.comparison_page import write_comparison_page
from pipelines.studies.study import read_seed, run_study, summarised, train_seed
from pipelines.studies.tuning.cross_validation import load_search
from pipelines.studies.tuning.space import Parameter, Space, load_space
from pipelines.studies.tuning.storage import storage_url
from pipelines.studies.tuning.sweep import run_sweep, run_trial
from pipelines.training import rows
from tests.conftest import NAMES

SPEC = RunSpec(
    name="small",
    dataset=DatasetSpec(classes=("0", "1", "2"), pinned=False),
    model=ModelSpec(hidden=(8,)),
    train=TrainSpec(epochs=2, batch_size=8, learning_rate=0.1, validation_fraction=0.2),
)


@pytest.fixture
def places(tmp_path: Path, own_data: Path) -> Places:
    """Where a run takes from."""
    return Places(source=own_data, cache=tmp_path / "cache", raw=tmp_path)


def written(places: Places, place: Path, change: Callable[[np.ndarray], np.ndarray] = np.asarray) -> Path:
    """The training rows as four parts of two row groups, their pixels changed."""
    split = select(decode(acquire(SPEC.dataset, source=places.source)), SPEC.dataset).train
    meta = prepare(SPEC.dataset, source=places.source, cache=places.cache, raw=places.raw)[0].meta
    changed = RawSplit(change(split.images), split.labels, split.source_index)
    write_partitions(changed, meta, str(place), group_rows=8, groups_per_part=2)
    return place


def darker(images: np.ndarray) -> np.ndarray:
    """Every pixel but the black ones, one less bright: other rows of the same size."""
    return images - (images > 0).astype(np.uint8)


def streamed(place: Path) -> RunSpec:
    """A run that streams its rows."""
    return attrs.evolve(SPEC, dataset=attrs.evolve(SPEC.dataset, partitions=str(place)))


def trained(spec: RunSpec, places: Places, out: Path) -> Path:
    """A finished training."""
    return train_run(spec, attrs.evolve(places, out=out), now=datetime(2026, 1, 1)).directory


def interrupted(run: Path) -> Path:
    """The run as a kill leaves it after its last checkpoint."""
    (run / "params.safetensors").unlink()
    return run


def rewrite(place: Path, places: Places) -> None:
    """Write other rows to the same place."""
    shutil.rmtree(place)
    written(places, place, darker)


def change_one(place: Path, places: Places) -> None:
    """Put one part of other rows in place, manifest and all."""
    other = written(places, place.with_name("other"), darker)
    name = "part-00001.parquet"
    shutil.copy(other / name, place / name)
    ours, theirs = (json.loads((p / MANIFEST).read_text()) for p in (place, other))
    ours["parts"][name] = theirs["parts"][name]
    (place / MANIFEST).write_text(json.dumps(ours))


def change_silently(place: Path, places: Places) -> None:
    """Change a part behind the manifest's back: as many bytes, which even Parquet takes for whole."""
    part = place / "part-00001.parquet"
    data = bytearray(part.read_bytes())
    start = data.index(b"parquet-cpp-arrow")  # the name of the program that wrote it, which no checksum covers
    data[start : start + 7] = b"PARQUET"
    part.write_bytes(bytes(data))
    pq.read_table(part)


def edit_manifest(place: Path, edit: Callable[[dict[str, object]], dict[str, object]]) -> None:
    """Let the manifest name other parts."""
    manifest = json.loads((place / MANIFEST).read_text())
    manifest["parts"] = edit(manifest["parts"])
    (place / MANIFEST).write_text(json.dumps(manifest))


def remove_one(place: Path, places: Places) -> None:
    """Take one part away, from the manifest as well."""
    edit_manifest(place, lambda parts: {name: part for name, part in parts.items() if name != "part-00001.parquet"})


def add_one(place: Path, places: Places) -> None:
    """Add a copy of a part, to the manifest as well."""
    shutil.copy(place / "part-00001.parquet", place / "part-00009.parquet")
    edit_manifest(place, lambda parts: {**parts, "part-00009.parquet": parts["part-00001.parquet"]})


def reorder(place: Path, places: Places) -> None:
    """Name the same parts in another order, so that a seed draws other batches."""
    edit_manifest(place, lambda parts: dict(reversed(parts.items())))


HARMS = {
    rewrite: "part-00000.parquet was rewritten; part-00001.parquet was rewritten; part-00002.parquet was rewritten; "
    "and 1 more parts differ",
    change_one: "part-00001.parquet was rewritten",
    change_silently: "expected SHA-256",
    remove_one: "part-00001.parquet is missing",
    add_one: "part-00009.parquet was added",
    reorder: "partitions: expected SHA-256",
}


def resumed(spec: RunSpec, run: Path, places: Places) -> None:
    """Take an interrupted training up."""
    resume_run(interrupted(run), places)


def reopened(spec: RunSpec, run: Path, places: Places) -> None:
    """Open a finished training."""
    reopen_run(run, places)


@pytest.mark.parametrize("use", [resumed, reopened])
@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_other_parts_are_not_gone_on_with(
    tmp_path: Path,
    places: Places,
    harm: Callable[[Path, Places], None],
    use: Callable[[RunSpec, Path, Places], None],
) -> None:
    """A streamed run goes on with the parts that it began with, and with no others; the message names them."""
    place = written(places, tmp_path / "parts")
    run = trained(streamed(place), places, tmp_path / "run")
    shutil.copytree(run, tmp_path / "unharmed")
    use(streamed(place), tmp_path / "unharmed", places)
    harm(place, places)
    checkpoints = {path: path.read_bytes() for path in (run / "checkpoints").iterdir()}
    with pytest.raises(DataProblem) as caught:
        use(streamed(place), run, places)
    assert HARMS[harm] in caught.value.what
    assert {path: path.read_bytes() for path in (run / "checkpoints").iterdir()} == checkpoints


def without_hashes(tree: Tree, metadata: Mapping[str, str]) -> bytes:
    """A file of tensors as earlier versions wrote it."""
    return sealed_tensors(tree, {name: text for name, text in metadata.items() if name != "hashes"})


@pytest.mark.parametrize("use", [resumed, reopened])
def test_runs_of_earlier_versions_still_open(
    tmp_path: Path, places: Places, monkeypatch: pytest.MonkeyPatch, use: Callable[[RunSpec, Path, Places], None]
) -> None:
    """A checkpoint and a network that name no data are gone on with."""
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "sealed_tensors", without_hashes)
        patch.setattr(network, "sealed_tensors", without_hashes)
        run = trained(SPEC, places, tmp_path / "run")
    assert all(b"train_images" not in path.read_bytes() for path in run.rglob("*.safetensors"))
    use(SPEC, run, places)


def test_streamed_runs_of_earlier_versions_keep_their_validation_rows(
    tmp_path: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They rounded in each row group; taken up again, they learn from no row that was held out, however often."""
    spec = streamed(written(places, tmp_path / "parts"))
    opened: list[tuple[int, ...]] = []

    def seen(*arguments: object, carried: bool = True, **options: object) -> Stream:
        stream = open_stream(*arguments, carried=carried and not old, **options)  # type: ignore[arg-type]
        opened.append(stream.held_out)
        return stream

    old = True
    monkeypatch.setattr(rows, "open_stream", seen)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "sealed_tensors", without_hashes)
        patch.setattr(network, "sealed_tensors", without_hashes)
        run = trained(spec, places, tmp_path / "run")
    weights = (run / "params.safetensors").read_bytes()
    old = False
    evaluate_run(*reopen_run(run, places))
    for path in checkpoints.checkpoint_paths(run)[:-1]:
        path.unlink()
    evaluate_run(*resume_run(interrupted(run), places))
    assert read_network(run).data == UNKNOWN
    assert load(weights)["params.layers[0].weight"].tobytes() == read_network(run).params.layers[0].weight.tobytes()
    evaluate_run(*reopen_run(run, places))
    assert set(opened) == {(2, 2, 2, 2, 2, 2, 2, 1)}
    trained(spec, places, tmp_path / "new")
    assert opened[-1] != opened[0]


@pytest.mark.parametrize("use", [resumed, reopened])
def test_parts_may_move(tmp_path: Path, places: Places, use: Callable[[RunSpec, Path, Places], None]) -> None:
    """The same parts written anew are the same rows: content counts."""
    place = written(places, tmp_path / "parts")
    run = trained(streamed(place), places, tmp_path / "run")
    shutil.rmtree(place)
    written(places, place)
    use(streamed(place), run, places)


def test_relative_partitions_from_another_directory(
    tmp_path: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resuming elsewhere is told that the path is relative, not that the partitions are to be written again."""
    written(places, tmp_path / "parts")
    monkeypatch.chdir(tmp_path)
    run = trained(streamed(Path("parts")), places, tmp_path / "run")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(DataProblem) as caught:
        resume_run(interrupted(run), places)
    assert caught.value.where == str(tmp_path / "elsewhere" / "parts")
    assert "'parts' is relative to the current directory: run the command where the training began" in str(caught.value)
    monkeypatch.chdir(tmp_path)
    resume_run(run, places)


def change_source(places: Places, role: str) -> None:
    """Let the last two bytes of a source file change places: no size, label or statistic of ``unit`` tells."""
    assert places.source is not None
    path = places.source / NAMES[role]
    data = path.read_bytes()
    path.write_bytes(data[:-2] + data[:-3:-1])


@pytest.mark.parametrize("role", NAMES)
def test_other_sources_are_not_reopened(tmp_path: Path, places: Places, role: str) -> None:
    """A scaling that needs no statistics is the same for all data; the sources' hashes are not."""
    run = trained(SPEC, places, tmp_path / "run")
    change_source(places, role)
    with pytest.raises(DataProblem, match=f"{role.replace('_', ' ')}: expected SHA-256 [0-9a-f]{{12}}, found [0-9a-f]"):
        reopen_run(run, places)
    with pytest.raises(DataProblem, match=f"{role.replace('_', ' ')}: expected SHA-256 [0-9a-f]{{12}}, found [0-9a-f]"):
        resume_run(interrupted(run), places)


def test_many_parts_are_one_hash() -> None:
    """Records of any number of parts fit a header; of very many, differences are seen and not named."""
    few, many = (
        DataHashes({"train_images": "a"}, "b", {f"{n:05d}": "c" for n in range(count)}) for count in (NAMED_PARTS, 0)
    )
    assert from_text(to_text(few)) == few
    assert len(to_text(attrs.evolve(few, parts=dict.fromkeys(few.parts, "0" * 16)))) < 100_000
    other = attrs.evolve(many, partitions="d")
    assert differences(many, other) == "partitions: expected SHA-256 b, found d"
    for text in ("[]", "{}", "1", '{"sources": 1, "partitions": "", "parts": {}}', "[" * 100_000):
        with pytest.raises(ValueError, match=r"damaged|Expecting"):
            from_text(text)


# Every command, found on the command line itself


def commands() -> dict[str, set[str]]:
    """Name of each command -> its parameters as a person sees them: ``--source``, ``RUN``, ``A``."""
    found: dict[str, set[str]] = {}

    def visit(group: object, before: str) -> None:
        for name, command in group.commands.items():  # type: ignore[attr-defined]
            if hasattr(command, "commands"):
                visit(command, f"{before}{name} ")
            else:
                words = [[*one.opts, one.metavar or ""] for one in command.params]
                found[f"{before}{name}"] = {word for each in words for word in each}

    visit(get_command(main.app), "")
    return found


COMMANDS = commands()
PAIRS = sorted(name for name, words in COMMANDS.items() if {"A", "B"} <= words)
"""Commands that take two runs."""
REOPEN = sorted(name for name, words in COMMANDS.items() if {"RUN", "--source"} <= words)
"""Commands that open a run and its data again."""
GATHER = sorted(name for name, words in COMMANDS.items() if {"--jobs", "--source"} <= words)
"""Commands that gather many trainings, those of former calls among them."""
BEGIN = {"run", "train", "explain", "data prepare", "data status", "data partition", "data bundle"}
"""Commands that begin with the data that they are given, and take up nothing."""


def call(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Run a command in this process: its exit code, and its output or the error's text."""
    capsys.readouterr()
    try:
        main.app([*words], standalone_mode=False, prog_name="bpfunc")
    except PipelineError as problem:
        return problem.exit_code, str(problem)
    return 0, capsys.readouterr().out


def test_every_command_that_reads_data_is_known() -> None:
    """A new command with a source either begins anew or belongs to one of the laws below."""
    assert {name for name, words in COMMANDS.items() if "--source" in words} == {*PAIRS, *REOPEN, *GATHER, *BEGIN}
    assert (len(PAIRS), len(REOPEN), len(GATHER)) == (2, 3, 3)


@pytest.fixture
def where(places: Places) -> tuple[str, ...]:
    """Options that say where data lies."""
    return ("--source", str(places.source), "--cache", str(places.cache), "--raw", str(places.raw))


def evaluated(spec: RunSpec, places: Places, out: Path) -> Path:
    """A finished run."""
    evaluate_run(spec, train_run(spec, attrs.evolve(places, out=out), now=datetime(2026, 1, 1)))
    return out


def studied(spec: RunSpec, places: Places, out: Path, seeds: int = 1) -> Path:
    """A study."""
    with ThreadPoolExecutor(1) as pool:
        list(run_study(spec, range(seeds), out, places, pool))
    return out


@pytest.mark.parametrize("command", REOPEN)
@pytest.mark.parametrize("role", NAMES)
def test_commands_that_reopen(
    tmp_path: Path,
    places: Places,
    where: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    command: str,
    role: str,
) -> None:
    """Exit code 3 where any source file of the run is another one; before, the command works."""
    run = evaluated(SPEC, places, tmp_path / "run")
    assert call(capsys, command, str(run), *where)[0] == 0
    change_source(places, role)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    code, text = call(capsys, command, str(run), *where)
    assert code == 3
    assert f"{role.replace('_', ' ')}: expected SHA-256" in text
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("command", PAIRS)
@pytest.mark.parametrize("kind", ["run", "study"])
@pytest.mark.parametrize("role", NAMES)
def test_commands_that_compare(
    tmp_path: Path, places: Places, capsys: pytest.CaptureFixture[str], command: str, kind: str, role: str
) -> None:
    """Exit code 2 where the test rows differ, naming both; other training rows are what may be compared."""
    make = {"run": evaluated, "study": studied}[kind]
    a = make(SPEC, places, tmp_path / "a")
    before = sha(places, role)
    change_source(places, role)
    b = make(SPEC, places, tmp_path / "b")
    code, text = call(capsys, *command.split(), str(a), str(b), "--json")
    if role.startswith("train"):
        assert (code, json.loads(text)["rows"]) == (0, 30)
    else:
        assert code == 2
        assert f"{role.replace('_', ' ')}: {a} has SHA-256 {before}, {b} has {sha(places, role)}" in text


def sha(places: Places, role: str) -> str:
    """The beginning of a source file's hash, as messages show it."""
    assert places.source is not None
    return hashlib.sha256((places.source / NAMES[role]).read_bytes()).hexdigest()[:12]


SETTINGS = """
recipe = "report"
[{table}.dataset]
classes = ["0", "1", "2"]
pinned = false
[{table}.model]
hidden = [8]
[{table}.train]
epochs = 2
batch_size = 8
"""
FOLDS = "folds = 2\ntake = 2\n"
VARIANTS = "[variant.a]\n[variant.b.train]\nepochs = 3\n"
RANGES = '[parameters]\n"train.momentum" = { float = [0, 0.9] }\n'
GATHERED = {
    "study": (SETTINGS.replace('recipe = "report"', "").replace("{table}.", ""), ["study", "--seeds=2", "--config"]),
    "search": (FOLDS + SETTINGS.format(table="base") + VARIANTS, ["search"]),
    "sweep": (SETTINGS.format(table="fixed") + RANGES, ["sweep", "--trials=2"]),
}
"""What each command reads, and the words before the name of that file."""


def figures(value: object) -> object:
    """A JSON value without what the clock and the place put there."""
    if isinstance(value, dict):
        own = {"train_seconds", "study", "page", "sweep", "config"}
        return {name: figures(inner) for name, inner in value.items() if name not in own}
    return [figures(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("command", GATHER)
@pytest.mark.parametrize("role", NAMES)
def test_commands_that_gather(
    tmp_path: Path,
    places: Places,
    where: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    role: str,
) -> None:
    """Gone on with other data, a command refuses with exit code 2, or gives what it gives where it begins anew."""
    if command == "sweep":
        pytest.importorskip("optuna")
    monkeypatch.setattr(executors, "open_executor", lambda *_, **__: ThreadPoolExecutor(1))
    text, words = GATHERED[command]
    (tmp_path / "given.toml").write_text(text)

    def gathered(out: str) -> tuple[int, str]:
        options = (*where, "--json", "--quiet", "--out", str(tmp_path / out))
        return call(capsys, *words, str(tmp_path / "given.toml"), *options)

    assert gathered("log")[0] == 0
    before = sha(places, role)
    change_source(places, role)
    code, text = gathered("log")
    if code == 0:
        anew = gathered("anew")
        assert figures(json.loads(text)) == figures(json.loads(anew[1]))
    else:
        assert code == 2
        assert f"SHA-256 {sha(places, role)}" in text
        assert before in text


def test_seeds_of_two_data_sets_have_no_mean(tmp_path: Path, places: Places) -> None:
    """Neither a study's mean nor an ablation's difference is taken over them, and no study of them is compared."""
    studied(SPEC, places, tmp_path / "mixed")
    change_source(places, "train_labels")
    train_seed(SPEC, 1, tmp_path / "mixed", places)
    results = [found for seed in (0, 1) if (found := read_seed(tmp_path / "mixed", seed)) is not None]
    for gathered in (
        lambda: summarised("x", ("0", "1", "2"), results),
        lambda: ablation_rows(results[:1], {"flips": [attrs.evolve(results[1], seed=0)]}),
        lambda: compare(tmp_path / "mixed", tmp_path / "mixed"),
    ):
        with pytest.raises(
            UsageProblem, match=r"are of different data: train labels: .* has SHA-256 \w{12}, .* has \w"
        ):
            gathered()


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_a_study_of_streamed_rows_keeps_to_them(
    tmp_path: Path, places: Places, harm: Callable[[Path, Places], None]
) -> None:
    """Its mean is of one set of parts, which a study's seeds name as well."""
    spec = streamed(written(places, tmp_path / "parts"))
    studied(spec, places, tmp_path / "study")
    harm(tmp_path / "parts", places)
    message = r"partitions: this command has SHA-256 \w{12}, seed-000 has \w{12}|part-00001.parquet\): restore"
    with pytest.raises((UsageProblem, DataProblem), match=message):
        studied(spec, places, tmp_path / "study", 2)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("train.seed", "{ int = [0, 5] }"),
        ("train.validation_fraction", "{ float = [0.1, 0.5] }"),
        ("dataset.classes", '{ choice = [["0", "1"], ["1", "2"]] }'),
        ("dataset.pinned", "{ choice = [true, false] }"),
        ("dataset.partitions", '{ choice = ["a", "b"] }'),
    ],
)
def test_what_decides_the_rows_is_not_searched(tmp_path: Path, field: str, values: str) -> None:
    """A sweep whose trials are judged on different rows compares what cannot be compared."""
    (tmp_path / "space.toml").write_text(f'[parameters]\n"{field}" = {values}\n')
    with pytest.raises(UsageProblem, match=f"{field} decides which rows a trial is judged on"):
        load_space(tmp_path / "space.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[variant.a.dataset]\nclasses = ["Coat", "Bag"]\n[variant.b]\n', "a and b would be judged on different rows"),
        ('[base.dataset]\npartitions = "rows"\n[variant.a]\n', "not from partitions"),
    ],
)
def test_variants_of_different_rows_are_not_ranked(tmp_path: Path, text: str, message: str) -> None:
    """A search judges all variants on the same folds."""
    (tmp_path / "search.toml").write_text(f'recipe = "report"\nfolds = 2\ntake = 1\n{text}')
    with pytest.raises(UsageProblem, match=message):
        load_search(tmp_path / "search.toml")


def test_a_sweep_of_streamed_rows_keeps_to_them(tmp_path: Path, places: Places) -> None:
    """Rewritten parts begin another study in the storage, and a worker that sees others is refused."""
    pytest.importorskip("optuna")
    base = streamed(written(places, tmp_path / "parts"))
    space = Space(base, (Parameter("train.momentum", "float", (0.0, 0.9)),), "none", 0)
    (tmp_path / "sweep").mkdir()
    url = storage_url(tmp_path / "sweep")

    def swept() -> int:
        with ThreadPoolExecutor(1) as pool:
            return len(list(run_sweep(space, url, 2, places, pool)))

    assert [swept(), swept()] == [2, 0]
    data = data_hashes(prepare(base.dataset, source=places.source, cache=places.cache, raw=places.raw)[0], base.dataset)
    rewrite(tmp_path / "parts", places)
    assert swept() == 2
    with pytest.raises(DataProblem, match=r"other rows than the sweep: .*part-00000\.parquet was rewritten"):
        run_trial(space, url, "any", 2, places, data)


def test_images_of_a_comparison_are_those_that_were_tested(tmp_path: Path, places: Places) -> None:
    """The page of a comparison shows no images of another source, and no figure that was edited."""
    run = evaluated(SPEC, places, tmp_path / "run")
    side_by_side(run, run, places)
    text = (run / "metrics.json").read_text()
    loss = json.loads(text)["test_loss"]
    (run / "metrics.json").write_text(text.replace(str(loss), "0.0"))
    with pytest.raises(DataProblem, match="not what was written"):
        side_by_side(run, run, places)
    (run / "metrics.json").write_text(text)
    change_source(places, "test_images")
    with pytest.raises(DataProblem, match="the images are not those that were tested: test images: expected SHA-256"):
        side_by_side(run, run, places)


def test_a_network_that_diverged_is_compared(tmp_path: Path, places: Places) -> None:
    """A loss that is not finite stands as null in the metrics, and as no number on the page."""
    run = evaluated(SPEC, places, tmp_path / "run")
    write_metrics(run, attrs.evolve(read_metrics(run), test_loss=None))
    sides = side_by_side(run, run, places)
    assert np.isnan(sides.a.loss)
    write_comparison_page(tmp_path / "page.html", sides, "bpfunc compare run run")
