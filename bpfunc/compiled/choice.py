"""Which engine runs a training: machine code, or the composed step on NumPy. Needs no extra."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np

from bpfunc.gradient.modes import GradientMaker, value_and_grad
from bpfunc.gradient.penalty import Penalised
from bpfunc.layers import Layer
from bpfunc.losses import Loss
from bpfunc.transforms import GradientTransform

Engine: TypeAlias = Literal["numpy", "compiled"]
"""What runs a training."""
EngineChoice: TypeAlias = Literal["auto", "numpy", "compiled"]
"""What may be asked for; ``auto`` leaves the choice open."""
ENGINES: tuple[EngineChoice, ...] = get_args(EngineChoice)
"""All of them."""


def choose_engine(
    engine: EngineChoice,
    model: Layer,
    loss: Loss,
    transform: GradientTransform,
    *,
    gradient: GradientMaker = value_and_grad,
) -> Engine:
    """Choose the engine of a training by its configuration and by what is installed, and by nothing else.

    Clipping, decay and averages are links of ``transform``, and mirroring is a part of ``model``. Data, sizes and
    timings play no role, so the same training gets the same engine every time.

    Args:
        engine: ``auto``, ``numpy`` or ``compiled``.
        model: The network.
        loss: On its outputs.
        transform: The optimiser.
        gradient: How the gradient of a batch is computed; machine code knows the plain one, and the one with the
            penalty of `bpfunc.gradient.penalty.penalised`, which does not go with clipping by a norm.

    Returns:
        ``numpy`` where that is asked for; else ``compiled`` where the extra ``fast`` is installed and the engine knows
        all parts; else ``numpy`` for ``auto``.

    Raises:
        ModuleNotFoundError: ``compiled`` is asked for, and the extra ``fast`` is not installed.
        ImportError: ``compiled`` is asked for, and what is installed cannot be imported.
        TypeError: ``compiled`` is asked for, and a formula of a part cannot be compiled.
        ValueError: ``compiled`` is asked for, and a part is not known to it; or the engine has another name.

    Example:
        >>> from bpfunc.layers import dense
        >>> from bpfunc.losses import cross_entropy
        >>> from bpfunc.optimizers import lamb, sgd
        >>> [choose_engine("auto", dense(2), cross_entropy(), optimizer) for optimizer in (sgd(0.1), lamb(0.1))]
        ['compiled', 'numpy']
    """
    if engine not in ENGINES:
        raise ValueError(f"engine is one of {', '.join(ENGINES)}; got {engine!r}")
    if engine == "numpy":
        return "numpy"
    try:
        _check_known(model, loss, transform, gradient)
    except (ImportError, TypeError, ValueError):
        if engine == "auto":
            return "numpy"
        raise
    return "compiled"


def _check_known(model: Layer, loss: Loss, transform: GradientTransform, gradient: GradientMaker) -> None:
    """Raise what prevents a training from being compiled."""
    alpha = penalty_of(gradient)
    try:  # imported here, because they need the extra and take a while
        from bpfunc.compiled.losses import loss_of
        from bpfunc.compiled.network import formula_of, network_of
        from bpfunc.compiled.optimizer import clipped_form, penalised_form
    except ModuleNotFoundError as missing:
        raise missing_extra(missing) from None
    for links in network_of(model).links:
        if links:
            formula_of(links, np.dtype(np.float64))
    loss_of(loss)
    penalised_form(alpha, *clipped_form(transform))


def missing_extra(missing: ModuleNotFoundError) -> ModuleNotFoundError:
    """Return the error that says how to install what machine code needs.

    Args:
        missing: The error of an import.

    Returns:
        The error to raise instead.

    Example:
        >>> print(missing_extra(ModuleNotFoundError(name="numba")))
        engine="compiled" needs numba; add it with: pip install 'bpfunc[fast]'
    """
    return ModuleNotFoundError(
        f"engine=\"compiled\" needs {missing.name}; add it with: pip install 'bpfunc[fast]'", name=missing.name
    )


def penalty_of(gradient: GradientMaker) -> float:
    """Find the penalty that is part of a gradient.

    Args:
        gradient: How the gradient of a batch is computed.

    Returns:
        Its ``alpha``; 0 for plain gradients.

    Raises:
        ValueError: It is computed in another way.

    Example:
        >>> from bpfunc.gradient.penalty import penalised
        >>> penalty_of(value_and_grad), penalty_of(penalised(0.5))
        (0.0, 0.5)
    """
    if gradient is value_and_grad:
        return 0.0
    if isinstance(gradient, Penalised):
        return gradient.alpha
    raise ValueError(
        'engine="compiled" takes plain gradients, or those of `penalised`; this training computes them in another way'
    )
