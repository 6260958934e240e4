"""What compiled code asks of the machine: matrix products, a barrier, random numbers, and no denormal numbers.

Nothing here is bound to a process, so that machine code can be kept: addresses come in as numbers.
"""

from __future__ import annotations

import platform
from functools import lru_cache
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  # loaded now, so that a limit on its threads finds it
from llvmlite import ir

from bpfunc.arrays.denormals import FLUSH

numba: Any = import_module("numba")  # which says nothing of its types
extending: Any = import_module("numba.extending")
cgutils: Any = import_module("numba.core.cgutils")
njit, intrinsic, types = numba.njit, extending.intrinsic, numba.types
Precision: TypeAlias = np.dtype[Any]
"""float32 or float64."""
PRECISIONS: tuple[Precision, ...] = (np.dtype(np.float32), np.dtype(np.float64))
"""What compiled code computes in."""
LARGEST = 2**31 - 1
"""Rows or columns that a matrix may have for BLAS, which counts in 32 bits."""
PATIENCE = 2000
"""Looks at a barrier before the processor is offered to others."""
_X86 = platform.machine() in ("x86_64", "AMD64", "i686")
_WORD, _FLAGS, _BYTES = ir.IntType(64), ir.IntType(32), ir.IntType(8).as_pointer()

OPEN = 2**62
"""More than threads ever count at a barrier: a thread that finds it there leaves."""


@lru_cache
def product_address(dtype: Precision) -> int:
    """Find SciPy's BLAS.

    Args:
        dtype: Data type, float32 or float64.

    Returns:
        The address of its matrix product, for `matrix_product`.

    Example:
        >>> product_address(np.dtype(np.float32)) == product_address(np.dtype(np.float64))
        False
    """
    name = "sgemm" if dtype == np.float32 else "dgemm"
    address: int = extending.get_cython_function_address("scipy.linalg.cython_blas", name)
    return address


@intrinsic
def _call_blas(typing_context: Any, address: Any, arguments: Any) -> Any:
    """Call the function at an address with 13 addresses."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointers = [builder.inttoptr(builder.extract_value(values[1], n), _BYTES) for n in range(13)]
        kind = ir.FunctionType(ir.VoidType(), [_BYTES] * 13)
        builder.call(builder.inttoptr(values[0], kind.as_pointer()), pointers)
        return context.get_dummy_value()

    return types.void(types.int64, types.UniTuple(types.int64, 13)), generate


@njit(nogil=True)  # numba has no types
def matrix_product(  # compiled for what it is called with
    blas, turn_a, turn_b, rows, columns, inner, a, lda, b, ldb, c, ldc, own
):
    """Compute the product of blocks of row-major matrices: ``C = op(A) op(B)``.

    Args:
        blas: From `product_address`.
        turn_a: Whether A is transposed.
        turn_b: Whether B is.
        rows: Rows of C.
        columns: Columns of C.
        inner: Numbers that are summed.
        a: Address of A.
        lda: Numbers in a row of A.
        b: Address of B.
        ldb: The same of ``b``.
        c: Address of C.
        ldc: The same of ``c``.
        own: Record of arrays of the calling thread to put arguments in: ``whole``, 6 int32; ``numbers``, ``[1, 0]`` of
            the dtype; ``letters``, N and T.

    Returns:
        None.

    Reference: Dongarra, Du Croz, Hammarling and Duff, "A set of level 3 basic linear algebra subprograms" (1990).
    """
    # BLAS counts by columns: for it, the transposed product of B and A.
    whole = own.whole
    whole[0], whole[1], whole[2], whole[3], whole[4], whole[5] = columns, rows, inner, ldb, lda, ldc
    n, one, letter = whole.ctypes.data, own.numbers.ctypes.data, own.letters.ctypes.data
    zero = one + own.numbers.itemsize
    _call_blas(blas, (letter + turn_b, letter + turn_a, n, n + 4, n + 8, one, b, n + 12, a, n + 16, zero, c, n + 20))


@intrinsic
def _pointer(typing_context: Any, address: Any, like: Any) -> Any:
    """A pointer to numbers of the dtype of an array."""
    kind = types.CPointer(like.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(kind))

    return kind(address, like), generate


@njit(nogil=True)
def array_at(address, shape, like):
    """View numbers at an address as an array.

    Args:
        address: Address of the first.
        shape: Shape of the array, in C order.
        like: An array of its dtype.

    Returns:
        The array, which does not own the numbers.
    """
    return numba.carray(_pointer(address, like), shape)


@intrinsic
def call_in_place(typing_context: Any, address: Any, constants: Any, numbers: Any, count: Any) -> Any:
    """Call a function that `bpfunc.compiled.loops.apply_of` made: its address, those of its arguments, and a count."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointers = [builder.inttoptr(argument, _BYTES) for argument in arguments[1:3]]
        kind = ir.FunctionType(ir.VoidType(), [_BYTES, _BYTES, _WORD])
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), [*pointers, arguments[3]])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64), generate


@intrinsic
def _offer_processor(typing_context: Any) -> Any:
    name = "SwitchToThread" if platform.system() == "Windows" else "sched_yield"

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(32), [])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [])

    return types.int32(), generate


@intrinsic
def _count_up(typing_context: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(arguments[0], _WORD.as_pointer())
        return builder.atomic_rmw("add", place, ir.Constant(_WORD, 1), "seq_cst")

    return types.int64(types.int64), generate


@intrinsic
def _count(typing_context: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(builder.inttoptr(arguments[0], _WORD.as_pointer()), "acquire", 8)

    return types.int64(types.int64), generate


@njit(nogil=True)
def wait_for_all(counter, threads, passed):
    """Wait until every thread has come here as often as this one: a barrier.

    Args:
        counter: Address of an int64 that starts at 0 and belongs to the barrier.
        threads: How many threads meet.
        passed: How many barriers this thread has passed.

    Returns:
        ``passed + 1``; below 0 where a thread has opened the barrier for good, by `OPEN`: then there is no more to do.

    Reference: Mellor-Crummey and Scott, "Algorithms for scalable synchronization" (1991), the central barrier.
    """
    _count_up(counter)
    looks = 0
    while _count(counter) < (passed + 1) * threads:
        looks += 1
        if looks > PATIENCE:
            _offer_processor()
    return -1 if _count(counter) >= OPEN else passed + 1


@intrinsic
def _high_word(typing_context: Any, one: Any, other: Any) -> Any:
    """The upper 64 bits of a product."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(arguments[0], wide), builder.zext(arguments[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), _WORD)

    return types.uint64(types.uint64, types.uint64), generate


@njit(nogil=True)
def philox(key0, key1, block):
    """Compute four words of the stream of `numpy.random.Philox`.

    Args:
        key0: uint64, the lower half of the generator's key.
        key1: uint64, the upper half.
        block: uint64, which four, from 0.

    Returns:
        Four uint64.

    Reference: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).
    """
    a, b, c, d = block + np.uint64(1), np.uint64(0), np.uint64(0), np.uint64(0)
    for _ in range(10):
        high0, low0 = _high_word(np.uint64(0xD2E7470EE14C6C93), a), np.uint64(0xD2E7470EE14C6C93) * a
        high1, low1 = _high_word(np.uint64(0xCA5A826395121157), c), np.uint64(0xCA5A826395121157) * c
        a, b, c, d = high1 ^ b ^ key0, low1, high0 ^ d ^ key1, low0
        key0, key1 = key0 + np.uint64(0x9E3779B97F4A7C15), key1 + np.uint64(0xBB67AE8584CAA73B)
    return a, b, c, d


@intrinsic
def flush_denormals(typing_context: Any) -> Any:
    """Let this thread take denormal numbers for zero, as XLA does; returns what `restore_denormals` wants.

    What `bpfunc.arrays.denormals.denormals_as_zero` is to NumPy. On processors other than x86 this does nothing.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if not _X86:
            return ir.Constant(_FLAGS, 0)
        flags = builder.alloca(_FLAGS)
        place = builder.bitcast(flags, _BYTES)
        kind = ir.FunctionType(ir.VoidType(), [_BYTES])
        builder.call(builder.module.declare_intrinsic("llvm.x86.sse.stmxcsr", (), kind), [place])
        before = builder.load(flags)
        builder.store(builder.or_(before, ir.Constant(_FLAGS, FLUSH)), flags)
        builder.call(builder.module.declare_intrinsic("llvm.x86.sse.ldmxcsr", (), kind), [place])
        return before

    return types.int32(), generate


@intrinsic
def restore_denormals(typing_context: Any, before: Any) -> Any:
    """Undo `flush_denormals`, given what it returned."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if _X86:
            flags = builder.alloca(_FLAGS)
            builder.store(arguments[0], flags)
            kind = ir.FunctionType(ir.VoidType(), [_BYTES])
            load = builder.module.declare_intrinsic("llvm.x86.sse.ldmxcsr", (), kind)
            builder.call(load, [builder.bitcast(flags, _BYTES)])
        return context.get_dummy_value()

    return types.void(types.int32), generate
