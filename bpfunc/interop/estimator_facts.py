"""What travels beside an estimator's tensors, as JSON text in a safetensors header: values, never code."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import get_args

import attrs
import numpy as np
from attrs.validators import deep_iterable, ge, in_, instance_of
from numpy.typing import NDArray

from bpfunc.compiled.choice import Engine
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
OUTPUTS = ("identity", "logistic", "softmax")
"""What becomes of the outputs."""
ROOM_FOR_LABELS = 4096
"""Bytes that an array of labels may take beyond `GROWTH` times its text."""
GROWTH = 64
"""How many bytes an array of labels may take for each character of them: each is as wide as the array's type says."""


def _is_mapping_of_text(facts: object, attribute: object, value: object) -> None:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise TypeError("expected names and values")


def _is_fitted(facts: object, attribute: object, value: dict[str, object]) -> None:
    _is_mapping_of_text(facts, attribute, value)
    if value.keys() != FITTED.keys() or not all(isinstance(value[name], kind) for name, kind in FITTED.items()):
        raise TypeError(f"expected {list(FITTED)} of their types")
    if not all(isinstance(item, float) for items in value.values() if isinstance(items, list) for item in items):
        raise TypeError("expected lists of numbers")
    counts = [value[name] for name, kind in FITTED.items() if kind is int]
    if not all(type(count) is int and 1 <= count < 2**53 for count in counts) or not value["loss_curve_"]:
        raise ValueError("expected counts of at least 1")
    if value["out_activation_"] not in OUTPUTS:
        raise ValueError(f"expected one of {OUTPUTS}")


def _are_labels(facts: EstimatorFacts, attribute: object, value: dict[str, object]) -> None:
    """Labels fit their dtype, and there are as many as the network has inputs or outputs."""
    _is_mapping_of_text(facts, attribute, value)
    fitted = facts.fitted
    single = fitted["out_activation_"] == "logistic" and fitted["n_outputs_"] == 1
    counts = {"feature_names_in_": fitted["n_features_in_"], "classes_": 2 if single else fitted["n_outputs_"]}
    for name, entry in value.items():
        if name not in LABELS or not isinstance(entry, list | tuple) or len(entry) != 2:
            raise TypeError("expected dtype and values of labels")
        if len(label_array(*entry)) != counts[name]:
            raise ValueError(f"expected {counts[name]} {name}")
    if ("classes_" in value) != (fitted["out_activation_"] != "identity"):
        raise ValueError("expected classes of a classifier, and of no other")


@attrs.frozen
class EstimatorFacts:
    """All that an estimator is besides its training state.

    Args:
        estimator: Name of its class.
        params: Its parameters in the form of `to_json`, except those that are functions.
        functions: Names of those.
        dtype: Data type of the network's numbers.
        seed: Seed of the training's key.
        path: Path of the training's key.
        fitted: What `FITTED` names.
        labels: Dtype and values of the arrays that `LABELS` names.
        engine: What ran the training; files of earlier versions do not name it, and NumPy ran theirs.
        format: `FORMAT`.

    Raises:
        TypeError: A field has another type, as in a forged file.
        ValueError: A number is out of range, labels do not fit their dtype, or there are more or fewer than outputs.
    """

    estimator: str = attrs.field(validator=instance_of(str))
    params: dict[str, object] = attrs.field(validator=_is_mapping_of_text)
    functions: list[str] = attrs.field(validator=deep_iterable(instance_of(str)))
    dtype: str = attrs.field(validator=in_(("float32", "float64")))
    seed: int = attrs.field(validator=[instance_of(int), ge(0)])
    path: list[int] = attrs.field(validator=deep_iterable(instance_of(int)))
    fitted: dict[str, object] = attrs.field(validator=_is_fitted)
    labels: dict[str, tuple[str, list[object]]] = attrs.field(validator=_are_labels)  # pyright: ignore[reportAssignmentType]
    engine: Engine = attrs.field(default="numpy", validator=in_(get_args(Engine)))
    format: str = attrs.field(default=FORMAT, validator=instance_of(str))


def write_facts(facts: EstimatorFacts) -> dict[str, str]:
    """Bring facts into the form of a file's metadata.

    Args:
        facts: Any.

    Returns:
        What `bpfunc.interop.safetensors.to_safetensors` takes as metadata.

    Example:
        >>> fitted = {name: None if isinstance(kind, tuple) else 1 for name, kind in FITTED.items()}
        >>> fitted |= {"loss_curve_": [0.5], "out_activation_": "identity"}
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
        >>> fitted = {name: None if isinstance(kind, tuple) else 1 for name, kind in FITTED.items()}
        >>> fitted |= {"loss_curve_": [0.5], "out_activation_": "identity"}
        >>> facts = EstimatorFacts("Some", {}, [], "float32", 0, [], fitted, {})
        >>> read_facts(to_safetensors((), metadata=write_facts(facts)), "Some") == facts
        True
    """
    metadata = safetensors_metadata(data)
    try:
        facts = EstimatorFacts(**json.loads(metadata[FIELD], object_hook=_number))
    except (KeyError, OverflowError, RecursionError, TypeError, ValueError):
        raise ValueError("these bytes hold no estimator that to_bytes wrote") from None
    if (facts.format, facts.estimator) != (FORMAT, estimator):
        raise ValueError(f"expected {FORMAT} {estimator}, found {facts.format} {facts.estimator}")
    return facts


def is_text(text: str) -> bool:
    """Whether a text is valid Unicode: halves of characters have no form in a file, and JSON makes one of two.

    Args:
        text: Any text.

    Returns:
        Whether UTF-8 holds it.

    Example:
        >>> is_text("a"), is_text("\\ud83d")
        (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def to_json(value: object) -> object:
    """Bring a parameter into a form that JSON holds.

    Args:
        value: None, a number, text, a NumPy scalar or floating type, or a sequence or mapping of them.

    Returns:
        Numbers, text, lists for tuples; anything else as the only entry of a dict that says what it is.

    Raises:
        TypeError: It is something else, such as a function.

    Example:
        >>> to_json({np.int64(1): 0.5}), to_json((100, 50)), to_json([100, 50]), to_json(np.float32)
        ({'pairs': [[1, 0.5]]}, [100, 50], {'list': [100, 50]}, {'floating': 'float32'})
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float) or (isinstance(value, str) and is_text(value)):
        return value
    if isinstance(value, type) and issubclass(value, np.floating):
        return {"floating": np.dtype(value).name}
    if isinstance(value, Mapping):
        return {"pairs": [[to_json(name), to_json(item)] for name, item in value.items()]}
    if isinstance(value, list | tuple | np.ndarray):
        items = [to_json(item) for item in value]
        return {"list": items} if isinstance(value, list) else items
    raise TypeError(f"no file holds {value!r}")


def from_json(value: object) -> object:
    """Bring back what `to_json` was given.

    Args:
        value: From `to_json`.

    Returns:
        The parameter; an array is a tuple.

    Raises:
        ValueError: It is not from `to_json`.

    Example:
        >>> from_json(to_json({1: 0.5})), from_json(to_json([100, 50])), from_json(to_json((100, 50)))
        ({1: 0.5}, [100, 50], (100, 50))
    """
    if isinstance(value, list):
        return tuple(from_json(item) for item in value)
    if not isinstance(value, dict):
        return value
    match value:
        case {"pairs": [*pairs], **rest} if not rest and all(
            isinstance(pair, list) and len(pair) == 2 for pair in pairs
        ):
            return {_hashable(from_json(name)): from_json(item) for name, item in pairs}
        case {"list": [*items], **rest} if not rest:
            return [from_json(item) for item in items]
        case {"floating": ("float16" | "float32" | "float64") as name, **rest} if not rest:
            return np.dtype(name).type
    raise ValueError(f"no parameter that to_bytes wrote: {str(value)[:80]}")


def _hashable(name: object) -> object:
    try:
        hash(name)
    except TypeError:
        raise ValueError(f"no name of an entry: {str(name)[:80]}") from None
    return name


def label_values(name: str, labels: NDArray[np.generic]) -> tuple[str, list[object]]:
    """Bring an array of labels into a form that JSON holds.

    Args:
        name: For the message.
        labels: (K,) numbers, text or truth values, also as objects.

    Returns:
        Its dtype and its values, for `label_array`.

    Raises:
        ValueError: The labels are something else, or text in an array that is far wider than the longest.

    Example:
        >>> label_values("classes_", np.array(["no", "yes"]))
        ('<U3', ['no', 'yes'])
    """
    dtype, values = (
        labels.dtype.str,
        [value.item() if isinstance(value, np.generic) else value for value in labels.tolist()],
    )
    if _is_too_wide(labels.dtype, values):
        raise ValueError(f"{name} are of the type {dtype}, far wider than they need, so no file holds them")
    try:
        label_array(dtype, values)
    except ValueError:
        found = str(values[:3])[:80]
        raise ValueError(f"{name} are neither numbers nor text, so no file holds them: {found}") from None
    return dtype, values


def label_array(dtype: str, values: list[object]) -> NDArray[np.generic]:
    """Bring labels back from what `label_values` made of them.

    Args:
        dtype: Data type of the array.
        values: Its values.

    Returns:
        (K,) labels.

    Raises:
        ValueError: They are neither numbers nor text, do not fit the dtype, or their array would take far more memory
            than they do.

    Example:
        >>> label_array("<U3", ["no", "yes"])
        array(['no', 'yes'], dtype='<U3')
    """
    try:
        kind = np.dtype(dtype if isinstance(dtype, str) else "V")
        # A width can be any number; memory is taken only for what is there.
        if kind.kind in "biufUO" and _are_scalars(values) and not _is_too_wide(kind, values):
            array: NDArray[np.generic] = np.array(values, kind)
            if all(one == other or one != one for one, other in zip(array.tolist(), values, strict=True)):
                return array
    except (TypeError, OverflowError, ValueError):
        pass
    raise ValueError(f"these are not labels of the type {str(dtype)[:80]}: {str(values)[:80]}")


def _are_scalars(values: object) -> bool:
    return isinstance(values, list) and all(
        isinstance(value, int | float) or (isinstance(value, str) and is_text(value)) for value in values
    )


def _is_too_wide(dtype: np.dtype[np.generic], values: list[object]) -> bool:
    characters = sum(len(value) if isinstance(value, str) else 8 for value in values)
    return dtype.itemsize * len(values) > GROWTH * characters + ROOM_FOR_LABELS
