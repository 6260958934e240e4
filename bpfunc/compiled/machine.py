"""What compiled code asks of the machine: matrix products, a barrier between threads, and no denormal numbers."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  # loaded now, so that whoever limits its threads finds it
from llvmlite import ir

from bpfunc.arrays.denormals import FLUSH

numba: Any = import_module("numba")  # which says nothing of its types
extending: Any = import_module("numba.extending")
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

_system: Any = ctypes.CDLL("kernel32" if platform.system() == "Windows" else None)
_offer_processor = _system.SwitchToThread if platform.system() == "Windows" else _system.sched_yield
_offer_processor.argtypes, _offer_processor.restype = [], ctypes.c_int


@lru_cache
def matrix_product(dtype: Precision) -> Callable[..., None]:
    """Make the compiled product of blocks of row-major matrices: ``C = op(A) op(B)``, by SciPy's BLAS.

    Args:
        dtype: Of float32 or float64.

    Returns:
        ``(turn_a, turn_b, rows, columns, inner, a, lda, b, ldb, c, ldc, whole, numbers, letters)``: whether A and B are
        transposed, the sizes of C and of what is summed, addresses and row lengths; and arrays of the calling thread to
        put arguments in: 6 int32, ``[1, 0]`` of the dtype, and the letters N and T.

    Reference: Dongarra, Du Croz, Hammarling and Duff, "A set of level 3 basic linear algebra subprograms" (1990).
    """
    name = "sgemm" if dtype == np.float32 else "dgemm"
    address = extending.get_cython_function_address("scipy.linalg.cython_blas", name)
    blas = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)(address)
    size = dtype.itemsize

    @njit(nogil=True)  # numba has no types
    def product(  # compiled for what it is called with
        turn_a, turn_b, rows, columns, inner, a, lda, b, ldb, c, ldc, whole, numbers, letters
    ):
        # BLAS counts by columns: for it, the transposed product of B and A.
        whole[0], whole[1], whole[2], whole[3], whole[4], whole[5] = columns, rows, inner, ldb, lda, ldc
        n, one, letter = whole.ctypes.data, numbers.ctypes.data, letters.ctypes.data
        blas(letter + turn_b, letter + turn_a, n, n + 4, n + 8, one, b, n + 12, a, n + 16, one + size, c, n + 20)

    made: Callable[..., None] = product
    return made


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
        ``passed + 1``.

    Reference: Mellor-Crummey and Scott, "Algorithms for scalable synchronization" (1991), the central barrier.
    """
    _count_up(counter)
    looks = 0
    while _count(counter) < (passed + 1) * threads:
        looks += 1
        if looks > PATIENCE:
            _offer_processor()
    return passed + 1


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
