"""Schedules at the edges: what grows ends in infinity, what falls in 0, and no step ends in an error."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from inspect import signature

import numpy as np
import pytest
from hypothesis import given, strategies as st

import bpfunc as bp
from bpfunc.arrays.ranges import times_power
from bpfunc.interop.mlp_parts import inverse_scaling
from tests.bpfunc.members import makers

SCHEDULES = makers("Schedule")
GROWING = {"value": 1, "factor": 3.0, "start": 0.1, "growth": 3}
FAR = (0, 1, 9, 10, 11, 1000, 10**6, 10**15)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("growing", [False, True])
def test_every_step_has_a_value(name: str, growing: bool) -> None:
    """However far the step, a schedule gives a number, which is not NaN."""
    options = GROWING if growing else {}
    known = {k: v for k, v in options.items() if k in signature(getattr(bp.transforms.schedules, name)).parameters}
    schedule = SCHEDULES[name](**known)
    for step in FAR:
        value = float(schedule(step))
        assert not math.isnan(value), step
    if growing and name in ("exponential", "step_decay"):
        assert schedule(10**6) == math.inf


FALLS = {
    "linear": lambda start, end: bp.linear(start, end, 10),
    "polynomial": lambda start, end: bp.polynomial(start, end, 10, power=2.0),
    "cosine": lambda start, end: bp.cosine(start, 10, end=end),
    "warm_restarts": lambda start, end: bp.transforms.schedules.warm_restarts(start, 10, end=end),
    "warm_up": lambda start, end: bp.transforms.schedules.warm_up(end, 10, start=start),
}


@pytest.mark.parametrize("name", FALLS)
@pytest.mark.parametrize("start", [1e308, -1.7e308, 1e-320])
def test_ends_too_far_apart_to_subtract(name: str, start: float) -> None:
    """Every step lies between the ends, also where their difference is no number."""
    schedule = FALLS[name](start, -start)
    values = [schedule(step) for step in range(10)]
    assert values[0] == start
    assert all(-abs(start) <= value <= abs(start) for value in values)


def test_a_cycle_with_a_huge_peak() -> None:
    """Half a cosine between two large numbers is finite."""
    cycle = bp.one_cycle(1.7e308, 10)
    assert all(0 < cycle(step) <= 1.7e308 for step in range(12))


@pytest.mark.parametrize("name", sorted(set(SCHEDULES) - {"exponential"}))
def test_steps_beyond_floating_numbers(name: str) -> None:
    """A step is a whole number of any size."""
    assert math.isfinite(SCHEDULES[name]()(10**400))


@given(
    st.sampled_from([0.0, 1e-300, 1e-3, 1.0, -2.0, 1e300]),
    st.sampled_from([0.1, 0.999, 1.0, 2.0, 10.0, 1e200]),
    st.integers(-900, 900),
)
def test_powers_against_decimals(value: float, base: float, exponent: int) -> None:
    """A product that a number holds is right, though its power may not be one."""
    with localcontext() as context:
        context.prec, context.Emax, context.Emin = 30, 10**9, -(10**9)
        exact = Decimal(value) * Decimal(base) ** exponent
    found = times_power(value, base, exponent)
    if abs(exact) > Decimal("1.8e308"):
        assert found == math.copysign(math.inf, value)
    else:
        assert found == pytest.approx(float(exact), rel=1e-12, abs=5e-324)


def test_rates_of_the_estimator_fall_to_nothing() -> None:
    """A power that no number holds makes the rate 0."""
    assert inverse_scaling(1.0, 500.0, rows=10**6, per_epoch=1)(3) == 0.0
    noisy = bp.add_noise(bp.Key(0), 1.0, decay=1000.0)
    assert noisy.update((np.ones(2),), (), (), 10**6)[0][0].tolist() == [1.0, 1.0]
