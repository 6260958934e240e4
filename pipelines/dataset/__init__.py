"""The data set: where it comes from, how it is checked, and how the prepared cache is read."""
