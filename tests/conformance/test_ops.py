"""Every op against torch's autodiff in float64: value, vjp, jvp, and the tangent of the vjp, to 1e-10 relative."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np
import pytest

from bpfunc import ops
from bpfunc.keys import Key, normal

torch = pytest.importorskip("torch")
F = torch.nn.functional

ORACLES: dict[str, Callable[[object], object]] = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "selu": F.selu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softmax": lambda x: F.softmax(x, dim=-1),
    "log_softmax": lambda x: F.log_softmax(x, dim=-1),
    "standardize": lambda x: F.layer_norm(x, x.shape[-1:]),
    "identity": lambda x: x * 1.0,
}
LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "contiguous": lambda a: a,
    "fortran": np.asfortranarray,
    "sliced": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "transposed": lambda a: a.T.copy().T,
}
SHAPES = [(4, 5), (1, 5), (4, 1), (0, 5), (1, 1)]


def names() -> list[str]:
    """Every op: a public function with three derivatives beside it."""
    found = [name for name, member in vars(ops).items() if inspect.isfunction(member)]
    return [name for name in found if f"{name}_vjp" in found and not name.endswith(("_vjp", "_jvp"))]


def quadruple(name: str) -> tuple[Callable[..., object], ...]:
    """An op and its derivatives."""
    return tuple(getattr(ops, name + suffix) for suffix in ("", "_vjp", "_jvp", "_vjp_jvp"))


def draw(shape: tuple[int, ...], number: int) -> np.ndarray:
    """Numbers away from every kink: at least 0.05 from 0."""
    x = 2 * normal(Key(7, (number,)), shape, dtype=np.float64)
    return x + 0.05 * np.sign(x)


def agree(mine: np.ndarray, theirs: object) -> None:
    """Agreement to 1e-10 of the larger of each number and the array's size."""
    expected = np.asarray(theirs)
    assert mine.shape == expected.shape
    size = np.abs(expected).max(initial=0.0)
    np.testing.assert_allclose(mine, expected, rtol=1e-10, atol=1e-10 * size + 1e-15)


def check(name: str, quadruple: tuple[Callable[..., object], ...], arrays: list[np.ndarray]) -> None:
    """Compare an op and its three derivatives with the oracle's."""
    f, f_vjp, f_jvp, f_vjp_jvp = quadruple
    x, x_dot, dy, dy_dot = arrays
    oracle = ORACLES[name]
    tx, tx_dot, tdy, tdy_dot = (torch.tensor(np.array(array)) for array in arrays)

    def pulled(x: object, dy: object) -> object:
        return torch.func.vjp(oracle, x)[1](dy)[0]

    y, residual = f(x)
    value, tangent = torch.func.jvp(oracle, (tx,), (tx_dot,))
    agree(y, value)
    agree(f_jvp(residual, x_dot), tangent)
    cotangent, second = torch.func.jvp(pulled, (tx, tdy), (tx_dot, tdy_dot))
    agree(f_vjp(residual, dy), cotangent)
    agree(f_vjp_jvp(residual, x_dot, dy, dy_dot), second)


def test_every_op_has_an_oracle() -> None:
    """An op added without an oracle fails here."""
    assert set(names()) == ORACLES.keys()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ORACLES)
def test_value_and_derivatives(name: str, shape: tuple[int, int], layout: str) -> None:
    """Value, vjp, jvp and tangent of the vjp agree, for every shape and layout, read-only inputs included."""
    arrays = [LAYOUTS[layout](draw(shape, number)) for number in range(4)]
    for array in arrays:
        array.flags.writeable = False
    check(name, quadruple(name), arrays)


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("which", ["", "_vjp", "_jvp", "_vjp_jvp"])
@pytest.mark.parametrize("plant", ["scaled", "one entry"])
def test_planted_wrong_derivative_is_found(name: str, which: str, plant: str) -> None:
    """Any of the four functions scaled by 1.001, or wrong in one entry, fails the comparison above."""
    functions = list(quadruple(name))
    index = ["", "_vjp", "_jvp", "_vjp_jvp"].index(which)
    right = functions[index]

    def wrong(*arguments: object) -> object:
        result = right(*arguments)
        array = result[0] if index == 0 else result
        bad = array * 1.001 if plant == "scaled" else array.copy()
        if plant == "one entry":
            bad[1, 2] += 1e-6
        return (bad, result[1]) if index == 0 else bad

    functions[index] = wrong
    arrays = [draw((4, 5), number) for number in range(4)]
    check(name, quadruple(name), arrays)
    if which == "_vjp_jvp" and name in ("identity",) and plant == "scaled":
        arrays[3] = arrays[3] + 1
    with pytest.raises(AssertionError):
        check(name, tuple(functions), arrays)
