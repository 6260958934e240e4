"""Layers: what a network is made of, one family to a file."""

from bpfunc.layers.activations import (
    elu,
    gelu,
    gelu_tanh,
    identity,
    leaky_relu,
    log_softmax,
    relu,
    selu,
    sigmoid,
    silu,
    softmax,
    softplus,
    softsign,
    tanh,
)
from bpfunc.layers.base import INFERENCE, Context, Layer, Maker, ShapeError, inputs_for, stateless
from bpfunc.layers.dense import DenseParams, dense
from bpfunc.layers.dropout import dropout
from bpfunc.layers.embedding import EmbeddingParams, embedding
from bpfunc.layers.flatten import flatten
from bpfunc.layers.normalisation import BatchStatistics, NormParams, batch_norm, layer_norm, rms_norm

__all__ = [
    "INFERENCE",
    "BatchStatistics",
    "Context",
    "DenseParams",
    "EmbeddingParams",
    "Layer",
    "Maker",
    "NormParams",
    "ShapeError",
    "batch_norm",
    "dense",
    "dropout",
    "elu",
    "embedding",
    "flatten",
    "gelu",
    "gelu_tanh",
    "identity",
    "inputs_for",
    "layer_norm",
    "leaky_relu",
    "log_softmax",
    "relu",
    "rms_norm",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "stateless",
    "tanh",
]
