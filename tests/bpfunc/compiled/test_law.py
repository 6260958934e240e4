"""Between engines there is rounding and nothing else: random trainings, and faults planted in machine code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, cast

import attrs
import numpy as np
import pytest

pytest.importorskip("numba")
pytest.importorskip("scipy")

from hypothesis import given, settings, strategies as st

from bpfunc import layers, losses
from bpfunc.batches.augment import (
    Augmentation,
    augmented,
    compose,
    flip_horizontal,
    flip_vertical,
    mixup,
    noise,
    sometimes,
)
from bpfunc.batches.batch import Batch, epoch_batches
from bpfunc.compiled import mixture, network, training as engine, work
from bpfunc.gradient.modes import GradientMaker, value_and_grad
from bpfunc.gradient.penalty import penalised
from bpfunc.interop.numba import compiled_epoch, compiled_fold, compiled_step
from bpfunc.keys import Key, fold_in, uniform
from bpfunc.layers import Layer, dense, dropout
from bpfunc.layers.combinators import serial
from bpfunc.layers.mirror import mirror_averaged
from bpfunc.losses import Loss
from bpfunc.losses.elementwise import elementwise_loss
from bpfunc.losses.scaled import scaled
from bpfunc.metrics import Metric, accuracy, mean_squared_error
from bpfunc.metrics.base import mean_metric, mean_metric_of_targets
from bpfunc.ops.elementwise import formulas_of
from bpfunc.optimizers import adam, adamw, sgd
from bpfunc.training.loop import fold_steps
from bpfunc.training.step import StepMetrics, TrainState, init_train_state, make_step
from bpfunc.transforms import GradientTransform, chain, clip_by_global_norm, ema_of_params
from bpfunc.tree import tree_cast, tree_leaves

ROWS, FEATURES = 13, 5
ACTIVATIONS: dict[str, Callable[[], Layer]] = {
    name: getattr(layers, name)
    for name in layers.__all__
    if callable(getattr(layers, name)) and name[0].islower() and not name.startswith(("dense", "stateless"))
}
"""All of `bpfunc.layers` that is made without arguments; which are elementwise is found below."""


def _is_elementwise(make: Any) -> bool:
    try:
        op = make().op
    except (TypeError, AttributeError):
        return False
    return op is not None and formulas_of(op) is not None


ELEMENTWISE = {name: make for name, make in ACTIVATIONS.items() if _is_elementwise(make)} | {
    "steep": lambda: layers.leaky_relu(slope=-0.4),
    "bent": lambda: layers.elu(alpha=0.3),
}


@elementwise_loss("quartic", slope=lambda y, t: 4 * (y - t) ** 3, curvature=lambda y, t: 12 * (y - t) ** 2)
def _quartic(outputs: Any, targets: Any) -> Any:
    return (outputs - targets) ** 4


_squared = losses.squared_error()
LOSSES: dict[str, tuple[Callable[[int], Loss], str]] = {
    "cross_entropy": (lambda k: losses.cross_entropy(), "classes"),
    "smoothed": (lambda k: losses.cross_entropy(label_smoothing=0.2), "classes"),
    "weighted": (lambda k: losses.cross_entropy(class_weights=np.arange(k) + 0.5), "classes"),
    "kl_divergence": (lambda k: losses.kl_divergence(), "classes"),
    "focal": (lambda k: losses.focal(gamma=1.5), "classes"),
    "focal without focus": (lambda k: losses.focal(gamma=0.0), "classes"),
    "squared_error": (lambda k: losses.squared_error(), "numbers"),
    "absolute_error": (lambda k: losses.absolute_error(), "numbers"),
    "huber": (lambda k: losses.huber(delta=0.7), "numbers"),
    "multilabel": (lambda k: losses.multilabel_cross_entropy(), "labels"),
    "binary": (lambda k: losses.binary_cross_entropy(), "one label"),
    "quartic": (lambda k: attrs.evolve(_squared, name="quartic", forward=_quartic), "numbers"),
}
OPTIMISERS: dict[str, Callable[[], GradientTransform]] = {
    "sgd": lambda: sgd(0.1),
    "momentum": lambda: sgd(lambda step: 0.1 / (1 + step), momentum=0.9),
    "adam": lambda: adam(0.01),
    "averaged": lambda: chain(adamw(0.01), ema_of_params(0.9)),
    "clipped": lambda: chain(clip_by_global_norm(0.05), adam(0.01)),
    "hardly clipped": lambda: chain(clip_by_global_norm(1e6), sgd(0.1)),
}
ROW, COLUMN = (1, FEATURES), (FEATURES, 1)
AUGMENTATIONS: dict[str, Augmentation] = {
    "flip": flip_horizontal(shape=ROW),
    "mixup": mixup(0.4),
    "flip, mixup": compose(flip_horizontal(shape=ROW), mixup(0.2)),
    "mixup, flips": compose(compose(mixup(0.2)), flip_vertical(0.3, shape=COLUMN), flip_horizontal(shape=ROW)),
    "nothing": compose(),
    "noise": noise(0.3),
    "mixup, noise": compose(mixup(0.2), noise(0.3)),
    "two mixes": compose(mixup(0.2), mixup(0.7)),
    "flip of some": sometimes(0.5, flip_horizontal(shape=ROW)),
}
KNOWN = ("flip", "mixup", "flip, mixup", "mixup, flips", "nothing")
"""Those that threads do while they gather; NumPy does the others."""


def test_all_activations_and_losses_are_here() -> None:
    """A new activation or loss of the library is found, or asked for."""
    names = {"relu", "gelu", "gelu_tanh", "selu", "silu", "softplus", "tanh", "sigmoid", "identity"}
    assert names <= ELEMENTWISE.keys()
    makers = {name for name in losses.__all__ if callable(getattr(losses, name)) and _returns(name) == "Loss"}
    named = {make(1).name for make, _ in LOSSES.values()}
    assert {"cross_entropy", "huber"} <= makers <= named


def _returns(name: str) -> str:
    return str(getattr(getattr(losses, name), "__annotations__", {}).get("return", "")).split("[")[0].replace("'", "")


def data_for(kind: str, outputs: int, form: str, weighted: bool, dtype: Any) -> Batch:
    """Rows with targets that fit a loss."""
    rng = np.random.default_rng(outputs)
    inputs = rng.standard_normal((ROWS, FEATURES)).astype(dtype)
    labels = rng.integers(0, outputs, ROWS)
    soft = rng.random((ROWS, outputs)) + 0.1
    classes = {"indices": labels, "one-hot": np.eye(outputs)[labels], "soft": soft / soft.sum(axis=1, keepdims=True)}
    targets = {
        "classes": classes[form],
        "numbers": rng.standard_normal((ROWS, outputs)),
        "labels": (soft > 0.6).astype(float),
        "one label": (soft[:, 0] > 0.6).astype(float),
    }[kind]
    return Batch(inputs, targets, rng.integers(0, 3, ROWS).astype(float) if weighted else None)


@attrs.frozen
class Case:
    """One training."""

    model: Layer
    loss: Loss
    transform: GradientTransform
    data: Batch
    metric: Metric
    batch_size: int = 4
    threads: int = 2
    epochs: int = 2
    gradient: GradientMaker = value_and_grad
    augmentation: Augmentation | None = None

    def batches(self, data: Batch, number: int) -> Iterator[Batch]:
        plain = epoch_batches(data, Key(3), number, self.batch_size)
        return plain if self.augmentation is None else augmented(plain, fold_in(Key(4), number), self.augmentation)

    def start(self, dtype: Any) -> TrainState:
        state = init_train_state(self.model, self.transform, Key(2), (FEATURES,))
        params = tree_cast(state.params, dtype)
        return TrainState(params, state.layer_state, self.transform.init(params), 0, state.key)


def first_row(outputs: Any, batch: Batch) -> Any:
    """A metric that looks at everything a metric may look at."""
    return outputs[:, 0] + batch.inputs[:, 0]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Networks of one to three dense layers, with anything between them, and any loss, targets, weights, optimiser."""
    make_loss, kind = LOSSES[draw(st.sampled_from(sorted(LOSSES)))]
    outputs = 1 if kind == "one label" else draw(st.integers(1 if kind != "classes" else 2, 4))
    found: list[Layer] = []
    count = draw(st.integers(1, 3))
    for index in range(count + 1):
        for _ in range(draw(st.integers(0, 2))):
            name = draw(st.sampled_from([*sorted(ELEMENTWISE), "dropout", "dropout"]))
            found.append(dropout(draw(st.sampled_from([0.0, 0.3, 0.7]))) if name == "dropout" else ELEMENTWISE[name]())
        if index < count:
            width = outputs if index == count - 1 else draw(st.integers(1, 9))
            found.append(dense(width, use_bias=draw(st.booleans())))
    middle = draw(st.integers(0, len(found)))
    model = serial(serial(*found[:middle]), *found[middle:]) if draw(st.booleans()) else serial(*found)
    if draw(st.booleans()):
        model = mirror_averaged(model, image_shape=(1, FEATURES))
    form = draw(st.sampled_from(["indices", "one-hot", "soft"]))
    optimiser = draw(st.sampled_from(sorted(OPTIMISERS)))
    metrics = [mean_metric("first", first_row)]
    data = data_for(kind, outputs, form, draw(st.booleans()), np.float64)
    known = [name for name in AUGMENTATIONS if "mix" not in name or data.targets.dtype.kind == "f"]
    augmentation = AUGMENTATIONS[draw(st.sampled_from(sorted(known)))] if draw(st.booleans()) else None
    metrics += [accuracy()] if kind == "classes" else [mean_squared_error()] if kind == "numbers" else []
    return Case(
        model,
        scaled(make_loss(outputs), draw(st.sampled_from([0.5, 3.0]))) if draw(st.booleans()) else make_loss(outputs),
        OPTIMISERS[optimiser](),
        data,
        draw(st.sampled_from(metrics)),
        draw(st.integers(1, ROWS + 1)),
        draw(st.integers(1, 3)),
        gradient=penalised(0.0 if "clipped" in optimiser else draw(st.sampled_from([0.0, 0.7]))),
        augmentation=augmentation,
    )


def assert_equal(ours: tuple[TrainState, StepMetrics], theirs: tuple[TrainState, StepMetrics], rtol: float) -> None:
    (state, metrics), (other, expected) = ours, theirs
    assert state.step == other.step
    for one, two in zip(tree_leaves(state), tree_leaves(other), strict=True):
        if isinstance(one, np.ndarray):
            assert one.dtype == two.dtype
        np.testing.assert_allclose(one, two, rtol=rtol, atol=rtol)
    assert metrics.loss.weight == expected.loss.weight
    np.testing.assert_allclose(metrics.loss.total, expected.loss.total, rtol=rtol, atol=rtol)
    for one, two in zip(tree_leaves(metrics.metric), tree_leaves(expected.metric), strict=True):
        np.testing.assert_allclose(one, two, rtol=rtol, atol=rtol)


def check(case: Case, dtype: Any = np.float64, rtol: float = 1e-7) -> None:
    """Train with both engines, by whole epochs and batch by batch."""
    data = attrs.evolve(case.data, inputs=case.data.inputs.astype(dtype))
    parts: tuple[Any, ...] = (case.model, case.loss, case.transform)
    more: dict[str, Any] = {"metric": case.metric, "gradient": case.gradient}
    step, compiled = make_step(*parts, **more), compiled_step(*parts, **more, threads=case.threads)
    ours = folded = theirs = case.start(dtype)
    for number in range(case.epochs):
        before = ours
        ours, found = compiled.fold(ours, case.batches(data, number))
        again, _ = compiled.fold(before, case.batches(data, number))
        assert [leaf.tobytes() for leaf in tree_leaves(ours.params)] == [
            leaf.tobytes() for leaf in tree_leaves(again.params)
        ]
        theirs, expected = fold_steps(step, theirs, case.batches(data, number), metric=case.metric)
        folded, alike = compiled.fold(folded, iter(list(case.batches(data, number))))
        assert_equal((ours, found), (theirs, expected), rtol)
        assert_equal((folded, alike), (theirs, expected), rtol)


@given(cases())
@settings(max_examples=30, deadline=None)
def test_random_trainings_are_equal(case: Case) -> None:
    """In double precision two epochs differ by rounding alone, and the same call gives the same bits."""
    check(case)


@given(cases())
@settings(max_examples=8, deadline=None)
def test_random_trainings_are_equal_in_single_precision(case: Case) -> None:
    """One step of float32 differs by rounding of float32; longer trainings part ways at kinks."""
    check(attrs.evolve(case, epochs=1, batch_size=ROWS, transform=sgd(0.01)), np.float32, 2e-4)


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations_are_those_of_numpy(name: str, dtype: Any) -> None:
    """Values and slopes at ordinary and extreme inputs: infinities, zeros, the largest and the smallest numbers."""
    links = network.network_of(serial(dense(1), ELEMENTWISE[name]())).links[1]
    formula, numbers = network.formula_of(links, np.dtype(dtype))
    info = np.finfo(dtype)
    edges = [0.0, -0.0, np.inf, -np.inf, np.nan, info.max, info.min, info.tiny, -info.tiny, 1e-3, -1e-3, 90, -90, 800.0]
    x = np.concatenate([np.linspace(-9, 9, 400), edges]).astype(dtype)
    z, slope, masks = x[None].copy(), np.empty((1, x.size), dtype), np.empty((0, 1, x.size), dtype)
    activate = work.activate_of((formula,), np.dtype(dtype))
    call = engine_call()
    call(activate, 0, np.array(numbers), z, slope, masks, 0, 1, 0, x.size)
    layer = ELEMENTWISE[name]()
    with np.errstate(all="ignore"):
        y, _, residual = layer.forward((), (), x, layers.INFERENCE)
        expected = layer.backward((), residual, np.ones_like(x))[1]
    np.testing.assert_allclose(z[0], y, rtol=40 * info.eps, atol=8 * info.eps)
    np.testing.assert_allclose(slope[0], expected, rtol=40 * info.eps, atol=100 * info.eps)


def engine_call() -> Callable[..., None]:
    """Call a function by its address, as the threads do."""
    import numba

    @numba.njit  # type: ignore[untyped-decorator]
    def call(activate, which, told, z, slope, masks, r0, r1, c0, c1):  # type: ignore[no-untyped-def]
        activate(which, told, z, slope, masks, r0, r1, c0, c1)

    made: Callable[..., None] = call
    return made


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rate", [0.1, 0.5, 1 / 3, 0.9])
def test_masks_are_those_of_numpy(dtype: Any, rate: float) -> None:
    """A network that only drops gives its outputs away: bit for bit those of the layer, also split among threads."""
    model = serial(dense(37), serial(dropout(rate), dropout(0.25)))
    case = Case(model, losses.squared_error(), sgd(0.1), data_for("numbers", 37, "soft", False, dtype), accuracy())
    state = case.start(dtype)
    weight, bias = np.zeros((FEATURES, 37), dtype), np.ones(37, dtype)
    first, others = state.params.layers
    params = attrs.evolve(state.params, layers=(attrs.evolve(first, weight=weight, bias=bias), others))
    state = attrs.evolve(state, params=params, step=3)
    seen: list[Any] = []

    def outputs(values: Any, batch: Batch) -> Any:
        seen.append(values.copy())
        return values[:, 0]

    metric = mean_metric("seen", outputs)
    expected = model.forward(
        params, ((), ((), ())), np.zeros((ROWS, FEATURES), dtype),
        layers.Context(train=True, key=Key(state.key.seed, (*state.key.path, 3))),
    )[0]  # fmt: skip
    for threads in (1, 2, 3):
        epoch = compiled_epoch(model, case.loss, case.transform, metric=metric, threads=threads)
        epoch(state, case.data, Key(3), 0, ROWS)
        np.testing.assert_array_equal(seen[-1], expected)
    assert 0 < np.count_nonzero(expected) < expected.size


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_augmented_rows_are_those_of_numpy(name: str, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that gives its inputs away: bit for bit those of NumPy, in two chunks, also where threads do it."""
    model, augmentation, seen = dense(FEATURES), AUGMENTATIONS[name], list[Any]()
    data = data_for("numbers", FEATURES, "soft", True, dtype)
    data = attrs.evolve(data, targets=data.targets.astype(dtype))

    metric = mean_metric_of_targets("seen", lambda values, targets: (seen.append((values, targets)), values[:, 0])[1])
    drawn: list[int] = []
    real = mixture.Mixing.drawn
    monkeypatch.setattr(mixture.Mixing, "drawn", lambda *given: (drawn.append(1), real(*given))[1])
    monkeypatch.setattr(engine, "CHUNK", 4 * FEATURES * 2)
    case = Case(model, losses.squared_error(), sgd(1e-30), data, metric, augmentation=augmentation)
    state = case.start(dtype)
    params = attrs.evolve(state.params, weight=np.eye(FEATURES, dtype=dtype), bias=np.zeros(FEATURES, dtype))
    expected = list(case.batches(data, 0))
    for threads in (1, 2, 3):
        seen.clear()
        drawn.clear()
        step = compiled_step(model, case.loss, case.transform, metric=metric, threads=threads)
        step.fold(attrs.evolve(state, params=params), case.batches(data, 0))
        counted = [pair for pair in seen if pair[0].any()]  # without the trial of the metric
        for index, field in enumerate(("inputs", "targets")):
            got = np.concatenate([pair[index] for pair in counted])
            np.testing.assert_array_equal(got, np.concatenate([getattr(batch, field) for batch in expected]))
        assert bool(drawn) == (name in KNOWN)
        assert len(counted) == 2


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where outputs are kept for a few batches at a time, states have the same bits and metrics the same value."""
    case = Case(
        serial(dense(6), layers.tanh(), dropout(0.3), dense(3)), losses.cross_entropy(), adam(0.1),
        data_for("classes", 3, "indices", True, np.float64), accuracy(), 2,
    )  # fmt: skip
    epoch, state = compiled_epoch(case.model, case.loss, case.transform, threads=2), case.start(np.float64)
    whole, found = epoch(state, case.data, Key(3), 0, 2)
    monkeypatch.setattr(engine, "CHUNK", 13)
    parts, again = epoch(state, case.data, Key(3), 0, 2)
    for one, other in zip(tree_leaves(whole), tree_leaves(parts), strict=True):
        np.testing.assert_array_equal(one, other)
    assert found.metric == again.metric
    np.testing.assert_allclose(found.loss.total, again.loss.total, rtol=1e-12)


class _Other(np.ndarray[Any, Any]):
    """An array that may mean something else."""


def test_batches_of_every_size_fold() -> None:
    """Batches need not be of one size, and what comes after a batch that does not fit is not reached."""
    case = Case(
        serial(dense(6), layers.elu(), dropout(0.3), dense(3)), losses.cross_entropy(), adam(0.1),
        data_for("classes", 3, "indices", False, np.float64), accuracy(),
    )  # fmt: skip
    data, sizes = case.data, (3, 1, 4, 4, 1)
    cuts = np.cumsum((0, *sizes))
    batches = [Batch(data.inputs[a:b], data.targets[a:b]) for a, b in pairwise(cuts)]
    fold, step = compiled_fold(case.model, case.loss, case.transform), make_step(case.model, case.loss, case.transform)
    state = case.start(np.float64)
    assert_equal(fold(state, iter(batches)), fold_steps(step, state, batches), 1e-9)
    with pytest.raises(ValueError, match="no batch"):
        fold(state, [])
    with pytest.raises(ValueError, match="at least 1 row"):
        fold(state, [Batch(data.inputs[:0], data.targets[:0])])
    with pytest.raises(TypeError, match="takes inputs as a plain array"):
        fold(state, [attrs.evolve(batch, inputs=batch.inputs.view(_Other)) for batch in batches[2:4]])
    with pytest.raises(layers.ShapeError, match="expected an input"):
        fold(state, [batches[0], Batch(data.inputs[:, :-1], data.targets)])


def test_a_metric_that_does_not_fit_is_refused_first() -> None:
    """Accuracy of numbers to regress on: the metric's own message, and no thread is started."""
    case = Case(dense(1), losses.squared_error(), sgd(0.1), Batch(np.ones((3, FEATURES)), np.ones(3)), accuracy())
    with pytest.raises((TypeError, ValueError), match=r"the metric expected|class indices are whole"):
        epoch = compiled_epoch(case.model, case.loss, case.transform, metric=accuracy())
        epoch(case.start(np.float64), case.data, Key(3), 0, 2)


PLAIN = Case(
    serial(dense(6), layers.tanh(), dropout(0.3), dense(4), layers.elu(), dense(3)),
    losses.huber(delta=0.4),
    chain(clip_by_global_norm(0.5), sgd(lambda step: 0.3 / (1 + step), momentum=0.9)),
    data_for("numbers", 3, "soft", True, np.float64),
    mean_squared_error(),
)


def _formula(change: Callable[[Any], Any]) -> Callable[[pytest.MonkeyPatch], None]:
    """Change what is traced of activations."""
    real = network.formula_of

    def plant(patch: pytest.MonkeyPatch) -> None:
        def formula_of(links: Any, dtype: Any) -> Any:
            return real(tuple(change(link) for link in links), dtype)

        patch.setattr(work, "formula_of", formula_of)

    return plant


def _slope(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def changed(link: Any) -> Any:
        if not hasattr(link, "formulas"):
            return link
        old = link.formulas.slope
        return attrs.evolve(link, formulas=attrs.evolve(link.formulas, slope=lambda *given: change(old(*given))))

    return changed


def _patched(name: str, make: Callable[[Any], Any]) -> Callable[[pytest.MonkeyPatch], None]:
    """Put another function in the place of one of `work`."""
    return lambda patch: patch.setattr(work, name, make(getattr(work, name)))


def _plan(**changes: Callable[[Any], Any]) -> Callable[[pytest.MonkeyPatch], None]:
    """Change a field of the plan."""

    def make(real: Any) -> Any:
        def planned(*given: Any) -> Any:
            plan, formulas = real(*given)
            return plan._replace(**{name: change(getattr(plan, name)) for name, change in changes.items()}), formulas

        return planned

    return _patched("_plan", make)


def _strongest(real: Any) -> Any:
    return lambda rules, step, steps, dtype, strengths: real(rules, step, steps, dtype, [strengths[0]] * steps)


def _lesson(**changes: Callable[[Any], Any]) -> Callable[[pytest.MonkeyPatch], None]:
    real = engine.lesson

    def taught(*given: Any, **named: Any) -> Any:
        made = real(*given, **named)
        return attrs.evolve(made, **{name: change(getattr(made, name)) for name, change in changes.items()})

    return lambda patch: patch.setattr(engine, "lesson", taught)


def _mixture(**changes: Callable[[Any], Any]) -> Callable[[pytest.MonkeyPatch], None]:
    """Change how rows are mirrored and mixed."""
    real = mixture.Mixing.drawn

    def drawn(*given: Any) -> Any:
        made, seen = real(*given)
        return made._replace(**{name: change(getattr(made, name)) for name, change in changes.items()}), seen

    return lambda patch: patch.setattr(mixture.Mixing, "drawn", drawn)


def _last_doubled(values: Any) -> Any:
    values = values.copy()
    values[-1] *= 2
    return values


real_form, real_mixing = engine.loss_of, cast(Any, engine.mixing_of)
FAULTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "missing slope": _formula(_slope(lambda slope: 1.0)),
    "wrong slope": _formula(_slope(lambda slope: 1.001 * slope)),
    "slope of the other sign": _formula(_slope(lambda slope: -slope)),
    "another setting": _formula(
        lambda link: attrs.evolve(link, settings=(("alpha", 1.01),)) if getattr(link, "settings", ()) else link
    ),
    "exchanged weights": _plan(weight_at=lambda at: at[[0, 2, 1]]),
    "exchanged rules": _plan(activation=lambda rule: rule[[0, 2, 1, 3]]),
    "missing activation": _plan(activation=lambda rule: np.array([-1, rule[1], -1, -1])),
    "missing bias": _plan(bias_rule=lambda rule: np.array([rule[0], -1, rule[2]])),
    "exchanged biases": _plan(bias_at=lambda at: at[[0, 2, 1]]),
    "no clipping": _plan(limits=lambda limit: 0 * limit),
    "another limit": _plan(limits=lambda limit: 1.01 * limit),
    "constants of activations": _plan(of_activations=lambda told: told * 1.01),
    "constants of the loss": _plan(of_loss=lambda told: told * 1.01),
    "rates": _plan(rates=lambda rates: rates + np.float32(0.2)),
    "factors": _plan(factors=lambda factors: factors * 1.001),
    "stale constants": _patched("_constants", lambda real: lambda rules, step, *rest: real(rules, 0, *rest)),
    "next constants": _patched("_constants", lambda real: lambda rules, step, *rest: real(rules, step + 1, *rest)),
    "strength of another batch": _patched("_constants", _strongest),
    "squares forgotten": _plan(penalty=lambda alpha: 0 * alpha),
    "factor of the loss": lambda patch: patch.setattr(
        engine, "loss_of", lambda loss: attrs.evolve(real_form(loss), factor=1.0)
    ),
    "stale keys": _patched("_keys", lambda real: lambda begun, step, steps: real(begun, 0, steps)),
    "exchanged words of keys": _patched("_keys", lambda real: lambda *given: real(*given)[:, :, ::-1].copy()),
    "last row in the last batch": _lesson(scale=_last_doubled),
    "one row off": _lesson(rows=lambda rows: np.roll(rows, 1)),
    "targets of other rows": _lesson(targets=lambda targets: np.roll(targets, 1, axis=0)),
    "another share": _mixture(shares=lambda shares: 1.001 * shares),
    "exchanged shares": _mixture(shares=lambda shares: shares[::-1].copy()),
    "partner of another row": _mixture(partner=lambda partner: np.roll(partner, 1)),
    "no partner": _mixture(partner=lambda partner: np.arange(len(partner))),
    "other rows flipped": _mixture(ways=lambda ways: np.roll(ways, 1, axis=1)),
    "all rows flipped": _mixture(ways=lambda ways: ways | np.uint8(1)),
    "partners not flipped": _mixture(ways=lambda ways: ways * np.array([[1], [0]], np.uint8)),
    "flipped to other places": _mixture(places=lambda places: np.roll(places, 1, axis=1)),
    "draws of another batch": lambda patch: patch.setattr(
        engine, "mixing_of", lambda *given: attrs.evolve(real_mixing(*given), number=1)
    ),
    "weights forgotten": _lesson(scale=lambda scale: np.full_like(scale, 0.25)),
}
EXCHANGEABLE = attrs.evolve(
    PLAIN,
    model=serial(dense(6), layers.tanh(), dense(4), layers.sigmoid(), dense(3)),
)
"""Activations that may be exchanged: neither reads a constant or a mask that the other does not have."""


PENALISED = attrs.evolve(
    PLAIN,
    model=serial(dense(6), layers.tanh(), dense(4), layers.relu(), dense(3, use_bias=False)),
    loss=scaled(losses.squared_error(), 1.5),
    transform=adam(0.01),
    gradient=penalised(0.7),
)
"""What estimators train: a loss times a number, and a penalty whose strength depends on the batch."""
MIXED = attrs.evolve(PLAIN, augmentation=AUGMENTATIONS["flip, mixup"])
FAULTY_CASES = {
    **{name: MIXED for name in FAULTS if any(word in name for word in ("share", "partner", "flipped", "draws"))},
    "exchanged rules": EXCHANGEABLE,
    "strength of another batch": PENALISED,
    "squares forgotten": PENALISED,
    "factor of the loss": PENALISED,
}


@pytest.mark.parametrize("case", [PLAIN, EXCHANGEABLE, PENALISED, MIXED])
def test_without_a_fault_it_is_equal(case: Case) -> None:
    """The trainings that faults are planted in."""
    check(case)


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The law can fail: each fault in what machine code is made from or told is seen."""
    FAULTS[fault](monkeypatch)
    with pytest.raises(AssertionError):
        check(FAULTY_CASES.get(fault, PLAIN))


def test_keys_of_numpy_are_kept() -> None:
    """What the masks rest on: numbers are float32 in [0, 1), whatever the network's dtype."""
    assert uniform(Key(0), (3,)).dtype == np.float32
