"""Common slips at the keyboard: each gets one sentence that names the place, what was expected and what was found."""
# ruff: noqa: E501  (messages are word for word)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import bpfunc as bp
from bpfunc.arrays.names import ELSEWHERE

bp_: Any = bp  # a type checker finds most of these slips before they run
MODEL, LOSS, SGD = bp.serial(bp.dense(4), bp.relu(), bp.dense(3)), bp.cross_entropy(), bp.sgd(0.1)
STATE = bp.init_train_state(MODEL, SGD, bp.Key(0), (5,))
BATCH = bp.Batch(np.ones((8, 5), np.float32), np.arange(8) % 3)
P, S = STATE.params, STATE.layer_state


def grad(*arguments: Any) -> Any:
    return bp.value_and_grad(MODEL, LOSS)(*arguments)


def double(**functions: Any) -> bp.Layer:
    """A custom layer that doubles, or does what it is given."""
    own = {
        "name": "double",
        "init": lambda key, shape: ((), (), shape),
        "forward": lambda params, state, x, ctx: (2 * x, state, ()),
        "backward": lambda params, kept, dy: ((), 2 * dy),
    }
    return bp_.Layer(**{**own, **functions})


def train(layer: bp.Layer) -> Any:
    model = bp.serial(bp.dense(4), layer, bp.dense(3))
    return bp.make_step(model, LOSS, SGD)(bp.init_train_state(model, SGD, bp.Key(0), (5,)), BATCH)


scaled: dict[str, Any] = {
    "init": lambda key, shape: ((np.ones(4, np.float32),), (), shape),
    "forward": lambda params, state, x, ctx: (x * params[0], state, x),
}

SLIPS: dict[str, tuple[Callable[[], Any], str]] = {
    "relu without ()": (
        lambda: bp_.serial(bp_.dense(4), bp_.relu, bp_.dense(3)),
        "TypeError: serial takes a Layer as layers[1], got the function relu; call it: relu()",
    ),
    "batches that are not made by a function": (
        lambda: list(bp_.train(bp.make_step(MODEL, LOSS, SGD), STATE, [BATCH], epochs=1)),
        "TypeError: train takes a function of the epoch's number as batches, got a list; write lambda epoch: epoch_batches(data, key, epoch, batch_size)",
    ),
    "a list of layers": (
        lambda: bp_.serial([bp_.dense(4), bp_.relu()]),
        "TypeError: serial takes a Layer as layers[0], got a list; unpack it with *",
    ),
    "a layer in named without its name": (
        lambda: bp_.named(bp_.dense(4)),
        'TypeError: named takes pairs such as ("head", dense(3)), got a Layer, dense(4) as parts[0]',
    ),
    "an int for a Key": (
        lambda: MODEL.init(0, (5,)),
        "TypeError: serial(dense(4), relu, dense(3)): init takes a Key as key, got the int 0; write Key(0)",
    ),
    "an int for a Key of a training": (
        lambda: bp_.init_train_state(MODEL, SGD, 0, (5,)),
        "TypeError: init_train_state takes a Key as key, got the int 0; write Key(0)",
    ),
    "an int for a shape": (
        lambda: MODEL.init(bp_.Key(0), 5),
        "TypeError: serial(dense(4), relu, dense(3)): init takes the shape of one example as in_shape, got the int 5; write (5,)",
    ),
    "key and shape swapped": (
        lambda: MODEL.init((5,), bp_.Key(0)),
        "TypeError: serial(dense(4), relu, dense(3)): init takes (key, in_shape), got them in the other order",
    ),
    "lists for arrays": (
        lambda: bp_.Batch([[1.0, 2.0]], [0]),
        "TypeError: Batch takes an array as inputs, got a list; write numpy.asarray(...)",
    ),
    "lists for inputs": (
        lambda: bp_.predict(MODEL, P, S, [[1.0] * 5]),
        "TypeError: predict takes an ndarray as inputs, got a list; write numpy.asarray(...)",
    ),
    "sgd without ()": (
        lambda: bp_.make_step(MODEL, LOSS, bp_.sgd),
        "TypeError: make_step takes a GradientTransform as transform, got the function sgd; call it: sgd(...)",
    ),
    "cross_entropy without ()": (
        lambda: bp_.make_step(MODEL, bp_.cross_entropy, SGD),
        "TypeError: make_step takes a Loss as loss, got the function cross_entropy; call it: cross_entropy()",
    ),
    "a loss where a transform is expected": (
        lambda: bp_.make_step(MODEL, SGD, LOSS),
        "TypeError: make_step takes a Loss as loss, got a GradientTransform, sgd(0.1)",
    ),
    "a layer in a chain": (
        lambda: bp_.chain(bp_.relu(), SGD),
        "TypeError: chain takes a GradientTransform as transforms[0], got a Layer, relu()",
    ),
    "inputs and targets swapped": (
        lambda: grad(P, S, bp_.Batch(BATCH.targets, BATCH.inputs), bp_.INFERENCE),
        "TypeError: inputs and targets are in each other's place; write Batch(inputs, targets): the model takes examples of shape (5,), found inputs (8,) and targets (8, 5)",
    ),
    "params and state swapped": (
        lambda: grad(S, P, BATCH, bp_.INFERENCE),
        "TypeError: params and state are in each other's place; the order is (params, state, batch, ctx)",
    ),
    "a model for params": (
        lambda: grad(MODEL, S, BATCH, bp_.INFERENCE),
        "TypeError: params are what model.init(key, in_shape) returns first, got the Layer serial(dense(4), relu(), dense(3))",
    ),
    "a training state for params": (
        lambda: grad(STATE, S, BATCH, bp_.INFERENCE),
        "TypeError: params are the field `params` of a TrainState, got the whole TrainState",
    ),
    "params of another model": (
        lambda: bp_.value(bp_.serial(bp_.dense(4)), LOSS, P, S, BATCH, bp_.INFERENCE),
        "TypeError: params are not those of this model: expected SerialParams(layers=(DenseParams(weight=*, bias=*))), got SerialParams(layers=(DenseParams(weight=*, bias=*), (), DenseParams(weight=*, bias=*)))",
    ),
    "True for a Context": (
        lambda: grad(P, S, BATCH, True),
        "TypeError: a gradient takes a Context as ctx, got the bool True; write INFERENCE, or Context(train=True, key=key)",
    ),
    "step(batch, state)": (
        lambda: bp_.make_step(MODEL, LOSS, SGD)(BATCH, STATE),
        "TypeError: a step takes a TrainState as state, got a Batch, Batch(inputs=float32[8,5], targets=int64[8], weights=None)",
    ),
    "a pair for a batch": (
        lambda: bp_.make_step(MODEL, LOSS, SGD)(STATE, (BATCH.inputs, BATCH.targets)),
        "TypeError: a step takes a Batch as batch, got a tuple; write Batch(inputs, targets)",
    ),
    "custom gradient of the wrong shape": (
        lambda: train(double(**scaled, backward=lambda p, x, dy: ((np.sum(x * dy),), dy * p[0]))),
        "ShapeError: layers[1]: double: backward returned a gradient of shape () for [0], expected (4,)",
    ),
    "custom input gradient of the wrong shape": (
        lambda: train(double(backward=lambda p, r, dy: ((), 2 * dy.sum(axis=0)))),
        "ShapeError: layers[1]: double: backward returned an input gradient of shape (4,), expected (8, 4)",
    ),
    "custom forward without state": (
        lambda: train(double(forward=lambda p, s, x, c: (2 * x, ()))),
        "ShapeError: layers[1]: double: forward returned a tuple of 2, expected (y, state, residual)",
    ),
    "custom init without state": (
        lambda: train(double(init=lambda k, s: ((), s))),
        "TypeError: double: init returned a tuple of 2, expected (params, state, out_shape) with a tuple as out_shape",
    ),
    "custom backward without params": (
        lambda: train(double(backward=lambda p, r, dy: 2 * dy)),
        "ShapeError: layers[1]: double: backward returned an array of shape (8, 4), expected (dparams, dx)",
    ),
    "a key for epoch_batches": (
        lambda: list(bp_.epoch_batches(BATCH, 0, 0, 4)),
        "TypeError: fold_in takes a Key as key, got the int 0; write Key(0)",
    ),
    "arrays for data": (
        lambda: list(bp_.epoch_batches(BATCH.inputs, bp_.Key(0), 0, 4)),
        "TypeError: a data set takes a Batch as data, got an array of shape (8, 5); write Batch(inputs, targets)",
    ),
    "decay for momentum": (
        lambda: bp_.sgd(0.1, decay=0.9),
        "TypeError: sgd takes momentum, not decay: sgd(learning_rate, momentum=0.9); weight_decay decays the weights",
    ),
    "lr for learning_rate": (
        lambda: bp_.sgd(lr=0.1),
        "TypeError: sgd has no argument 'lr'; did you mean learning_rate?",
    ),
    "betas": (
        lambda: bp_.adam(0.1, betas=(0.9, 0.99)),
        "TypeError: adam has no argument 'betas'; did you mean beta1 and beta2?",
    ),
    "a slip in an argument's name": (
        lambda: bp_.cross_entropy(label_smothing=0.1),
        "TypeError: cross_entropy has no argument 'label_smothing'; did you mean label_smoothing?",
    ),
    "an unknown argument": (
        lambda: bp_.focal(temperature=3),
        "TypeError: focal has no argument 'temperature'; it takes gamma",
    ),
    "a schedule that was not made": (
        lambda: bp_.sgd(bp.cosine),
        "TypeError: an optimiser takes a Schedule as rate, got the function cosine; call it: cosine(...)",
    ),
    "an initialiser by its name": (
        lambda: bp_.dense(4, weight_init="he_normal"),
        "TypeError: dense takes an Initializer as weight_init, got the str 'he_normal'; write its name without quotes",
    ),
    "an initialiser that was not made": (
        lambda: bp_.dense(4, bias_init=bp.truncated_normal),
        "TypeError: dense takes an Initializer as bias_init, got the function truncated_normal; call it: truncated_normal(...)",
    ),
    "tree and function swapped": (
        lambda: bp_.tree_map(P.layers[0], lambda leaf: leaf),
        "TypeError: tree_map takes a function as function, got a DenseParams, DenseParams(weight=float32[5,4], bias=float32[4]); the function comes first",
    ),
    "a model for a step": (
        lambda: list(bp_.train(MODEL, STATE, lambda epoch: [BATCH], epochs=1)),
        "TypeError: train takes a step as step, got a Layer, serial(dense(4), relu(), dense(3)); write make_step(model, loss, transform)",
    ),
    "half an epoch": (
        lambda: list(bp_.train(bp.make_step(MODEL, LOSS, SGD), STATE, lambda epoch: [BATCH], epochs=1.5)),
        "ValueError: train takes epochs of at least 0, got 1.5, which is not a whole number",
    ),
    "a gradient without its batch": (
        lambda: grad(P, BATCH),
        "TypeError: value_and_grad.gradient() missing 2 required positional arguments: 'batch' and 'ctx'",
    ),
    "a step without its batch": (
        lambda: bp_.make_step(MODEL, LOSS, SGD)(STATE),
        "TypeError: make_step.step() missing 1 required positional argument: 'batch'",
    ),
    "hvp in its former order": (
        lambda: bp_.hvp(MODEL, LOSS, P, P, S, BATCH, bp_.INFERENCE),
        "TypeError: hvp takes (model, loss, params, state, batch, ctx, params_dot): as `value` does, and then the direction; found the batch as ctx",
    ),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_gets_one_sentence(slip: str) -> None:
    """The message word for word, and no second error above it."""
    call, message = SLIPS[slip]
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert f"{type(caught.value).__name__}: {caught.value}" == message
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_a_custom_layer_that_is_right_is_left_alone() -> None:
    """Its results in a network are those that its own functions give, alone and between others."""
    state, metrics = train(double())
    assert state.step == 1 and np.isfinite(metrics.loss.total)
    given = (np.ones(4, np.float32),), (), bp.Batch(np.ones((2, 4), np.float32), np.array([0, 1])), bp.INFERENCE
    own = double(**scaled, backward=lambda p, x, dy: (((x * dy).sum(axis=0),), dy * p[0]))
    _, grads = bp.value_and_grad(own, LOSS)(*given)
    _, inside = bp.value_and_grad(bp.serial(own), LOSS)(bp.SerialParams((given[0],)), ((),), *given[2:])
    assert bp.tree_allclose(grads, inside.layers[0], rtol=0, atol=0)


def test_an_error_of_the_layer_itself_is_not_hidden() -> None:
    """Where the arguments are right, what a custom layer raises comes through as it is."""
    with pytest.raises(AttributeError, match="'tuple' object has no attribute 'nothing'"):
        train(double(forward=lambda params, state, x, ctx: params.nothing))


MEANT = {"Relu": "relu", "crossentropy": "cross_entropy", "Linear": "dense", "SGD": "sgd", "Adam": "adam"}
MEANT |= {"CrossEntropyLoss": "cross_entropy", "softmax_cross_entropy_with_integer_labels": "cross_entropy"}
MEANT |= {"Sequential": "serial", "MSELoss": "squared_error", "BatchNorm1d": "batch_norm", "drop_out": "dropout"}


@pytest.mark.parametrize("name", MEANT)
def test_an_attribute_that_is_missing_names_what_was_meant(name: str) -> None:
    """Near names, other spellings, and the words of torch, Keras and Optax."""
    with pytest.raises(AttributeError) as caught:
        getattr(bp, name)
    assert str(caught.value) == f"module 'bpfunc' has no attribute {name!r}; did you mean {MEANT[name]!r}?"


def test_no_name_is_guessed_at_random() -> None:
    """What is like nothing gets no guess; what other libraries' names lead to exists."""
    with pytest.raises(AttributeError, match=r"^module 'bpfunc' has no attribute 'zzz'$"):
        bp_.zzz
    assert set(ELSEWHERE.values()) <= set(bp.__all__)
