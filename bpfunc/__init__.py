"""Backpropagation as pure functions on NumPy.

Everything is a value: parameters, gradients, optimiser state and randomness go in and come out, nothing is changed in
place. ``help(bpfunc.dense)`` shows one name; ``docs/api.md`` has a page for each topic.

By topic:

randomness: a key names a stream of random numbers; the same key gives the same numbers
    Key, fold_in, split

trees: parameters, gradients and states are nested records of arrays
    flatten, unflatten, tree_map, tree_map_with_path, tree_allclose, tree_leaves, tree_leaves_with_path,
    tree_reduce, tree_add, tree_scale, tree_zeros_like, tree_cast, tree_dot, tree_norm, tree_size, tree_bytes,
    partition, merge, replace_leaf, freeze, ravel, unravel, readonly, readonly_arrays

data: batches of examples, the order in which an epoch takes them, and rows to validate on
    Batch, Sampler, epoch_batches, shuffled, in_order, weighted, class_balanced, batches_per_epoch, take,
    train_validation_split, k_fold

augmentation: examples that are changed at random each time they are seen
    Augmentation, augmented, compose, sometimes, flip_horizontal, flip_vertical, shift, rotate, cutout, noise, mixup

layers: what a network is made of, and how layers are combined
    Layer, Context, INFERENCE, ShapeError, dense, DenseParams, ConvParams, relu, softmax, leaky_relu, elu, selu,
    gelu, gelu_tanh, silu, softplus, softsign, tanh, sigmoid, log_softmax, dropout, conv2d, max_pool2d, avg_pool2d,
    global_avg_pool, reshape, channel_dropout, layer_norm, rms_norm, batch_norm, embedding, serial, SerialParams,
    residual, parallel, ParallelParams, named, NamedParams, mirror_averaged, summary

initialisers: how weights are drawn before training
    Initializer, he_normal, he_uniform, glorot_normal, glorot_uniform, lecun_normal, lecun_uniform, orthogonal,
    truncated_normal, zeros

losses: one number for each example, with its derivatives
    Loss, cross_entropy, binary_cross_entropy, multilabel_cross_entropy, squared_error, absolute_error, huber,
    focal, kl_divergence

gradients: from a model and a loss to gradients, and how to check them
    Value, value, value_and_grad, jvp, hvp, example_grads, example_grad_norms, input_gradient, GradientMaker,
    accumulated, data_parallel, Communicator, Alone, sharpness_aware, gradcheck, GradCheck, check_projection,
    check_sweep

optimisers: complete recipes, each a chain of transforms
    sgd, adagrad, rmsprop, adadelta, adam, adamax, amsgrad, nadam, adamw, lion, lamb, weights_only

transforms: the parts of optimisers: from gradients to updates of the parameters
    GradientTransform, chain, scale, scale_by_schedule, scale_by_learning_rate, momentum, stateless,
    scale_by_adagrad, scale_by_rmsprop, scale_by_adadelta, scale_by_adam, scale_by_adamax, scale_by_amsgrad,
    scale_by_nadam, scale_by_lion, scale_by_trust_ratio, add_decayed_weights, clip_by_value, clip_by_norm,
    clip_by_global_norm, centralize, add_noise, masked, partitioned, accumulate, lookahead, ema_of_params, EmaState,
    find_state, projected, max_norm, non_negative, apply_updates, updated

schedules: a learning rate that depends on the step
    Schedule, constant, linear, polynomial, step_decay, exponential, piecewise, cosine, warm_restarts, warm_up,
    one_cycle, join

training: the step, the iterator of epochs, and prediction
    TrainState, StepMetrics, StepFn, init_train_state, make_step, finite_gradient, finite_step, fold_finite_steps,
    first_not_finite, NotFiniteError, steps, fold_steps, Epoch, EpochBatches, train, evaluate, predict, predictor,
    Predictor

epochs: what to do with the records that a training yields: validate, stop early, log, choose
    EpochLike, ValidatedEpoch, validated, validation_loss, early_stopping, best, every, logged, describe

metrics: figures that merge over batches
    Metric, Mean, mean, mean_metric, all_of, accuracy, binary_accuracy, top_k, confusion, confusion_matrix,
    ClassFigures, class_figures, Averages, averages, precision, recall, f1, log_loss, brier,
    expected_calibration_error, fit_temperature, roc_auc, mean_absolute_error, mean_squared_error

In modules of their own:
    bpfunc.ops (functions and their derivatives), bpfunc.testing (assertions on trees), bpfunc.arrays.types (types of
    arrays), bpfunc.interop.sklearn, .onnx, .torch_layout, .safetensors, .network_file, .numba (other libraries,
    files, machine code)

The names are listed in ``__init__.pyi``. A name's module is imported when the name is first used, so that a program
pays for what it uses; see SPEC 1 of the Scientific Python project.
"""

from functools import cache as _cache
from sys import modules as _modules

__version__ = "0.1.0"


@_cache
def _public() -> tuple[dict[str, str], list[str]]:
    """Read the list: public name -> module, and the names in their order."""
    import ast
    from pathlib import Path

    text = Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    homes: dict[str, str] = {}
    names: list[str] = []
    for statement in ast.parse(text).body:
        if isinstance(statement, ast.ImportFrom) and statement.module is not None:
            homes |= {alias.name: statement.module for alias in statement.names}
        elif isinstance(statement, ast.Assign):
            names = ast.literal_eval(statement.value)
    return homes, names


def __getattr__(name: str) -> object:
    """Import what is asked for: a public name, or a module of the package."""
    if name == "__all__":
        return _public()[1]
    from importlib import import_module
    from importlib.util import find_spec

    home = _public()[0].get(name)
    if home is not None:
        value = getattr(import_module(home), name)
        globals()[name] = value
        return value
    if not name.startswith("_") and find_spec(f"{__name__}.{name}") is not None:
        return import_module(f"{__name__}.{name}")
    missing = f"module {__name__!r} has no attribute {name!r}"
    if name.startswith("_"):
        raise AttributeError(missing, name=name, obj=_modules[__name__])
    from bpfunc.arrays.names import suggested

    # Without `name` and `obj`: Python would add a guess of its own.
    meant = suggested(name, _public()[1])
    raise AttributeError(f"{missing}; did you mean {meant!r}?" if meant else missing)


def __dir__() -> list[str]:
    from pkgutil import iter_modules

    parts = (module.name for module in iter_modules(__path__))
    return sorted({*(name for name in globals() if name.startswith("__")), *parts, *_public()[1]})
