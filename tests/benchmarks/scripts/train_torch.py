"""Prepared Parquet to a trained network with torch: ``train_torch.py ENTRY OUT HIDDEN BATCH EPOCHS RATE MOMENTUM``."""

from __future__ import annotations

import itertools
import os
import sys

import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file

entry, out, hidden, batch, epochs, rate, momentum = sys.argv[1:]
torch.set_num_threads(int(os.environ["BENCHMARK_THREADS"]))
torch.manual_seed(0)

table = pq.read_table(f"{entry}/train.parquet", columns=["pixels", "label"])
pixels = table["pixels"].combine_chunks().flatten().to_numpy().reshape(len(table), -1).copy()
inputs, labels = torch.from_numpy(pixels), torch.from_numpy(table["label"].to_numpy().astype("int64"))

widths = [inputs.shape[1], *map(int, hidden.split(",")), 3]
parts: list[torch.nn.Module] = []
for d, h in itertools.pairwise(widths):
    parts += [torch.nn.Linear(d, h), torch.nn.ReLU()]
model = torch.nn.Sequential(*parts[:-1])
optimizer = torch.optim.SGD(model.parameters(), lr=float(rate), momentum=float(momentum), fused=True)

for _ in range(int(epochs)):
    for rows in torch.randperm(len(inputs)).split(int(batch)):
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(model(inputs.index_select(0, rows)), labels.index_select(0, rows))
        loss.backward()
        optimizer.step()
save_file(model.state_dict(), out)
