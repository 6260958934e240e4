"""A chain of dense layers at inference as one call of machine code.

By hand are the product of one row with a matrix and the sum with a bias; products of more rows are SciPy's, and
activations are the formulas that NumPy runs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import attrs
import numpy as np

from bpfunc.arrays.types import FloatArray, IntArray
from bpfunc.compiled.epoch import Own
from bpfunc.compiled.kept import kept
from bpfunc.compiled.loops import apply_of
from bpfunc.compiled.machine import (
    LARGEST,
    PRECISIONS,
    Precision,
    array_at,
    call_in_place,
    matrix_product,
    njit,
    numba,
    product_address,
    types,
)
from bpfunc.layers import DenseParams, Layer, ShapeError
from bpfunc.training.prepared import Chain, RowsFn
from bpfunc.transforms.formula import Formula, traced_function

ROWS = 1024
"""Rows that go through the whole network at once, so that their values stay in the cache."""


@njit(nogil=True, fastmath={"contract"}, error_model="numpy")  # numba has no types
def _one_row(x, weight, z):  # compiled for what it is called with
    """Add the product of a row and a matrix to ``z``, four rows of the matrix at a time."""
    k, stop = 0, len(weight) - 3
    while k < stop:
        x0, x1, x2, x3 = x[k], x[k + 1], x[k + 2], x[k + 3]
        w0, w1, w2, w3 = weight[k], weight[k + 1], weight[k + 2], weight[k + 3]
        for j in range(z.size):
            z[j] = z[j] + x0 * w0[j] + x1 * w1[j] + x2 * w2[j] + x3 * w3[j]
        k += 4
    while k < len(weight):
        x0, w0 = x[k], weight[k]
        for j in range(z.size):
            z[j] += x0 * w0[j]
        k += 1


@njit(nogil=True, error_model="numpy")
def _add_bias(z, bias):
    for r in range(len(z)):
        row = z[r]
        for j in range(row.size):
            row[j] += bias[j]


@njit(nogil=True, error_model="numpy")
def _dense(blas, at_weight, at_bias, x, z):
    """Fill ``z`` with the outputs of a dense layer."""
    rows, m, n = len(x), x.shape[1], z.shape[1]
    weight = array_at(at_weight, (m, n), x)
    if rows == 1:
        row = z[0]
        if at_bias:
            row[:] = array_at(at_bias, (n,), x)
        else:
            row[:] = 0
        _one_row(x[0], weight, row)
        return
    own = Own(np.zeros(16, np.int32), np.array([1, 0]).astype(x.dtype), np.array([78, 84], np.uint8))
    matrix_product(blas, 0, 0, rows, n, m, x.ctypes.data, m, at_weight, n, z.ctypes.data, n, own)
    if at_bias:
        _add_bias(z, array_at(at_bias, (n,), x))


def _through_chain(blas, steps, constants, x, y):
    """Fill ``y`` with what a chain makes of ``x``.

    Args:
        blas: From `product_address`.
        steps: (L + 1, 6) int64: inputs, outputs, addresses of weight and bias, address of what follows, and where its
            constants begin; an address is 0 where there is nothing. The first step has no weight: it is the inputs.
        constants: Constants of all activations, float64.
        x: (B, D).
        y: (B, K).

    Returns:
        None.
    """
    rows, widest = len(x), 1
    for step in range(len(steps)):
        widest = max(widest, steps[step, 1])
    work, current = np.empty((2, rows * widest), y.dtype), x
    told = constants.ctypes.data
    for step in range(len(steps)):
        n, follow = steps[step, 1], steps[step, 4]
        if step == 0 and follow == 0:
            continue
        z = y if step == len(steps) - 1 else work[step % 2][: rows * n].reshape(rows, n)
        if step == 0:
            z[:] = current
        else:
            _dense(blas, steps[step, 2], steps[step, 3], current, z)
        if follow:
            call_in_place(follow, told + 8 * steps[step, 5], z.ctypes.data, rows * n)
        current = z


@lru_cache
def _code(dtype: Precision) -> Any:
    """`_through_chain` for one dtype, compiled before it is first called; inputs may be read-only."""
    rows = numba.from_dtype(dtype)
    given, result = types.Array(rows, 2, "C", readonly=True), types.Array(rows, 2, "C")
    table = types.Array(types.int64, 2, "C", readonly=True)
    told = types.Array(types.float64, 1, "C", readonly=True)
    code = kept(njit(_through_chain, nogil=True, error_model="numpy"))
    code.compile(types.void(types.int64, table, told, given, result))
    code.disable_compile()
    return code


@attrs.frozen(eq=False)
class CompiledChain:
    """The function of a chain, in machine code.

    Args:
        dense: Parameters, whose addresses stand in ``steps``.
        steps: As `_through_chain` takes them.
        constants: Constants of the activations.
        code: The function.
        blas: Address of the matrix product.
    """

    dense: tuple[DenseParams, ...]
    steps: IntArray
    constants: FloatArray
    code: Callable[..., None]
    blas: int

    def __call__(self, x: FloatArray) -> FloatArray:
        """Compute the outputs of rows.

        Args:
            x: (B, D) of the parameters' dtype.

        Returns:
            (B, K), new.

        Raises:
            ShapeError: The rows are of another shape or dtype.
        """
        weight = self.dense[0].weight
        if x.ndim != 2 or x.shape[1] != weight.shape[0] or x.dtype != weight.dtype:
            raise ShapeError(f"expected {weight.dtype} rows of {weight.shape[0]} numbers, found {x.dtype} {x.shape}")
        y = np.empty((x.shape[0], self.dense[-1].weight.shape[1]), x.dtype)
        if x.shape[0] <= ROWS:
            self._fill(x, y)
        else:
            for start in range(0, x.shape[0], ROWS):
                self._fill(x[start : start + ROWS], y[start : start + ROWS])
        return y

    def _fill(self, x: FloatArray, y: FloatArray) -> None:
        try:
            self.code(self.blas, self.steps, self.constants, x, y)
        except TypeError:  # it takes contiguous and aligned rows alone
            self.code(self.blas, self.steps, self.constants, np.array(x, order="C", copy=True), y)


def compiled_chain(chain: Chain) -> RowsFn:
    """Make the function of a chain in machine code.

    Args:
        chain: With parameters of float32 or float64 that are contiguous, aligned and not modified any more.

    Returns:
        The function.

    Raises:
        TypeError: The parameters are of another dtype, or an activation cannot be compiled.
        ValueError: The parameters are not contiguous and aligned, or wider than BLAS counts.

    Example:
        >>> params = DenseParams(np.eye(2), np.ones(2))
        >>> compiled_chain(Chain((), (params,), ((),)))(np.zeros((3, 2)))
        array([[1., 1.],
               [1., 1.],
               [1., 1.]])

    Reference: Lam, Pitrou and Seibert, "Numba: a LLVM-based Python JIT compiler" (2015).
    """
    dtype = chain.dense[0].weight.dtype
    if dtype not in PRECISIONS:
        raise TypeError(f"compiled predictions are computed in float32 or float64, the parameters are of {dtype}")
    widths = [chain.dense[0].weight.shape[0], *[params.weight.shape[1] for params in chain.dense]]
    if max(widths) > LARGEST:
        raise ValueError(f"a compiled prediction takes layers of at most {LARGEST} numbers, found {max(widths)}")
    steps, constants = np.zeros((len(widths), 6), np.int64), list[float]()
    for step, follow in enumerate((chain.before, *chain.behind)):
        steps[step, :2] = widths[max(step - 1, 0)], widths[step]
        if step:
            params = chain.dense[step - 1]
            steps[step, 2] = _address(params.weight, dtype)
            steps[step, 3] = 0 if params.bias is None else _address(params.bias, dtype)
        if follow:
            formula, numbers = _formula(follow, dtype)
            steps[step, 4:] = apply_of(formula, dtype).address, len(constants)
            constants += numbers
    # One more, so that the address of an activation's constants is one of the array where it has none.
    told = np.array([*constants, 0.0])
    for array in (steps, told):
        array.setflags(write=False)
    return CompiledChain(chain.dense, steps, told, _code(dtype), product_address(dtype))


def _address(array: FloatArray, dtype: Precision) -> int:
    if not (array.flags.c_contiguous and array.flags.aligned and array.dtype == dtype):
        raise ValueError("the parameters of a compiled prediction are contiguous and aligned, and of one dtype")
    address: int = array.ctypes.data
    return address


def _formula(activations: tuple[RowsFn, ...], dtype: Precision) -> tuple[Formula, tuple[float, ...]]:
    """One formula of activations that follow one another, and its constants."""

    def follow(z: Any) -> tuple[Any]:
        for activation in activations:
            z = activation(z)
        return (z,)

    try:
        return traced_function(follow, 1, dtype)
    except AttributeError as error:
        raise TypeError(f"an activation cannot be compiled: {error}") from None


def known_layer(layer: Layer, path: str) -> None:
    """Refuse a layer that is not computed by machine code: a `bpfunc.training.prepared.OtherFn`.

    Args:
        layer: Any.
        path: Where it stands.

    Returns:
        Nothing: it raises.

    Raises:
        ValueError: Always.

    Example:
        >>> from bpfunc.layers import softmax
        >>> known_layer(softmax(), "layers[2]")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: a compiled prediction takes dense layers, ...; found softmax at layers[2]; use engine="numpy" ...
    """
    raise ValueError(
        "a compiled prediction takes dense layers, elementwise activations and dropout, in serial, named, residual, "
        f"parallel or mirror_averaged; found {layer.name}{f' at {path}' if path else ''}; "
        'use engine="numpy" or "auto"'
    )
