"""Batches of examples: cut from data in a seeded order, split into training and validation rows, augmented."""
