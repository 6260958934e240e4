"""Which engine runs a training: configuration and installation decide, and a refusal names its reason."""

from __future__ import annotations

import subprocess
import sys

import attrs
import pytest

from bpfunc.compiled.choice import ENGINES, choose_engine
from bpfunc.gradient.microbatches import accumulated
from bpfunc.gradient.penalty import penalised
from bpfunc.layers import Layer, batch_norm, dense, dropout, relu
from bpfunc.layers.combinators import serial
from bpfunc.layers.mirror import mirror_averaged
from bpfunc.losses import Loss, cross_entropy, squared_error
from bpfunc.losses.scaled import scaled
from bpfunc.optimizers import adam, lamb, sgd
from bpfunc.transforms import GradientTransform, chain, clip_by_global_norm

DENSE = serial(dense(3), relu(), dropout(0.1), dense(2))
OTHER_LOSS = attrs.evolve(squared_error(), name="own", vjp=lambda residual, dlosses: dlosses)
HALF_OF_ANOTHER = attrs.evolve(scaled(squared_error(), 0.5), name="half", vjp=scaled(squared_error(), 0.25).vjp)
"""A factor that the loss says it has, and its derivative has not."""

KNOWN = [
    (DENSE, cross_entropy(), adam(0.1)),
    (mirror_averaged(DENSE, image_shape=(1, 4)), scaled(squared_error(), 0.5), sgd(0.1)),
    (DENSE, cross_entropy(), chain(clip_by_global_norm(1.0), adam(0.1))),
]
UNKNOWN = {
    "batch_norm": (serial(dense(3), batch_norm()), cross_entropy(), adam(0.1)),
    "the loss own": (DENSE, OTHER_LOSS, adam(0.1)),
    "the loss half": (DENSE, HALF_OF_ANOTHER, adam(0.1)),
    "transform": (DENSE, cross_entropy(), lamb(0.1)),
}


@pytest.mark.parametrize(("model", "loss", "transform"), KNOWN)
def test_a_known_training_is_compiled(model: Layer, loss: Loss, transform: GradientTransform) -> None:
    """Unless NumPy is asked for; numba is installed where this test runs."""
    pytest.importorskip("numba")
    chosen = [choose_engine(engine, model, loss, transform) for engine in ENGINES]
    assert chosen == ["compiled", "numpy", "compiled"]


@pytest.mark.parametrize("reason", UNKNOWN)
def test_an_unknown_training_is_refused_by_name_or_left_to_numpy(reason: str) -> None:
    """``auto`` takes NumPy in silence, and ``compiled`` names the part that is not known."""
    pytest.importorskip("numba")
    assert choose_engine("auto", *UNKNOWN[reason]) == "numpy"
    assert choose_engine("numpy", *UNKNOWN[reason]) == "numpy"
    with pytest.raises(ValueError, match=reason):
        choose_engine("compiled", *UNKNOWN[reason])


def test_a_penalty_is_compiled_unless_the_gradient_is_clipped() -> None:
    """The norm would be that of the gradient without the penalty."""
    pytest.importorskip("numba")
    assert choose_engine("auto", *KNOWN[0], gradient=penalised(0.1)) == "compiled"
    assert choose_engine("auto", *KNOWN[2], gradient=penalised(0.1)) == "numpy"
    with pytest.raises(ValueError, match="together with clip_by_global_norm"):
        choose_engine("compiled", *KNOWN[2], gradient=penalised(0.1))


def test_other_gradients_are_numpys() -> None:
    """What shares a batch out, or looks at it twice, machine code would leave out."""
    known, gradient = KNOWN[0], accumulated(2)
    assert choose_engine("auto", *known, gradient=gradient) == "numpy"
    with pytest.raises(ValueError, match="plain gradients"):
        choose_engine("compiled", *known, gradient=gradient)


def test_an_engine_of_another_name_is_refused() -> None:
    """The message lists the names that there are."""
    with pytest.raises(ValueError, match="auto, numpy, compiled; got 'fast'"):
        choose_engine("fast", *KNOWN[0])  # type: ignore[arg-type]


WITHOUT = """
import sys
sys.modules["numba"] = None
from bpfunc.compiled.choice import choose_engine
from bpfunc.layers import dense
from bpfunc.losses import cross_entropy
from bpfunc.optimizers import sgd
parts = dense(2), cross_entropy(), sgd(0.1)
print(choose_engine("auto", *parts), choose_engine("numpy", *parts))
try:
    choose_engine("compiled", *parts)
except ModuleNotFoundError as error:
    print(error)
"""


def test_without_numba() -> None:
    """``auto`` is NumPy, and ``compiled`` tells what to install; importing the module needs no numba."""
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "numpy numpy",
        "engine=\"compiled\" needs numba; add it with: pip install 'bpfunc[fast]'",
    ]
