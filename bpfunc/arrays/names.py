"""Public names that were probably meant: near ones, and those of other libraries."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

ELSEWHERE = {
    "linear": "dense",
    "sequential": "serial",
    "stack": "serial",
    "crossentropyloss": "cross_entropy",
    "softmaxcrossentropy": "cross_entropy",
    "softmaxcrossentropywithintegerlabels": "cross_entropy",
    "categoricalcrossentropy": "cross_entropy",
    "sparsecategoricalcrossentropy": "cross_entropy",
    "bceloss": "binary_cross_entropy",
    "bcewithlogitsloss": "binary_cross_entropy",
    "sigmoidbinarycrossentropy": "binary_cross_entropy",
    "mseloss": "squared_error",
    "mse": "squared_error",
    "l2loss": "squared_error",
    "l1loss": "absolute_error",
    "mae": "absolute_error",
    "huberloss": "huber",
    "smoothl1loss": "huber",
    "kldivloss": "kl_divergence",
    "batchnormalization": "batch_norm",
    "batchnorm1d": "batch_norm",
    "layernormalization": "layer_norm",
    "swish": "silu",
    "prngkey": "Key",
    "randomsplit": "train_validation_split",
    "clipgradnorm": "clip_by_global_norm",
    "addnoise": "add_noise",
    "trace": "momentum",
    "ema": "ema_of_params",
    "dataloader": "epoch_batches",
    "grad": "value_and_grad",
    "valueandgrad": "value_and_grad",
    "fit": "train",
    "kaimingnormal": "he_normal",
    "xaviernormal": "glorot_normal",
    "xavieruniform": "glorot_uniform",
    "multisteplr": "piecewise",
    "cosineannealinglr": "cosine",
    "onecyclelr": "one_cycle",
    "steplr": "step_decay",
}
"""Names of torch, Keras, JAX and Optax, in small letters without underscores, and what does the same here."""


def suggested(name: str, names: Sequence[str]) -> str:
    """Find the public name that was probably meant.

    Args:
        name: One that does not exist.
        names: All that do.

    Returns:
        One of them, or ``""``.

    Example:
        >>> suggested("Linear", ["dense", "serial"]), suggested("Relu", ["relu"]), suggested("xyz", ["relu"])
        ('dense', 'relu', '')
    """
    plain = {_plain(known): known for known in reversed(names)}
    meant = ELSEWHERE.get(_plain(name))
    if meant in names:
        return str(meant)
    near = get_close_matches(_plain(name), plain, n=1, cutoff=0.75)
    return plain[near[0]] if near else ""


def _plain(name: str) -> str:
    return name.lower().replace("_", "")
