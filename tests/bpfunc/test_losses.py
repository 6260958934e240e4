"""What losses refuse, and what their settings mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import bpfunc as bp
from bpfunc import losses
from bpfunc.layers import ShapeError


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.cross_entropy().forward(np.zeros((2, 3)), np.zeros((2, 2))), r"found \(2, 3\) and \(2, 2\)"),
        (lambda: losses.cross_entropy().forward(np.zeros(3), np.zeros(3)), r"logits \(B, K\)"),
        (lambda: losses.squared_error().forward(np.zeros((2, 3)), np.zeros(2)), r"found \(2, 3\) and \(2,\)"),
        (
            lambda: losses.binary_cross_entropy().forward(np.zeros((2, 2)), np.zeros((2, 2))),
            r"\(B, 1\), found \(2, 2\)",
        ),
    ],
)
def test_shapes_that_do_not_fit(call: Callable[[], object], message: str) -> None:
    """Outputs and targets that do not go together are named with both shapes."""
    with pytest.raises(ShapeError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.cross_entropy().forward(np.zeros((2, 3)), np.array([0, 3])), "from 0 to 2, found 0 to 3"),
        (lambda: losses.cross_entropy().forward(np.zeros((2, 3)), np.array([-1, 0])), "found -1 to 0"),
        (lambda: losses.cross_entropy(label_smoothing=1.0), r"\[0, 1\), got 1.0"),
        (lambda: losses.cross_entropy(label_smoothing=-0.1), "got -0.1"),
        (lambda: losses.huber(delta=0.0), "above 0, got 0.0"),
        (lambda: losses.focal(gamma=0.5), "0 or at least 1, got 0.5"),
    ],
)
def test_values_out_of_range(call: Callable[[], object], message: str) -> None:
    """A class that is not there, and a setting that makes no sense, are named."""
    with pytest.raises(ValueError, match=message):
        call()


def test_flat_targets_go_with_one_output() -> None:
    """(B,) targets beside (B, 1) outputs mean what (B, 1) targets mean."""
    outputs, flat = np.array([[0.5], [2.0]]), np.array([1.0, 0.0])
    for loss in (losses.squared_error(), losses.absolute_error(), losses.huber(), losses.binary_cross_entropy()):
        np.testing.assert_array_equal(loss.forward(outputs, flat)[0], loss.forward(outputs, flat[:, None])[0])


def test_worked_numbers() -> None:
    """Each loss on numbers small enough for paper."""
    outputs, targets = np.array([[3.0, 0.0]]), np.array([[1.0, 0.5]])
    assert losses.squared_error().forward(outputs, targets)[0][0] == (4 + 0.25) / 2
    assert losses.absolute_error().forward(outputs, targets)[0][0] == (2 + 0.5) / 2
    assert losses.huber().forward(outputs, targets)[0][0] == (1.5 + 0.125) / 2
    even = np.zeros((1, 4))
    assert losses.cross_entropy().forward(even, np.array([1]))[0][0] == pytest.approx(np.log(4))
    assert losses.focal(gamma=2).forward(even, np.array([1]))[0][0] == pytest.approx(0.75**2 * np.log(4))
    assert losses.kl_divergence().forward(even, np.full((1, 4), 0.25))[0][0] == pytest.approx(0, abs=1e-15)
    assert losses.kl_divergence().forward(even, np.array([1]))[0][0] == pytest.approx(np.log(4))
    assert losses.multilabel_cross_entropy().forward(even, np.ones((1, 4)))[0][0] == pytest.approx(np.log(2))


def test_smoothing_and_weights_change_the_targets() -> None:
    """Smoothing spreads a part of each row evenly, weights scale its entries, and both combine in that order."""
    loss = losses.cross_entropy(label_smoothing=0.2, class_weights=[1.0, 3.0])
    residual = loss.forward(np.zeros((1, 2)), np.array([0]))[1]
    np.testing.assert_allclose(residual.targets, [[0.9, 0.3]])
    np.testing.assert_allclose(residual.mass, [[1.2]])


FACTORIES: dict[str, Callable[[], losses.Loss]] = {
    name: getattr(losses, name)
    for name in (
        "cross_entropy",
        "binary_cross_entropy",
        "multilabel_cross_entropy",
        "squared_error",
        "absolute_error",
        "huber",
        "focal",
        "kl_divergence",
    )
}


@pytest.mark.parametrize("name", FACTORIES)
def test_loss_is_called_what_it_is(name: str) -> None:
    """The name in messages is the factory's, and all four functions are there and agree by central differences."""
    loss = FACTORIES[name]()
    assert loss.name == name
    width = 1 if name == "binary_cross_entropy" else 3
    outputs = np.linspace(-1.1, 1.3, 4 * width).reshape(4, width)
    targets = np.full((4, width), 1 / width) if width > 1 else np.array([[0.0], [1.0], [0.5], [1.0]])
    outputs_dot, dlosses, dlosses_dot = np.cos(outputs), np.array([1.0, -2.0, 0.5, 3.0]), np.array([0.1, 0.2, 0.3, 0.4])
    h = 1e-6
    _, residual = loss.forward(outputs, targets)
    above, below = (loss.forward(outputs + s * h * outputs_dot, targets) for s in (1, -1))
    slope = (above[0] - below[0]) / (2 * h)
    np.testing.assert_allclose(loss.jvp(residual, outputs_dot), slope, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(
        (loss.vjp(residual, dlosses) * outputs_dot).sum(axis=1), dlosses * slope, rtol=1e-6, atol=1e-8
    )
    second = (loss.vjp(above[1], dlosses + h * dlosses_dot) - loss.vjp(below[1], dlosses - h * dlosses_dot)) / (2 * h)
    found = loss.vjp_jvp(residual, outputs_dot, dlosses, dlosses_dot)
    np.testing.assert_allclose(found, second, rtol=1e-6, atol=1e-8)


def test_defaults_are_the_documented_ones() -> None:
    """huber's delta is 1, focal's gamma 2, and no smoothing or weights are applied unless asked for."""
    outputs, targets = np.array([[3.0, 0.2]]), np.array([[1.0, 0.0]])
    np.testing.assert_array_equal(losses.huber().forward(outputs, targets)[0], losses.huber_errors(outputs, targets)[0])
    np.testing.assert_array_equal(
        losses.huber(delta=1.0).forward(outputs, targets)[0], losses.huber().forward(outputs, targets)[0]
    )
    np.testing.assert_array_equal(
        losses.focal(gamma=2.0).forward(outputs, targets)[0], losses.focal().forward(outputs, targets)[0]
    )
    np.testing.assert_array_equal(
        losses.focal().forward(outputs, targets)[0], losses.focal_cross_entropy(outputs, targets)[0]
    )
    assert losses.focal(gamma=1.0).name == "focal"
    np.testing.assert_array_equal(losses.cross_entropy().forward(outputs, targets)[1].targets, targets)


def test_regression_takes_more_axes_and_whole_number_targets() -> None:
    """Outputs of three axes are averaged over all but the first; whole-number targets take the outputs' dtype."""
    outputs = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    for loss in (losses.squared_error(), losses.absolute_error(), losses.huber()):
        values, residual = loss.forward(outputs, np.zeros((2, 2, 3), int))
        assert values.dtype == np.float32
        assert values.shape == (2,)
        assert loss.vjp(residual, np.ones(2, np.float32)).shape == (2, 2, 3)
    assert losses.squared_error().forward(outputs, np.zeros((2, 2, 3)))[0][0] == np.float32(55 / 6)
    # At the border of Huber's parabola both branches agree, and beyond it the slope stays.
    assert losses.huber(delta=2.0).forward(np.array([[2.0]]), np.zeros((1, 1)))[0][0] == 2.0
    assert (
        losses.huber(delta=2.0).vjp(losses.huber_errors(np.array([[9.0]]), np.zeros(1), delta=2.0)[1], np.ones(1))
        == 2.0
    )


def test_absolute_error_is_flat_at_zero() -> None:
    """The subgradient at 0 is 0, and the second derivative 0 everywhere."""
    loss = losses.absolute_error()
    _, residual = loss.forward(np.array([[1.0, 3.0]]), np.array([[1.0, 1.0]]))
    np.testing.assert_array_equal(loss.vjp(residual, np.ones(1)), [[0.0, 0.5]])
    one = np.ones((1, 2))
    np.testing.assert_array_equal(loss.vjp_jvp(residual, one, np.ones(1), np.zeros(1)), [[0.0, 0.0]])


def test_floating_class_indices_are_refused() -> None:
    """Numbers that stand for classes are whole; the message says so, and what to do."""
    with pytest.raises(TypeError, match=r"class indices are whole numbers, found float64.*targets\.astype\(np\.intp\)"):
        losses.cross_entropy().forward(np.zeros((2, 3)), np.array([0.0, 1.0]))


def test_rows_far_apart_do_not_disturb_each_other() -> None:
    """A row of huge logits beside a row of small ones leaves the small one exact."""
    logits = np.array([[1e4, 0.0], [0.0, 0.0]])
    values, _ = losses.cross_entropy().forward(logits, np.array([0, 1]))
    np.testing.assert_allclose(values, [0.0, np.log(2)])
    values, _ = losses.focal().forward(logits, np.array([0, 1]))
    np.testing.assert_allclose(values, [0.0, 0.25 * np.log(2)])
    rows = losses.class_rows(np.zeros((2, 3), np.float32), np.array([2, 0]))
    assert rows.dtype == np.float32
    assert losses.class_rows(np.zeros((0, 3)), np.zeros(0, int)).shape == (0, 3)
    np.testing.assert_array_equal(rows, [[0, 0, 1], [1, 0, 0]])


def test_one_output_is_averaged_over_one() -> None:
    """With a single output the mean is that output's error, in value and slope."""
    outputs, targets, one = np.array([[3.0]]), np.array([1.0]), np.ones(1)
    assert losses.squared_error().forward(outputs, targets)[0] == 4.0
    assert losses.absolute_error().forward(outputs, targets)[0] == 2.0
    assert losses.squared_errors_vjp(losses.squared_errors(outputs, targets)[1], one) == 4.0
    assert losses.absolute_errors_vjp(losses.absolute_errors(outputs, targets)[1], one) == 1.0


def test_settings_reach_the_loss() -> None:
    """A gamma of one's own changes the value, 0 is plain cross-entropy, and class weights keep float32."""
    logits, targets = np.zeros((1, 2)), np.array([0])
    for gamma in (0.0, 1.0, 3.0):
        assert losses.focal(gamma=gamma).forward(logits, targets)[0][0] == pytest.approx(0.5**gamma * np.log(2))
    single = losses.cross_entropy(class_weights=[1.0, 2.0]).forward(logits.astype(np.float32), targets)
    assert single[0].dtype == np.float32


@pytest.mark.parametrize("gamma", [0.0, 1.0, 1.5, 2.0])
def test_certainty_has_finite_derivatives(gamma: float) -> None:
    """Where a probability is exactly 1, focal loss and its derivatives are 0 and finite, without a warning."""
    loss = losses.focal(gamma=gamma)
    values, residual = loss.forward(np.array([[1e4, 0.0]]), np.array([0]))
    one = np.ones((1, 2))
    assert values[0] == 0
    np.testing.assert_array_equal(loss.vjp(residual, np.ones(1)), [[0.0, 0.0]])
    assert np.isfinite(loss.vjp_jvp(residual, one, np.ones(1), np.ones(1))).all()


def test_messages_name_the_loss() -> None:
    """A shape that does not fit is reported by the loss that found it."""
    for name in ("squared_error", "absolute_error", "huber"):
        with pytest.raises(ShapeError, match=f"^{name} expected"):
            getattr(losses, name)().forward(np.zeros((2, 3)), np.zeros((3, 2)))
    with pytest.raises(ShapeError, match=r"^sigmoid_cross_entropy expected"):
        losses.multilabel_cross_entropy().forward(np.zeros((2, 3)), np.zeros((3, 2)))


def test_vectors_and_borders() -> None:
    """Outputs may be a bare vector; at its border Huber's second derivative is the parabola's."""
    for loss in (losses.squared_error(), losses.absolute_error(), losses.huber()):
        np.testing.assert_array_equal(loss.forward(np.array([1.0, 2.0]), np.array([1.0, 2.0]))[0], [0.0, 0.0])
    _, residual = losses.huber_errors(np.array([[1.0]]), np.array([0.0]))
    assert losses.huber_errors_vjp_jvp(residual, np.ones((1, 1)), np.ones(1), np.zeros(1)) == 1.0
    assert losses.kl_divergence().forward(np.zeros((1, 2)), np.array([[1.0, 0.0]]))[0][0] == pytest.approx(np.log(2))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", FACTORIES)
def test_a_class_without_probability_costs_nothing_where_it_is_not_asked_for(name: str, dtype: type) -> None:
    """A logit of -inf is a probability of 0: the loss is infinite where that class is the target; slopes are finite."""
    loss = FACTORIES[name]()
    if name in ("squared_error", "absolute_error", "huber"):
        return
    inf, one = np.inf, np.ones(1, dtype)
    if name == "binary_cross_entropy":
        finite, endless, expected = ([[-inf]], [0]), ([[-inf]], [1]), 0.0
    elif name == "multilabel_cross_entropy":
        finite, endless, expected = ([[-inf, inf]], [[0, 1]]), ([[-inf, inf]], [[0, 0]]), 0.0
    else:
        finite, endless = ([[0, 1, -inf]], [0]), ([[0, 1, -inf]], [2])
        expected = 1.3132616875182228 * (0.7310585786300049**2 if name == "focal" else 1)
    for (outputs, targets), value in ((finite, expected), (endless, inf)):
        losses_found, residual = loss.forward(np.array(outputs, dtype), np.array(targets))
        np.testing.assert_allclose(losses_found, [value], rtol=4 * np.finfo(dtype).eps)
        dots = np.ones_like(np.array(outputs, dtype))
        for slope in (loss.vjp(residual, one), loss.jvp(residual, dots), loss.vjp_jvp(residual, dots, one, one)):
            assert np.isfinite(slope).all()


@pytest.mark.parametrize("name", FACTORIES)
def test_nan_does_not_disappear(name: str) -> None:
    """A logit or a target that is NaN makes the loss NaN, also where the other of the two is 0 or the weight is."""
    loss = FACTORIES[name]()
    width = 1 if name == "binary_cross_entropy" else 2
    for bad in ("outputs", "targets"):
        outputs, targets = np.zeros((1, width)), np.zeros((1, width))
        {"outputs": outputs, "targets": targets}[bad][0, -1] = np.nan
        assert np.isnan(loss.forward(outputs, targets)[0]).all()


def test_a_small_loss_among_large_logits_is_not_lost() -> None:
    """log(1 + exp(-z)) of a sure and right answer keeps its digits; as z + log(1 + exp(-z)) - z it would lose them."""
    values, _ = losses.multilabel_cross_entropy().forward(np.array([[30.0], [-30.0]]), np.array([[1.0], [0.0]]))
    np.testing.assert_allclose(values, np.log1p(np.exp(-30.0)), rtol=1e-12)
    values, _ = losses.binary_cross_entropy().forward(np.array([[20.0]], np.float32), np.array([1]))
    np.testing.assert_allclose(values, np.exp(-20.0), rtol=1e-6)


def test_class_weights_are_checked() -> None:
    """A vector of finite numbers of at least 0, one for each class."""
    for weights in ([1.0, np.nan], [1.0, -1.0], [np.inf, 1.0], 3.0, [[1.0, 2.0]], ["1", "2"], [True, False]):
        with pytest.raises(ValueError, match="cross_entropy takes a vector of class_weights of at least 0, got"):
            losses.cross_entropy(class_weights=weights)
    with pytest.raises(ShapeError, match=r"cross_entropy has 2 class weights, found logits \(4, 3\)"):
        losses.cross_entropy(class_weights=[1.0, 2.0]).forward(np.zeros((4, 3)), np.zeros(4, int))
    with pytest.raises(ShapeError, match=r"has 1 class weights"):
        losses.cross_entropy(class_weights=[2.0]).forward(np.zeros((4, 3)), np.zeros(4, int))
    without = losses.cross_entropy(class_weights=[0, 1]).forward(np.array([[-np.inf, 0.0]]), np.array([0]))[0]
    assert without[0] == 0


def test_a_loss_of_three_fields_trains_and_names_what_it_lacks() -> None:
    """Training needs neither `jvp` nor `vjp_jvp`; whoever asks for one is told which, and of which loss."""
    known = bp.squared_error()
    own = bp.Loss("own", known.forward, known.vjp, metric="mean squared error")
    model = bp.dense(1)
    state = bp.init_train_state(model, bp.sgd(0.1), bp.Key(0), (2,))
    batch = bp.Batch(np.ones((3, 2), np.float32), np.zeros(3, np.float32))
    stepped, _ = bp.make_step(model, own, bp.sgd(0.1))(state, batch)
    expected, _ = bp.make_step(model, known, bp.sgd(0.1))(state, batch)
    assert bp.tree_allclose(stepped.params, expected.params, rtol=0, atol=0)
    with pytest.raises(NotImplementedError, match=r"^loss own has no jvp; give one to Loss\(jvp=\.\.\.\)$"):
        own.jvp((), np.ones((1, 1)))
    with pytest.raises(NotImplementedError, match=r"^loss own has no vjp_jvp; give one to Loss\(vjp_jvp=\.\.\.\)$"):
        own.vjp_jvp((), np.ones((1, 1)), np.ones(1), np.ones(1))
