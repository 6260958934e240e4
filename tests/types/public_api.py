"""What a type checker must infer for every public name, read by mypy and by pyright, and run besides.

Each `assert_type` holds an inferred type exactly. `test_types.py` runs both checkers over this file, runs its
functions with every `assert_type` checked on the value itself, and counts that no public name is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, assert_type

import numpy as np
from numpy.typing import NDArray

import bpfunc as bp
from bpfunc.arrays.types import FloatArray, IntArray
from bpfunc.gradient.modes import GradientFn
from bpfunc.interop.safetensors import (
    from_safetensors,
    load_tensors,
    safetensors_metadata,
    save_tensors,
    to_safetensors,
)
from bpfunc.tree import Structure

KEY = bp.Key(0)
MODEL = bp.serial(bp.dense(4), bp.relu(), bp.dense(3))
LOSS = bp.cross_entropy()
TRANSFORM = bp.chain(bp.ema_of_params(0.9), bp.sgd(0.1))


def params() -> bp.DenseParams:
    """Parameters whose type is known."""
    return bp.DenseParams(np.ones((5, 3)), np.zeros(3))


def batch() -> bp.Batch:
    """Eight rows of five numbers, in three classes."""
    return bp.Batch(np.linspace(-1.0, 1.0, 40).reshape(8, 5), np.arange(8) % 3)


def images() -> bp.Batch:
    """Four images of 28 by 28."""
    return bp.Batch(np.linspace(0.0, 1.0, 4 * 784).reshape(4, 784), np.array([0, 1, 2, 0]))


def state() -> bp.TrainState:
    """Where a training begins."""
    return bp.init_train_state(MODEL, TRANSFORM, KEY, (5,))


def batches(number: int) -> Iterator[bp.Batch]:
    """The batches of an epoch."""
    return bp.epoch_batches(batch(), KEY, number, 4)


def randomness() -> None:
    assert_type(bp.Key(0), bp.Key)
    assert_type(bp.Key(0).path, tuple[int, ...])
    assert_type(bp.fold_in(KEY, 1), bp.Key)
    assert_type(bp.split(KEY, 3), tuple[bp.Key, ...])


def trees_keep_their_type() -> None:
    tree = params()
    assert_type(bp.tree_map(np.negative, tree), bp.DenseParams)
    assert_type(bp.tree_map_with_path(lambda path, leaf: leaf, tree), bp.DenseParams)
    assert_type(bp.tree_add(tree, tree), bp.DenseParams)
    assert_type(bp.tree_scale(2.0, tree), bp.DenseParams)
    assert_type(bp.tree_zeros_like(tree), bp.DenseParams)
    assert_type(bp.tree_cast(tree, np.float32), bp.DenseParams)
    assert_type(bp.freeze(tree), bp.DenseParams)
    assert_type(bp.replace_leaf(tree, "bias", np.ones(3)), bp.DenseParams)
    assert_type(bp.unravel(bp.ravel(tree), tree), bp.DenseParams)
    weights, others = bp.partition(tree, bp.weights_only)
    assert_type(weights, bp.DenseParams)
    assert_type(bp.partition(tree, bp.weights_only), tuple[bp.DenseParams, bp.DenseParams])
    assert_type(bp.merge(weights, others), bp.DenseParams)
    # A tree of any shape: here a dictionary of tuples.
    nested: dict[str, tuple[FloatArray, IntArray]] = {"a": (np.ones(2), np.arange(2))}
    assert_type(bp.tree_map(abs, nested), dict[str, tuple[FloatArray, IntArray]])
    assert_type(bp.tree_zeros_like(nested), dict[str, tuple[FloatArray, IntArray]])


def trees_measured() -> None:
    tree = params()
    leaves, structure = bp.flatten(tree)
    assert_type(bp.flatten(tree), tuple[tuple[Any, ...], Structure])
    assert_type(bp.unflatten(structure, leaves), Any)  # the structure says what it was, but not to a type checker
    assert_type(bp.tree_leaves(tree), tuple[Any, ...])
    assert_type(bp.tree_leaves_with_path(tree), tuple[tuple[str, Any], ...])
    assert_type(bp.tree_reduce(lambda count, leaf: count + 1, tree, 0), int)
    assert_type(bp.tree_dot(tree, tree), float)
    assert_type(bp.tree_norm(tree), float)
    assert_type(bp.tree_size(tree), int)
    assert_type(bp.tree_bytes(tree), int)
    assert_type(bp.tree_allclose(tree, tree, rtol=0.0), bool)
    assert_type(bp.ravel(tree), FloatArray)
    assert_type(bp.readonly([1]), list[int])


def data() -> None:
    rows = batch()
    assert_type(rows, bp.Batch)
    assert_type(rows.inputs, FloatArray)
    assert_type(rows.targets, FloatArray | IntArray)
    assert_type(rows.weights, FloatArray | None)
    assert_type(bp.take(rows, np.array([0, 1])), bp.Batch)
    assert_type(bp.take(rows, np.arange(8) > 3), bp.Batch)
    assert_type(bp.epoch_batches(rows, KEY, 0, 4, sampler=bp.in_order), Iterator[bp.Batch])
    assert_type(bp.shuffled(KEY, 8), IntArray)
    assert_type(bp.in_order(KEY, 8), IntArray)
    assert_type(bp.weighted(np.ones(8)), bp.Sampler)
    assert_type(bp.class_balanced(rows.targets), bp.Sampler)
    assert_type(bp.class_balanced(rows.targets)(KEY, 8), IntArray)
    assert_type(bp.batches_per_epoch(8, 3, drop_last=True), int)
    assert_type(bp.train_validation_split(rows, KEY, 0.25), tuple[bp.Batch, bp.Batch])
    assert_type(bp.k_fold(rows, KEY, 2), Iterator[tuple[bp.Batch, bp.Batch]])


def augmentations() -> None:
    assert_type(bp.flip_horizontal(), bp.Augmentation)
    assert_type(bp.flip_vertical(0.5), bp.Augmentation)
    assert_type(bp.shift(2), bp.Augmentation)
    assert_type(bp.rotate(10.0), bp.Augmentation)
    assert_type(bp.cutout(8), bp.Augmentation)
    assert_type(bp.noise(0.1), bp.Augmentation)
    assert_type(bp.mixup(0.2), bp.Augmentation)
    assert_type(bp.sometimes(0.5, bp.shift(1)), bp.Augmentation)
    assert_type(bp.compose(bp.shift(1), bp.noise(0.1)), bp.Augmentation)
    assert_type(bp.compose(bp.shift(1), bp.noise(0.1))(KEY, images()), bp.Batch)
    assert_type(bp.augmented(iter([images()]), KEY, bp.cutout(8)), Iterator[bp.Batch])


def initializers() -> None:
    shape = (4, 4)
    assert_type(bp.he_normal(KEY, shape), FloatArray)
    assert_type(bp.he_uniform(KEY, shape), FloatArray)
    assert_type(bp.glorot_normal(KEY, shape), FloatArray)
    assert_type(bp.glorot_uniform(KEY, shape), FloatArray)
    assert_type(bp.lecun_normal(KEY, shape), FloatArray)
    assert_type(bp.lecun_uniform(KEY, shape), FloatArray)
    assert_type(bp.orthogonal(KEY, shape), FloatArray)
    assert_type(bp.zeros(KEY, shape), FloatArray)
    assert_type(bp.truncated_normal(0.02), bp.Initializer)
    assert_type(bp.dense(4, weight_init=bp.truncated_normal(0.02), bias_init=bp.zeros), bp.Layer)


def layers() -> None:
    assert_type(bp.dense(4, use_bias=False, weight_init=bp.orthogonal), bp.Layer)
    assert_type(bp.relu(), bp.Layer)
    assert_type(bp.leaky_relu(slope=0.1), bp.Layer)
    assert_type(bp.elu(alpha=1.0), bp.Layer)
    assert_type(bp.selu(), bp.Layer)
    assert_type(bp.gelu(), bp.Layer)
    assert_type(bp.gelu_tanh(), bp.Layer)
    assert_type(bp.silu(), bp.Layer)
    assert_type(bp.softplus(), bp.Layer)
    assert_type(bp.softsign(), bp.Layer)
    assert_type(bp.tanh(), bp.Layer)
    assert_type(bp.sigmoid(), bp.Layer)
    assert_type(bp.softmax(), bp.Layer)
    assert_type(bp.log_softmax(), bp.Layer)
    assert_type(bp.dropout(0.3), bp.Layer)
    assert_type(bp.layer_norm(), bp.Layer)
    assert_type(bp.rms_norm(), bp.Layer)
    assert_type(bp.batch_norm(momentum=0.1), bp.Layer)
    assert_type(bp.embedding(10, 4), bp.Layer)
    assert_type(bp.reshape((28, 28, 1)), bp.Layer)
    assert_type(bp.conv2d(4, 3, stride=2, padding="same"), bp.Layer)
    assert_type(bp.ConvParams(np.ones((3, 3, 1, 4)), None), bp.ConvParams)
    assert_type(bp.max_pool2d(2), bp.Layer)
    assert_type(bp.avg_pool2d((2, 3), stride=1), bp.Layer)
    assert_type(bp.global_avg_pool(), bp.Layer)
    assert_type(bp.channel_dropout(0.3), bp.Layer)
    assert_type(bp.serial(bp.dense(4), bp.relu()), bp.Layer)
    assert_type(bp.residual(bp.dense(4)), bp.Layer)
    assert_type(bp.parallel(bp.dense(2), bp.dense(2), combine="add"), bp.Layer)
    assert_type(bp.named(("hidden", bp.dense(4)), ("out", bp.dense(3))), bp.Layer)
    assert_type(bp.mirror_averaged(bp.dense(3), image_shape=(28, 28)), bp.Layer)
    assert_type(bp.summary(MODEL, (5,)), str)


def layers_called() -> None:
    network, layer_state, out_shape = MODEL.init(KEY, (5,))
    assert_type(out_shape, tuple[int, ...])
    outputs, _, residual = MODEL.forward(network, layer_state, batch().inputs, bp.INFERENCE)
    assert_type(outputs, FloatArray)
    assert_type(MODEL.backward(network, residual, outputs)[1], FloatArray)
    assert_type(MODEL.parts, tuple[tuple[str, bp.Layer], ...])
    assert_type(bp.INFERENCE, bp.Context)
    assert_type(bp.Context(train=True, key=KEY).key, bp.Key | None)
    assert_type(params().weight, FloatArray)
    assert_type(params().bias, FloatArray | None)
    assert_type(bp.SerialParams((params(),)).layers, tuple[Any, ...])
    assert_type(bp.ParallelParams((params(),)).branches, tuple[Any, ...])
    assert_type(bp.NamedParams({"out": params()}).parts, dict[str, Any])
    assert_type(bp.ShapeError("too wide", "[0]").inside("hidden"), bp.ShapeError)


def a_layer_of_ones_own() -> None:
    """Four fields make a layer; the checkers must take the others for optional."""
    double = bp.Layer(
        name="double",
        init=lambda key, in_shape: ((), (), in_shape),
        forward=lambda params, state, x, ctx: (x + x, state, ()),
        backward=lambda params, residual, dy: ((), dy + dy),
    )
    assert_type(double, bp.Layer)
    assert_type(double.draws, bool)
    assert_type(double.flops((5,), (5,)), int)


def losses() -> None:
    assert_type(bp.cross_entropy(label_smoothing=0.1, class_weights=[1.0, 2.0, 1.0]), bp.Loss)
    assert_type(bp.binary_cross_entropy(), bp.Loss)
    assert_type(bp.multilabel_cross_entropy(), bp.Loss)
    assert_type(bp.squared_error(), bp.Loss)
    assert_type(bp.absolute_error(), bp.Loss)
    assert_type(bp.huber(delta=0.5), bp.Loss)
    assert_type(bp.focal(gamma=1.0), bp.Loss)
    assert_type(bp.kl_divergence(), bp.Loss)
    per_row, residual = LOSS.forward(np.zeros((8, 3)), batch().targets)
    assert_type(per_row, FloatArray)
    assert_type(LOSS.vjp(residual, per_row), FloatArray)


def gradients() -> None:
    here, rows, ctx = state(), batch(), bp.INFERENCE
    result = bp.value(MODEL, LOSS, here.params, here.layer_state, rows, ctx)
    assert_type(result, bp.Value)
    assert_type(bp.value(MODEL, LOSS, here.params, here.layer_state, rows, ctx), bp.Value)
    assert_type(result.losses, FloatArray)
    assert_type(result.outputs, FloatArray)
    assert_type(result.loss, np.floating)
    gradient = bp.value_and_grad(MODEL, LOSS)
    assert_type(gradient, GradientFn)
    assert_type(bp.value_and_grad(MODEL, LOSS), GradientFn)
    assert_type(gradient(here.params, here.layer_state, rows, ctx), tuple[bp.Value, Any])
    tangent = bp.tree_zeros_like(here.params)
    assert_type(
        bp.jvp(MODEL, LOSS, here.params, here.layer_state, rows, ctx, tangent),
        tuple[np.floating, np.floating],
    )
    assert_type(bp.hvp(MODEL, LOSS, here.params, here.layer_state, rows, ctx, tangent), tuple[Any, Any])
    assert_type(bp.example_grads(MODEL, LOSS, here.params, here.layer_state, rows, ctx), tuple[FloatArray, Any])
    assert_type(
        bp.example_grad_norms(MODEL, LOSS, here.params, here.layer_state, rows, ctx),
        tuple[FloatArray, FloatArray],
    )
    assert_type(
        bp.input_gradient(MODEL, LOSS, here.params, here.layer_state, rows, ctx),
        tuple[bp.Value, FloatArray],
    )


def group_size(comm: bp.Communicator) -> int:
    """What any communicator has."""
    assert_type(comm.rank, int)
    assert_type(comm.allreduce_sum(np.ones(2)), FloatArray)
    return comm.size


def makers_of_gradients() -> None:
    assert_type(bp.accumulated(2), bp.GradientMaker)
    assert_type(bp.sharpness_aware(0.05), bp.GradientMaker)
    assert_type(bp.finite_gradient(), bp.GradientMaker)
    assert_type(bp.Alone(), bp.Alone)
    assert_type(group_size(bp.Alone()), int)
    assert_type(bp.data_parallel(bp.Alone(), gradient=bp.accumulated(2)), bp.GradientMaker)
    assert_type(bp.make_step(MODEL, LOSS, TRANSFORM, gradient=bp.sharpness_aware(0.05)), bp.StepFn)


def checks_of_derivatives() -> None:
    here, rows = state(), batch()
    wide = bp.tree_cast(here.params, np.float64)
    result = bp.gradcheck(MODEL, LOSS, wide, here.layer_state, rows, bp.INFERENCE, kind="projection", key=KEY)
    assert_type(result, bp.GradCheck)
    assert_type(bp.gradcheck(MODEL, LOSS, wide, here.layer_state, rows, bp.INFERENCE, key=KEY), bp.GradCheck)
    assert_type(result.passed, bool)
    assert_type(result.kind, Literal["projection", "sweep"])
    assert_type(bp.check_projection(lambda x: 2 * x, lambda dy: 2 * dy, np.ones(2), KEY), bp.GradCheck)
    assert_type(bp.check_sweep(lambda x: float(x.sum()), np.ones(2), np.ones(2)), bp.GradCheck)


def transforms() -> None:
    assert_type(bp.chain(bp.momentum(0.9), bp.scale(-0.1)), bp.GradientTransform)
    assert_type(bp.scale(0.5), bp.GradientTransform)
    assert_type(bp.scale_by_schedule(bp.constant(0.1)), bp.GradientTransform)
    assert_type(bp.scale_by_learning_rate(0.1), bp.GradientTransform)
    assert_type(bp.momentum(0.9, nesterov=True), bp.GradientTransform)
    assert_type(bp.stateless(lambda grads, params, step: grads), bp.GradientTransform)
    assert_type(bp.scale_by_adagrad(), bp.GradientTransform)
    assert_type(bp.scale_by_rmsprop(), bp.GradientTransform)
    assert_type(bp.scale_by_adadelta(), bp.GradientTransform)
    assert_type(bp.scale_by_adam(), bp.GradientTransform)
    assert_type(bp.scale_by_adamax(), bp.GradientTransform)
    assert_type(bp.scale_by_amsgrad(), bp.GradientTransform)
    assert_type(bp.scale_by_nadam(), bp.GradientTransform)
    assert_type(bp.scale_by_lion(), bp.GradientTransform)
    assert_type(bp.scale_by_trust_ratio(), bp.GradientTransform)
    assert_type(bp.add_decayed_weights(0.01), bp.GradientTransform)
    assert_type(bp.clip_by_value(1.0), bp.GradientTransform)
    assert_type(bp.clip_by_norm(1.0), bp.GradientTransform)
    assert_type(bp.clip_by_global_norm(1.0), bp.GradientTransform)
    assert_type(bp.centralize(), bp.GradientTransform)
    assert_type(bp.add_noise(KEY, 0.1), bp.GradientTransform)
    assert_type(bp.masked(bp.add_decayed_weights(0.01), bp.weights_only), bp.GradientTransform)
    assert_type(bp.partitioned(lambda path: "all", {"all": bp.sgd(0.1)}), bp.GradientTransform)
    assert_type(bp.accumulate(bp.sgd(0.1), 4), bp.GradientTransform)
    assert_type(bp.lookahead(bp.sgd(0.1)), bp.GradientTransform)
    assert_type(bp.ema_of_params(0.99), bp.GradientTransform)
    assert_type(bp.projected(np.tanh), bp.GradientTransform)
    assert_type(bp.max_norm(2.0), bp.GradientTransform)
    assert_type(bp.non_negative(), bp.GradientTransform)
    assert_type(bp.find_state(state().optimizer_state, bp.EmaState), bp.EmaState)


def optimizers() -> None:
    assert_type(bp.sgd(0.1, momentum=0.9, nesterov=True, decay_mask=bp.weights_only), bp.GradientTransform)
    assert_type(bp.sgd(bp.cosine(0.1, 100)), bp.GradientTransform)
    assert_type(bp.adagrad(0.1), bp.GradientTransform)
    assert_type(bp.rmsprop(0.1, centred=True), bp.GradientTransform)
    assert_type(bp.adadelta(), bp.GradientTransform)
    assert_type(bp.adam(0.1), bp.GradientTransform)
    assert_type(bp.adamax(0.1), bp.GradientTransform)
    assert_type(bp.amsgrad(0.1), bp.GradientTransform)
    assert_type(bp.nadam(0.1), bp.GradientTransform)
    assert_type(bp.adamw(0.1, weight_decay=0.01), bp.GradientTransform)
    assert_type(bp.lion(0.1), bp.GradientTransform)
    assert_type(bp.lamb(0.1), bp.GradientTransform)
    assert_type(bp.weights_only("bias"), bool)


def schedules() -> None:
    assert_type(bp.constant(0.1), bp.Schedule)
    assert_type(bp.linear(0.1, 0.0, 10), bp.Schedule)
    assert_type(bp.polynomial(0.1, 0.0, 10, power=2.0), bp.Schedule)
    assert_type(bp.step_decay(0.1, 0.5, 10), bp.Schedule)
    assert_type(bp.exponential(0.1, 0.5, 10), bp.Schedule)
    assert_type(bp.piecewise([0.1, 0.01], [10]), bp.Schedule)
    assert_type(bp.cosine(0.1, 10), bp.Schedule)
    assert_type(bp.warm_restarts(0.1, 10), bp.Schedule)
    assert_type(bp.warm_up(0.1, 5), bp.Schedule)
    assert_type(bp.one_cycle(0.1, 10), bp.Schedule)
    assert_type(bp.join([bp.constant(0.1), bp.constant(0.01)], [10]), bp.Schedule)
    assert_type(bp.cosine(0.1, 10)(3), float)


def updates() -> None:
    tree, transform = params(), bp.adam(0.1)
    grads = bp.tree_scale(0.1, tree)
    moved, _ = transform.update(grads, transform.init(tree), tree, 0)
    assert_type(bp.apply_updates(tree, moved), bp.DenseParams)
    assert_type(bp.updated(transform, grads, transform.init(tree), tree, 0), tuple[bp.DenseParams, Any])


def one_step() -> None:
    step = bp.make_step(MODEL, LOSS, TRANSFORM, metric=bp.accuracy())
    assert_type(bp.make_step(MODEL, LOSS, TRANSFORM), bp.StepFn)
    assert_type(step(state(), batch()), tuple[bp.TrainState, bp.StepMetrics])
    after, metrics = step(state(), batch())
    assert_type(after.step, int)
    assert_type(after.key, bp.Key)
    assert_type(metrics.loss, bp.Mean)
    assert_type(bp.init_train_state(MODEL, TRANSFORM, KEY, (5,)), bp.TrainState)
    assert_type(bp.finite_step(step, on_nan="skip"), bp.StepFn)
    careful = bp.finite_step(step)
    assert_type(bp.fold_finite_steps(step, careful, after, lambda: batches(0)), tuple[bp.TrainState, bp.StepMetrics])
    assert_type(bp.first_not_finite(after.params), str | None)
    assert_type(bp.NotFiniteError("the loss", 3), bp.NotFiniteError)


def the_loop() -> None:
    step = bp.make_step(MODEL, LOSS, TRANSFORM)
    assert_type(bp.steps(step, state(), batches(0)), Iterator[tuple[bp.TrainState, bp.StepMetrics]])
    assert_type(bp.fold_steps(step, state(), batches(0)), tuple[bp.TrainState, bp.StepMetrics])
    order: bp.EpochBatches = batches
    epochs = bp.train(step, state(), order, epochs=2)
    assert_type(epochs, Iterator[bp.Epoch])
    assert_type(bp.train(step, state(), batches, epochs=2), Iterator[bp.Epoch])
    for epoch in epochs:
        assert_type(epoch.number, int)
        assert_type(epoch.state, bp.TrainState)
        assert_type(epoch.metrics, bp.StepMetrics)
    here = state()
    assert_type(bp.evaluate(MODEL, LOSS, here.params, here.layer_state, batch()), bp.StepMetrics)
    assert_type(bp.predict(MODEL, here.params, here.layer_state, batch().inputs), FloatArray)
    assert_type(bp.predictor(MODEL, here.params, here.layer_state, engine="numpy"), bp.Predictor)
    network = bp.predictor(MODEL, here.params, here.layer_state, engine="numpy")
    assert_type(network(batch().inputs), FloatArray)


def seen(epoch: bp.EpochLike) -> str:
    """Anything like an epoch can be described."""
    assert_type(epoch.metrics.loss, bp.Mean)
    return bp.describe(epoch)


def consumers() -> None:
    def epochs() -> Iterator[bp.Epoch]:
        return bp.train(bp.make_step(MODEL, LOSS, TRANSFORM), state(), batches, epochs=2)

    def records() -> Iterator[bp.ValidatedEpoch]:
        return bp.validated(epochs(), MODEL, LOSS, batch())

    assert_type(bp.validated(epochs(), MODEL, LOSS, batch()), Iterator[bp.ValidatedEpoch])
    for record in records():
        assert_type(record.validation, bp.StepMetrics)
        assert_type(bp.validation_loss(record), float)
        assert_type(bp.describe(record), str)
        assert_type(seen(record), str)
    # What goes in comes out: the records keep their type on their way.
    assert_type(bp.early_stopping(records(), bp.validation_loss, patience=2), Iterator[bp.ValidatedEpoch])
    assert_type(bp.best(records(), bp.validation_loss), bp.ValidatedEpoch)
    assert_type(bp.best([3, 1, 2], float), int)
    assert_type(bp.every(epochs(), 1, lambda epoch: None), Iterator[bp.Epoch])
    assert_type(bp.logged(records(), lambda line: None), Iterator[bp.ValidatedEpoch])


def metrics() -> None:
    assert_type(bp.accuracy(), bp.Metric)
    assert_type(bp.binary_accuracy(threshold=0.5), bp.Metric)
    assert_type(bp.top_k(2), bp.Metric)
    assert_type(bp.confusion(3), bp.Metric)
    assert_type(bp.precision(3, average="micro"), bp.Metric)
    assert_type(bp.recall(3), bp.Metric)
    assert_type(bp.f1(3), bp.Metric)
    assert_type(bp.log_loss(), bp.Metric)
    assert_type(bp.brier(), bp.Metric)
    assert_type(bp.expected_calibration_error(), bp.Metric)
    assert_type(bp.roc_auc(average="weighted"), bp.Metric)
    assert_type(bp.mean_absolute_error(), bp.Metric)
    assert_type(bp.mean_squared_error(), bp.Metric)
    assert_type(bp.mean_metric("size", lambda outputs, batch: outputs[:, 0]), bp.Metric)
    assert_type(bp.all_of(bp.accuracy(), bp.f1(3)), bp.Metric)
    assert_type(bp.mean(bp.Mean(1.0, 2.0)), float)
    counts = bp.confusion_matrix(np.array([0, 1]), np.array([0, 0]), 2)
    assert_type(bp.confusion_matrix(np.array([0, 1]), np.array([0, 0]), 2), NDArray[np.int64])
    assert_type(bp.class_figures(counts), bp.ClassFigures)
    assert_type(bp.class_figures(counts).support, NDArray[np.int64])
    assert_type(bp.averages(counts, "weighted"), bp.Averages)
    assert_type(bp.averages(counts).f1, float)
    assert_type(bp.fit_temperature(np.eye(3), np.array([0, 1, 0])), float)


def files() -> None:
    data = to_safetensors(params(), metadata={"made": "here"})
    assert_type(to_safetensors(params()), bytes)
    assert_type(save_tensors({"weight": params().weight}), bytes)
    assert_type(load_tensors(save_tensors({})), dict[str, NDArray[np.generic]])
    assert_type(from_safetensors(data, params()), bp.DenseParams)
    assert_type(safetensors_metadata(data), dict[str, str])
