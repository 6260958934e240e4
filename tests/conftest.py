"""Settings shared by all tests; small IDX directories, and the command line in a directory of its own."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # inherited, where a shell started the tests in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("repeatable")

NAMES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}


def idx_bytes(values: np.ndarray) -> bytes:
    """Write an array of bytes in the IDX format."""
    header = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    return header + values.astype(np.uint8).tobytes()


def write_own_data(directory: Path, *, zipped: bool = False) -> Path:
    """Write a small data set of one's own: 60 training and 30 test images, three classes."""
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for split, count in (("train", 60), ("test", 30)):
        labels = np.arange(count) % 3
        images = rng.integers(0, 60, (count, 28, 28)) + 80 * labels[:, None, None]
        for role, values in ((f"{split}_images", images), (f"{split}_labels", labels)):
            data = idx_bytes(values)
            name = NAMES[role] + (".gz" if zipped else "")
            (directory / name).write_bytes(gzip.compress(data, mtime=0) if zipped else data)
    return directory


@pytest.fixture
def idx() -> Callable[[np.ndarray], bytes]:
    """The writer that the reader is tested against."""
    return idx_bytes


@pytest.fixture
def own_data(tmp_path: Path) -> Path:
    """A directory of one's own IDX files."""
    return write_own_data(tmp_path / "own")


Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Run `bpfunc` as a process of its own, in an empty directory."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pipelines", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "xdg"), **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run
