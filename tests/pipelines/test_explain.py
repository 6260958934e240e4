"""`bpfunc explain`: what it shows is what training does, bit for bit, and the page shows what it was given."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import attrs
import numpy as np
import pytest

import bpfunc as bp
from bpfunc import Batch, make_step
from bpfunc.batches.batch import batches_per_epoch
from bpfunc.keys import Key, normal
from bpfunc.metrics import mean
from bpfunc.tree import tree_leaves, tree_leaves_with_path
from pipelines.inspection import explain_step
from pipelines.inspection.equations import layer_formulas, update_formulas
from pipelines.inspection.explain import REPEATS, explain, explain_moments, explained_table, last_step
from pipelines.inspection.explain_filled import formula
from pipelines.inspection.explain_numbers import CHOSEN, figure, numbers, plan
from pipelines.inspection.explain_page import explain_page
from pipelines.inspection.text import explained_lines
from pipelines.spec.run_spec import DatasetSpec, ModelSpec, RunSpec, TrainSpec
from pipelines.stages.train import fit
from pipelines.training.build import ACTIVATIONS, build_loss, build_model, build_schedule, build_transform
from pipelines.training.replay import standings, training_on
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
    train_rows = learn_rows()
    found = explain(train_rows, spec, NAMES, step=step)
    state, batch = next(standings(train_rows, training_on(train_rows, spec), (step,)))
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
    """The state before the first step of the second epoch is the one that NumPy's training has after the first."""
    train_rows = learn_rows()
    one = attrs.evolve(spec, train=attrs.evolve(spec.train, epochs=2, engine="numpy"))
    seen = []

    def observe(epochs):  # type: ignore[no-untyped-def]
        for progress in epochs:
            seen.append(progress)
            yield progress

    fit(train_rows, None, one, observe=observe)
    state, batch = next(standings(train_rows, training_on(train_rows, one), (batches_per_epoch(ROWS, 16),)))
    assert same_bits(state, seen[0].state)
    assert len(batch.inputs) == 16
    # The last step of all, taken from where `standings` says, ends where the training ends.
    assert same_bits(explain(train_rows, one, NAMES, step=7).after, seen[1].state)
    with pytest.raises(ValueError, match=r"expected a step in 0\.\.7, found 8"):
        next(standings(train_rows, training_on(train_rows, one), (8,)))


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
    train_rows = learn_rows()
    found = explain(train_rows, PLAIN, NAMES)
    state, batch = next(standings(train_rows, training_on(train_rows, PLAIN), (0,)))
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
    assert found.layers[0].dense is not None
    assert gradient.gradient == pytest.approx(np.linalg.norm(found.layers[0].dense.weight_gradient), rel=1e-5)
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
    sections = page.all("section", "operation")
    assert len(sections) == len(found.operations) + 3
    for one, section in zip(found.operations, sections[1:], strict=False):
        assert ("not needed" if one.norm is None else figure(one.norm)) in section.text
        assert one.layer.replace("_", " ") in section.text
        assert len(section.all("ul", "formulas")[0].all("li")) == len(one.formulas)
        assert one.norm is None or f"{one.norm:.4g}" in text
        assert section.all("div", "filled"), f"no formula of {one.stage} {one.layer} has numbers in it"
    assert "layers[0].weight" in sections[-2].text
    assert figure(found.loss_after) in sections[-1].text
    assert "step 1 of 8" in text


def held(document: str) -> list[dict[str, np.ndarray]]:
    """The arrays that a page holds, by name, for each moment."""
    (kept,) = (script for script in parsed(document).all("script") if script.attributes.get("id") == "data")
    return [
        {
            name: np.frombuffer(base64.b64decode(one["data"]), f"<{one['type']}").reshape(one["shape"])
            for name, one in moment["arrays"].items()
        }
        for moment in json.loads(kept.text)["moments"]
    ]


@pytest.mark.parametrize("spec", [PLAIN, RICH], ids=["plain", "rich"])
def test_every_array_of_the_page_is_that_of_the_step(spec: RunSpec) -> None:
    """What the page holds has the bits of a forward and backward pass made here, layer by layer, for two moments."""
    train_rows, steps = learn_rows(), (0, 5)
    for arrays, step in zip(
        held(explain_page(list(explain_moments(train_rows, spec, NAMES, steps)))), steps, strict=True
    ):
        state, batch = next(standings(train_rows, training_on(train_rows, spec), (step,)))
        layers: list[bp.Layer] = []
        build_model(spec.model, 3, each=lambda layer, layers=layers: (layers.append(layer), layer)[1])
        key = bp.fold_in(state.key, state.step)
        x, kept, width = batch.inputs, [], 16
        np.testing.assert_array_equal(arrays["x"], x[:width])
        for index, (layer, params) in enumerate(zip(layers, state.params.layers, strict=True)):
            y, _, residual = layer.forward(params, (), x, bp.Context(train=True, key=bp.fold_in(key, index)))
            np.testing.assert_array_equal(arrays[f"y{index}"], y[:width])
            kept.append((residual, x))
            x = y
        loss = build_loss(spec.train)
        losses, residual = loss.forward(x, batch.targets)
        np.testing.assert_array_equal(arrays["l"], losses[:width])
        np.testing.assert_array_equal(arrays["t"], residual.targets[:width])
        dy = loss.vjp(residual, np.full_like(losses, 1 / len(losses)))
        after = explain(train_rows, spec, NAMES, step=step).after.params.layers
        for index in reversed(range(len(layers))):
            np.testing.assert_array_equal(arrays[f"d{index}"], dy[:width])
            grads, dx = layers[index].backward(state.params.layers[index], kept[index][0], dy)
            if f"W{index}" in arrays:
                np.testing.assert_array_equal(arrays[f"W{index}"], state.params.layers[index].weight)
                np.testing.assert_array_equal(arrays[f"G{index}"], grads.weight)
                np.testing.assert_array_equal(arrays[f"A{index}"], after[index].weight)
                np.testing.assert_array_equal(arrays[f"b{index}"], state.params.layers[index].bias)
                np.testing.assert_array_equal(arrays[f"gb{index}"], grads.bias)
            else:
                np.testing.assert_allclose(arrays[f"s{index}"] * dy[:width], dx[:width], rtol=1e-5, atol=1e-9)
            dy = dx


def at(arrays: dict[str, np.ndarray], place: str) -> float:
    """The number at a place such as ``y2[3,17]``."""
    name, _, inside = place.removesuffix("]").partition("[")
    return float(arrays[name][tuple(map(int, inside.split(",")))])


def test_every_number_without_a_script_is_that_of_the_arrays() -> None:
    """Each number that says where it stands is there, and is written with four digits of it."""
    found = explain(learn_rows(), PLAIN, NAMES, step=2)
    document = explain_page(found)
    (arrays,) = held(document)
    seen = set()
    for number in parsed(document).all("data"):
        value, of = float(number.attributes["value"]), number.attributes.get("data-of")
        assert number.text.strip("()") == figure(value)
        if of is not None and of != "rate":
            assert value == at(arrays, of), of
            seen.add(of.partition("[")[0].rstrip("0123456789"))
    assert seen >= {"y", "d", "s", "W", "G", "A", "b", "gb", "O", "p", "t", "l", "r", "x"}


def test_factors_multiply_to_the_gradient() -> None:
    """The chain rule's factors make the gradient of the example; those of all examples add up to the batch's."""
    found = explain(learn_rows(), PLAIN, NAMES, step=2)
    drawn = plan([found])
    for layer in (0, 2, 4):
        for group_unit in drawn.groups[drawn.group_of(layer)].units:
            total = 0.0
            for example in range(16):
                units = list(numbers(drawn).units)
                units[drawn.group_of(layer)] = group_unit
                one = attrs.evolve(numbers(drawn, 0, example), units=tuple(units))
                row = numbers(drawn).weight(layer)
                inputs = one.into(layer, row).value
                rest = [one.factor(kind, of, layer).value for kind, of in one.factors(layer)[1:]]
                total += inputs * float(np.prod(rest))
            dense = found.layers[layer].dense
            assert dense is not None
            assert total == pytest.approx(float(dense.weight_gradient[row, group_unit]), rel=1e-3, abs=1e-7)


def test_sums_written_out_are_whole() -> None:
    """The terms that are written out and the rest come to the number behind them."""
    found = numbers(plan([explain(learn_rows(), PLAIN, NAMES, step=2)]))
    for name, layer, whole in (("inputs", 0, "y"), ("inputs", 2, "y"), ("deltas", 2, "dx"), ("deltas", 4, "dx")):
        pairs, rest = found.terms(name, layer)
        total = sum(one.value * other.value for one, other in pairs) + rest.value
        total += found.number("bias", layer).value if name == "inputs" else 0.0
        assert total == pytest.approx(found.number(whole, layer).value, rel=1e-4, abs=1e-6)


def test_a_wide_network_shows_a_chosen_few() -> None:
    """Of wide layers the units with the largest activation times delta are drawn; the page stays under 3 MB."""
    spec = attrs.evolve(PLAIN, model=ModelSpec(hidden=(128, 64)), train=attrs.evolve(PLAIN.train, batch_size=32))
    found = list(explain_moments(learn_rows(), spec, NAMES, (0, 1, 2, 3)))
    drawn = plan(found)
    assert [len(group.units) for group in drawn.groups] == [0, CHOSEN, CHOSEN, 3]
    strength = sum(np.abs(one.layers[1].y[:16] * one.layers[1].dy[:16]).sum(axis=0) /
                   np.abs(one.layers[1].y[:16] * one.layers[1].dy[:16]).sum() for one in found)  # fmt: skip
    assert set(drawn.groups[1].units) == set(np.argsort(-strength)[:CHOSEN].tolist())
    assert len(explain_page(found)) < 3_000_000


def xor_step() -> tuple[bp.Layer, bp.Loss, bp.GradientTransform, bp.TrainState, Batch]:
    """A network for exclusive or, before its first step."""
    model, transform = bp.serial(bp.dense(3), bp.tanh(), bp.dense(1)), bp.sgd(0.5)
    state = bp.init_train_state(model, transform, bp.Key(2), (2,))
    inputs = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    return model, bp.squared_error(), transform, state, Batch(inputs, np.array([[0], [1], [1], [0]], np.float32))


def test_a_network_of_the_readers_own() -> None:
    """Any model, loss and optimiser can be looked at; the state after has the bits of `make_step`."""
    model, loss, transform, state, batch = xor_step()
    chain = bp.named(("inner", bp.serial(bp.dense(3), bp.tanh())), ("out", bp.dense(1)))
    halves = attrs.evolve(model, forward=lambda *parts: (model.forward(*parts)[0] / 2, *model.forward(*parts)[1:]))
    for one, layers in ((model, 3), (chain, 3), (halves, 1), (bp.residual(bp.dense(2)), 1)):
        start = bp.init_train_state(one, transform, bp.Key(2), (2,))
        targets = batch.inputs if one.name.startswith("residual") else batch.targets
        data = Batch(batch.inputs, targets)
        found = explain_step(one, loss, transform, start, data, name="<XOR>")
        after, _ = make_step(one, loss, transform, metric=bp.mean_squared_error())(start, data)
        assert same_bits(found.after, after)
        assert len(found.layers) == layers
        document = explain_page(found)
        assert "<XOR>" not in document
        assert len(parsed(document).all("section", "operation")) == 2 * layers + 5
        assert "seed" not in explained_lines(found)
        json.dumps(explained_table(found), allow_nan=False)
    with pytest.raises(ValueError, match="at least one example"):
        explain_step(model, loss, transform, state, Batch(batch.inputs[:0], batch.targets[:0]))
    with pytest.raises(ValueError, match="different layers"):
        explain_page([explain_step(model, loss, transform, state, batch), found])


def test_moments_are_steps_of_one_training() -> None:
    """Several moments have the bits of each taken alone; they come in rising order and exist."""
    train_rows = learn_rows()
    for step, found in zip((0, 3, 7), explain_moments(train_rows, RICH, NAMES, (0, 3, 7)), strict=True):
        assert same_bits(found.after, explain(train_rows, RICH, NAMES, step=step).after)
        assert found.step == step
    with pytest.raises(ValueError, match="rising order"):
        list(explain_moments(train_rows, PLAIN, NAMES, (3, 0)))
    assert last_step(train_rows, PLAIN) == 7


def test_page_fetches_nothing_and_escapes() -> None:
    """Every picture is in the page, the policy forbids the rest, and a class may be called anything."""
    found = attrs.evolve(explain(learn_rows(), PLAIN, NAMES), class_names=("<script>", "b", "c"))
    document = explain_page(found)
    page = parsed(document)
    assert all(image.attributes["src"].startswith("data:image/png;base64,") for image in page.all("img"))
    assert "http" not in document.replace("http-equiv", "")
    assert document.count("<script>") == 1
    assert [script.attributes.get("type") for script in page.all("script")] == ["application/json", None]
    (policy,) = (m for m in page.all("meta") if m.attributes.get("http-equiv") == "Content-Security-Policy")
    assert policy.attributes["content"].endswith("img-src data:; base-uri 'none'; form-action 'none'")


def test_formulas_are_set() -> None:
    """Exponents are raised, and minus signs drawn, but not those inside words or numbers."""
    assert formula("dx = dy W^T") == "dx = dy W<sup>T</sup>"
    assert formula("y = e^x - 1, v^2") == "y = e<sup>x</sup> \N{MINUS SIGN} 1, v<sup>2</sup>"


def test_overflow_is_shown_not_hidden() -> None:
    """A step whose numbers are not finite is explained all the same: no histogram, and the norm says inf or nan."""
    found = explain(Batch(learn_rows().inputs * np.float32(8e37), learn_rows().targets), PLAIN, NAMES)
    assert any(one.spread is None and one.norm is not None for one in found.operations)
    assert "nan" in explained_lines(found) or "inf" in explained_lines(found)
    assert parsed(explain_page(found)).all("section", "operation")
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
    assert parsed((tmp_path / "step.html").read_text()).all("section", "operation")
    several = cli(*own, "--at", "last, 2,0", "--html", "steps.html", "--json")
    assert several.returncode == 0, several.stderr
    steps = [moment["step"] for moment in json.loads(several.stdout)["moments"]]
    assert steps[:2] == [0, 2]
    assert steps[2] == json.loads(several.stdout)["moments"][0]["steps"] - 1
    for words in ("1,x", "", "-1", "1000000", "\N{SUPERSCRIPT TWO}"):
        wrong = cli(*own, "--at", words)
        assert (wrong.returncode, wrong.stdout) == (2, ""), words
    both = cli(*own, "--at", "1", "--step", "2")
    assert (both.returncode, "both" in both.stderr) == (2, True)
    refused = cli(*own, "--step", "1000000")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "expected a step in 0.." in refused.stderr
