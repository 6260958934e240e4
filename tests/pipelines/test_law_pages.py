"""Law: every page has one policy, no two regions of one name, and no nameless head of a table."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path

import attrs
import pytest

from pipelines.dataset.pins import official_sources
from pipelines.dataset.places import Places
from pipelines.inspection.explain import explain
from pipelines.inspection.explain_page import explain_page
from pipelines.report.drawing.layout import table
from pipelines.report.page import page
from pipelines.runs.run import evaluate_run, report_inputs, train_run
from pipelines.spec.run_spec import DatasetSpec, ModelSpec, RunSpec, TrainSpec
from pipelines.studies.ablation import AblationRow
from pipelines.studies.comparison import side_by_side
from pipelines.studies.comparison_page import comparison_page
from pipelines.studies.study import read_seed, summarised, train_seed
from pipelines.studies.study_page import study_page
from pipelines.training.rows import read_training_rows
from tests.conftest import write_own_data
from tests.pipelines.pages import Node, parsed

ROOT = Path(__file__).parents[2]
SPEC = RunSpec(
    dataset=DatasetSpec(classes=("0", "1", "2"), pinned=False),
    model=ModelSpec(hidden=(4,)),
    train=TrainSpec(epochs=1, validation_fraction=0.2),
)
NAMES = ["report", "study", "study and ablation", "comparison", "comparison of studies", "explain"]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Node]:
    """Every kind of page, of small runs."""
    root = tmp_path_factory.mktemp("pages")
    places = Places(source=write_own_data(root / "own"), cache=root / "cache", raw=root / "raw")
    finished = train_run(SPEC, attrs.evolve(places, out=root / "run"), now=datetime(2026, 1, 1))
    evaluation, _ = evaluate_run(SPEC, finished)
    for seed in range(2):
        train_seed(SPEC, seed, root / "study", places)
    seeds = [found for seed in range(2) if (found := read_seed(root / "study", seed)) is not None]
    study = summarised("small", evaluation.class_names, seeds)
    rows = (AblationRow("flips", 0.9, 0.1, 0.01, (0.0, 0.1), (0.9,)),)
    runs = [root / "study" / f"seed-00{seed}" for seed in range(2)]
    (root / "study" / "config.toml").write_bytes((root / "run" / "config.toml").read_bytes())
    texts = {
        "report": page(report_inputs(SPEC, finished, evaluation)),
        "study": study_page(study, "bpfunc study"),
        "study and ablation": study_page(study, "bpfunc study", ablation=rows),
        "comparison": comparison_page(side_by_side(runs[0], runs[1], places), "bpfunc compare"),
        "comparison of studies": comparison_page(side_by_side(root / "study", runs[0], places), "bpfunc compare"),
        "explain": explain_page(explain(read_training_rows(finished.prepared.train), SPEC, evaluation.class_names)),
    }
    return {name: parsed(text) for name, text in texts.items()}


def regions(root: Node) -> list[str]:
    """Names of all regions: what a screen reader lists."""
    by_id = {node.attributes["id"]: node for node in root.all("*") if "id" in node.attributes}
    found = []
    for node in root.all("*"):
        if node.tag == "section" or node.attributes.get("role") == "region":
            labels = node.attributes.get("aria-labelledby", "").split()
            name = " ".join(by_id[label].text for label in labels) or node.attributes.get("aria-label", "")
            if name or node.tag != "section":  # a section without a name is not a region
                found.append(" ".join(name.split()))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_regions_have_names_of_their_own(name: str, pages: dict[str, Node]) -> None:
    """A name leads to one place."""
    counts = Counter(regions(pages[name]))
    assert [region for region, count in counts.items() if count > 1] == []
    assert "" not in counts
    assert len(counts) > 2


@pytest.mark.parametrize("name", NAMES)
def test_heads_of_tables_say_something(name: str, pages: dict[str, Node]) -> None:
    """An empty cell names neither a row nor a column; an id is there once."""
    heads = [" ".join(node.text.split()) for node in pages[name].all("th")]
    assert heads
    assert "" not in heads
    ids = Counter(node.attributes["id"] for node in pages[name].all("*") if "id" in node.attributes)
    assert [one for one, count in ids.items() if count > 1] == []


@pytest.mark.parametrize("name", NAMES)
def test_one_policy(name: str, pages: dict[str, Node]) -> None:
    """Nothing is fetched, no base is set, no form is sent, and no script runs but the page's own."""
    (meta,) = (n for n in pages[name].all("meta") if n.attributes.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in meta.attributes["content"].split(";"))
    assert rules.pop("script-src").startswith("'sha256-")
    assert rules == {
        "default-src": "'none'",
        "style-src": "'unsafe-inline'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert not pages[name].all("form")
    assert not pages[name].all("base")


def test_pages_are_wrapped_in_one_place() -> None:
    """Nothing else writes a whole document."""
    sources = {path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / "pipelines").rglob("*.py")}
    assert [name for name, text in sources.items() if "<!doctype html>\\n" in text] == [
        "pipelines/report/drawing/layout.py"
    ]


def test_a_nameless_column_is_refused() -> None:
    """The law above is held where tables are made."""
    with pytest.raises(ValueError, match="a column has no name"):
        table("Figures", ["", "A"], [["a", "b"]])


def test_planted_faults_are_found() -> None:
    """The checks above can fail."""
    twice = parsed('<section aria-labelledby="a"><h2 id="a">x</h2></section><div role="region" aria-label="x"></div>')
    assert regions(twice) == ["x", "x"]


def test_the_first_mirror_is_encrypted() -> None:
    """What is fetched is hashed in any case; who fetches what is no business of others."""
    assert official_sources().mirrors[0].startswith("https://")
