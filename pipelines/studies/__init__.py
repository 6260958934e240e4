"""Many trainings at once: seeds, ablations, comparisons, and the search for settings."""
