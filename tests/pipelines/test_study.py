"""Studies resume, sum up rightly, and compare row by row; searches see the training split alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import attrs
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from pipelines.artifacts import Trained
from pipelines.dataset.places import Places
from pipelines.disk.atomic import exclusive
from pipelines.disk.json_text import json_value
from pipelines.disk.ownership import ASKED, check_new_directory, kind_of
from pipelines.errors import DataProblem, UsageProblem, WorkFailed
from pipelines.spec.run_spec import DatasetSpec, ModelSpec, RunSpec, TrainSpec
from pipelines.stages.prepare import prepare as stage_prepare
from pipelines.studies import conduct, executors
from pipelines.studies.ablation import INGREDIENTS, ablation_rows, ablation_table, run_ablation, without_each
from pipelines.studies.compare import compare
from pipelines.studies.statistics import bootstrap_interval, mcnemar, mean_and_interval, student_t
from pipelines.studies.study import (
    SeedResult,
    copy_back,
    open_study,
    read_seed,
    run_study,
    study_spec,
    study_table,
    summarised,
    train_on_worker,
)
from pipelines.studies.text import ablation_lines, search_lines, study_lines
from pipelines.studies.tuning import judge
from pipelines.studies.tuning.cross_validation import Trial, load_search, run_search, search_table, write_search
from pipelines.training.progress import Observer, Progress

SPEC = RunSpec(
    name="small",
    dataset=DatasetSpec(classes=("0", "1", "2"), pinned=False),
    model=ModelSpec(hidden=(8,)),
    train=TrainSpec(epochs=2, batch_size=16, learning_rate=0.2, validation_fraction=0.2),
)


@pytest.fixture
def places(tmp_path: Path, own_data: Path) -> Places:
    """Where a study takes from."""
    return Places(source=own_data, cache=tmp_path / "cache", raw=tmp_path)


def study(directory: Path, places: Places, seeds: range, spec: RunSpec = SPEC) -> list[SeedResult]:
    """Run a study in threads."""
    with ThreadPoolExecutor(2) as pool:
        return list(run_study(spec, seeds, directory, places, pool))


def test_finished_seeds_are_never_trained_again(tmp_path: Path, places: Places) -> None:
    """A second call trains the missing seeds alone, and gives the first ones' figures as they were."""
    first = study(tmp_path / "s", places, range(2))
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "s").glob("seed-*/metrics.json")}
    second = study(tmp_path / "s", places, range(3))
    assert sorted(second, key=lambda r: r.seed)[:2] == sorted(first, key=lambda r: r.seed)
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert [r.seed for r in sorted(second, key=lambda r: r.seed)] == [0, 1, 2]


def test_a_study_is_one_call(tmp_path: Path, places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeds, ablation, tables and page; data is prepared once and refused before machine code is made, also once."""
    made, told, totals, prepared = list[str](), list[str](), list[int](), list[DatasetSpec]()

    @contextmanager
    def progress(total: int) -> Iterator[Callable[..., None]]:
        totals.append(total)
        yield lambda line, accuracy, done=None: told.append(line)

    def prepare(spec: DatasetSpec, **named: Path) -> object:
        prepared.append(spec)
        return stage_prepare(spec, **named)

    monkeypatch.setattr(executors, "make_machine_code", lambda spec: made.append(spec.name))
    monkeypatch.setattr(executors, "open_executor", lambda *_, **__: ThreadPoolExecutor(1))
    monkeypatch.setattr(conduct, "prepare", prepare)
    workers = executors.Workers(progress=progress)
    spec = attrs.evolve(SPEC, train=attrs.evolve(SPEC.train, momentum=0.9))
    with pytest.raises(DataProblem):
        conduct.conduct_study(spec, 2, tmp_path / "s", attrs.evolve(places, source=tmp_path / "nowhere"), workers)
    assert (made, told, totals, (tmp_path / "s").exists()) == ([], [], [], False)
    done = conduct.conduct_study(spec, 2, tmp_path / "s", places, workers, ablate=True)
    assert (made, totals, len(told), len(prepared)) == (["small"], [4], 4, 2)
    assert json.loads((tmp_path / "s" / "study.json").read_text()) == json_value(study_table(done.study))
    assert [row.ingredient for row in done.ablation] == ["momentum"]
    assert json.loads((tmp_path / "s" / "ablation.json").read_text())[0]["mean"] == done.ablation[0].mean
    command = re.sub(r"<[^>]*>", "", done.page.read_text())
    assert f"--seeds 2 --ablate --source {places.source} --out {tmp_path / 's'}" in command


def test_what_a_killed_seed_left_is_taken_up(tmp_path: Path, places: Places) -> None:
    """A seed without metrics.json is not finished, whatever else lies there."""
    (before,) = study(tmp_path / "s", places, range(1))
    (tmp_path / "s" / "seed-000" / "metrics.json").unlink()
    (tmp_path / "s" / "seed-000" / "params.safetensors").unlink()
    (after,) = study(tmp_path / "s", places, range(1))
    assert attrs.evolve(after, train_seconds=0) == attrs.evolve(before, train_seconds=0)


def test_only_what_a_killed_seed_left_makes_room(tmp_path: Path, places: Places) -> None:
    """The beginning of a run is removed for a new one; notes and runs of another configuration are named and stay."""
    (before,) = study(tmp_path / "s", places, range(1))
    seed = tmp_path / "s" / "seed-001"
    (seed / "checkpoints").mkdir(parents=True)
    (seed / "sealed.txt").write_text("x")
    (seed / "notes.txt").write_text("precious")
    with pytest.raises(UsageProblem, match=r"notes\.txt"):
        study(tmp_path / "s", places, range(2))
    assert (seed / "notes.txt").read_text() == "precious"
    (seed / "notes.txt").unlink()
    with exclusive(seed), pytest.raises(UsageProblem, match="another process"):
        study(tmp_path / "s", places, range(2))
    assert study(tmp_path / "s", places, range(2))[0] == before
    (seed / "metrics.json").unlink()
    (seed / "config.toml").write_text("")
    with pytest.raises(UsageProblem, match="another configuration"):
        study(tmp_path / "s", places, range(2))
    assert (seed / "params.safetensors").exists()


def test_another_configuration_is_refused(tmp_path: Path, places: Places) -> None:
    """A study's directory holds one configuration, and a directory of something else is left alone."""
    study(tmp_path / "s", places, range(1))
    other = attrs.evolve(SPEC, train=attrs.evolve(SPEC.train, epochs=3))
    with pytest.raises(UsageProblem, match="another configuration"):
        study(tmp_path / "s", places, range(1), other)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("")
    with pytest.raises(UsageProblem, match="is not a study"):
        study(tmp_path / "full", places, range(1))


def test_damaged_metrics_are_named(tmp_path: Path, places: Places) -> None:
    """A seed whose metrics.json is no JSON is an error with its path."""
    study(tmp_path / "s", places, range(1))
    (tmp_path / "s" / "seed-000" / "metrics.json").write_text("{")
    with pytest.raises(DataProblem, match="damaged metrics"):
        read_seed(tmp_path / "s", 0)


def test_summary_by_hand() -> None:
    """Mean, deviation and interval of three figures, computed on paper with t = 4.303."""
    results = [
        SeedResult(seed, right / 10, None, 1.0, ((right - 4, 10 - right), (0, 4)))
        for seed, right in enumerate((8, 9, 10))
    ]
    found = summarised("x", ("A", "B"), results)
    assert found.mean == pytest.approx(0.9)
    assert found.deviation == pytest.approx(0.1)
    half = 4.302653 * 0.1 / np.sqrt(3)
    assert found.interval == pytest.approx((0.9 - half, 1.0), rel=1e-5)  # 0.9 + half is more than all
    np.testing.assert_allclose(found.confusion_matrix, [[5, 1], [0, 4]])
    assert found.recall == pytest.approx({"A": 5 / 6, "B": 1.0})
    assert study_table(found)["train_seconds"] == 3.0
    for few in (results[:1], results[:2]):
        assert study_table(summarised("x", ("A", "B"), few))["confidence_interval_95"] is None
        assert "95 % interval of the mean needs three seeds" in study_lines(summarised("x", ("A", "B"), few))


@given(values=st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_intervals_stay_within_what_is_possible(values: list[float]) -> None:
    """An accuracy lies in 0..1, and so does what is said of it; where the bounds are far, nothing is cut off."""
    mean, deviation, interval = mean_and_interval(values, within=(0, 1))
    _, _, free = mean_and_interval(values)
    assert (deviation is None) == (len(values) == 1)
    assert np.isfinite([mean, deviation or 0.0]).all()
    assert (interval is None) == (free is None)
    if interval is not None and free is not None:
        (low, high), (free_low, free_high) = interval, free
        assert low < high
        assert 0 <= low <= mean + 1e-15
        assert mean - 1e-15 <= high <= 1
        assert (low, high) == (max(free_low, 0), min(free_high, 1))


def three_ways(values: list[float]) -> list[tuple[float, float] | None]:
    """The intervals that every function gives for these figures: a mean of seeds, of pairs of seeds, of test rows."""
    figures = [SeedResult(k, value, None, 1.0, ((1, 0), (0, 1))) for k, value in enumerate(values)]
    nothing = [attrs.evolve(result, test_accuracy=0.1) for result in figures]
    return [
        mean_and_interval(values)[2],
        summarised("x", ("A", "B"), figures).interval,
        ablation_rows(figures, {"flips": nothing})[0].interval,
        bootstrap_interval(np.array(values), seed=0),
    ]


@settings(max_examples=20, deadline=None)
@given(value=st.floats(0, 1), count=st.integers(1, 12), other=st.floats(0, 1))
def test_no_interval_claims_more_than_is_known(value: float, count: int, other: float) -> None:
    """Law: fewer than three figures, or equal ones, have no interval; all others have one with a width."""
    assert three_ways([value] * count) == [None] * 4
    assert three_ways([value, other]) == [None] * 4
    if abs(value - other) > 1e-6:
        for interval in three_ways([value] * max(count, 2) + [other]):
            assert interval is not None
            assert interval[0] < interval[1]


def test_rounding_makes_no_interval() -> None:
    """0.9 - 0.8 and 0.8 - 0.7 are not the same float, and still the same difference."""
    pairs = [(0.9, 0.8), (0.8, 0.7), (0.4, 0.3)]
    assert len({a - b for a, b in pairs}) == 3
    full, less = ([SeedResult(k, pair[side], None, 1.0, ((1,),)) for k, pair in enumerate(pairs)] for side in (0, 1))
    (row,) = ablation_rows(full, {"flips": less})
    assert row.interval is None
    assert "cannot be estimated: all 3 differences are equal" in ablation_lines([row])
    assert ablation_table([row])[0]["interval"] is None


def test_intervals_of_ordinary_studies_are_not_cut_off() -> None:
    """Ten seeds that spread as those of the recipe `report` do are far from the bounds."""
    values = [0.9910, 0.9920, 0.9923, 0.9907, 0.9917, 0.9930, 0.9913, 0.9903, 0.9917, 0.9923]
    assert mean_and_interval(values, within=(0, 1)) == mean_and_interval(values)


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.7062), (2, 4.30265), (9, 2.26216), (29, 2.04523), (99, 1.98422)]
)
def test_student_t(freedom: int, quantile: float) -> None:
    """Quantiles as printed in tables."""
    assert student_t(0.975, freedom) == pytest.approx(quantile, rel=1e-5)


def test_compare_counts_rows(tmp_path: Path, places: Places) -> None:
    """Two runs are compared row by row, a run with itself differs nowhere, and studies are averaged."""
    study(tmp_path / "a", places, range(2))
    longer = attrs.evolve(SPEC, train=attrs.evolve(SPEC.train, epochs=30))
    study(tmp_path / "b", places, range(2), longer)
    same = compare(tmp_path / "a/seed-000", tmp_path / "a/seed-000")
    assert (same.difference, same.only_a_right, same.only_b_right, same.p_value) == (0, 0, 0, 1)
    single = compare(tmp_path / "a/seed-000", tmp_path / "b/seed-000")
    assert single.difference == pytest.approx((single.only_a_right - single.only_b_right) / 30)
    both = compare(tmp_path / "a", tmp_path / "b")
    assert both.runs == (2, 2)
    assert both.p_value is None
    assert both.interval is not None
    assert both.interval[0] <= both.difference <= both.interval[1]
    assert same.interval is None
    with pytest.raises(UsageProblem, match="neither a run nor a study"):
        compare(tmp_path / "a", tmp_path)


@pytest.mark.parametrize(
    ("a", "b", "p"), [(0, 0, 1.0), (5, 5, 1.0), (0, 5, 0.0625), (1, 9, 22 / 1024), (8, 1, 20 / 512)]
)
def test_mcnemar_by_hand(a: int, b: int, p: float) -> None:
    """Binomial tails added up on paper; the order does not matter."""
    assert mcnemar(a, b) == pytest.approx(p)
    assert mcnemar(b, a) == mcnemar(a, b)


def test_bootstrap_interval_is_about_right() -> None:
    """For 400 tosses of a fair coin, within a tenth of the normal approximation; the same for the same seed."""
    tosses = np.arange(400) % 2.0
    low, high = bootstrap_interval(tosses, seed=0) or (0, 0)
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / 20, rel=0.1)
    assert (low + high) / 2 == pytest.approx(0.5, abs=0.005)
    assert bootstrap_interval(tosses, seed=0) == (low, high)


def test_search_judges_on_rows_left_out(tmp_path: Path, places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variant on every fold, the best first, resumable, and without the test split on disk."""
    (tmp_path / "search.toml").write_text(
        'recipe = "report"\nfolds = 3\ntake = 2\n'
        '[variant.short]\ndataset = { classes = ["0", "1", "2"], pinned = false }\n'
        "train = { epochs = 1, batch_size = 16 }\nmodel = { hidden = [8] }\n"
        '[variant.long]\ndataset = { classes = ["0", "1", "2"], pinned = false }\n'
        "train = { epochs = 40, batch_size = 8, learning_rate = 0.05 }\nmodel = { hidden = [8] }\n"
    )
    plan = load_search(tmp_path / "search.toml")
    for _ in range(2):
        with ThreadPoolExecutor(1) as pool:
            trials = list(run_search(plan, tmp_path / "log", places, pool))
        assert [(t.variant, t.fold) for t in trials] == [("short", 0), ("long", 0), ("short", 1), ("long", 1)]
    table = search_table(trials)
    assert [row["variant"] for row in table] == ["long", "short"]
    assert table[0]["validation_accuracy"] == np.mean([t.validation_accuracy for t in trials if t.variant == "long"])
    (file,) = (tmp_path / "log" / "trials").glob("long-1-*.json")
    assert json.loads(file.read_text())["validation_loss"] == trials[3].validation_loss


WILD = (
    'recipe = "report"\nfolds = 2\ntake = 2\n[base]\ndataset = { classes = ["0", "1", "2"], pinned = false }\n'
    "model = { hidden = [8] }\ntrain = { epochs = 2, batch_size = 8 }\n"
)


def test_a_diverging_variant_is_told_and_the_rest_is_ranked(
    tmp_path: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However a training diverges, it has no figures and no rank, and is not trained again at the next call."""
    path = tmp_path / "search.toml"
    path.write_text(
        f"{WILD}[variant.wild.train]\nlearning_rate = 1000.0\nweight_decay = 0.5\nepochs = 20\n[variant.good]\n"
        "[variant.judged-last.train]\nepochs = 3\n[variant.better.train]\nepochs = 30\n"
    )
    fit, calls = judge.fit, []

    def fitted(*rows: object, observe: Observer, **named: object) -> Trained:
        spec = rows[2]
        assert isinstance(spec, RunSpec)
        calls.append(spec)

        def spoiled(epochs: Iterator[Progress]) -> Iterator[Progress]:
            for progress in epochs:  # the weights are finite, what they make of the rows left out is not
                wrong = attrs.evolve(progress.record, validation_loss=np.inf)
                lost = spec.train.epochs == wrong.epoch == 3
                yield attrs.evolve(progress, history=(*progress.history[:-1], wrong)) if lost else progress

        return fit(*rows, observe=lambda epochs: observe(spoiled(epochs)), **named)  # type: ignore[arg-type]

    monkeypatch.setattr(judge, "fit", fitted)
    for _ in range(2):
        with ThreadPoolExecutor(1) as pool:
            trials = list(run_search(load_search(path), tmp_path / "log", places, pool))
    assert len(trials) == len(calls) == 8
    table = search_table(trials)
    assert [row["variant"] for row in table][2:] == ["wild", "judged-last"]
    assert {row["variant"] for row in table[:2]} == {"good", "better"}
    for row in table:
        lost = row["variant"] in ("wild", "judged-last")
        assert (row["problem"] is None, row["validation_accuracy"] is None, row["validation_loss"] is None) == (
            not lost,
            lost,
            lost,
        )
        assert not lost or "not finite" in str(row["problem"])
    write_search(tmp_path, table)
    lines = search_lines(table).splitlines()
    assert [line.startswith("diverged") for line in lines] == [False, False, True, True]
    with pytest.raises(WorkFailed, match=r"every variant diverged; wild, fold 0: .* is not finite"):
        write_search(tmp_path, table[2:])
    assert json.loads((tmp_path / "search.json").read_text()) == table[2:]


def test_a_variant_that_diverges_on_one_fold_has_no_mean() -> None:
    """A mean over the other folds would be of other rows; a missing figure never counts as 0."""
    trials = [Trial("a", 0, 0.5, 0.7, 1.0), Trial("b", 0, 0.9, 0.1, 1.0)]
    trials += [Trial("a", 1, 0.5, 0.7, 1.0), Trial("b", 1, None, None, 1.0, "the loss is not finite")]
    best, last = search_table(trials)
    assert (best["variant"], best["validation_loss"], best["problem"]) == ("a", 0.7, None)
    assert (last["validation_loss"], last["every_accuracy"]) == (None, [0.9, None])
    assert last["problem"] == "fold 1: the loss is not finite"


@pytest.mark.parametrize("kept", [b"", b"{", b"[]", b'{"variant": "a"}', b"[" * 100_000, b"NaN"])
def test_a_damaged_trial_is_run_again(tmp_path: Path, places: Places, kept: bytes) -> None:
    """Whatever stands in a file of the log, the search goes on; so does one of an older log, with a loss of NaN."""
    path = tmp_path / "search.toml"
    path.write_text(f"{WILD}[variant.a]\n")
    with ThreadPoolExecutor(1) as pool:
        first = list(run_search(load_search(path), tmp_path / "log", places, pool))
        (file, _) = sorted((tmp_path / "log" / "trials").iterdir())
        nan = json.dumps(attrs.asdict(first[0]) | {"validation_loss": float("nan")}).encode()
        file.write_bytes(nan if kept == b"NaN" else kept)
        again = list(run_search(load_search(path), tmp_path / "log", places, pool))
    assert [trial.fold for trial in again] == [1, 0], "what is there comes first"
    again.sort(key=lambda trial: trial.fold)
    assert [attrs.evolve(trial, train_seconds=0) for trial in again] == [
        attrs.evolve(trial, train_seconds=0) for trial in first
    ]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["rate/0.03"], "'rate/0.03' holds a slash"),
        (["../../x"], "'../../x' holds a slash"),
        (["..\\x"], r"'..\\x' holds a slash or backslash"),
        ([".."], "'..' begins or ends with a dot"),
        ([".tmp-x"], "'.tmp-x' begins"),
        ([""], "'' is empty"),
        ([" "], "' ' begins or ends with a dot or a blank"),
        (["a\x1b[31m"], r"'a\x1b[31m' holds a character that cannot be printed"),
        (["a\nb"], r"'a\nb' holds a character"),
        (["a\u202eb"], r"'a\u202eb' holds a character"),
        (["a\x00"], r"'a\x00' holds a character"),
        (["nul"], "'nul' is reserved"),
        (["Com1.txt"], "'Com1.txt' is reserved"),
        (["wide", "Wide"], "'Wide' differs from 'wide' by case or spelling alone"),
        (["\u00e9", "e\u0301"], "differs from"),
        (["x" * 101], "is longer than 100 bytes"),
        (["\U0001f600" * 26], "is longer than 100 bytes"),
    ],
)
def test_names_that_are_no_file_names_are_refused(tmp_path: Path, names: list[str], told: str) -> None:
    """Before anything is trained, with the name escaped."""
    tables = "".join(f"[variant.{json.dumps(name)}]\n" for name in names)
    (tmp_path / "search.toml").write_text(WILD + tables.replace("\\ud83d\\ude00", "\U0001f600"))
    with pytest.raises(UsageProblem) as refused:
        load_search(tmp_path / "search.toml")
    assert told in refused.value.what
    assert refused.value.what.isprintable()
    assert len(refused.value.what) < 300


def test_what_a_worker_hands_back_stays_in_its_directory(tmp_path: Path) -> None:
    """A name that leads elsewhere, or hides, is refused before anything is written."""
    for name in ("../../x", "/etc/x", "a/b", "..", "", ".tmp-x", "a\x1b", "con"):
        with pytest.raises(DataProblem, match="handed back a file whose name") as refused:
            copy_back(tmp_path / "s", 0, {"config.toml": b"", name: b"", "metrics.json": b"{}"})
        assert refused.value.what.isprintable()
    assert list(tmp_path.iterdir()) == []


def test_half_written_files_do_not_come_home(tmp_path: Path, places: Places) -> None:
    """What a killed worker left unpublished is no file of the run."""
    study(tmp_path / "s", places, range(1))
    (tmp_path / "s" / "seed-000" / ".tmp-params-1-0").write_bytes(b"half")
    _, files = train_on_worker(SPEC, 0, tmp_path / "s", places)
    names = files.keys()
    assert "metrics.json" in names
    assert not any(name.startswith(".") for name in names)


def test_a_search_resumes_only_what_is_the_same(tmp_path: Path, places: Places) -> None:
    """A trial under a changed base is trained, not taken from the log; the first base's trials are still there."""
    path, log = tmp_path / "search.toml", tmp_path / "log"
    path.write_text(
        'recipe = "report"\nfolds = 2\ntake = 1\n[base]\ndataset = { classes = ["0", "1", "2"], pinned = false }\n'
        "train = { epochs = 1, batch_size = 16 }\nmodel = { hidden = [8] }\n[variant.a]\n"
    )

    def searched(changes: dict[str, object]) -> Trial:
        with ThreadPoolExecutor(1) as pool:
            (trial,) = run_search(load_search(path, changes), log, places, pool)
        return trial

    first = searched({})
    longer = searched({"train": {"epochs": 2}})
    assert longer.validation_loss != first.validation_loss
    assert searched({}) == first
    path.write_text(path.read_text().replace("folds = 2", "folds = 3"))
    assert searched({}).validation_loss != first.validation_loss
    assert len(list((log / "trials").iterdir())) == 3
    with pytest.raises(UsageProblem, match=r"train\.seed is the search's own"):
        load_search(path, {"train": {"seed": 3}})
    path.write_text(path.read_text() + "[variant.b.train]\nepochs = 3\n")
    with pytest.raises(UsageProblem, match=r"train\.epochs is set in variant b, and set as well"):
        load_search(path, {"train": {"epochs": 2}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("folds = [", "cannot read the search"),
        ('recipe = "report"\nfolds = 1\ntake = 1\n[variant.a]', "folds = 1"),
        ('recipe = "report"\nfolds = 3\ntake = 4\n[variant.a]', "take = 4"),
        ('recipe = "report"\nfolds = 3\ntake = 1', "does not say variant"),
        ('recipe = "report"\n[variant.a]', "does not say folds and take"),
        ('recipe = "report"\nfolds = 3\ntake = 1\nvariant = {}', "there is no table"),
        ('recipe = "report"\nfolds = 3\ntake = 1\n[bsae]\n[variant.a]', "unknown field bsae .did you mean base"),
        ('recipe = "report"\n[parameters]', "the space of a sweep"),
        ('recipe = "report"\nfolds = 3\ntake = 1\n[variant.a.train]\nepohcs = 1', "unknown field train.epohcs"),
    ],
)
def test_wrong_searches_are_named(tmp_path: Path, text: str, message: str) -> None:
    """A search file that makes no sense is refused with what is wrong."""
    (tmp_path / "search.toml").write_text(text)
    with pytest.raises(UsageProblem, match=message):
        load_search(tmp_path / "search.toml")


def test_a_study_killed_before_its_first_seed_goes_on(tmp_path: Path, places: Places) -> None:
    """Configuration and number of seeds are all that is there then; it is a study, listed as one and gone on with."""
    begun = tmp_path / "s"
    open_study(begun, study_spec(begun, SPEC))
    (begun / ASKED).write_text("2\n")
    check_new_directory(begun, "study", reads=[begun / "config.toml"])
    assert kind_of(begun) == "study"
    assert len(study(begun, places, range(2))) == 2


RICH = {
    "dense": RunSpec(
        dataset=DatasetSpec(scaling="mirrored", scaling_offset=0.1),
        model=ModelSpec(dropout=0.1, input_dropout=0.1, mirror=True, activation="gelu"),
        train=TrainSpec(
            schedule="cosine",
            momentum=0.5,
            weight_decay=0.1,
            label_smoothing=0.1,
            flip=True,
            mixup=0.2,
            average=0.9,
            keep="best",
        ),
    ),
    "convolutional": RunSpec(
        model=ModelSpec(blocks=("conv 4", "pool"), batch_norm=True),
        train=TrainSpec(flip=True, shift=2, cutout=6),
    ),
}


def test_every_ingredient_is_in_a_recipe() -> None:
    """Two recipes between them have all of them."""
    assert {name for rich in RICH.values() for name in without_each(rich)} == set(INGREDIENTS)


@pytest.mark.parametrize("rich", RICH.values(), ids=RICH)
def test_every_ingredient_is_removed_alone(rich: RunSpec) -> None:
    """A recipe loses exactly one field group in each variant."""
    for name, variant in without_each(rich).items():
        changed = {
            f"{section.name}.{field.name}"
            for section in (attrs.fields(RunSpec).dataset, attrs.fields(RunSpec).model, attrs.fields(RunSpec).train)
            for field in attrs.fields(type(getattr(rich, section.name)))
            if getattr(getattr(rich, section.name), field.name) != getattr(getattr(variant, section.name), field.name)
        }
        assert changed == {f"{part}.{field}" for part, fields in INGREDIENTS[name].items() for field in fields}


def test_ablation_pairs_by_seed(tmp_path: Path, places: Places) -> None:
    """Each ingredient's worth is the mean difference over the same seeds, and finished seeds are not trained again."""
    spec = attrs.evolve(SPEC, train=attrs.evolve(SPEC.train, momentum=0.9, flip=True))
    full = study(tmp_path / "s", places, range(3), spec)
    with ThreadPoolExecutor(2) as pool:
        found: dict[str, list[SeedResult]] = {}
        for name, result in run_ablation(spec, range(3), tmp_path / "s", places, pool):
            found.setdefault(name, []).append(result)
        again = list(run_ablation(spec, range(3), tmp_path / "s", places, pool))
    assert sorted(found) == ["momentum", "random flips"]
    assert {(name, r.seed, r.train_seconds) for name, r in again} == {
        (name, r.seed, r.train_seconds) for name, results in found.items() for r in results
    }
    by_seed = {result.seed: result.test_accuracy for result in full}
    for row in ablation_rows(full, found):
        pairs = [by_seed[r.seed] - r.test_accuracy for r in found[row.ingredient]]
        assert row.difference == pytest.approx(sum(pairs) / 3)
        if row.interval is not None:
            assert -1 <= row.interval[0] <= row.difference <= row.interval[1] <= 1


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "docs" / "searches").glob("*.toml")), ids=lambda p: p.stem
)
def test_kept_searches_can_be_run_again(path: Path) -> None:
    """Each search that chose a recipe still reads, and its log names the same variants with as many folds."""
    search = load_search(path)
    log = json.loads(path.with_suffix(".json").read_text())
    assert {row["variant"]: row["folds"] for row in log} == dict.fromkeys(search.variants, search.take)
    for row in log:
        assert row["validation_accuracy"] == pytest.approx(sum(row["every_accuracy"]) / search.take)


def test_base_of_a_search_lies_under_all_variants(tmp_path: Path) -> None:
    """What [base] changes, every variant has, and a base that is no table is named."""
    path = tmp_path / "search.toml"
    text = 'recipe = "report"\nfolds = 2\ntake = 1\n{}\n[variant.a]\n[variant.b.train]\nepochs = 3\n'
    path.write_text(text.format("[base.model]\ndropout = 0.5\n"))
    assert [spec.model.dropout for spec in load_search(path).variants.values()] == [0.5, 0.5]
    path.write_text(text.format("base = 1"))
    with pytest.raises(UsageProblem, match="base: expected a table, found 1"):
        load_search(path)
