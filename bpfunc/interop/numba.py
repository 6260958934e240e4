"""Machine code, made by numba: optimisers as one loop, and whole epochs. Needs the extra ``fast``.

`compiled_step` makes a training step of a network of dense layers one program that all cores work on, with the results
of the composed step up to rounding; `bpfunc.train` takes it as it takes any step. `compiled_epoch` and `compiled_fold`
are the same for one epoch, and for batches that come from anywhere. `compiled` does an optimiser's work in one loop,
bit for bit as NumPy does it.
"""

try:
    from bpfunc.compiled.optimizer import compiled
    from bpfunc.compiled.training import CompiledStep, EpochFn, FoldFn, compiled_epoch, compiled_fold, compiled_step
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f"bpfunc.interop.numba needs {missing.name}; add it with: pip install 'bpfunc[fast]'", name=missing.name
    ) from None

__all__ = ["CompiledStep", "EpochFn", "FoldFn", "compiled", "compiled_epoch", "compiled_fold", "compiled_step"]
