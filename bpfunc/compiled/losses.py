"""Which losses a compiled epoch knows: their derivatives as formulas, and their targets as rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import attrs
import numpy as np

from bpfunc import ops
from bpfunc.arrays.types import FloatArray
from bpfunc.compiled.epoch import ELEMENTWISE, FOCAL, SOFTMAX
from bpfunc.compiled.kept import kept
from bpfunc.compiled.machine import Precision, njit
from bpfunc.layers import ShapeError
from bpfunc.losses import Loss, cross_entropy, focal, focal_cross_entropy, kl_divergence, squared_error, squared_errors
from bpfunc.losses.base import Targets, paired
from bpfunc.losses.focal import _slope as focal_slope
from bpfunc.losses.scaled import unscaled
from bpfunc.losses.sigmoid_cross_entropy import _of_one_logit, sigmoid_cross_entropy
from bpfunc.ops.elementwise import formulas_of
from bpfunc.transforms.formula import traced_function

Derivative = Callable[..., Sequence[Any]]


@attrs.frozen
class LossForm:
    """How machine code computes the derivative of a loss; its value is computed by the loss itself.

    Args:
        kind: `SOFTMAX`, `ELEMENTWISE` or `FOCAL`.
        derivative: ``outputs -> (x0, x1, x2) -> (derivative,)``, number by number, for that many outputs. ``x2`` is the
            target. Elementwise: ``x0`` is the output. Focal loss: ``x0`` is the log-probability, ``x1`` the
            probability, and the derivative is by ``x0``. Not called for softmax cross-entropy.
        factor: What loss and derivative are multiplied by.
    """

    kind: int
    derivative: Callable[[int], Derivative]
    factor: float = 1.0


def loss_of(loss: Loss) -> LossForm:
    """Recognise a loss by all its functions.

    Args:
        loss: One of `bpfunc.losses`, in any settings, or one made by `bpfunc.losses.elementwise.elementwise_loss`;
            times a number, where `bpfunc.losses.scaled.scaled` made it so.

    Returns:
        Its form.

    Raises:
        TypeError: Its slope does something that is not compiled.
        ValueError: It is another loss.

    Example:
        >>> from bpfunc.losses import huber
        >>> loss_of(huber(delta=0.5)).kind == ELEMENTWISE
        True
    """
    inner, factor = unscaled(loss)
    return attrs.evolve(_form_of(inner), factor=factor)


def _form_of(loss: Loss) -> LossForm:
    derivatives = (loss.vjp, loss.jvp, loss.vjp_jvp)
    bare, settings = _bound(loss.forward)
    if derivatives == _derivatives(squared_error()):
        op = sigmoid_cross_entropy if bare is _of_one_logit else bare
        found = _formulas(op, settings)
        if found is not None:
            form = LossForm(ELEMENTWISE, partial(_elementwise_derivative, *found))
            try:
                traced_function(form.derivative(1), 3, np.dtype(np.float64))
            except (AttributeError, IndexError, TypeError, ValueError) as error:
                raise TypeError(f"the slope of the loss {loss.name} cannot be compiled: {error}") from None
            return form
    if derivatives == _derivatives(cross_entropy()) and _like(loss.forward, cross_entropy().forward):
        return LossForm(SOFTMAX, _no_derivative)
    if derivatives == _derivatives(kl_divergence()) and loss.forward is kl_divergence().forward:
        return LossForm(SOFTMAX, _no_derivative)
    if derivatives == _derivatives(focal()) and bare is focal_cross_entropy and settings.keys() <= {"gamma"}:
        return LossForm(FOCAL, partial(_focal_derivative, float(settings.get("gamma", 2.0))))
    raise ValueError(
        "a compiled epoch takes the losses of bpfunc.losses with their own functions, found the loss "
        f"{loss.name}; compose the step for others"
    )


def _derivatives(loss: Loss) -> tuple[Any, ...]:
    return loss.vjp, loss.jvp, loss.vjp_jvp


def _code(function: Any) -> Any:
    return function.__code__


def _like(function: Any, known: Any) -> bool:
    """Whether a function is one that a maker gave, whose settings are bound in order, in any settings."""
    if not isinstance(function, partial) or len(function.args) != len(known.args) or function.keywords:
        return False
    return function.func is known.func


def _bound(function: Any) -> tuple[Any, dict[str, Any]]:
    """A function, and the settings that a `functools.partial` binds."""
    if isinstance(function, partial):
        return (function, {}) if function.args else (function.func, dict(function.keywords))
    return function, {}


def _formulas(losses: Any, settings: dict[str, Any]) -> tuple[Any, tuple[float, ...]] | None:
    """Formulas and settings of a loss that `elementwise_loss` made."""
    if getattr(losses, "__code__", None) is not _code(squared_errors):
        return None
    op = dict(zip(losses.__code__.co_freevars, losses.__closure__, strict=True))["op"].cell_contents
    if getattr(op, "__code__", None) is not _code(ops.relu):  # one and the same for all that `elementwise` makes
        return None
    found = formulas_of(partial(op, **settings))
    if found is None or found[0].keeps == "y":
        return None
    return found[0], tuple(float(value) for value in found[1].values())


def _elementwise_derivative(formulas: Any, settings: tuple[float, ...], outputs: int) -> Derivative:
    if formulas.keeps == "difference":
        return lambda y, _, t: (formulas.slope(y - t, *settings) / outputs,)
    return lambda y, _, t: (formulas.slope(y, t, *settings) / outputs,)


def _focal_derivative(gamma: float, outputs: int) -> Derivative:
    return lambda u, p, t: (t * focal_slope(SimpleNamespace(log_p=u, probabilities=p, gamma=gamma)),)  # type: ignore[arg-type]


def _no_derivative(outputs: int) -> Derivative:
    return lambda x0, x1, x2: (x0,)


def target_rows(loss: Loss, form: LossForm, targets: Targets, outputs: int, dtype: Precision) -> FloatArray:
    """Bring targets into the form that the loss gives them.

    Args:
        loss: The loss.
        form: Form of the loss.
        targets: Targets of all rows of the data.
        outputs: K, of the network.
        dtype: Data type of the parameters.

    Returns:
        (N, K), C-contiguous and aligned.

    Raises:
        ShapeError: The targets do not fit the loss and K outputs.
        TypeError: Class indices are not whole numbers.
        ValueError: A class index is outside 0..K-1.

    Example:
        >>> target_rows(focal(), loss_of(focal()), np.array([1, 0]), 2, np.dtype(np.float64))
        array([[0., 1.],
               [1., 0.]])
    """
    rows = len(targets)
    try:
        loss.forward(np.zeros((1, outputs), dtype), np.ones((1, outputs), dtype))
    except ShapeError:
        raise
    except ValueError as error:
        raise ShapeError(f"the class weights of the loss do not fit {outputs} classes: {error}") from None
    if form.kind == ELEMENTWISE:
        return cast(
            FloatArray, in_rows(paired(loss.name, np.broadcast_to(np.zeros(1, dtype), (rows, outputs)), targets), dtype)
        )
    if targets.shape == (rows, outputs):
        labels, plain = np.empty(rows, np.intp), in_rows(targets, dtype)
        if _one_hot(plain, labels):  # as most are; then there are but as many different rows as classes
            residual: Any = loss.forward(np.zeros((outputs, outputs), dtype), np.eye(outputs, dtype=dtype))[1]
            return cast(FloatArray, in_rows(residual.targets[labels], dtype))
    residual = loss.forward(np.zeros((rows, outputs), dtype), targets)[1]
    return cast(FloatArray, in_rows(residual.targets, dtype))


def in_rows(array: Any, dtype: np.dtype[Any]) -> Any:
    """Lay an array out as machine code reads it.

    Args:
        array: Any.
        dtype: Data type of the result.

    Returns:
        The same numbers, C-contiguous and aligned.

    Example:
        >>> in_rows(np.ones((2, 3)).T, np.dtype(np.float32)).flags.c_contiguous
        True
    """
    return np.require(array, dtype, ["C", "A", "E"])


@njit(nogil=True)  # numba has no types
def _look_for_one_hot(targets, labels):  # compiled for what it is called with
    """Fill in the class of each row; whether every row is one 1 among zeros."""
    for r in range(len(targets)):
        ones, others = 0, 0
        for k in range(targets.shape[1]):
            if targets[r, k] == 1:
                ones += 1
                labels[r] = k
            elif targets[r, k] != 0:
                others += 1
        if ones != 1 or others > 0:
            return False
    return True


_one_hot: Any = kept(_look_for_one_hot)
