"""Backpropagation as pure functions on NumPy.

The public names, in the order in which data flows through them. Everything is a value: parameters, gradients,
optimiser state and randomness go in and come out, nothing is changed in place.
"""

from bpfunc.augment import (
    Augmentation,
    augmented,
    compose,
    cutout,
    flip_horizontal,
    flip_vertical,
    mixup,
    noise,
    rotate,
    shift,
    sometimes,
)
from bpfunc.batches import (
    Batch,
    Sampler,
    batches_per_epoch,
    class_balanced,
    epoch_batches,
    in_order,
    shuffled,
    take,
    weighted,
)
from bpfunc.consumers import (
    EpochLike,
    ValidatedEpoch,
    best,
    describe,
    early_stopping,
    every,
    logged,
    validated,
    validation_loss,
)
from bpfunc.gradient import Value, example_grad_norms, example_grads, hvp, jvp, value, value_and_grad
from bpfunc.keys import Key, fold_in, split
from bpfunc.layers import INFERENCE, Context, DenseParams, Layer, ShapeError, dense, relu, softmax
from bpfunc.loop import Epoch, EpochBatches, evaluate, fold_steps, predict, steps, train
from bpfunc.losses import Loss, cross_entropy
from bpfunc.metrics import (
    Averages,
    ClassFigures,
    Mean,
    Metric,
    accuracy,
    all_of,
    averages,
    binary_accuracy,
    brier,
    class_figures,
    confusion,
    confusion_matrix,
    expected_calibration_error,
    f1,
    log_loss,
    mean,
    mean_absolute_error,
    mean_metric,
    mean_squared_error,
    precision,
    recall,
    roc_auc,
    top_k,
)
from bpfunc.model import SerialParams, serial
from bpfunc.optimizers import sgd
from bpfunc.schedules import Schedule, constant
from bpfunc.splits import k_fold, train_validation_split
from bpfunc.step import StepFn, StepMetrics, TrainState, init_train_state, make_step
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
    "weighted",
    "class_balanced",
    "batches_per_epoch",
    "take",
    "train_validation_split",
    "k_fold",
    # what the data might have been
    "Augmentation",
    "augmented",
    "compose",
    "sometimes",
    "flip_horizontal",
    "flip_vertical",
    "shift",
    "rotate",
    "cutout",
    "noise",
    "mixup",
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
    "StepFn",
    "init_train_state",
    "make_step",
    "steps",
    "fold_steps",
    "Epoch",
    "EpochBatches",
    "train",
    "evaluate",
    "predict",
    # what to do with the epochs
    "EpochLike",
    "ValidatedEpoch",
    "validated",
    "validation_loss",
    "early_stopping",
    "best",
    "every",
    "logged",
    "describe",
    # metrics
    "Metric",
    "Mean",
    "mean",
    "mean_metric",
    "all_of",
    "accuracy",
    "binary_accuracy",
    "top_k",
    "confusion",
    "confusion_matrix",
    "ClassFigures",
    "class_figures",
    "Averages",
    "averages",
    "precision",
    "recall",
    "f1",
    "log_loss",
    "brier",
    "expected_calibration_error",
    "roc_auc",
    "mean_absolute_error",
    "mean_squared_error",
]
