"""Every loss against torch's autodiff in float64: value, vjp, jvp, and the tangent of the vjp, to 1e-10 relative."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np
import pytest

from bpfunc import losses
from bpfunc.keys import Key, normal, uniform
from bpfunc.losses import Loss

torch = pytest.importorskip("torch")
F = torch.nn.functional
B, K = 6, 4


def one_hot() -> np.ndarray:
    """Each class at least once."""
    return np.eye(K)[np.arange(B) % K]


def soft() -> np.ndarray:
    """Rows of probabilities with a zero in the first."""
    rows = uniform(Key(1), (B, K), dtype=np.float64)
    rows[0, 1] = 0
    return rows / rows.sum(axis=1, keepdims=True)


def numbers() -> np.ndarray:
    """Targets to regress on."""
    return 2 * normal(Key(2), (B, K), dtype=np.float64)


def _focal(z: object, t: object, gamma: float) -> object:
    log_p = F.log_softmax(z, -1)
    return -(t * (1 - log_p.exp()) ** gamma * log_p).sum(1)


def _huber(z: object, t: object) -> object:
    # torch's own has no forward derivative of its backward pass; its value is compared below.
    r = (z - t).abs()
    return torch.where(r <= 0.7, r * r / 2, 0.7 * (r - 0.35)).mean(1)


W = [0.5, 1.0, 2.0, 4.0]
CASES: dict[str, tuple[Loss, np.ndarray, Callable[[object, object], object]]] = {
    "cross_entropy": (losses.cross_entropy(), one_hot(), lambda z, t: F.cross_entropy(z, t, reduction="none")),
    "cross_entropy, soft": (losses.cross_entropy(), soft(), lambda z, t: F.cross_entropy(z, t, reduction="none")),
    "cross_entropy, indices": (
        losses.cross_entropy(),
        np.arange(B) % K,
        lambda z, t: F.cross_entropy(z, t, reduction="none"),
    ),
    "cross_entropy, smoothed": (
        losses.cross_entropy(label_smoothing=0.2),
        one_hot(),
        lambda z, t: F.cross_entropy(z, t, reduction="none", label_smoothing=0.2),
    ),
    "cross_entropy, weighted": (
        losses.cross_entropy(class_weights=W),
        soft(),
        lambda z, t: F.cross_entropy(z, t, reduction="none", weight=torch.tensor(W).double()),
    ),
    "binary_cross_entropy": (
        losses.binary_cross_entropy(),
        soft()[:, :1],
        lambda z, t: F.binary_cross_entropy_with_logits(z, t, reduction="none").mean(1),
    ),
    "multilabel_cross_entropy": (
        losses.multilabel_cross_entropy(),
        soft(),
        lambda z, t: F.binary_cross_entropy_with_logits(z, t, reduction="none").mean(1),
    ),
    "squared_error": (losses.squared_error(), numbers(), lambda z, t: F.mse_loss(z, t, reduction="none").mean(1)),
    "absolute_error": (losses.absolute_error(), numbers(), lambda z, t: F.l1_loss(z, t, reduction="none").mean(1)),
    "huber": (
        losses.huber(delta=0.7),
        numbers(),
        _huber,
    ),
    "focal": (losses.focal(gamma=2.0), one_hot(), lambda z, t: _focal(z, t, 2.0)),
    "focal, soft": (losses.focal(gamma=1.5), soft(), lambda z, t: _focal(z, t, 1.5)),
    "focal, plain": (losses.focal(gamma=0.0), one_hot(), lambda z, t: _focal(z, t, 0.0)),
    "kl_divergence": (
        losses.kl_divergence(),
        soft(),
        lambda z, t: F.kl_div(F.log_softmax(z, -1), t, reduction="none").sum(1),
    ),
}


def factories() -> set[str]:
    """Every public function that makes a loss."""
    return {
        name
        for name, member in vars(losses).items()
        if inspect.isfunction(member) and inspect.signature(member).return_annotation == "Loss"
    }


def agree(mine: np.ndarray, theirs: object) -> None:
    """Agreement to 1e-10 of the array's size."""
    expected = theirs.detach().numpy()
    assert mine.shape == expected.shape
    np.testing.assert_allclose(mine, expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max(initial=0) + 1e-14)


def check(loss: Loss, targets: np.ndarray, oracle: Callable[[object, object], object]) -> None:
    """Compare a loss and its derivatives with the oracle's."""
    width = targets.shape[1] if targets.ndim == 2 else K
    z, z_dot = (normal(Key(5, (n,)), (B, width), dtype=np.float64) for n in range(2))
    dl, dl_dot = (normal(Key(6, (n,)), (B,), dtype=np.float64) for n in range(2))
    t, primal, direction = torch.tensor(targets), torch.tensor(z), torch.tensor(z_dot)

    def pulled(x: object, dy: object) -> object:
        return torch.func.vjp(lambda x: oracle(x, t), x)[1](dy)[0]

    for array in (z, z_dot, dl, dl_dot, targets):
        array.flags.writeable = False
    values, residual = loss.forward(z, targets)
    value, tangent = torch.func.jvp(lambda x: oracle(x, t), (primal,), (direction,))
    agree(values, value)
    agree(loss.jvp(residual, z_dot), tangent)
    cotangents = (torch.tensor(dl), torch.tensor(dl_dot))
    first, second = torch.func.jvp(pulled, (primal, cotangents[0]), (direction, cotangents[1]))
    agree(loss.vjp(residual, dl), first)
    agree(loss.vjp_jvp(residual, z_dot, dl, dl_dot), second)


def test_every_loss_has_an_oracle() -> None:
    """A loss added without an oracle fails here."""
    assert factories() == {case.split(",")[0] for case in CASES}


@pytest.mark.parametrize("name", CASES)
def test_value_and_derivatives(name: str) -> None:
    """Value, vjp, jvp and tangent of the vjp agree, for read-only inputs."""
    check(*CASES[name])


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("field", ["forward", "vjp", "jvp", "vjp_jvp"])
@pytest.mark.parametrize("plant", ["scaled", "one entry"])
def test_planted_wrong_derivative_is_found(name: str, field: str, plant: str) -> None:
    """Any of the four functions scaled by 1.001, or wrong in one entry, fails the comparison above."""
    import attrs

    loss, targets, oracle = CASES[name]
    right = getattr(loss, field)

    def wrong(*arguments: object) -> object:
        result = right(*arguments)
        array = result[0] if field == "forward" else result
        bad = array * 1.001 if plant == "scaled" else array.copy()
        if plant == "one entry":
            bad[(2,) * bad.ndim if bad.ndim == 1 or bad.shape[1] > 2 else (2, 0)] += 1e-6
        return (bad, result[1]) if field == "forward" else bad

    with pytest.raises(AssertionError):
        check(attrs.evolve(loss, **{field: wrong}), targets, oracle)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits(name: str, dtype: type) -> None:
    """Logits of +-1e4 give finite losses and derivatives of the same dtype, without a warning."""
    loss, targets, _ = CASES[name]
    width = targets.shape[1] if targets.ndim == 2 else K
    targets = targets.astype(dtype) if targets.ndim == 2 else targets
    z = np.where(np.arange(B * width).reshape(B, width) % 2, 1e4, -1e4).astype(dtype)
    one, column = np.ones_like(z), np.ones(B, dtype)
    values, residual = loss.forward(z, targets)
    results = (values, loss.vjp(residual, column), loss.jvp(residual, one), loss.vjp_jvp(residual, one, column, column))
    for result in results:
        assert np.isfinite(result).all()
        assert result.dtype == dtype


@pytest.mark.parametrize("name", CASES)
def test_zero_rows(name: str) -> None:
    """An empty batch has no losses and an empty gradient."""
    loss, targets, _ = CASES[name]
    width = targets.shape[1] if targets.ndim == 2 else K
    values, residual = loss.forward(np.zeros((0, width)), targets[:0])
    assert values.shape == (0,)
    assert loss.vjp(residual, np.zeros(0)).shape == (0, width)


def test_huber_has_torchs_value() -> None:
    """The formula that stands in for torch's Huber loss above is torch's Huber loss."""
    z, t = torch.tensor(normal(Key(3), (B, K), dtype=np.float64)), torch.tensor(numbers())
    agree(_huber(z, t).numpy(), F.huber_loss(z, t, reduction="none", delta=0.7).mean(1))
