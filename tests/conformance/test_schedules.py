"""Every schedule against optax or torch, at each of 100 steps and past the end."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

import numpy as np
import pytest

from bpfunc.transforms import schedules
from bpfunc.transforms.schedules import Schedule

optax = pytest.importorskip("optax")
torch = pytest.importorskip("torch")

STEPS = 130


def _one_cycle(optimizer: object) -> object:
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.5, total_steps=101, pct_start=0.3)


def by_torch(make: Callable[[object], object], *, steps: int = STEPS) -> Callable[[int], float]:
    """The learning rates that a torch scheduler sets, step by step."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler, rates = make(optimizer), []
    for step in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step + 1 < steps:
            scheduler.step()
    return lambda step: rates[step]


s = schedules
lr = torch.optim.lr_scheduler
ORACLES: dict[str, list[tuple[Schedule, Callable[[int], float], int]]] = {
    "constant": [(s.constant(0.3), optax.constant_schedule(0.3), STEPS)],
    "linear": [(s.linear(0.1, 0.9, 70), optax.linear_schedule(0.1, 0.9, 70), STEPS)],
    "polynomial": [
        (s.polynomial(1.0, 0.1, 70, power=2.5), optax.polynomial_schedule(1.0, 0.1, 2.5, 70), STEPS),
    ],
    "step_decay": [(s.step_decay(1.0, 0.5, 30), by_torch(lambda o: lr.StepLR(o, 30, 0.5)), STEPS)],
    "exponential": [(s.exponential(0.5, 0.3, 40), optax.exponential_decay(0.5, 40, 0.3), STEPS)],
    "piecewise": [
        (
            s.piecewise([1.0, 0.1, 0.01], [30, 80]),
            by_torch(lambda o: lr.MultiStepLR(o, [30, 80], 0.1)),
            STEPS,
        )
    ],
    "cosine": [(s.cosine(0.7, 90, end=0.07), optax.cosine_decay_schedule(0.7, 90, alpha=0.1), STEPS)],
    "warm_restarts": [
        (
            s.warm_restarts(1.0, 10, growth=2, end=0.1),
            by_torch(lambda o: lr.CosineAnnealingWarmRestarts(o, 10, 2, eta_min=0.1)),
            STEPS,
        ),
        (s.warm_restarts(1.0, 10), by_torch(lambda o: lr.CosineAnnealingWarmRestarts(o, 10)), STEPS),
    ],
    "warm_up": [
        (
            s.warm_up(s.cosine(1.0, 100), 20),
            optax.warmup_cosine_decay_schedule(0.0, 1.0, 20, 120),
            STEPS,
        )
    ],
    # torch's peak lies at pct_start * total_steps - 1: with 101 steps and 0.3 at 29.3, a part of 0.293 of our 100.
    "one_cycle": [(s.one_cycle(0.5, 100, warm=0.293), by_torch(_one_cycle, steps=101), 101)],
    "join": [
        (
            s.join([s.linear(0.0, 1.0, 10), s.cosine(1.0, 50), s.constant(0.2)], [10, 60]),
            optax.join_schedules(
                [
                    optax.linear_schedule(0.0, 1.0, 10),
                    optax.cosine_decay_schedule(1.0, 50),
                    optax.constant_schedule(0.2),
                ],
                [10, 60],
            ),
            STEPS,
        )
    ],
}
CASES = [(name, case) for name, cases in ORACLES.items() for case in range(len(cases))]


def test_every_member_has_an_oracle() -> None:
    """A schedule added without an oracle fails here; `as_schedule` is a conversion and makes none."""
    functions = {name: member for name, member in vars(schedules).items() if inspect.isfunction(member)}
    own = {name for name, member in functions.items() if member.__module__ == schedules.__name__ and name[0] != "_"}
    assert own - {"as_schedule"} == ORACLES.keys()


@pytest.mark.parametrize(("name", "case"), CASES)
def test_values(name: str, case: int) -> None:
    """Each step's value agrees with the oracle's to 1e-9, and is a float."""
    ours, oracle, steps = ORACLES[name][case]
    mine = [ours(step) for step in range(steps)]
    assert all(type(value) is float and math.isfinite(value) for value in mine)
    # optax computes its schedules in float32 unless told otherwise.
    np.testing.assert_allclose(mine, [float(oracle(step)) for step in range(steps)], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda: s.linear(1.0, 0.0, 0),
        lambda: s.polynomial(1.0, 0.0, 10, power=0.0),
        lambda: s.step_decay(1.0, 0.1, 0),
        lambda: s.exponential(1.0, 0.0, 10),
        lambda: s.cosine(1.0, 0),
        lambda: s.warm_restarts(1.0, 10, growth=0),
        lambda: s.warm_up(1.0, 0),
        lambda: s.one_cycle(1.0, 100, warm=1.0),
        lambda: s.piecewise([1.0], [10]),
        lambda: s.join([s.constant(1.0)] * 3, [10, 10]),
    ],
)
def test_arguments_out_of_range_are_refused(make: Callable[[], Schedule]) -> None:
    """A setting that makes no sense is an error where it is given."""
    with pytest.raises(ValueError, match=r"got|see its docstring"):
        make()
