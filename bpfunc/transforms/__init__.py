"""From gradients to updates: small pure transforms that chain, one family to a file."""

from bpfunc.transforms.adaptive import (
    scale_by_adadelta,
    scale_by_adagrad,
    scale_by_adam,
    scale_by_adamax,
    scale_by_amsgrad,
    scale_by_lion,
    scale_by_nadam,
    scale_by_rmsprop,
    scale_by_trust_ratio,
)
from bpfunc.transforms.base import GradientTransform, chain, identity, stateless
from bpfunc.transforms.combining import (
    EmaState,
    accumulate,
    ema_of_params,
    find_state,
    lookahead,
    masked,
    partitioned,
)
from bpfunc.transforms.momentum import MomentumState, momentum
from bpfunc.transforms.scaling import scale, scale_by_learning_rate, scale_by_schedule
from bpfunc.transforms.shaping import (
    add_decayed_weights,
    add_noise,
    centralize,
    clip_by_global_norm,
    clip_by_norm,
    clip_by_value,
    max_norm,
    non_negative,
    projected,
)

__all__ = [
    "EmaState",
    "GradientTransform",
    "MomentumState",
    "accumulate",
    "add_decayed_weights",
    "add_noise",
    "centralize",
    "chain",
    "clip_by_global_norm",
    "clip_by_norm",
    "clip_by_value",
    "ema_of_params",
    "find_state",
    "identity",
    "lookahead",
    "masked",
    "max_norm",
    "momentum",
    "non_negative",
    "partitioned",
    "projected",
    "scale",
    "scale_by_adadelta",
    "scale_by_adagrad",
    "scale_by_adam",
    "scale_by_adamax",
    "scale_by_amsgrad",
    "scale_by_learning_rate",
    "scale_by_lion",
    "scale_by_nadam",
    "scale_by_rmsprop",
    "scale_by_schedule",
    "scale_by_trust_ratio",
    "stateless",
]
