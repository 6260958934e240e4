"""What losses refuse, and what their settings mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

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
