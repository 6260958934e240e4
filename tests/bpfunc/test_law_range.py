"""The law of ranges: every number that a docstring bounds is refused outside, with one form of message.

The bounds are found in the ``Args`` of the docstrings: "above 0", "at least 1", "in [0, 1)", "from 2 to ...", "finite".
Each is tried with numbers on the wrong side, NaN, infinity and things that are not numbers. A bound that is documented
later is covered as soon as it is written down; a floating setting whose docstring bounds nothing is found too.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

import bpfunc as bp
from bpfunc.arrays.ranges import number, whole
from bpfunc.gradient.data_parallel import Alone
from bpfunc.interop import mlp_parts
from tests.bpfunc.members import called, functions_of, public_functions

OTHER_KINDS: list[Any] = ["0.5", None, True, 1j, [0.5], np.array([0.5]), {}]
NOT_FINITE = [float("nan"), float("inf"), -float("inf")]
DATA = bp.Batch(np.zeros((6, 4)), np.eye(3)[np.arange(6) % 3])
GIVEN: dict[str, dict[str, Any]] = {
    "augmented": {"batches": [DATA], "augmentation": lambda key, batch: batch},
    "epoch_batches": {"data": DATA, "epoch": 0, "batch_size": 2},
    "batches_per_epoch": {"rows": 6, "batch_size": 2},
    "early_stopping": {"records": [1.0], "score": lambda record: record, "patience": 2},
    "every": {"records": [], "count": 2, "action": lambda record: None},
    "split": {},
    "fold_in": {"number": 1},
    "uniform": {"low": 0.0, "high": 3.0},
    "permutation": {"count": 3},
    "share_of": {"rows": 3, "comm": Alone()},
    "train_validation_split": {"data": DATA, "fraction": 0.5},
    "k_fold": {"data": DATA, "folds": 2},
    "focal_cross_entropy": {"outputs": np.zeros((1, 2)), "targets": np.array([0])},
    "huber_errors": {"outputs": np.zeros((1, 2)), "targets": np.zeros((1, 2))},
    "dropout_factor": {"x": np.ones(2)},
    "rotated": {"images": np.zeros((1, 2, 2)), "angles": np.zeros(1)},
    "check_projection": {"f": lambda x: x, "vjp": lambda dy: dy, "x": np.ones(1), "key": bp.Key(0)},
    "check_sweep": {"f": lambda x: float(x.sum()), "grads": np.ones(1), "x": np.ones(1)},
    "gradcheck": {
        "model": bp.dense(1),
        "loss": bp.squared_error(),
        "params": bp.DenseParams(np.ones((1, 1)), np.zeros(1)),
        "state": (),
        "batch": bp.Batch(np.ones((1, 1)), np.ones((1, 1))),
        "ctx": bp.INFERENCE,
    },
    "train": {
        "step": lambda state, batch: (state, bp.StepMetrics(bp.Mean(0.0, 1.0), bp.Mean(0.0, 1.0))),
        "state": 0,
        "batches": lambda epoch: [None],
        "epochs": 0,
    },
    "network": {"sizes": (2, 3), "activation": "relu", "dtype": np.float32},
    "inverse_scaling": {"rows": 6, "per_epoch": 2, "power": 0.5},
    "until_converged": {"stage": lambda rate, state, done: iter(()), "state": None, "score": float, "patience": 2.0},
}
"""What a function needs beside the argument that is tried, where `members.ARGUMENTS` does not say."""
ELSEWHERE = {
    "standardize": "an op: checked by the layers that take it",
}
UNBOUNDED = {
    "times_power": "the arithmetic below the checks",
    "padded": "the arithmetic below the checks: the padding of a maximum is minus infinity",
    "assert_trees_close": "as in numpy.allclose",
    "tree_allclose": "as in numpy.allclose",
    "tree_scale": "arithmetic: infinity and NaN are numbers to multiply by",
    "warm_up": "a number or a schedule, checked by as_schedule",
    "inverse_scaling": "a rate that the estimator checked",
    "until_converged": "may be infinite",
}
"""Functions with a floating argument that may be any number."""
BOUND = re.compile(
    r"(?P<above>above (?P<floor>-?[\d.]+))|(?P<least>at least (?P<least_of>\d+))|(?P<interval>in [\[(][\d., ]+[\])])"
    r"|(?P<from>from (?P<from_of>\d+) to)|(?P<finite>\bfinite\b)",
    re.IGNORECASE,
)


class Bounded(NamedTuple):
    """An argument whose docstring bounds it."""

    function: Callable[..., Any]
    name: str
    whole: bool
    outside: tuple[float, ...]


def described(function: Callable[..., Any]) -> Iterator[tuple[str, str]]:
    """Argument and description, from the ``Args`` of a docstring."""
    text = inspect.getdoc(function) or ""
    section = re.search(r"^Args:\n((?:    .*\n|\n)*)", text + "\n", re.MULTILINE)
    for name, words in re.findall(r"^    (\w+): (.*(?:\n {6,}.*)*)", section[1] if section else "", re.MULTILINE):
        yield name, " ".join(words.split())


def outside(words: str) -> tuple[float, ...] | None:
    """Numbers that a description rules out; None where it bounds nothing."""
    found = BOUND.search(words)
    if found is None:
        return None
    if found["finite"]:
        return ()
    if found["above"]:
        return (float(found["floor"]), float(found["floor"]) - 1)
    if found["least"] or found["from"]:
        least = float(found["least_of"] or found["from_of"])
        return (least - 1, -1.0) if "0 (" not in words and not words.startswith("0 ") else (0.5, -1.0)
    low, high = (float(end) for end in found["interval"][4:-1].split(", "))
    edges = ((low,) if found["interval"][3] == "(" else ()) + ((high,) if found["interval"][-1] == ")" else ())
    return (*edges, low - 1, high + 1)


def bounded() -> dict[str, Bounded]:
    """Every bounded number of every public function."""
    found = {}
    functions = [*public_functions().values(), *functions_of(mlp_parts).values()]
    for function in functions:
        if function.__name__ in ELSEWHERE:
            continue
        for name, words in described(function):
            parameter = inspect.signature(function).parameters.get(name)
            if parameter is None or str(parameter.annotation).split(" | ")[0] not in ("int", "float"):
                continue
            wrong = outside(words)
            if wrong is not None:
                key = f"{function.__module__.rpartition('.')[2]}.{function.__name__}-{name}"
                found[key] = Bounded(function, name, parameter.annotation == "int", wrong)
    return found


MEMBERS = bounded()


def call(member: Bounded, value: object) -> Any:
    """Call the function with the argument tried, and read what comes lazily."""
    result = called(member.function, **(GIVEN.get(member.function.__name__, {}) | {member.name: value}))
    return list(result) if inspect.isgenerator(result) else result


@pytest.mark.parametrize("name", MEMBERS)
def test_outside_is_refused(name: str) -> None:
    """Too small, too large, at an end that does not belong, NaN, infinite, or no number at all: one form of message."""
    member = MEMBERS[name]
    wrong = [int(value) if member.whole and value.is_integer() else value for value in member.outside]
    for value in (*wrong, *NOT_FINITE, *OTHER_KINDS, *([1.5, 2.0] if member.whole else [])):
        if value is None and inspect.signature(member.function).parameters[member.name].default is None:
            continue
        article = r"(an? )?"
        with pytest.raises(
            ValueError, match=rf"^\w+ takes {article}{member.name} (of|above|in|that is) .*, got "
        ) as caught:
            call(member, value)
        if not isinstance(value, int | float) or isinstance(value, bool):
            assert str(caught.value).endswith("number")


@pytest.mark.parametrize("name", MEMBERS)
def test_numbers_of_numpy_are_numbers(name: str) -> None:
    """A setting out of an array is taken like Python's own: float64, float32, a whole number for a float."""
    member = MEMBERS[name]
    if member.whole:
        call(member, np.int64(3))
        call(member, np.uint8(3))
        return
    inside = {
        "beta1",
        "beta2",
        "decay",
        "dropout",
        "momentum",
        "momentum_decay",
        "rate",
        "warm",
        "label_smoothing",
        "fraction",
    }
    value = 0.5 if member.name in inside or "probability" in member.name else 2.0
    for kind in (np.float64, np.float32, np.float16, np.array):
        call(member, kind(value))


def test_every_floating_setting_is_bounded() -> None:
    """A number that a docstring leaves open would be taken as it comes: text, NaN, an array."""
    free = {
        f"{function.__name__}({name})"
        for function in public_functions().values()
        for name, parameter in inspect.signature(function).parameters.items()
        if "float" in str(parameter.annotation).split(" | ")
        and f"{function.__module__.rpartition('.')[2]}.{function.__name__}-{name}" not in MEMBERS
        and function.__name__ not in UNBOUNDED | ELSEWHERE
    }
    assert not free


def test_members_are_found() -> None:
    """The law reads docstrings: were their form to change, it would find nothing and pass."""
    assert len(MEMBERS) >= 100
    for name in ("optimizers.sgd-learning_rate", "keys.fold_in-number", "augment.mixup-alpha", "splits.k_fold-folds"):
        assert name in MEMBERS


def test_planted_violation_is_found() -> None:
    """A function that documents a bound and does not hold it is caught; so is one with a message of its own."""

    def careless(rate: float) -> float:
        return rate

    def wordy(rate: float) -> float:
        if not 0 <= rate < 1:
            raise ValueError(f"the rate {rate} is bad")
        return rate

    for function in (careless, wordy):
        MEMBERS["planted"] = Bounded(function, "rate", False, (-1.0, 1.0))
        try:
            with pytest.raises((AssertionError, pytest.fail.Exception)):
                test_outside_is_refused("planted")
        finally:
            del MEMBERS["planted"]


def test_intervals() -> None:
    """Ends belong or not as their brackets say."""
    for value, interval, inside in (
        (0.0, "[0, 1)", True),
        (1.0, "[0, 1)", False),
        (0.0, "(0, 1]", False),
        (1.0, "(0, 1]", True),
        (5e-324, "(0, inf)", True),
        (3.0, "[2, 1]", False),
        (2.0, "[2, 1]", False),
        (10**400, "[0, inf)", False),
        (-(10**400), "(-inf, inf)", False),
    ):
        if inside:
            assert number("f", "x", value, interval) == value
        else:
            with pytest.raises(ValueError, match="f takes a x"):
                number("f", "x", value, interval)
    assert type(whole("f", "n", np.int64(2), "[1, 2]")) is int
