"""A training of the pipeline: built from its specification, run, watched and interrupted."""
