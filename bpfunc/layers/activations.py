"""Activations and other functions without parameters, as layers over the ops of the same names."""

from __future__ import annotations

from functools import partial

from bpfunc import ops
from bpfunc.layers.base import Layer, Maker, stateless


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
    return stateless("relu", ops.relu, ops.relu_vjp, ops.relu_jvp, ops.relu_vjp_jvp, maker=Maker("relu"))


def leaky_relu(*, slope: float = 0.01) -> Layer:
    """Leaky rectified linear unit as a layer; see `bpfunc.ops.leaky_relu`.

    Args:
        slope: Slope for negative inputs.

    Returns:
        A layer that keeps shapes, without parameters.

    Example:
        >>> from bpfunc.layers import INFERENCE
        >>> leaky_relu().forward((), (), np.array([[0.0, 0.0]]), INFERENCE)[0].shape
        (1, 2)

    Reference: Maas, Hannun and Ng, "Rectifier nonlinearities improve neural network acoustic models" (2013).
    """
    slope = float(slope)
    return stateless(
        f"leaky_relu({slope})",
        partial(ops.leaky_relu, slope=slope),
        ops.leaky_relu_vjp,
        ops.leaky_relu_jvp,
        ops.leaky_relu_vjp_jvp,
        maker=Maker("leaky_relu", (("slope", slope),)),
    )


def elu(*, alpha: float = 1.0) -> Layer:
    """Exponential linear unit as a layer; see `bpfunc.ops.elu`.

    Args:
        alpha: What ``-y`` tends to for very negative inputs.

    Returns:
        A layer that keeps shapes, without parameters.

    Example:
        >>> from bpfunc.layers import INFERENCE
        >>> elu().forward((), (), np.array([[0.0, 0.0]]), INFERENCE)[0].shape
        (1, 2)

    Reference: Clevert, Unterthiner and Hochreiter, "Fast and accurate deep network learning" (2016).
    """
    alpha = float(alpha)
    return stateless(
        f"elu({alpha})",
        partial(ops.elu, alpha=alpha),
        ops.elu_vjp,
        ops.elu_jvp,
        ops.elu_vjp_jvp,
        maker=Maker("elu", (("alpha", alpha),)),
    )


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
    return stateless("selu", ops.selu, ops.selu_vjp, ops.selu_jvp, ops.selu_vjp_jvp, maker=Maker("selu"))


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
    return stateless("gelu", ops.gelu, ops.gelu_vjp, ops.gelu_jvp, ops.gelu_vjp_jvp, maker=Maker("gelu"))


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
    return stateless(
        "gelu_tanh",
        ops.gelu_tanh,
        ops.gelu_tanh_vjp,
        ops.gelu_tanh_jvp,
        ops.gelu_tanh_vjp_jvp,
        maker=Maker("gelu_tanh"),
    )


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
    return stateless("silu", ops.silu, ops.silu_vjp, ops.silu_jvp, ops.silu_vjp_jvp, maker=Maker("silu"))


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
    return stateless(
        "softplus", ops.softplus, ops.softplus_vjp, ops.softplus_jvp, ops.softplus_vjp_jvp, maker=Maker("softplus")
    )


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
    return stateless("tanh", ops.tanh, ops.tanh_vjp, ops.tanh_jvp, ops.tanh_vjp_jvp, maker=Maker("tanh"))


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
    return stateless(
        "sigmoid", ops.sigmoid, ops.sigmoid_vjp, ops.sigmoid_jvp, ops.sigmoid_vjp_jvp, maker=Maker("sigmoid")
    )


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
    return stateless(
        "softmax", ops.softmax, ops.softmax_vjp, ops.softmax_jvp, ops.softmax_vjp_jvp, maker=Maker("softmax")
    )


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
    return stateless(
        "log_softmax",
        ops.log_softmax,
        ops.log_softmax_vjp,
        ops.log_softmax_jvp,
        ops.log_softmax_vjp_jvp,
        maker=Maker("log_softmax"),
    )


def identity() -> Layer:
    """The identity as a layer; see `bpfunc.ops.identity`.

    Returns:
        A layer that keeps shapes, without parameters.

    Example:
        >>> from bpfunc.layers import INFERENCE
        >>> identity().forward((), (), np.array([[0.0, 0.0]]), INFERENCE)[0].shape
        (1, 2)

    Reference: none needed; it ends a combinator where nothing is to be done.
    """
    return stateless(
        "identity", ops.identity, ops.identity_vjp, ops.identity_jvp, ops.identity_vjp_jvp, maker=Maker("identity")
    )
