"""Estimators as bytes: a safetensors file of the training state, and facts in its header."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import attrs
import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from bpfunc.interop.estimator_facts import (
    FITTED,
    LABELS,
    EstimatorFacts,
    from_json,
    label_array,
    label_values,
    read_facts,
    to_json,
    write_facts,
)
from bpfunc.interop.safetensors import from_safetensors, to_safetensors
from bpfunc.interop.sklearn.parameters import _dtype
from bpfunc.keys import Key

if TYPE_CHECKING:
    from bpfunc.interop.sklearn.estimator import _Backprop

EstimatorT = TypeVar("EstimatorT", bound="_Backprop")
SMALLEST_ENTRY = 60
"""Bytes that a tensor's name, dtype, shape and place take at least in the header of a file."""


def _plain(fitted: object) -> object:
    """A fitted attribute as JSON holds it: a number, text, None or a list of numbers."""
    return [to_json(item) for item in fitted] if isinstance(fitted, list) else to_json(fitted)


def _estimator_bytes(estimator: _Backprop) -> bytes:
    check_is_fitted(estimator)
    params, functions = {}, []
    for name, value in estimator.get_params(deep=False).items():
        try:
            params[name] = to_json(value)
        except TypeError:
            functions.append(name)
    facts = EstimatorFacts(
        estimator=type(estimator).__name__,
        params=params,
        functions=functions,
        dtype=_dtype(estimator.state_).name,
        seed=estimator.state_.key.seed,
        path=list(estimator.state_.key.path),
        fitted={name: _plain(getattr(estimator, name)) for name in FITTED},
        engine=estimator.engine_,
        labels={name: label_values(name, getattr(estimator, name)) for name in LABELS if hasattr(estimator, name)},
    )
    return to_safetensors(estimator.state_, metadata=write_facts(facts))


def _read_estimator(cls: type[EstimatorT], data: bytes, params: dict[str, object]) -> EstimatorT:
    facts = read_facts(data, cls.__name__)
    missing = sorted(set(facts.functions) - params.keys())
    if missing:
        raise ValueError(f"functions are not in the file; give from_bytes these parameters again: {missing}")
    if issubclass(cls, ClassifierMixin) != ("classes_" in facts.labels):
        raise ValueError(f"these bytes hold no {cls.__name__} that to_bytes wrote")
    estimator = cls()
    for name, value in facts.fitted.items():
        setattr(estimator, name, value)
    estimator.engine_ = facts.engine
    for name, labels in facts.labels.items():
        setattr(estimator, name, label_array(*labels))
    try:
        estimator.set_params(**{name: from_json(value) for name, value in facts.params.items()} | params)
        estimator._check_parameters(incremental=False)
        estimator._loss()
    except ValueError as error:
        raise ValueError(str(error)[:500]) from None  # what a file says may be long
    sizes = estimator._sizes()
    # A header can name any size; memory is taken only for what the file can hold. Each layer has two tensors.
    needed = sum((fan_in + 1) * width * 4 + 2 * SMALLEST_ENTRY for fan_in, width in pairwise(sizes))
    if needed > len(data):
        raise ValueError(f"the file is too small for a network of {str(sizes)[:80]} units")
    state = from_safetensors(data, estimator._new_state(np.dtype(facts.dtype), Key(0)))
    estimator.state_ = attrs.evolve(state, key=Key(facts.seed, tuple(facts.path)))
    return estimator
