"""The public names, in the order in which data flows through them, and where each is at home.

Type checkers read this file instead of ``__init__.py``, which reads it too: it is the only list of the names.
"""

from bpfunc.arrays.types import (
    readonly as readonly,
)
from bpfunc.arrays.types import (
    readonly_arrays as readonly_arrays,
)
from bpfunc.batches.augment import (
    Augmentation as Augmentation,
)
from bpfunc.batches.augment import (
    augmented as augmented,
)
from bpfunc.batches.augment import (
    compose as compose,
)
from bpfunc.batches.augment import (
    cutout as cutout,
)
from bpfunc.batches.augment import (
    flip_horizontal as flip_horizontal,
)
from bpfunc.batches.augment import (
    flip_vertical as flip_vertical,
)
from bpfunc.batches.augment import (
    mixup as mixup,
)
from bpfunc.batches.augment import (
    noise as noise,
)
from bpfunc.batches.augment import (
    rotate as rotate,
)
from bpfunc.batches.augment import (
    shift as shift,
)
from bpfunc.batches.augment import (
    sometimes as sometimes,
)
from bpfunc.batches.batch import (
    Batch as Batch,
)
from bpfunc.batches.batch import (
    Sampler as Sampler,
)
from bpfunc.batches.batch import (
    batches_per_epoch as batches_per_epoch,
)
from bpfunc.batches.batch import (
    class_balanced as class_balanced,
)
from bpfunc.batches.batch import (
    epoch_batches as epoch_batches,
)
from bpfunc.batches.batch import (
    in_order as in_order,
)
from bpfunc.batches.batch import (
    shuffled as shuffled,
)
from bpfunc.batches.batch import (
    take as take,
)
from bpfunc.batches.batch import (
    weighted as weighted,
)
from bpfunc.batches.splits import (
    k_fold as k_fold,
)
from bpfunc.batches.splits import (
    train_validation_split as train_validation_split,
)
from bpfunc.gradient.check import (
    GradCheck as GradCheck,
)
from bpfunc.gradient.check import (
    check_projection as check_projection,
)
from bpfunc.gradient.check import (
    check_sweep as check_sweep,
)
from bpfunc.gradient.check import (
    gradcheck as gradcheck,
)
from bpfunc.gradient.data_parallel import (
    Alone as Alone,
)
from bpfunc.gradient.data_parallel import (
    Communicator as Communicator,
)
from bpfunc.gradient.data_parallel import (
    data_parallel as data_parallel,
)
from bpfunc.gradient.microbatches import (
    accumulated as accumulated,
)
from bpfunc.gradient.modes import (
    GradientMaker as GradientMaker,
)
from bpfunc.gradient.modes import (
    Value as Value,
)
from bpfunc.gradient.modes import (
    hvp as hvp,
)
from bpfunc.gradient.modes import (
    input_gradient as input_gradient,
)
from bpfunc.gradient.modes import (
    jvp as jvp,
)
from bpfunc.gradient.modes import (
    value as value,
)
from bpfunc.gradient.modes import (
    value_and_grad as value_and_grad,
)
from bpfunc.gradient.per_example import (
    example_grad_norms as example_grad_norms,
)
from bpfunc.gradient.per_example import (
    example_grads as example_grads,
)
from bpfunc.gradient.sharpness import (
    sharpness_aware as sharpness_aware,
)
from bpfunc.keys import (
    Key as Key,
)
from bpfunc.keys import (
    fold_in as fold_in,
)
from bpfunc.keys import (
    split as split,
)
from bpfunc.layers import (
    INFERENCE as INFERENCE,
)
from bpfunc.layers import (
    Context as Context,
)
from bpfunc.layers import (
    DenseParams as DenseParams,
)
from bpfunc.layers import (
    Layer as Layer,
)
from bpfunc.layers import (
    ShapeError as ShapeError,
)
from bpfunc.layers import (
    batch_norm as batch_norm,
)
from bpfunc.layers import (
    dense as dense,
)
from bpfunc.layers import (
    dropout as dropout,
)
from bpfunc.layers import (
    elu as elu,
)
from bpfunc.layers import (
    embedding as embedding,
)
from bpfunc.layers import (
    gelu as gelu,
)
from bpfunc.layers import (
    gelu_tanh as gelu_tanh,
)
from bpfunc.layers import (
    layer_norm as layer_norm,
)
from bpfunc.layers import (
    leaky_relu as leaky_relu,
)
from bpfunc.layers import (
    log_softmax as log_softmax,
)
from bpfunc.layers import (
    relu as relu,
)
from bpfunc.layers import (
    rms_norm as rms_norm,
)
from bpfunc.layers import (
    selu as selu,
)
from bpfunc.layers import (
    sigmoid as sigmoid,
)
from bpfunc.layers import (
    silu as silu,
)
from bpfunc.layers import (
    softmax as softmax,
)
from bpfunc.layers import (
    softplus as softplus,
)
from bpfunc.layers import (
    tanh as tanh,
)
from bpfunc.layers.combinators import (
    NamedParams as NamedParams,
)
from bpfunc.layers.combinators import (
    ParallelParams as ParallelParams,
)
from bpfunc.layers.combinators import (
    SerialParams as SerialParams,
)
from bpfunc.layers.combinators import (
    named as named,
)
from bpfunc.layers.combinators import (
    parallel as parallel,
)
from bpfunc.layers.combinators import (
    residual as residual,
)
from bpfunc.layers.combinators import (
    serial as serial,
)
from bpfunc.layers.initializers import (
    Initializer as Initializer,
)
from bpfunc.layers.initializers import (
    glorot_normal as glorot_normal,
)
from bpfunc.layers.initializers import (
    glorot_uniform as glorot_uniform,
)
from bpfunc.layers.initializers import (
    he_normal as he_normal,
)
from bpfunc.layers.initializers import (
    he_uniform as he_uniform,
)
from bpfunc.layers.initializers import (
    lecun_normal as lecun_normal,
)
from bpfunc.layers.initializers import (
    lecun_uniform as lecun_uniform,
)
from bpfunc.layers.initializers import (
    orthogonal as orthogonal,
)
from bpfunc.layers.initializers import (
    truncated_normal as truncated_normal,
)
from bpfunc.layers.initializers import (
    zeros as zeros,
)
from bpfunc.layers.mirror import (
    mirror_averaged as mirror_averaged,
)
from bpfunc.layers.summary import (
    summary as summary,
)
from bpfunc.losses import (
    Loss as Loss,
)
from bpfunc.losses import (
    absolute_error as absolute_error,
)
from bpfunc.losses import (
    binary_cross_entropy as binary_cross_entropy,
)
from bpfunc.losses import (
    cross_entropy as cross_entropy,
)
from bpfunc.losses import (
    focal as focal,
)
from bpfunc.losses import (
    huber as huber,
)
from bpfunc.losses import (
    kl_divergence as kl_divergence,
)
from bpfunc.losses import (
    multilabel_cross_entropy as multilabel_cross_entropy,
)
from bpfunc.losses import (
    squared_error as squared_error,
)
from bpfunc.metrics import (
    Averages as Averages,
)
from bpfunc.metrics import (
    ClassFigures as ClassFigures,
)
from bpfunc.metrics import (
    Mean as Mean,
)
from bpfunc.metrics import (
    Metric as Metric,
)
from bpfunc.metrics import (
    accuracy as accuracy,
)
from bpfunc.metrics import (
    all_of as all_of,
)
from bpfunc.metrics import (
    averages as averages,
)
from bpfunc.metrics import (
    binary_accuracy as binary_accuracy,
)
from bpfunc.metrics import (
    brier as brier,
)
from bpfunc.metrics import (
    class_figures as class_figures,
)
from bpfunc.metrics import (
    confusion as confusion,
)
from bpfunc.metrics import (
    confusion_matrix as confusion_matrix,
)
from bpfunc.metrics import (
    expected_calibration_error as expected_calibration_error,
)
from bpfunc.metrics import (
    f1 as f1,
)
from bpfunc.metrics import (
    fit_temperature as fit_temperature,
)
from bpfunc.metrics import (
    log_loss as log_loss,
)
from bpfunc.metrics import (
    mean as mean,
)
from bpfunc.metrics import (
    mean_absolute_error as mean_absolute_error,
)
from bpfunc.metrics import (
    mean_metric as mean_metric,
)
from bpfunc.metrics import (
    mean_squared_error as mean_squared_error,
)
from bpfunc.metrics import (
    precision as precision,
)
from bpfunc.metrics import (
    recall as recall,
)
from bpfunc.metrics import (
    roc_auc as roc_auc,
)
from bpfunc.metrics import (
    top_k as top_k,
)
from bpfunc.optimizers import (
    adadelta as adadelta,
)
from bpfunc.optimizers import (
    adagrad as adagrad,
)
from bpfunc.optimizers import (
    adam as adam,
)
from bpfunc.optimizers import (
    adamw as adamw,
)
from bpfunc.optimizers import (
    amsgrad as amsgrad,
)
from bpfunc.optimizers import (
    lamb as lamb,
)
from bpfunc.optimizers import (
    lion as lion,
)
from bpfunc.optimizers import (
    nadam as nadam,
)
from bpfunc.optimizers import (
    rmsprop as rmsprop,
)
from bpfunc.optimizers import (
    sgd as sgd,
)
from bpfunc.optimizers import (
    weights_only as weights_only,
)
from bpfunc.training.consumers import (
    EpochLike as EpochLike,
)
from bpfunc.training.consumers import (
    ValidatedEpoch as ValidatedEpoch,
)
from bpfunc.training.consumers import (
    best as best,
)
from bpfunc.training.consumers import (
    describe as describe,
)
from bpfunc.training.consumers import (
    early_stopping as early_stopping,
)
from bpfunc.training.consumers import (
    every as every,
)
from bpfunc.training.consumers import (
    logged as logged,
)
from bpfunc.training.consumers import (
    validated as validated,
)
from bpfunc.training.consumers import (
    validation_loss as validation_loss,
)
from bpfunc.training.loop import (
    Epoch as Epoch,
)
from bpfunc.training.loop import (
    EpochBatches as EpochBatches,
)
from bpfunc.training.loop import (
    evaluate as evaluate,
)
from bpfunc.training.loop import (
    fold_steps as fold_steps,
)
from bpfunc.training.loop import (
    predict as predict,
)
from bpfunc.training.loop import (
    steps as steps,
)
from bpfunc.training.loop import (
    train as train,
)
from bpfunc.training.not_finite import (
    NotFiniteError as NotFiniteError,
)
from bpfunc.training.not_finite import (
    finite_gradient as finite_gradient,
)
from bpfunc.training.not_finite import (
    finite_step as finite_step,
)
from bpfunc.training.not_finite import (
    first_not_finite as first_not_finite,
)
from bpfunc.training.not_finite import (
    fold_finite_steps as fold_finite_steps,
)
from bpfunc.training.step import (
    StepFn as StepFn,
)
from bpfunc.training.step import (
    StepMetrics as StepMetrics,
)
from bpfunc.training.step import (
    TrainState as TrainState,
)
from bpfunc.training.step import (
    init_train_state as init_train_state,
)
from bpfunc.training.step import (
    make_step as make_step,
)
from bpfunc.transforms import (
    EmaState as EmaState,
)
from bpfunc.transforms import (
    GradientTransform as GradientTransform,
)
from bpfunc.transforms import (
    accumulate as accumulate,
)
from bpfunc.transforms import (
    add_decayed_weights as add_decayed_weights,
)
from bpfunc.transforms import (
    add_noise as add_noise,
)
from bpfunc.transforms import (
    centralize as centralize,
)
from bpfunc.transforms import (
    chain as chain,
)
from bpfunc.transforms import (
    clip_by_global_norm as clip_by_global_norm,
)
from bpfunc.transforms import (
    clip_by_norm as clip_by_norm,
)
from bpfunc.transforms import (
    clip_by_value as clip_by_value,
)
from bpfunc.transforms import (
    ema_of_params as ema_of_params,
)
from bpfunc.transforms import (
    find_state as find_state,
)
from bpfunc.transforms import (
    lookahead as lookahead,
)
from bpfunc.transforms import (
    masked as masked,
)
from bpfunc.transforms import (
    max_norm as max_norm,
)
from bpfunc.transforms import (
    momentum as momentum,
)
from bpfunc.transforms import (
    non_negative as non_negative,
)
from bpfunc.transforms import (
    partitioned as partitioned,
)
from bpfunc.transforms import (
    projected as projected,
)
from bpfunc.transforms import (
    scale as scale,
)
from bpfunc.transforms import (
    scale_by_adadelta as scale_by_adadelta,
)
from bpfunc.transforms import (
    scale_by_adagrad as scale_by_adagrad,
)
from bpfunc.transforms import (
    scale_by_adam as scale_by_adam,
)
from bpfunc.transforms import (
    scale_by_amsgrad as scale_by_amsgrad,
)
from bpfunc.transforms import (
    scale_by_learning_rate as scale_by_learning_rate,
)
from bpfunc.transforms import (
    scale_by_lion as scale_by_lion,
)
from bpfunc.transforms import (
    scale_by_nadam as scale_by_nadam,
)
from bpfunc.transforms import (
    scale_by_rmsprop as scale_by_rmsprop,
)
from bpfunc.transforms import (
    scale_by_schedule as scale_by_schedule,
)
from bpfunc.transforms import (
    scale_by_trust_ratio as scale_by_trust_ratio,
)
from bpfunc.transforms import (
    stateless as stateless,
)
from bpfunc.transforms.schedules import (
    Schedule as Schedule,
)
from bpfunc.transforms.schedules import (
    constant as constant,
)
from bpfunc.transforms.schedules import (
    cosine as cosine,
)
from bpfunc.transforms.schedules import (
    exponential as exponential,
)
from bpfunc.transforms.schedules import (
    join as join,
)
from bpfunc.transforms.schedules import (
    linear as linear,
)
from bpfunc.transforms.schedules import (
    one_cycle as one_cycle,
)
from bpfunc.transforms.schedules import (
    piecewise as piecewise,
)
from bpfunc.transforms.schedules import (
    polynomial as polynomial,
)
from bpfunc.transforms.schedules import (
    step_decay as step_decay,
)
from bpfunc.transforms.schedules import (
    warm_restarts as warm_restarts,
)
from bpfunc.transforms.schedules import (
    warm_up as warm_up,
)
from bpfunc.transforms.update import (
    apply_updates as apply_updates,
)
from bpfunc.transforms.update import (
    updated as updated,
)
from bpfunc.tree import (
    flatten as flatten,
)
from bpfunc.tree import (
    freeze as freeze,
)
from bpfunc.tree import (
    merge as merge,
)
from bpfunc.tree import (
    partition as partition,
)
from bpfunc.tree import (
    ravel as ravel,
)
from bpfunc.tree import (
    replace_leaf as replace_leaf,
)
from bpfunc.tree import (
    tree_add as tree_add,
)
from bpfunc.tree import (
    tree_allclose as tree_allclose,
)
from bpfunc.tree import (
    tree_bytes as tree_bytes,
)
from bpfunc.tree import (
    tree_cast as tree_cast,
)
from bpfunc.tree import (
    tree_dot as tree_dot,
)
from bpfunc.tree import (
    tree_leaves as tree_leaves,
)
from bpfunc.tree import (
    tree_leaves_with_path as tree_leaves_with_path,
)
from bpfunc.tree import (
    tree_map as tree_map,
)
from bpfunc.tree import (
    tree_map_with_path as tree_map_with_path,
)
from bpfunc.tree import (
    tree_norm as tree_norm,
)
from bpfunc.tree import (
    tree_reduce as tree_reduce,
)
from bpfunc.tree import (
    tree_scale as tree_scale,
)
from bpfunc.tree import (
    tree_size as tree_size,
)
from bpfunc.tree import (
    tree_zeros_like as tree_zeros_like,
)
from bpfunc.tree import (
    unflatten as unflatten,
)
from bpfunc.tree import (
    unravel as unravel,
)

__version__: str

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
    "tree_leaves",
    "tree_leaves_with_path",
    "tree_reduce",
    "tree_add",
    "tree_scale",
    "tree_zeros_like",
    "tree_cast",
    "tree_dot",
    "tree_norm",
    "tree_size",
    "tree_bytes",
    "partition",
    "merge",
    "replace_leaf",
    "freeze",
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
    "Initializer",
    "he_normal",
    "he_uniform",
    "glorot_normal",
    "glorot_uniform",
    "lecun_normal",
    "lecun_uniform",
    "orthogonal",
    "truncated_normal",
    "zeros",
    "relu",
    "softmax",
    "leaky_relu",
    "elu",
    "selu",
    "gelu",
    "gelu_tanh",
    "silu",
    "softplus",
    "tanh",
    "sigmoid",
    "log_softmax",
    "dropout",
    "layer_norm",
    "rms_norm",
    "batch_norm",
    "embedding",
    "serial",
    "SerialParams",
    "residual",
    "parallel",
    "ParallelParams",
    "named",
    "NamedParams",
    "mirror_averaged",
    "summary",
    # losses and gradients
    "Loss",
    "cross_entropy",
    "binary_cross_entropy",
    "multilabel_cross_entropy",
    "squared_error",
    "absolute_error",
    "huber",
    "focal",
    "kl_divergence",
    "Value",
    "value",
    "value_and_grad",
    "jvp",
    "hvp",
    "example_grads",
    "example_grad_norms",
    "input_gradient",
    "GradientMaker",
    "accumulated",
    "data_parallel",
    "Communicator",
    "Alone",
    "sharpness_aware",
    "gradcheck",
    "GradCheck",
    "check_projection",
    "check_sweep",
    # gradients to updates
    "GradientTransform",
    "chain",
    "scale",
    "scale_by_schedule",
    "scale_by_learning_rate",
    "momentum",
    "stateless",
    "scale_by_adagrad",
    "scale_by_rmsprop",
    "scale_by_adadelta",
    "scale_by_adam",
    "scale_by_amsgrad",
    "scale_by_nadam",
    "scale_by_lion",
    "scale_by_trust_ratio",
    "add_decayed_weights",
    "clip_by_value",
    "clip_by_norm",
    "clip_by_global_norm",
    "centralize",
    "add_noise",
    "masked",
    "partitioned",
    "accumulate",
    "lookahead",
    "ema_of_params",
    "EmaState",
    "find_state",
    "projected",
    "max_norm",
    "non_negative",
    "sgd",
    "adagrad",
    "rmsprop",
    "adadelta",
    "adam",
    "amsgrad",
    "nadam",
    "adamw",
    "lion",
    "lamb",
    "weights_only",
    "Schedule",
    "constant",
    "linear",
    "polynomial",
    "step_decay",
    "exponential",
    "piecewise",
    "cosine",
    "warm_restarts",
    "warm_up",
    "one_cycle",
    "join",
    "apply_updates",
    "updated",
    # training
    "TrainState",
    "StepMetrics",
    "StepFn",
    "init_train_state",
    "make_step",
    "finite_gradient",
    "finite_step",
    "fold_finite_steps",
    "first_not_finite",
    "NotFiniteError",
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
    "fit_temperature",
    "roc_auc",
    "mean_absolute_error",
    "mean_squared_error",
]
