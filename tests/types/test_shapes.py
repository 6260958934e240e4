"""The shapes that docstrings state are the shapes that arrays have: ops, losses and their derivatives, both dtypes.

One sentence of a docstring is read as jaxtyping writes it, and all four functions of a family are held to one
assignment of the letters: the B and K of the last derivative are those of the first argument.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from bpfunc import losses, ops
from bpfunc.arrays.types import FloatArray, FloatDType, Shape
from bpfunc.keys import Key, fold_in, normal

jaxtyping = pytest.importorskip("jaxtyping")

FAMILIES = [
    (module, name) for module in (ops, losses) for name in module.__all__ if f"{name}_vjp_jvp" in module.__all__
]
STATED = re.compile(r"\(((?:[A-Z]|\.\.\.)(?:,\s*(?:[A-Z]|\.\.\.))*,?)\)|\bshape\b")


def stated(sentence: str) -> str:
    """The first shape in a sentence: ``(B, K)`` as ``B K``, and "the same shape" as ``*like``, the family's input's.

    A sentence that states none gives the empty string.
    """
    found = STATED.search(sentence)
    if found is None:
        return ""
    return " ".join(found[1].replace(",", " ").replace("...", "*rest").split()) if found[1] else "*like"


def described(function: Callable[..., Any]) -> dict[str, str]:
    """What the docstring says of each argument, and of the result under ``return``."""
    text = f"{inspect.getdoc(function)}\n"
    arguments, returns = (re.search(rf"^{title}:\n((?: .*\n)+)", text, re.M) for title in ("Args", "Returns"))
    assert arguments is not None
    assert returns is not None
    return dict(re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", arguments[1], re.M)) | {"return": returns[1]}


def fits(array: FloatArray, shape: str, dtype: FloatDType) -> bool:
    """Whether an array has a shape, its letters meaning what they have meant so far."""
    kind = jaxtyping.Float32 if dtype is np.float32 else jaxtyping.Float64
    return isinstance(array, kind[np.ndarray, shape])


def called(dtype: FloatDType, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function, its array arguments and its first result held to what it says of them."""
    sentences = described(function)
    result = function(*arguments)
    first = result[0] if isinstance(result, tuple) else result
    for name, array in [*zip(inspect.signature(function).parameters, arguments, strict=False), ("return", first)]:
        if name == "residual":
            continue
        shape = stated(sentences[name])
        assert shape, f"{function.__name__} does not state the shape of {name}"
        assert fits(array, shape, dtype), f"{function.__name__}: {name} is {array.dtype} {array.shape}, stated {shape}"
    return result


def check_family(module: ModuleType, name: str, shape: Shape, dtype: FloatDType) -> None:
    """Call a function and its three derivatives with arrays that fit each other."""
    function, vjp, jvp, vjp_jvp = (getattr(module, name + end) for end in ("", "_vjp", "_jvp", "_vjp_jvp"))
    x, x_dot, targets = (normal(fold_in(Key(0), number), shape, dtype=dtype) for number in range(3))
    with jaxtyping.jaxtyped("context"):
        assert fits(x, "*like", dtype)
        y, residual = called(dtype, function, x, *([ops.softmax(targets)[0]] if module is losses else []))
        dy, dy_dot = (normal(fold_in(Key(1), number), y.shape, dtype=dtype) for number in range(2))
        called(dtype, vjp, residual, dy)
        called(dtype, jvp, residual, x_dot)
        called(dtype, vjp_jvp, residual, x_dot, dy, dy_dot)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("module", "name"), FAMILIES, ids=[name for _, name in FAMILIES])
def test_docstrings_state_the_shapes(module: ModuleType, name: str, dtype: FloatDType) -> None:
    """For a matrix, and for more axes where the docstring allows them."""
    check_family(module, name, (5, 4), dtype)
    first = next(iter(inspect.signature(getattr(module, name)).parameters))
    if "*" in stated(described(getattr(module, name))[first]):
        check_family(module, name, (5, 2, 3), dtype)


def test_all_families_are_found() -> None:
    """Every op and every loss with derivatives is in the table above."""
    assert len(FAMILIES) == sum(name.endswith("_vjp_jvp") for module in (ops, losses) for name in module.__all__)
    assert len(FAMILIES) >= 20


@pytest.mark.parametrize(
    ("truth", "lie"),
    [("``dz`` (B, K)", "``dz`` (K, B)"), ("(B,) cotangent", "(K,) cotangent"), ("(B,) cotangent", "a cotangent")],
)
def test_a_docstring_that_lies_is_found(monkeypatch: pytest.MonkeyPatch, truth: str, lie: str) -> None:
    """The check can fail: for a wrong result, a letter that means something else already, and a shape left out."""
    function = losses.softmax_cross_entropy_vjp
    assert function.__doc__ is not None
    assert truth in function.__doc__
    monkeypatch.setattr(function, "__doc__", function.__doc__.replace(truth, lie))
    with pytest.raises(AssertionError, match="softmax_cross_entropy_vjp"):
        check_family(losses, "softmax_cross_entropy", (5, 4), np.float32)


def test_an_array_of_another_dtype_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check can fail for a function that widens what it is given."""
    right: Any = ops.relu_jvp

    def relu_jvp(residual: FloatArray, x_dot: FloatArray) -> FloatArray:
        return right(residual, x_dot).astype(np.float64)

    relu_jvp.__doc__ = right.__doc__
    monkeypatch.setattr(ops, "relu_jvp", relu_jvp)
    with pytest.raises(AssertionError, match="relu_jvp: return is float64"):
        check_family(ops, "relu", (5, 4), np.float32)
