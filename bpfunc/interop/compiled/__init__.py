"""What `bpfunc.interop.numba` is made of: formulas as loops, and an epoch as machine code."""
