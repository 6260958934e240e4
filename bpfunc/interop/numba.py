"""Machine code, made by numba: optimisers as one loop, and whole epochs. Needs the extra ``fast``.

`compiled` does an optimiser's work in one loop, bit for bit as NumPy does it. `compiled_epoch` makes a whole epoch of a
network of dense layers one program that all cores work on, with the results of the composed steps up to rounding, and
`compiled_fold` does the same for batches that come from anywhere.
"""

try:
    from bpfunc.compiled.optimizer import compiled
    from bpfunc.compiled.training import EpochFn, FoldFn, compiled_epoch, compiled_fold
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f"bpfunc.interop.numba needs {missing.name}; add it with: pip install 'bpfunc[fast]'", name=missing.name
    ) from None

__all__ = ["EpochFn", "FoldFn", "compiled", "compiled_epoch", "compiled_fold"]
