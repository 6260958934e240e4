"""What travels beside an estimator's tensors, as JSON text in a safetensors header: values, never code."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import attrs
import numpy as np
from attrs.validators import deep_iterable, ge, in_, instance_of
from numpy.typing import NDArray

from bpfunc.interop.safetensors import safetensors_metadata

FORMAT = "bpfunc.interop.sklearn/1"
"""Names the format, and its version."""
FIELD = "bpfunc"
"""Under which name the JSON stands in the header."""
NUMBER = "number"
"""Under which name the text of a number stands that JSON does not have."""
FITTED: dict[str, type | tuple[type, ...]] = {
    "n_features_in_": int,
    "n_outputs_": int,
    "out_activation_": str,
    "n_iter_": int,
    "t_": int,
    "loss_curve_": list,
    "best_loss_": (float, type(None)),
    "validation_scores_": (list, type(None)),
    "best_validation_score_": (float, type(None)),
}
"""Fitted attributes that are numbers, text or lists of numbers."""
LABELS = ("feature_names_in_", "classes_")
"""Fitted attributes that are arrays of labels, where they are there at all."""


def _is_mapping_of_text(facts: object, attribute: object, value: object) -> None:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise TypeError(f"expected names and values, found {value!r}")


def _is_fitted(facts: object, attribute: object, value: dict[str, object]) -> None:
    _is_mapping_of_text(facts, attribute, value)
    if value.keys() != FITTED.keys() or not all(isinstance(value[name], kind) for name, kind in FITTED.items()):
        raise TypeError(f"expected {list(FITTED)}, found {value!r}")
    if not all(isinstance(item, float) for items in value.values() if isinstance(items, list) for item in items):
        raise TypeError("expected lists of numbers")


def _are_labels(facts: object, attribute: object, value: dict[str, object]) -> None:
    _is_mapping_of_text(facts, attribute, value)
    for name, entry in value.items():
        if name not in LABELS or not isinstance(entry, list | tuple) or len(entry) != 2:
            raise TypeError(f"expected dtype and values, found {name} {entry!r}")
        label_array(*entry)


@attrs.frozen
class EstimatorFacts:
    """All that an estimator is besides its training state.

    Args:
        estimator: Name of its class.
        params: Its parameters in the form of `to_json`, but for those that are functions.
        functions: Names of those.
        dtype: Of the network's numbers.
        seed: Of the training's key.
        path: Of the training's key.
        fitted: What `FITTED` names.
        labels: Of what `LABELS` names, dtype and values.
        format: `FORMAT`.

    Raises:
        TypeError: A field has another type, as in a file that somebody made up.
        ValueError: A number is out of range, or labels do not fit their dtype.
    """

    estimator: str = attrs.field(validator=instance_of(str))
    params: dict[str, object] = attrs.field(validator=_is_mapping_of_text)
    functions: list[str] = attrs.field(validator=deep_iterable(instance_of(str)))
    dtype: str = attrs.field(validator=in_(("float32", "float64")))
    seed: int = attrs.field(validator=[instance_of(int), ge(0)])
    path: list[int] = attrs.field(validator=deep_iterable(instance_of(int)))
    fitted: dict[str, object] = attrs.field(validator=_is_fitted)
    labels: dict[str, tuple[str, list[object]]] = attrs.field(validator=_are_labels)  # pyright: ignore[reportAssignmentType]
    format: str = attrs.field(default=FORMAT, validator=instance_of(str))


def write_facts(facts: EstimatorFacts) -> dict[str, str]:
    """Bring facts into the form of a file's metadata.

    Args:
        facts: Any.

    Returns:
        What `bpfunc.interop.safetensors.to_safetensors` takes as metadata.

    Example:
        >>> fitted = {name: kind() for name, kind in FITTED.items() if isinstance(kind, type)}
        >>> fitted |= {name: None for name in FITTED.keys() - fitted.keys()}
        >>> facts = EstimatorFacts("Some", {}, [], "float32", 0, [], fitted, {})
        >>> list(write_facts(facts))
        ['bpfunc']
    """
    return {FIELD: json.dumps(_named(attrs.asdict(facts)), allow_nan=False)}


def _named(value: object) -> object:
    """Name the numbers that JSON does not have, as the best loss before the first epoch."""
    if isinstance(value, float) and not math.isfinite(value):
        return {NUMBER: str(value)}
    if isinstance(value, dict):
        return {name: _named(item) for name, item in value.items()}
    return [_named(item) for item in value] if isinstance(value, list | tuple) else value


def _number(value: dict[str, object]) -> object:
    return float(str(value[NUMBER])) if value.keys() == {NUMBER} else value


def read_facts(data: bytes, estimator: str) -> EstimatorFacts:
    """Read the facts of a file.

    Args:
        data: Its bytes.
        estimator: Name of the class that the file must hold.

    Returns:
        The facts.

    Raises:
        ValueError: These bytes hold no such estimator.

    Example:
        >>> from bpfunc.interop.safetensors import to_safetensors
        >>> fitted = {name: kind() for name, kind in FITTED.items() if isinstance(kind, type)}
        >>> fitted |= {name: None for name in FITTED.keys() - fitted.keys()}
        >>> facts = EstimatorFacts("Some", {}, [], "float32", 0, [], fitted, {})
        >>> read_facts(to_safetensors((), metadata=write_facts(facts)), "Some") == facts
        True
    """
    metadata = safetensors_metadata(data)
    try:
        facts = EstimatorFacts(**json.loads(metadata[FIELD], object_hook=_number))
    except (KeyError, TypeError, ValueError):
        raise ValueError("these bytes hold no estimator that to_bytes wrote") from None
    if (facts.format, facts.estimator) != (FORMAT, estimator):
        raise ValueError(f"expected {FORMAT} {estimator}, found {facts.format} {facts.estimator}")
    return facts


def to_json(value: object) -> object:
    """Bring a parameter into a form that JSON holds.

    Args:
        value: None, a number, text, a NumPy scalar or floating type, or a sequence or mapping of them.

    Returns:
        Numbers, text, lists; a mapping as its pairs, because JSON's keys are text.

    Raises:
        TypeError: It is something else, such as a function.

    Example:
        >>> to_json({np.int64(1): 0.5}), to_json((100, 50)), to_json(np.float32)
        ({'pairs': [[1, 0.5]]}, [100, 50], 'float32')
    """
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, type) and issubclass(value, np.floating):
        return np.dtype(value).name
    if isinstance(value, Mapping):
        return {"pairs": [[to_json(name), to_json(item)] for name, item in value.items()]}
    if isinstance(value, list | tuple | np.ndarray):
        return [to_json(item) for item in value]
    raise TypeError(f"no file holds {value!r}")


def from_json(value: object) -> object:
    """Bring back what `to_json` was given.

    Args:
        value: From `to_json`.

    Returns:
        The parameter; every sequence is a tuple.

    Example:
        >>> from_json(to_json({1: 0.5})), from_json(to_json([100, 50]))
        ({1: 0.5}, (100, 50))
    """
    if isinstance(value, dict):
        return dict(value["pairs"])
    return tuple(value) if isinstance(value, list) else value


def label_values(name: str, labels: NDArray[np.generic]) -> tuple[str, list[object]]:
    """Bring an array of labels into a form that JSON holds.

    Args:
        name: For the message.
        labels: (K,) numbers, text or truth values, also as objects.

    Returns:
        Its dtype and its values, for `label_array`.

    Raises:
        ValueError: The labels are something else.

    Example:
        >>> label_values("classes_", np.array(["no", "yes"]))
        ('<U3', ['no', 'yes'])
    """
    dtype, values = labels.dtype.str, labels.tolist()
    try:
        label_array(dtype, values)
    except ValueError:
        raise ValueError(f"{name} are neither numbers nor text, so no file holds them: {values[:3]}") from None
    return dtype, values


def label_array(dtype: str, values: list[object]) -> NDArray[np.generic]:
    """Bring labels back from what `label_values` made of them.

    Args:
        dtype: Of the array.
        values: Its values.

    Returns:
        (K,) labels.

    Raises:
        ValueError: They are neither numbers nor text, or do not fit the dtype.

    Example:
        >>> label_array("<U3", ["no", "yes"])
        array(['no', 'yes'], dtype='<U3')
    """
    try:
        scalars = isinstance(values, list) and all(isinstance(value, int | float | str) for value in values)
        if scalars and np.dtype(dtype).kind in "biufUO":
            return np.array(values, dtype)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(f"these are no labels of the type {dtype}: {values}")
