"""A run and its directory: what it writes, how it is read, resumed, listed and described."""
