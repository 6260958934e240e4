"""Epoch time beside torch's, interleaved in one process: ``python -m tests.benchmarks``.

The network of the `report` recipe on the real 18,000 training rows, plain gradient descent, batches of 128, float32,
two threads for both. Each round times one epoch of ours and one of torch's; medians and the ratio are printed.
"""

from __future__ import annotations

import os

THREADS = 2
# Set before NumPy is imported; the two variables that some machines set to work around old OpenBLAS builds slow it.
for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = str(THREADS)

import statistics  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402

import bpfunc as bp  # noqa: E402
from pipelines.config import DatasetSpec  # noqa: E402
from pipelines.stages.acquire import acquire  # noqa: E402
from pipelines.stages.decode import decode  # noqa: E402
from pipelines.stages.encode import encode  # noqa: E402
from pipelines.stages.select import select  # noqa: E402

HIDDEN, BATCH, RATE, ROUNDS, WARM_UP = (128, 64), 128, 0.1, 9, 2


def ours(data: bp.Batch) -> Callable[[], None]:
    """One epoch a call, training on from call to call."""
    model = bp.serial(bp.dense(HIDDEN[0]), bp.relu(), bp.dense(HIDDEN[1]), bp.relu(), bp.dense(3))
    transform = bp.sgd(RATE)
    step = bp.make_step(model, bp.cross_entropy(), transform)
    state = bp.init_train_state(model, transform, bp.Key(0), (784,))
    number = 0

    def epoch() -> None:
        nonlocal state, number
        state, _ = bp.fold_steps(step, state, bp.epoch_batches(data, bp.Key(1), number, BATCH))
        number += 1

    return epoch


def torchs(inputs: np.ndarray, labels: np.ndarray) -> Callable[[], None]:
    """The same with torch: tensors gathered by index, fused SGD."""
    torch.set_num_threads(THREADS)
    x, y = torch.from_numpy(inputs), torch.from_numpy(labels)
    model = torch.nn.Sequential(
        torch.nn.Linear(784, HIDDEN[0]),
        torch.nn.ReLU(),
        torch.nn.Linear(HIDDEN[0], HIDDEN[1]),
        torch.nn.ReLU(),
        torch.nn.Linear(HIDDEN[1], 3),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, fused=True)
    loss = torch.nn.CrossEntropyLoss()

    def epoch() -> None:
        for rows in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad(set_to_none=True)
            loss(model(x[rows]), y[rows]).backward()
            optimizer.step()

    return epoch


def main() -> None:
    """Time both and print the ratio."""
    spec = DatasetSpec()
    split = encode(select(decode(acquire(spec)), spec), spec).train
    runners = {
        "bpfunc": ours(bp.Batch(split.pixels, split.target)),
        "torch": torchs(split.pixels.copy(), split.label.astype(np.int64)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for turn in range(WARM_UP + ROUNDS):
        for name, epoch in runners.items():
            started = time.perf_counter()
            epoch()
            if turn >= WARM_UP:
                seconds[name].append(time.perf_counter() - started)
    for name, times in seconds.items():
        print(f"{name:8} median {statistics.median(times):.4f} s, {min(times):.4f} to {max(times):.4f} s")
    ratios = [a / b for a, b in zip(seconds["bpfunc"], seconds["torch"], strict=True)]
    print(f"ratio bpfunc / torch, median of {ROUNDS} pairs: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
