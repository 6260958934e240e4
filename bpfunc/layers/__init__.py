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
from bpfunc.layers.convolution import ConvParams, conv2d
from bpfunc.layers.dense import DenseParams, dense
from bpfunc.layers.dropout import channel_dropout, dropout
from bpfunc.layers.embedding import EmbeddingParams, embedding
from bpfunc.layers.flatten import flatten, reshape
from bpfunc.layers.normalisation import BatchStatistics, NormParams, batch_norm, layer_norm, rms_norm
from bpfunc.layers.pooling import avg_pool2d, global_avg_pool, max_pool2d

__all__ = [
    "INFERENCE",
    "BatchStatistics",
    "Context",
    "ConvParams",
    "DenseParams",
    "EmbeddingParams",
    "Layer",
    "Maker",
    "NormParams",
    "ShapeError",
    "avg_pool2d",
    "batch_norm",
    "channel_dropout",
    "conv2d",
    "dense",
    "dropout",
    "elu",
    "embedding",
    "flatten",
    "gelu",
    "gelu_tanh",
    "global_avg_pool",
    "identity",
    "inputs_for",
    "layer_norm",
    "leaky_relu",
    "log_softmax",
    "max_pool2d",
    "relu",
    "reshape",
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
