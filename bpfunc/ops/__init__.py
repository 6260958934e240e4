"""Primitive functions, each beside its derivatives.

An op ``f`` comes as four neighbours with one order of arguments and explicit residuals, no closures:

- ``f(x) -> (y, residual)`` is the function, with whatever its derivatives need kept in ``residual``;
- ``f_vjp(residual, dy) -> dx`` pulls a cotangent back (reverse mode);
- ``f_jvp(residual, x_dot) -> y_dot`` pushes a tangent forward (forward mode);
- ``f_vjp_jvp(residual, x_dot, dy, dy_dot) -> dx_dot`` is the tangent of ``f_vjp``, which makes
  Hessian-vector products exact (Pearlmutter, "Fast exact multiplication by the Hessian", 1994).

``d`` + name is a cotangent, name + ``_dot`` a tangent. All keep the dtype that they are given.
"""

from bpfunc.ops.elu import elu, elu_jvp, elu_vjp, elu_vjp_jvp
from bpfunc.ops.gelu import gelu, gelu_jvp, gelu_vjp, gelu_vjp_jvp
from bpfunc.ops.gelu_tanh import gelu_tanh, gelu_tanh_jvp, gelu_tanh_vjp, gelu_tanh_vjp_jvp
from bpfunc.ops.identity import identity, identity_jvp, identity_vjp, identity_vjp_jvp
from bpfunc.ops.leaky_relu import leaky_relu, leaky_relu_jvp, leaky_relu_vjp, leaky_relu_vjp_jvp
from bpfunc.ops.log_softmax import log_softmax, log_softmax_jvp, log_softmax_vjp, log_softmax_vjp_jvp
from bpfunc.ops.relu import relu, relu_jvp, relu_vjp, relu_vjp_jvp
from bpfunc.ops.selu import selu, selu_jvp, selu_vjp, selu_vjp_jvp
from bpfunc.ops.sigmoid import sigmoid, sigmoid_jvp, sigmoid_vjp, sigmoid_vjp_jvp
from bpfunc.ops.silu import silu, silu_jvp, silu_vjp, silu_vjp_jvp
from bpfunc.ops.softmax import softmax, softmax_jvp, softmax_vjp, softmax_vjp_jvp
from bpfunc.ops.softplus import softplus, softplus_jvp, softplus_vjp, softplus_vjp_jvp
from bpfunc.ops.standardize import standardize, standardize_jvp, standardize_vjp, standardize_vjp_jvp
from bpfunc.ops.tanh import tanh, tanh_jvp, tanh_vjp, tanh_vjp_jvp

__all__ = [
    "relu",
    "relu_vjp",
    "relu_jvp",
    "relu_vjp_jvp",
    "leaky_relu",
    "leaky_relu_vjp",
    "leaky_relu_jvp",
    "leaky_relu_vjp_jvp",
    "elu",
    "elu_vjp",
    "elu_jvp",
    "elu_vjp_jvp",
    "selu",
    "selu_vjp",
    "selu_jvp",
    "selu_vjp_jvp",
    "gelu",
    "gelu_vjp",
    "gelu_jvp",
    "gelu_vjp_jvp",
    "gelu_tanh",
    "gelu_tanh_vjp",
    "gelu_tanh_jvp",
    "gelu_tanh_vjp_jvp",
    "silu",
    "silu_vjp",
    "silu_jvp",
    "silu_vjp_jvp",
    "softplus",
    "softplus_vjp",
    "softplus_jvp",
    "softplus_vjp_jvp",
    "tanh",
    "tanh_vjp",
    "tanh_jvp",
    "tanh_vjp_jvp",
    "sigmoid",
    "sigmoid_vjp",
    "sigmoid_jvp",
    "sigmoid_vjp_jvp",
    "softmax",
    "softmax_vjp",
    "softmax_jvp",
    "softmax_vjp_jvp",
    "log_softmax",
    "log_softmax_vjp",
    "log_softmax_jvp",
    "log_softmax_vjp_jvp",
    "standardize",
    "standardize_vjp",
    "standardize_jvp",
    "standardize_vjp_jvp",
    "identity",
    "identity_vjp",
    "identity_jvp",
    "identity_vjp_jvp",
]
