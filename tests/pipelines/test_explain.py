"""`bpfunc explain`: what it shows is what training does, bit for bit, and the page shows what it was given."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import attrs
import numpy as np
import pytest

from bpfunc import Batch, make_step
from bpfunc.batches.batch import batches_per_epoch
from bpfunc.keys import Key, normal
from bpfunc.metrics import mean
from bpfunc.tree import tree_leaves, tree_leaves_with_path
from pipelines.inspection.equations import layer_formulas, update_formulas
from pipelines.inspection.explain import REPEATS, Explained, explain, explained_table
from pipelines.inspection.explain_page import explain_page, formula
from pipelines.inspection.text import explained_lines
from pipelines.spec.run_spec import DatasetSpec, ModelSpec, RunSpec, TrainSpec
from pipelines.stages.train import fit
from pipelines.training.build import ACTIVATIONS, build_loss, build_model, build_schedule, build_transform
from pipelines.training.replay import standing
from tests.pipelines.pages import parsed

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
ROWS = 50
NAMES = ("a", "b", "c")
PLAIN = RunSpec(model=ModelSpec(hidden=(6, 5)), train=TrainSpec(epochs=2, batch_size=16, validation_fraction=0))
RICH = RunSpec(
    dataset=DatasetSpec(scaling="mirrored"),
    model=ModelSpec(hidden=(6, 5), activation="gelu", dropout=0.3, input_dropout=0.1, mirror=True),
    train=TrainSpec(
        epochs=2,
        batch_size=16,
        optimizer="adamw",
        schedule="one_cycle",
        learning_rate=0.01,
        weight_decay=0.1,
        label_smoothing=0.1,
        mixup=0.2,
        flip=True,
        average=0.9,
        validation_fraction=0,
        seed=3,
    ),
)


def learn_rows() -> Batch:
    """A few rows of noise, of three classes."""
    return Batch(normal(Key(0), (ROWS, 784)), np.eye(3, dtype=np.float32)[np.arange(ROWS) % 3])


def same_bits(a: object, b: object) -> bool:
    """Whether two trees hold the same bits."""
    return [leaf.tobytes() for leaf in map(np.asarray, tree_leaves(a))] == [
        leaf.tobytes() for leaf in map(np.asarray, tree_leaves(b))
    ]


@pytest.mark.parametrize("spec", [PLAIN, RICH], ids=["plain", "rich"])
@pytest.mark.parametrize("step", [0, 5])
def test_the_step_shown_is_the_step_taken(spec: RunSpec, step: int) -> None:
    """State and loss after the watched step have the bits of `make_step`; so does every gradient, from its norms."""
    learn = learn_rows()
    found = explain(learn, spec, NAMES, step=step)
    state, batch = standing(learn, spec, step)
    schedule = build_schedule(spec.train, spec.train.epochs * batches_per_epoch(ROWS, 16))
    plain = make_step(build_model(spec.model, 3), build_loss(spec.train), build_transform(spec.train, schedule))
    after, metrics = plain(state, batch)
    assert same_bits(found.after, after)
    assert not same_bits(found.after.params, state.params)
    assert found.loss == mean(metrics.loss)
    assert found.accuracy == mean(metrics.metric)
    assert found.learning_rate == schedule(step)
    assert found.after.step == step + 1
    for update, (path, old), (_, new) in zip(
        found.updates, tree_leaves_with_path(state.params), tree_leaves_with_path(after.params), strict=True
    ):
        assert update.path == path
        assert update.step == pytest.approx(np.linalg.norm((new - old).astype(np.float64)))


@pytest.mark.parametrize("spec", [PLAIN, RICH], ids=["plain", "rich"])
def test_standing_is_where_training_stands(spec: RunSpec) -> None:
    """The state before the first step of the second epoch is the one that training has after the first epoch."""
    learn = learn_rows()
    one = attrs.evolve(spec, train=attrs.evolve(spec.train, epochs=2))
    seen = []

    def watch(epochs):  # type: ignore[no-untyped-def]
        for progress in epochs:
            seen.append(progress)
            yield progress

    fit(learn, None, one, watch=watch)
    state, batch = standing(learn, one, batches_per_epoch(ROWS, 16))
    assert same_bits(state, seen[0].state)
    assert len(batch.inputs) == 16
    # The last step of all, taken from where `standing` says, ends where the training ends.
    assert same_bits(explain(learn, one, NAMES, step=7).after, seen[1].state)
    with pytest.raises(ValueError, match=r"expected a step in 0\.\.7, found 8"):
        standing(learn, one, 8)


def test_operations_are_in_their_order() -> None:
    """Forward from the first layer to the loss, backward from the loss to the first layer, shapes that fit together."""
    found = explain(learn_rows(), PLAIN, NAMES)
    places = [f"layers[{i}]" for i in range(5)]
    assert [one.place for one in found.operations] == [*places, "loss", "loss", *reversed(places)]
    assert [one.stage for one in found.operations] == ["forward"] * 6 + ["backward"] * 6
    forward = found.operations[:6]
    assert [one.takes for one in forward] == [(16, 784), (16, 6), (16, 6), (16, 5), (16, 5), (16, 3)]
    assert [one.gives for one in forward][-1] == (16,)
    backward = found.operations[6:]
    assert [one.gives for one in backward] == [(16, 3), (16, 5), (16, 5), (16, 6), (16, 6), None]
    assert [len(one.gradients) for one in backward] == [0, 2, 0, 2, 0, 2]
    assert all(one.seconds > 0 for one in found.operations)


def test_norms_and_work_are_those_of_the_arrays() -> None:
    """Norms agree with arrays computed by hand; FLOPs with a count by hand."""
    learn = learn_rows()
    found = explain(learn, PLAIN, NAMES)
    state, batch = standing(learn, PLAIN, 0)
    first, second = state.params.layers[0], state.params.layers[2]
    z = batch.inputs @ first.weight + first.bias
    h = np.maximum(z, 0)
    for one, array in zip(found.operations, (z, h, h @ second.weight + second.bias), strict=False):
        assert one.norm == pytest.approx(np.linalg.norm(array), rel=1e-5)
        assert one.spread is not None
        assert one.spread.counts.sum() == array.size
        assert one.spread.low == pytest.approx(array.min(), rel=1e-4, abs=1e-6)
    flops = {(one.stage, one.place): one.flops for one in found.operations}
    assert flops["forward", "layers[0]"] == 16 * (2 * 784 * 6 + 6)
    assert flops["forward", "layers[1]"] == 16 * 6
    assert flops["backward", "layers[2]"] == 16 * (2 * 2 * 6 * 5 + 5)
    assert flops["backward", "layers[0]"] == 16 * (2 * 784 * 6 + 6)
    assert flops["backward", "layers[1]"] == 16 * 6
    assert flops["forward", "loss"] is None
    gradient = next(u for u in found.updates if u.path == "layers[0].weight")
    assert gradient.gradient == pytest.approx(np.linalg.norm(found.first_gradient), rel=1e-5)
    assert gradient.step == pytest.approx(PLAIN.train.learning_rate * gradient.gradient, rel=1e-3)


def test_watching_counts_each_repeat_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of an operation is the median over the repeats, the warm-up left out."""
    from pipelines.inspection import explain as module

    given: list[int] = []
    monkeypatch.setattr(module, "median", lambda times: given.append(len(list(times))) or 1.0)
    explain(learn_rows(), PLAIN, NAMES)
    assert set(given) == {REPEATS}


def test_every_part_has_its_formula() -> None:
    """Each activation and optimiser that a configuration may name has formulas of its own."""
    for layer in (*(make() for make in ACTIVATIONS.values()), *_layers(RICH)):
        known = layer_formulas(layer) if isinstance(layer, str) else layer_formulas(layer.name)
        assert known.forward
        assert known.backward
    assert len({layer_formulas(name) for name in ACTIVATIONS}) == len(ACTIVATIONS)
    assert update_formulas(TrainSpec()) == ("w <- w - r g",)
    assert len({update_formulas(TrainSpec(optimizer=name, weight_decay=d)) for name, d in _optimisers()}) == 5


def _layers(spec: RunSpec) -> list[str]:
    names: list[str] = []
    build_model(spec.model, 3, each=lambda layer: (names.append(layer.name), layer)[1])
    return names


def _optimisers() -> list[tuple[str, float]]:
    return [("sgd", 0.0), ("sgd", 0.1), ("adam", 0.0), ("adamw", 0.1), ("adamw", 0.2)]


ACTIVATION_FORMULAS = {
    "relu": lambda x: np.maximum(0, x),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.exp(x) - 1),
    "selu": lambda x: np.where(x > 0, 1.0507 * x, 1.0507 * 1.6733 * (np.exp(x) - 1)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "tanh": np.tanh,
}


@pytest.mark.parametrize("name", ACTIVATION_FORMULAS)
def test_formulas_say_what_layers_do(name: str) -> None:
    """The formula shown, computed by hand, is what the layer computes, with its default settings."""
    x = np.linspace(-3, 3, 13)[None]
    y = ACTIVATIONS[name]().forward((), (), x, None)[0]  # type: ignore[arg-type]
    np.testing.assert_allclose(y, ACTIVATION_FORMULAS[name](x), rtol=1e-4)


def test_lines_and_page_show_the_numbers() -> None:
    """The terminal and the page name every operation, its norm and its formula."""
    found = explain(learn_rows(), PLAIN, NAMES, step=1)
    text, page = explained_lines(found), parsed(explain_page(found))
    assert text.isascii()
    stages = page.all("section", "stage")
    assert len(stages) == len(found.operations) + 3
    for one, stage in zip(found.operations, stages[1:], strict=False):
        size = "the derivative of the input is not needed" if one.norm is None else f"{one.norm:.4g}"
        assert size in stage.text
        assert one.layer.replace("_", " ") in stage.text
        assert len(stage.one("ul", "formulas").all("li")) == len(one.formulas)
        assert one.norm is None or f"{one.norm:.4g}" in text
    assert "layers[0].weight" in stages[-2].text
    assert f"{found.loss_after:.5g}" in stages[-1].text
    assert "step 1 of 8" in text


def test_page_fetches_nothing_and_escapes() -> None:
    """Every picture is in the page, the policy forbids the rest, and a class may be called anything."""
    found = attrs.evolve(explain(learn_rows(), PLAIN, NAMES), class_names=("<script>", "b", "c"))
    document = explain_page(found)
    page = parsed(document)
    assert all(image.attributes["src"].startswith("data:image/png;base64,") for image in page.all("img"))
    assert "http" not in document.replace("http-equiv", "")
    assert document.count("<script>") == 1
    assert len(page.all("script")) == 1


def test_formulas_are_set() -> None:
    """Exponents are raised, and minus signs drawn, but not those inside words or numbers."""
    assert formula("dx = dy W^T") == "dx = dy W<sup>T</sup>"
    assert formula("y = e^x - 1, v^2") == "y = e<sup>x</sup> \N{MINUS SIGN} 1, v<sup>2</sup>"


def test_overflow_is_shown_not_hidden() -> None:
    """A step whose numbers are not finite is explained all the same: no histogram, and the norm says inf or nan."""
    found = explain(Batch(learn_rows().inputs * np.float32(8e37), learn_rows().targets), PLAIN, NAMES)
    assert any(one.spread is None and one.norm is not None for one in found.operations)
    assert "nan" in explained_lines(found) or "inf" in explained_lines(found)
    assert parsed(explain_page(found)).all("section", "stage")
    table = json.dumps(explained_table(found), allow_nan=False)
    assert None in [one["norm"] for one in json.loads(table)["operations"][:-1]]


def test_command(cli: Cli, own_data: Path, tmp_path: Path) -> None:
    """A table, a document and a page of one step; a step that the training does not have is refused."""
    own = ("explain", "--unpinned", "--classes", "0,1,2", "--source", "own", "--hidden", "4", "--batch", "8")
    done = cli(*own, "--step", "2", "--html", "step.html", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["batch_size"], document["step"], document["page"]) == (8, 2, "step.html")
    assert len(document["operations"]) == 8
    assert document["operations"][0]["takes"] == [8, 784]
    assert parsed((tmp_path / "step.html").read_text()).all("section", "stage")
    refused = cli(*own, "--step", "1000000")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "expected a step in 0.." in refused.stderr


@pytest.fixture(scope="module")
def shown() -> Explained:
    """A step to look at."""
    return explain(learn_rows(), PLAIN, NAMES)


def test_keys_turn_over_in_a_browser(shown: Explained, tmp_path: Path) -> None:
    """In Chromium, right and left go from stage to stage, Home and End to the ends, and nothing complains."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("there is no chromium to open the page with")
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium drives the browser; extra 'oracles'")
    (tmp_path / "step.html").write_text(explain_page(shown), encoding="utf-8")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--force-prefers-reduced-motion"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        browser.get((tmp_path / "step.html").as_uri())
        body, place = browser.find_element("tag name", "body"), browser.find_element("id", "place")
        count = len(shown.operations) + 3
        for key, expected in (("\ue014", 2), ("\ue014", 3), ("\ue012", 2), ("\ue010", count), ("\ue011", 1)):
            body.send_keys(key)
            for _ in range(50):
                if place.text == f"{expected} / {count}":
                    break
            assert place.text == f"{expected} / {count}"
            assert browser.execute_script("return document.activeElement.id") == f"stage-{expected}"
        assert browser.get_log("browser") == []
        assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    finally:
        browser.quit()
