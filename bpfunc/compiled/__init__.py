"""Machine code, made by numba: formulas as loops, and whole epochs. Needs the extra ``fast``."""
