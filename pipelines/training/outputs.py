"""Outputs of a network for many rows: all at once where its layers are dense, in parts where it has blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpfunc.arrays.types import FloatArray
from bpfunc.layers import INFERENCE
from bpfunc.tree import Tree
from pipelines.spec.run_spec import ModelSpec
from pipelines.training.build import build_model

PART = 128
"""Rows of a part. A block makes many numbers of each pixel, and so many rows at once would not fit the memory; the
number is fixed, since the cut decides the last bits of the outputs."""


def network_outputs(spec: ModelSpec, classes: int, params: Tree, layer_state: Tree, inputs: FloatArray) -> FloatArray:
    """Run a network forward at inference.

    Args:
        spec: Specification of the network.
        classes: K.
        params: Its parameters.
        layer_state: Its state.
        inputs: (B, 784) scaled rows.

    Returns:
        (B, K) logits, or log-probabilities where the network averages mirror images.

    Example:
        >>> from bpfunc.keys import Key
        >>> spec = ModelSpec(blocks=("conv 2", "global_pool"), hidden=())
        >>> params, state, _ = build_model(spec, 3).init(Key(0), (784,))
        >>> network_outputs(spec, 3, params, state, np.zeros((300, 784), np.float32)).shape
        (300, 3)
    """
    model = build_model(spec, classes)
    return in_parts(spec, lambda rows: model.forward(params, layer_state, rows, INFERENCE)[0], inputs)


def in_parts(spec: ModelSpec, run: Callable[[Any], FloatArray], rows: NDArray[Any]) -> FloatArray:
    """Call a function of a network on rows: all at once, or in parts where the network has blocks.

    Args:
        spec: Specification of the network.
        run: (b, D) rows -> (b, K).
        rows: (B, D).

    Returns:
        (B, K), what it returns for all rows.

    Example:
        >>> in_parts(ModelSpec(), lambda rows: rows + 1, np.zeros((2, 1))).tolist()
        [[1.0], [1.0]]
    """
    size = PART if spec.blocks else max(len(rows), 1)
    parts = [run(rows[start : start + size]) for start in range(0, max(len(rows), 1), size)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
