"""Activations and other functions without parameters, as layers over the ops of the same names."""

from __future__ import annotations

from functools import partial
from typing import Any

from bpfunc import ops
from bpfunc.arrays.ranges import FINITE, number
from bpfunc.layers.base import Layer, Maker, stateless


def _layer(op: Any, **settings: float) -> Layer:
    """Make the layer of an op."""
    name, values = op.__name__, {setting: float(value) for setting, value in settings.items()}
    return stateless(
        name + "".join(f"({value})" for value in values.values()),
        partial(op, **values) if values else op,
        *(getattr(ops, name + suffix) for suffix in ("_vjp", "_jvp", "_vjp_jvp")),
        maker=Maker(name, tuple(values.items())),
    )


def relu() -> Layer:
    """Rectified linear unit as a layer; see `bpfunc.ops.relu`.

    Returns:
        A layer that keeps shapes, without parameters.

    Example:
        >>> from bpfunc.layers import INFERENCE
        >>> relu().forward((), (), np.array([[0.0, 0.0]]), INFERENCE)[0].shape
        (1, 2)

    Reference: Nair and Hinton, "Rectified linear units improve restricted Boltzmann machines" (2010).
    """
    return _layer(ops.relu)


def leaky_relu(*, slope: float = 0.01) -> Layer:
    """Leaky rectified linear unit as a layer; see `bpfunc.ops.leaky_relu`.

    Args:
        slope: Slope for negative inputs, finite.

    Returns:
        A layer that keeps shapes, without parameters.

    Raises:
        ValueError: The slope is not a finite number.

    Example:
        >>> from bpfunc.layers import INFERENCE
        >>> leaky_relu().forward((), (), np.array([[0.0, 0.0]]), INFERENCE)[0].shape
        (1, 2)

    Reference: Maas, Hannun and Ng, "Rectifier nonlinearities improve neural network acoustic models" (2013).
    """
    return _layer(ops.leaky_relu, slope=number("leaky_relu", "slope", slope, FINITE))


def elu(*, alpha: float = 1.0) -> Layer:
    """Exponential linear unit as a layer; see `bpfunc.ops.elu`.

    Args:
        alpha: What ``-y`` tends to for very negative inputs, finite.

    Returns:
        A layer that keeps shapes, without parameters.

    Raises:
        ValueError: The alpha is not a finite number.

    Example:
        >>> from bpfunc.layers import INFERENCE
        >>> elu().forward((), (), np.array([[0.0, 0.0]]), INFERENCE)[0].shape
        (1, 2)

    Reference: Clevert, Unterthiner and Hochreiter, "Fast and accurate deep network learning" (2016).
    """
    return _layer(ops.elu, alpha=number("elu", "alpha", alpha, FINITE))


def selu() -> Layer:
    """Scaled exponential linear unit as a layer; see `bpfunc.ops.selu`.

    Returns:
        A layer that keeps shapes, without parameters.

    Example:
        >>> from bpfunc.layers import INFERENCE
        >>> selu().forward((), (), np.array([[0.0, 0.0]]), INFERENCE)[0].shape
        (1, 2)

    Reference: Klambauer, Unterthiner, Mayr and Hochreiter, "Self-normalizing neural networks" (2017).
    """
    return _layer(ops.selu)


def gelu() -> Layer:
    """Gaussian error linear unit, exact, as a layer; see `bpfunc.ops.gelu`.

    Returns:
        A layer that keeps shapes, without parameters.

    Example:
        >>> from bpfunc.layers import INFERENCE
        >>> gelu().forward((), (), np.array([[0.0, 0.0]]), INFERENCE)[0].shape
        (1, 2)

    Reference: Hendrycks and Gimpel, "Gaussian error linear units" (2016).
    """
    return _layer(ops.gelu)


def gelu_tanh() -> Layer:
    """Gaussian error linear unit by tanh as a layer; see `bpfunc.ops.gelu_tanh`.

    Returns:
        A layer that keeps shapes, without parameters.

    Example:
        >>> from bpfunc.layers import INFERENCE
        >>> gelu_tanh().forward((), (), np.array([[0.0, 0.0]]), INFERENCE)[0].shape
        (1, 2)

    Reference: Hendrycks and Gimpel, "Gaussian error linear units" (2016).
    """
    return _layer(ops.gelu_tanh)


def silu() -> Layer:
    """Sigmoid linear unit as a layer; see `bpfunc.ops.silu`.

    Returns:
        A layer that keeps shapes, without parameters.

    Example:
        >>> from bpfunc.layers import INFERENCE
        >>> silu().forward((), (), np.array([[0.0, 0.0]]), INFERENCE)[0].shape
        (1, 2)

    Reference: Elfwing, Uchibe and Doya, "Sigmoid-weighted linear units" (2018); Ramachandran, Zoph and Le (2017).
    """
    return _layer(ops.silu)


def softplus() -> Layer:
    """Softplus as a layer; see `bpfunc.ops.softplus`.

    Returns:
        A layer that keeps shapes, without parameters.

    Example:
        >>> from bpfunc.layers import INFERENCE
        >>> softplus().forward((), (), np.array([[0.0, 0.0]]), INFERENCE)[0].shape
        (1, 2)

    Reference: Dugas, Bengio, Belisle, Nadeau and Garcia, "Incorporating second-order functional knowledge" (2001).
    """
    return _layer(ops.softplus)


def softsign() -> Layer:
    """Softsign as a layer; see `bpfunc.ops.softsign`.

    Returns:
        A layer that keeps shapes, without parameters.

    Example:
        >>> from bpfunc.layers import INFERENCE
        >>> softsign().forward((), (), np.array([[0.0, 0.0]]), INFERENCE)[0].shape
        (1, 2)

    Reference: Turian, Bergstra and Bengio, "Quadratic features and deep architectures for chunking" (2009).
    """
    return _layer(ops.softsign)


def tanh() -> Layer:
    """Hyperbolic tangent as a layer; see `bpfunc.ops.tanh`.

    Returns:
        A layer that keeps shapes, without parameters.

    Example:
        >>> from bpfunc.layers import INFERENCE
        >>> tanh().forward((), (), np.array([[0.0, 0.0]]), INFERENCE)[0].shape
        (1, 2)

    Reference: LeCun, Bottou, Orr and Mueller, "Efficient backprop" (1998).
    """
    return _layer(ops.tanh)


def sigmoid() -> Layer:
    """Logistic sigmoid as a layer; see `bpfunc.ops.sigmoid`.

    Returns:
        A layer that keeps shapes, without parameters.

    Example:
        >>> from bpfunc.layers import INFERENCE
        >>> sigmoid().forward((), (), np.array([[0.0, 0.0]]), INFERENCE)[0].shape
        (1, 2)

    Reference: Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors" (1986).
    """
    return _layer(ops.sigmoid)


def softmax() -> Layer:
    """Softmax over the last axis as a layer; see `bpfunc.ops.softmax`.

    To train, leave it out and use a loss on logits, which is more stable.

    Returns:
        A layer that keeps shapes, without parameters.

    Example:
        >>> from bpfunc.layers import INFERENCE
        >>> softmax().forward((), (), np.array([[0.0, 0.0]]), INFERENCE)[0].shape
        (1, 2)

    Reference: Bridle, "Probabilistic interpretation of feedforward classification network outputs" (1990).
    """
    return _layer(ops.softmax)


def log_softmax() -> Layer:
    """Log-softmax over the last axis as a layer; see `bpfunc.ops.log_softmax`.

    To train, leave it out and use a loss on logits, which is more stable.

    Returns:
        A layer that keeps shapes, without parameters.

    Example:
        >>> from bpfunc.layers import INFERENCE
        >>> log_softmax().forward((), (), np.array([[0.0, 0.0]]), INFERENCE)[0].shape
        (1, 2)

    Reference: Bridle, "Probabilistic interpretation of feedforward classification network outputs" (1990).
    """
    return _layer(ops.log_softmax)


def identity() -> Layer:
    """The identity as a layer; see `bpfunc.ops.identity`.

    Returns:
        A layer that keeps shapes, without parameters.

    Example:
        >>> from bpfunc.layers import INFERENCE
        >>> identity().forward((), (), np.array([[0.0, 0.0]]), INFERENCE)[0].shape
        (1, 2)

    Reference: He, Zhang, Ren and Sun, "Identity mappings in deep residual networks" (2016).
    """
    return _layer(ops.identity)
