"""From a model and a loss to gradients: of a batch, of each example, in parts, over processes, and checked."""
