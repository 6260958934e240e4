"""Primitive functions, each beside its derivatives.

An op ``f`` comes as four neighbours with one order of arguments and explicit residuals, no closures:

- ``f(x) -> (y, residual)`` is the function, with whatever its derivatives need kept in ``residual``;
- ``f_vjp(residual, dy) -> dx`` pulls a cotangent back (reverse mode);
- ``f_jvp(residual, x_dot) -> y_dot`` pushes a tangent forward (forward mode);
- ``f_vjp_jvp(residual, x_dot, dy, dy_dot) -> dx_dot`` is the tangent of ``f_vjp``, which makes
  Hessian-vector products exact (Pearlmutter, "Fast exact multiplication by the Hessian", 1994).

``d`` + name is a cotangent, name + ``_dot`` a tangent. All keep the dtype that they are given. An output that is part
of the residual is read-only. The residual of an elementwise op holds the formulas of slope and curvature, so that all
elementwise ops have the same three functions as derivatives; see `bpfunc.ops.elementwise`.
"""

# fmt: off
# isort: off
from bpfunc.ops.elementwise import jvp as relu_jvp, vjp as relu_vjp, vjp_jvp as relu_vjp_jvp
from bpfunc.ops.elementwise import jvp as leaky_relu_jvp, vjp as leaky_relu_vjp, vjp_jvp as leaky_relu_vjp_jvp
from bpfunc.ops.elementwise import jvp as elu_jvp, vjp as elu_vjp, vjp_jvp as elu_vjp_jvp
from bpfunc.ops.elementwise import jvp as selu_jvp, vjp as selu_vjp, vjp_jvp as selu_vjp_jvp
from bpfunc.ops.elementwise import jvp as gelu_jvp, vjp as gelu_vjp, vjp_jvp as gelu_vjp_jvp
from bpfunc.ops.elementwise import jvp as gelu_tanh_jvp, vjp as gelu_tanh_vjp, vjp_jvp as gelu_tanh_vjp_jvp
from bpfunc.ops.elementwise import jvp as silu_jvp, vjp as silu_vjp, vjp_jvp as silu_vjp_jvp
from bpfunc.ops.elementwise import jvp as softplus_jvp, vjp as softplus_vjp, vjp_jvp as softplus_vjp_jvp
from bpfunc.ops.elementwise import jvp as softsign_jvp, vjp as softsign_vjp, vjp_jvp as softsign_vjp_jvp
from bpfunc.ops.elementwise import jvp as tanh_jvp, vjp as tanh_vjp, vjp_jvp as tanh_vjp_jvp
from bpfunc.ops.elementwise import jvp as sigmoid_jvp, vjp as sigmoid_vjp, vjp_jvp as sigmoid_vjp_jvp
from bpfunc.ops.elementwise import jvp as identity_jvp, vjp as identity_vjp, vjp_jvp as identity_vjp_jvp
from bpfunc.ops.gelu import gelu, gelu_tanh
from bpfunc.ops.identity import identity
from bpfunc.ops.relu import elu, leaky_relu, relu, selu
from bpfunc.ops.sigmoid import sigmoid, silu, softplus, softsign, tanh
from bpfunc.ops.softmax import log_softmax, log_softmax_jvp, log_softmax_vjp, log_softmax_vjp_jvp
from bpfunc.ops.softmax import softmax, softmax_jvp, softmax_vjp, softmax_vjp_jvp
from bpfunc.ops.standardize import standardize, standardize_jvp, standardize_vjp, standardize_vjp_jvp

__all__ = [
    "relu", "relu_vjp", "relu_jvp", "relu_vjp_jvp",
    "leaky_relu", "leaky_relu_vjp", "leaky_relu_jvp", "leaky_relu_vjp_jvp",
    "elu", "elu_vjp", "elu_jvp", "elu_vjp_jvp",
    "selu", "selu_vjp", "selu_jvp", "selu_vjp_jvp",
    "gelu", "gelu_vjp", "gelu_jvp", "gelu_vjp_jvp",
    "gelu_tanh", "gelu_tanh_vjp", "gelu_tanh_jvp", "gelu_tanh_vjp_jvp",
    "silu", "silu_vjp", "silu_jvp", "silu_vjp_jvp",
    "softplus", "softplus_vjp", "softplus_jvp", "softplus_vjp_jvp",
    "softsign", "softsign_vjp", "softsign_jvp", "softsign_vjp_jvp",
    "tanh", "tanh_vjp", "tanh_jvp", "tanh_vjp_jvp",
    "sigmoid", "sigmoid_vjp", "sigmoid_jvp", "sigmoid_vjp_jvp",
    "softmax", "softmax_vjp", "softmax_jvp", "softmax_vjp_jvp",
    "log_softmax", "log_softmax_vjp", "log_softmax_jvp", "log_softmax_vjp_jvp",
    "standardize", "standardize_vjp", "standardize_jvp", "standardize_vjp_jvp",
    "identity", "identity_vjp", "identity_jvp", "identity_vjp_jvp",
]
