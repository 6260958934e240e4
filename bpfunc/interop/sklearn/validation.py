"""Checks of what estimators are given: parameters, weights, rows and targets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from numbers import Integral, Real
from typing import TypeAlias, TypeGuard, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.utils import check_array, column_or_1d

from bpfunc.arrays.numbers import plain_numbers
from bpfunc.arrays.types import FloatArray

_Rule: TypeAlias = tuple[Callable[[float], bool], str]
_AT_LEAST_0: _Rule = (lambda value: 0 <= value < math.inf, "a number of at least 0")
_ABOVE_0: _Rule = (lambda value: 0 < value < math.inf, "a number above 0")
_FRACTION: _Rule = (lambda value: 0 <= value < 1, "a number in [0, 1)")
_COUNT: _Rule = (lambda value: value >= 1 and isinstance(value, Integral), "a whole number of at least 1")
_NUMBERS: dict[str, _Rule] = {
    "alpha": _AT_LEAST_0,
    "weight_decay": _AT_LEAST_0,
    "learning_rate_init": _ABOVE_0,
    "power_t": _AT_LEAST_0,
    "max_iter": _COUNT,
    "tol": _AT_LEAST_0,
    "dropout": _FRACTION,
    "momentum": _FRACTION,
    "validation_fraction": (lambda value: 0 < value < 1, "a number in (0, 1)"),
    "beta_1": _FRACTION,
    "beta_2": _FRACTION,
    "epsilon": _ABOVE_0,
    "n_iter_no_change": (
        lambda value: value == math.inf or _COUNT[0](value),
        "a whole number of at least 1, or infinity",
    ),
}


def _is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a number, not a truth value, and within what a float holds."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True


def _is_precision(dtype: str | type) -> bool:
    try:
        return np.dtype(dtype) in (np.dtype(np.float32), np.dtype(np.float64))
    except TypeError:
        return False


def _named(name: str, value: object, names: Iterable[str], kind: type, meaning: str) -> None:
    """Refuse a parameter that is neither one of some names nor a function or record of the right kind."""
    known = tuple(names)
    if value in known if isinstance(value, str) else isinstance(value, kind):
        return
    hint = "; there is no L-BFGS here: take adam, or scikit-learn's own MLP" if value == "lbfgs" else ""
    raise ValueError(f"{name} is one of {', '.join(known)}, or {meaning}; got {value!r}{hint}")


def _check_weights(sample_weight: object, rows: int) -> FloatArray | None:
    if sample_weight is None:
        return None
    weights: FloatArray = check_array(
        _unmasked("sample_weight", sample_weight), ensure_2d=False, dtype=np.float64, input_name="sample_weight"
    )
    if weights.shape != (rows,):
        raise ValueError(f"sample_weight is one number for each of the {rows} rows, got shape {weights.shape}")
    if not (weights >= 0).all() or not weights.any():
        raise ValueError("each sample_weight is at least 0, and they are not all zero")
    return weights


RowsT = TypeVar("RowsT", bound=object)
"""An array, or a sparse one."""


def _unmasked(name: str, rows: RowsT) -> RowsT:
    """Refuse a masked array, whose mask scikit-learn would lose in silence."""
    if isinstance(rows, np.ma.MaskedArray):
        plain_numbers(name, rows)
    return rows


def _dense(rows: RowsT) -> RowsT:
    """Rows as an array, whether they were sparse or not."""
    return rows.toarray() if issparse(rows) else rows  # type: ignore[attr-defined]


def _column(y: NDArray[np.generic]) -> NDArray[np.generic]:
    """A single column as a vector, with scikit-learn's warning."""
    return column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y


def _hidden(sizes: int | Sequence[int]) -> list[int]:
    return list(sizes) if isinstance(sizes, Iterable) else [sizes]
