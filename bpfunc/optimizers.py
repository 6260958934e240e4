"""Optimisers: recipes over `bpfunc.transforms`, each a chain whose order its docstring states."""

from __future__ import annotations

from collections.abc import Callable

from bpfunc.arrays.calls import recorded
from bpfunc.arrays.ranges import number
from bpfunc.transforms import (
    GradientTransform,
    add_decayed_weights,
    chain,
    identity,
    masked,
    scale_by_adadelta,
    scale_by_adagrad,
    scale_by_adam,
    scale_by_adamax,
    scale_by_amsgrad,
    scale_by_learning_rate,
    scale_by_lion,
    scale_by_nadam,
    scale_by_rmsprop,
    scale_by_trust_ratio,
)
from bpfunc.transforms.momentum import momentum as heavy_ball
from bpfunc.transforms.schedules import Schedule

Applies = Callable[[str], bool]
"""Takes a leaf's path, such as ``layers[0].weight``."""


def weights_only(path: str) -> bool:
    """Tell weights from biases and scales by their path: what weight decay usually applies to.

    Args:
        path: Such as ``layers[0].weight``.

    Returns:
        Whether the leaf is called ``weight``.

    Example:
        >>> weights_only("layers[0].weight"), weights_only("layers[0].bias")
        (True, False)
    """
    return path.rpartition(".")[2] == "weight"


def _decay(function: str, amount: float, applies: Applies | None) -> GradientTransform:
    amount = number(function, "weight_decay", amount, "[0, inf)")
    if amount == 0:
        return identity()
    return add_decayed_weights(amount) if applies is None else masked(add_decayed_weights(amount), applies)


@recorded
def sgd(
    learning_rate: float | Schedule,
    *,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    decay_mask: Applies | None = None,
    decay: None = None,
) -> GradientTransform:
    """Stochastic gradient descent: coupled weight decay, then momentum, then the learning rate; what is 0 is left out.

    Args:
        learning_rate: A number above 0, or a schedule.
        momentum: Part of the velocity that a step keeps, in [0, 1).
        nesterov: Whether the momentum looks one step ahead.
        weight_decay: At least 0.
        decay_mask: Which leaves decay; all where None.
        decay: Former name of ``momentum``, which is refused.

    Returns:
        A transform.

    Raises:
        ValueError: An argument is out of range.
        TypeError: ``decay`` is given.

    Example:
        >>> transform = sgd(0.1)
        >>> transform.update(2.0, transform.init(0.0), 0.0, 0)[0]
        -0.2

    Reference: Robbins and Monro, "A stochastic approximation method" (1951).
    """
    if decay is not None:
        raise TypeError(
            f"sgd takes momentum, not decay: sgd(learning_rate, momentum={decay}); weight_decay decays the weights"
        )
    amount = number("sgd", "weight_decay", weight_decay, "[0, inf)")
    momentum = number("sgd", "momentum", momentum, "[0, 1)")
    parts = [_decay("sgd", amount, decay_mask)] if amount else []
    if momentum:
        parts.append(heavy_ball(momentum, nesterov=nesterov))
    return chain(*parts, scale_by_learning_rate(learning_rate))


@recorded
def adagrad(learning_rate: float | Schedule, *, initial: float = 0.1, eps: float = 1e-10) -> GradientTransform:
    """Adagrad: preconditioner, then the learning rate.

    Args:
        learning_rate: A number above 0, or a schedule.
        initial: Sum of squares at the start, at least 0.
        eps: Added to the root, at least 0.

    Returns:
        A transform.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> import numpy as np
        >>> transform = adagrad(0.1, initial=0.0, eps=0.0)
        >>> transform.update((np.array([-2.0]),), transform.init((np.array([1.0]),)), (np.array([1.0]),), 0)[0]
        (array([0.1]),)

    Reference: Duchi, Hazan and Singer, "Adaptive subgradient methods" (2011).
    """
    return chain(scale_by_adagrad(initial=initial, eps=eps), scale_by_learning_rate(learning_rate))


@recorded
def rmsprop(
    learning_rate: float | Schedule,
    *,
    decay: float = 0.99,
    eps: float = 1e-8,
    centred: bool = False,
    momentum_decay: float = 0.0,
) -> GradientTransform:
    """RMSprop: preconditioner, then momentum where there is some, then the learning rate.

    Args:
        learning_rate: A number above 0, or a schedule.
        decay: Decay of the average square, in [0, 1).
        eps: Added to the root, at least 0.
        centred: Whether to divide by a deviation.
        momentum_decay: In [0, 1).

    Returns:
        A transform.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> import numpy as np
        >>> transform = rmsprop(0.1, decay=0.0, eps=0.0)
        >>> transform.update((np.array([-2.0]),), transform.init((np.array([1.0]),)), (np.array([1.0]),), 0)[0]
        (array([0.1]),)

    Reference: Tieleman and Hinton, "Lecture 6.5, rmsprop" (2012).
    """
    return chain(
        scale_by_rmsprop(decay=decay, eps=eps, centred=centred),
        heavy_ball(number("rmsprop", "momentum_decay", momentum_decay, "[0, 1)")),
        scale_by_learning_rate(learning_rate),
    )


@recorded
def adadelta(learning_rate: float | Schedule = 1.0, *, decay: float = 0.9, eps: float = 1e-6) -> GradientTransform:
    """Adadelta: preconditioner, then the learning rate.

    Args:
        learning_rate: A number above 0, or a schedule.
        decay: Decay of both averages, in [0, 1).
        eps: Added below the roots, at least 0.

    Returns:
        A transform.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> import numpy as np
        >>> transform = adadelta()
        >>> params = (np.array([1.0]),)
        >>> updates, _ = transform.update((np.array([-2.0]),), transform.init(params), params, 0)
        >>> bool(updates[0][0] > 0)
        True

    Reference: Zeiler, "Adadelta: an adaptive learning rate method" (2012).
    """
    return chain(scale_by_adadelta(decay=decay, eps=eps), scale_by_learning_rate(learning_rate))


@recorded
def adam(
    learning_rate: float | Schedule, *, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8
) -> GradientTransform:
    """Adam: preconditioner, then the learning rate.

    Args:
        learning_rate: A number above 0, or a schedule.
        beta1: Decay of the average gradient, in [0, 1).
        beta2: Decay of the average square, in [0, 1).
        eps: Added to the root, at least 0.

    Returns:
        A transform.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> import numpy as np
        >>> transform = adam(0.1, eps=0.0)
        >>> transform.update((np.array([-2.0]),), transform.init((np.array([1.0]),)), (np.array([1.0]),), 0)[0]
        (array([0.1]),)

    Reference: Kingma and Ba, "Adam: a method for stochastic optimization" (2015).
    """
    return chain(scale_by_adam(beta1=beta1, beta2=beta2, eps=eps), scale_by_learning_rate(learning_rate))


@recorded
def adamax(
    learning_rate: float | Schedule, *, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8
) -> GradientTransform:
    """AdaMax: preconditioner, then the learning rate.

    Args:
        learning_rate: A number above 0, or a schedule.
        beta1: Decay of the average gradient, in [0, 1).
        beta2: Decay of the largest size of a gradient, in [0, 1).
        eps: Added to the size of each gradient, at least 0.

    Returns:
        A transform.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> import numpy as np
        >>> transform = adamax(0.1, eps=0.0)
        >>> transform.update((np.array([-2.0]),), transform.init((np.array([1.0]),)), (np.array([1.0]),), 0)[0]
        (array([0.1]),)

    Reference: Kingma and Ba, "Adam: a method for stochastic optimization" (2015), section 7.1.
    """
    return chain(scale_by_adamax(beta1=beta1, beta2=beta2, eps=eps), scale_by_learning_rate(learning_rate))


@recorded
def amsgrad(
    learning_rate: float | Schedule, *, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8
) -> GradientTransform:
    """AMSGrad: preconditioner, then the learning rate.

    Args:
        learning_rate: A number above 0, or a schedule.
        beta1: Decay of the average gradient, in [0, 1).
        beta2: Decay of the average square, in [0, 1).
        eps: Added to the root, at least 0.

    Returns:
        A transform.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> import numpy as np
        >>> transform = amsgrad(0.1, eps=0.0)
        >>> transform.update((np.array([-2.0]),), transform.init((np.array([1.0]),)), (np.array([1.0]),), 0)[0]
        (array([0.1]),)

    Reference: Reddi, Kale and Kumar, "On the convergence of Adam and beyond" (2018).
    """
    return chain(scale_by_amsgrad(beta1=beta1, beta2=beta2, eps=eps), scale_by_learning_rate(learning_rate))


@recorded
def nadam(
    learning_rate: float | Schedule, *, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8
) -> GradientTransform:
    """NAdam: preconditioner, then the learning rate.

    Args:
        learning_rate: A number above 0, or a schedule.
        beta1: Decay of the average gradient, in [0, 1).
        beta2: Decay of the average square, in [0, 1).
        eps: Added to the root, at least 0.

    Returns:
        A transform.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> import numpy as np
        >>> transform = nadam(0.1, beta1=0.0, eps=0.0)
        >>> transform.update((np.array([-2.0]),), transform.init((np.array([1.0]),)), (np.array([1.0]),), 0)[0]
        (array([0.1]),)

    Reference: Dozat, "Incorporating Nesterov momentum into Adam" (2016).
    """
    return chain(scale_by_nadam(beta1=beta1, beta2=beta2, eps=eps), scale_by_learning_rate(learning_rate))


@recorded
def adamw(
    learning_rate: float | Schedule,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.01,
    decay_mask: Applies | None = None,
) -> GradientTransform:
    """AdamW: preconditioner, then decoupled weight decay, then the learning rate.

    Args:
        learning_rate: A number above 0, or a schedule.
        beta1: Decay of the average gradient, in [0, 1).
        beta2: Decay of the average square, in [0, 1).
        eps: Added to the root, at least 0.
        weight_decay: At least 0; a step takes ``learning_rate * weight_decay * p`` off.
        decay_mask: Which leaves decay, such as `weights_only`; all where None.

    Returns:
        A transform.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> import numpy as np
        >>> transform = adamw(0.1, eps=0.0, weight_decay=0.0)
        >>> transform.update((np.array([-2.0]),), transform.init((np.array([1.0]),)), (np.array([1.0]),), 0)[0]
        (array([0.1]),)

    Reference: Loshchilov and Hutter, "Decoupled weight decay regularization" (2019).
    """
    return chain(
        scale_by_adam(beta1=beta1, beta2=beta2, eps=eps),
        _decay("adamw", weight_decay, decay_mask),
        scale_by_learning_rate(learning_rate),
    )


@recorded
def lion(
    learning_rate: float | Schedule,
    *,
    beta1: float = 0.9,
    beta2: float = 0.99,
    weight_decay: float = 0.0,
    decay_mask: Applies | None = None,
) -> GradientTransform:
    """Lion: sign of the mixed gradient, then decoupled weight decay, then the learning rate.

    Args:
        learning_rate: A number above 0, or a schedule.
        beta1: Weight of the average in the sign, in [0, 1).
        beta2: Decay of the average, in [0, 1).
        weight_decay: At least 0.
        decay_mask: Which leaves decay; all where None.

    Returns:
        A transform.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> import numpy as np
        >>> transform = lion(0.1)
        >>> transform.update((np.array([-2.0]),), transform.init((np.array([1.0]),)), (np.array([1.0]),), 0)[0]
        (array([0.1]),)

    Reference: Chen et al., "Symbolic discovery of optimization algorithms" (2023).
    """
    return chain(
        scale_by_lion(beta1=beta1, beta2=beta2),
        _decay("lion", weight_decay, decay_mask),
        scale_by_learning_rate(learning_rate),
    )


@recorded
def lamb(
    learning_rate: float | Schedule,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-6,
    weight_decay: float = 0.0,
    decay_mask: Applies | None = None,
) -> GradientTransform:
    """LAMB: Adam, then decoupled weight decay, then the trust ratio of each leaf, then the learning rate.

    Args:
        learning_rate: A number above 0, or a schedule.
        beta1: Decay of the average gradient, in [0, 1).
        beta2: Decay of the average square, in [0, 1).
        eps: Added to the root, at least 0.
        weight_decay: At least 0.
        decay_mask: Which leaves decay; all where None.

    Returns:
        A transform.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> import numpy as np
        >>> transform = lamb(0.1, eps=0.0)
        >>> transform.update((np.array([-2.0]),), transform.init((np.array([1.0]),)), (np.array([1.0]),), 0)[0]
        (array([0.1]),)

    Reference: You et al., "Large batch optimization for deep learning" (2020).
    """
    return chain(
        scale_by_adam(beta1=beta1, beta2=beta2, eps=eps),
        _decay("lamb", weight_decay, decay_mask),
        scale_by_trust_ratio(),
        scale_by_learning_rate(learning_rate),
    )
