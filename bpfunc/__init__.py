"""Backpropagation as pure functions on NumPy.

The public names, in the order in which data flows through them. Everything is a value: parameters, gradients,
optimiser state and randomness go in and come out, nothing is changed in place.
"""

from bpfunc.batches import Batch, Sampler, epoch_batches, in_order, shuffled, take
from bpfunc.gradient import Value, example_grad_norms, example_grads, hvp, jvp, value, value_and_grad
from bpfunc.keys import Key, fold_in, split
from bpfunc.layers import INFERENCE, Context, DenseParams, Layer, ShapeError, dense, relu, softmax
from bpfunc.loop import Epoch, evaluate, fold_steps, predict, train
from bpfunc.losses import Loss, cross_entropy
from bpfunc.metrics import Metric, accuracy, confusion_matrix
from bpfunc.model import SerialParams, serial
from bpfunc.optimizers import sgd
from bpfunc.schedules import Schedule, constant
from bpfunc.step import StepMetrics, TrainState, init_train_state, make_step
from bpfunc.transforms import GradientTransform, chain, momentum, scale, scale_by_learning_rate, scale_by_schedule
from bpfunc.tree import flatten, ravel, tree_allclose, tree_map, tree_map_with_path, unflatten, unravel
from bpfunc.types import readonly, readonly_arrays
from bpfunc.update import apply_updates

__version__ = "0.1.0"

__all__ = [
    # randomness and trees
    "Key",
    "fold_in",
    "split",
    "flatten",
    "unflatten",
    "tree_map",
    "tree_map_with_path",
    "tree_allclose",
    "ravel",
    "unravel",
    "readonly",
    "readonly_arrays",
    # data
    "Batch",
    "Sampler",
    "epoch_batches",
    "shuffled",
    "in_order",
    "take",
    # networks
    "Layer",
    "Context",
    "INFERENCE",
    "ShapeError",
    "dense",
    "DenseParams",
    "relu",
    "softmax",
    "serial",
    "SerialParams",
    # losses and gradients
    "Loss",
    "cross_entropy",
    "Value",
    "value",
    "value_and_grad",
    "jvp",
    "hvp",
    "example_grads",
    "example_grad_norms",
    # gradients to updates
    "GradientTransform",
    "chain",
    "scale",
    "scale_by_schedule",
    "scale_by_learning_rate",
    "momentum",
    "sgd",
    "Schedule",
    "constant",
    "apply_updates",
    # training
    "TrainState",
    "StepMetrics",
    "init_train_state",
    "make_step",
    "fold_steps",
    "Epoch",
    "train",
    "evaluate",
    "predict",
    "Metric",
    "accuracy",
    "confusion_matrix",
]
