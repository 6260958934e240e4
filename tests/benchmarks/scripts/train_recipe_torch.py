"""Prepared Parquet to a trained network with torch: ``train_recipe_torch.py ENTRY OUT RECIPE``, the last as JSON."""

from __future__ import annotations

import json
import os
import sys

import pyarrow.parquet as pq
from safetensors.torch import save_file
from torch.optim.swa_utils import AveragedModel

from tests.benchmarks.peers.recipes_with_torch import training
from tests.benchmarks.recipes import Recipe

entry, out, numbers = sys.argv[1:]
table = pq.read_table(f"{entry}/train.parquet", columns=["pixels", "label"])
pixels = table["pixels"].combine_chunks().flatten().to_numpy().reshape(len(table), -1).copy()
labels, threads = table["label"].to_numpy().astype("int64"), int(os.environ["BENCHMARK_THREADS"])
recipe = Recipe(**json.loads(numbers), inputs=pixels, labels=labels, validation=None, threads=threads)
epoch, _, model = training(recipe)
for _ in range(recipe.epochs):
    epoch()
network = model.module if isinstance(model, AveragedModel) else model
save_file(network.state_dict(), out)
