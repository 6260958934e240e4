"""Losses: one number for each example, beside their derivatives, in the form of `bpfunc.ops`.

All classification losses take logits. They return the losses of the examples, (B,), and leave the mean to
`bpfunc.gradient.modes`, so that weights, microbatches and shards combine exactly. Units are nats.
"""

from bpfunc.losses.base import Loss, Targets, class_rows
from bpfunc.losses.elementwise import (
    jvp as absolute_errors_jvp,
    jvp as huber_errors_jvp,
    jvp as sigmoid_cross_entropy_jvp,
    jvp as squared_errors_jvp,
    vjp as absolute_errors_vjp,
    vjp as huber_errors_vjp,
    vjp as sigmoid_cross_entropy_vjp,
    vjp as squared_errors_vjp,
    vjp_jvp as absolute_errors_vjp_jvp,
    vjp_jvp as huber_errors_vjp_jvp,
    vjp_jvp as sigmoid_cross_entropy_vjp_jvp,
    vjp_jvp as squared_errors_vjp_jvp,
)
from bpfunc.losses.focal import (
    focal,
    focal_cross_entropy,
    focal_cross_entropy_jvp,
    focal_cross_entropy_vjp,
    focal_cross_entropy_vjp_jvp,
)
from bpfunc.losses.kl_divergence import (
    kl_divergence,
    kl_from_logits,
    kl_from_logits_jvp,
    kl_from_logits_vjp,
    kl_from_logits_vjp_jvp,
)
from bpfunc.losses.regression import absolute_error, absolute_errors, huber, huber_errors, squared_error, squared_errors
from bpfunc.losses.sigmoid_cross_entropy import binary_cross_entropy, multilabel_cross_entropy, sigmoid_cross_entropy
from bpfunc.losses.softmax_cross_entropy import (
    CrossEntropyResidual,
    cross_entropy,
    softmax_cross_entropy,
    softmax_cross_entropy_jvp,
    softmax_cross_entropy_vjp,
    softmax_cross_entropy_vjp_jvp,
)

__all__ = [
    "Loss",
    "Targets",
    "class_rows",
    "absolute_error",
    "absolute_errors",
    "absolute_errors_jvp",
    "absolute_errors_vjp",
    "absolute_errors_vjp_jvp",
    "focal",
    "focal_cross_entropy",
    "focal_cross_entropy_jvp",
    "focal_cross_entropy_vjp",
    "focal_cross_entropy_vjp_jvp",
    "huber",
    "huber_errors",
    "huber_errors_jvp",
    "huber_errors_vjp",
    "huber_errors_vjp_jvp",
    "kl_divergence",
    "kl_from_logits",
    "kl_from_logits_jvp",
    "kl_from_logits_vjp",
    "kl_from_logits_vjp_jvp",
    "binary_cross_entropy",
    "multilabel_cross_entropy",
    "sigmoid_cross_entropy",
    "sigmoid_cross_entropy_jvp",
    "sigmoid_cross_entropy_vjp",
    "sigmoid_cross_entropy_vjp_jvp",
    "cross_entropy",
    "CrossEntropyResidual",
    "softmax_cross_entropy",
    "softmax_cross_entropy_jvp",
    "softmax_cross_entropy_vjp",
    "softmax_cross_entropy_vjp_jvp",
    "squared_error",
    "squared_errors",
    "squared_errors_jvp",
    "squared_errors_vjp",
    "squared_errors_vjp_jvp",
]
