"""What each block of a convolutional network makes of one image."""

from __future__ import annotations

import attrs
import numpy as np

from bpfunc.arrays.types import FloatArray
from bpfunc.layers import INFERENCE, Context, Layer
from bpfunc.tree import Tree
from pipelines.artifacts import FeatureMaps, Trained
from pipelines.training.build import build_model


def feature_maps(trained: Trained, inputs: FloatArray, classes: int) -> tuple[FeatureMaps, ...]:
    """Run a network on one image and keep what comes out of each block.

    Args:
        trained: The network.
        inputs: (1, 784) the image as the network sees it.
        classes: K.

    Returns:
        A record for each block; none for a dense network.
    """
    spec, seen = trained.model, list[FloatArray]()
    if not spec.blocks:
        return ()

    def watched(layer: Layer) -> Layer:
        def forward(params: Tree, state: Tree, x: FloatArray, ctx: Context) -> tuple[FloatArray, Tree, Tree]:
            result = layer.forward(params, state, x, ctx)
            seen.append(result[0])
            return result

        # What a block gives is what its activation or its pooling gives.
        kind = layer.name.partition("(")[0]
        return layer if kind in {"reshape", "conv2d", "batch_norm"} else attrs.evolve(layer, forward=forward)

    model = build_model(attrs.evolve(spec, mirror=False), classes, each=watched)
    with np.errstate(over="ignore", invalid="ignore"):
        model.forward(trained.params, trained.layer_state, inputs, INFERENCE)
    images = [array[0] for array in seen if array.ndim == 4]
    return tuple(FeatureMaps(block, image) for block, image in zip(spec.blocks, images, strict=True))
