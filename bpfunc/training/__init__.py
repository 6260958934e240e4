"""Training as a fold: the step, the iterator of epochs, and what consumes it."""
