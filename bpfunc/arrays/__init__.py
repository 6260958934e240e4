"""How arrays lie in memory: starts at cache lines, and denormal numbers taken for zero."""
