"""Prepared Parquet to a trained network with scikit-learn; arguments as for ``train_torch.py``."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pyarrow.parquet as pq
from safetensors.numpy import save_file
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

entry, out, hidden, batch, epochs, rate, momentum = sys.argv[1:]
table = pq.read_table(f"{entry}/train.parquet", columns=["pixels", "label"])
inputs, labels = (
    table["pixels"].combine_chunks().flatten().to_numpy().reshape(len(table), -1),
    table["label"].to_numpy(),
)

network = MLPClassifier(
    tuple(map(int, hidden.split(","))),
    solver="sgd",
    alpha=0.0,
    batch_size=int(batch),
    learning_rate_init=float(rate),
    momentum=float(momentum),
    nesterovs_momentum=False,
    max_iter=int(epochs),
    n_iter_no_change=int(epochs),
    random_state=0,
)
warnings.simplefilter("ignore", ConvergenceWarning)  # it counts epochs and did not expect to be told how many
network.fit(inputs, labels)
tensors = {f"{index}.weight": np.ascontiguousarray(weight) for index, weight in enumerate(network.coefs_)}
save_file(tensors | {f"{index}.bias": bias for index, bias in enumerate(network.intercepts_)}, out)
