"""The frozen, validated description of a run: what data, which network, how trained.

A `RunSpec` is a value: equal specs describe equal runs. It reads from TOML (a named recipe or a file of one's
own), writes back to the same TOML, and says which field is wrong where one is.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal, TypeVar, get_args, get_origin, get_type_hints

import attrs

from pipelines.errors import PipelineError, UsageProblem
from pipelines.resources import recipe_names, recipe_text

ScalingName = Literal["unit", "standard", "pixel", "mirrored"]
TEXT_LIMIT = 100_000
"""Largest configuration that is read, in bytes."""
PARAMETER_LIMIT = 1 << 27
"""Most weights that a configuration may ask for, 512 MiB of them: a slip of a digit does not fill the memory."""
SpecT = TypeVar("SpecT", bound=attrs.AttrsInstance)


def _within(low: float, high: float, *, open_low: bool = False, open_high: bool = False) -> Callable[..., None]:
    """Make a validator for numbers in a range."""

    def check(_instance: object, attribute: attrs.Attribute[float], value: float) -> None:
        if not low <= value <= high or (open_low and value == low) or (open_high and value == high):
            left, right = "(" if open_low else "[", ")" if open_high else "]"
            raise ValueError(f"{attribute.name}: expected a number in {left}{low}, {high}{right}, found {value}")

    return check


def _at_least(low: int) -> Callable[..., None]:
    """Make a validator for whole numbers from a bound on."""

    def check(_instance: object, attribute: attrs.Attribute[int], value: int) -> None:
        if value < low:
            raise ValueError(f"{attribute.name}: expected a whole number of at least {low}, found {value}")

    return check


def _check_classes(_instance: object, attribute: attrs.Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
    if not 2 <= len(value) <= 10:
        raise ValueError(f"classes: expected 2 to 10 classes, found {len(value)} ({', '.join(value) or 'none'})")
    if len({name.casefold() for name in value}) < len(value):
        raise ValueError(f"classes: expected each class once, found {', '.join(value)}")


def _check_widths(_instance: object, attribute: attrs.Attribute[tuple[int, ...]], value: tuple[int, ...]) -> None:
    if any(width < 1 for width in value):
        raise ValueError(f"{attribute.name}: expected widths of at least 1, found {', '.join(map(str, value))}")
    widths = (784, *value, 10)
    weights = sum(before * after for before, after in pairwise(widths))
    if weights > PARAMETER_LIMIT:
        raise ValueError(f"{attribute.name}: expected widths of at most {PARAMETER_LIMIT} weights, found {weights}")


def _check_name(_instance: object, _attribute: attrs.Attribute[str], value: str) -> None:
    # It becomes part of a directory's name.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
        raise ValueError(f"name: expected 1 to 64 letters, digits or . _ -, and no mark first, found {value!r}")


@attrs.frozen(kw_only=True)
class DatasetSpec:
    """Which rows, and how pixels become inputs."""

    classes: tuple[str, ...] = attrs.field(default=("Dress", "Trouser", "Sneaker"), validator=_check_classes)
    """Names or numbers, 2 to 10 of them, in the order of the network's outputs."""
    scaling: ScalingName = "unit"
    """``unit``: pixel / 255. ``standard``: one mean and deviation for all. ``pixel``: one for each pixel.
    ``mirrored``: one for each pixel, over the images and their mirror images, so that a flip commutes with it."""
    scaling_offset: float = attrs.field(default=0.0, validator=_within(0, 10))
    """Added to the deviation before dividing (all but ``unit``), so that dead pixels stay small."""
    pinned: bool = True
    """Whether the source must be the official files; false lets one's own IDX files in, their hashes recorded."""
    partitions: str = ""
    """A partitioned directory, path or URI, that the training rows are streamed from; none where empty."""


@attrs.frozen(kw_only=True)
class ModelSpec:
    """The network: dense layers with an activation between them, softmax in the loss."""

    hidden: tuple[int, ...] = attrs.field(default=(128, 64), validator=_check_widths)
    """Widths of the hidden layers."""
    activation: Literal["relu", "leaky_relu", "elu", "selu", "gelu", "silu", "tanh"] = "relu"
    dropout: float = attrs.field(default=0.0, validator=_within(0, 1, open_high=True))
    """Part of each hidden layer's outputs that is dropped in training."""
    input_dropout: float = attrs.field(default=0.0, validator=_within(0, 1, open_high=True))
    """Part of the inputs that is dropped in training."""
    mirror: bool = False
    """Whether a prediction averages the probabilities of an image and its mirror image; it costs two passes."""


@attrs.frozen(kw_only=True)
class TrainSpec:
    """How the network is trained: mini-batches, softmax cross-entropy, an optimiser and its schedule."""

    epochs: int = attrs.field(default=40, validator=_at_least(1))
    batch_size: int = attrs.field(default=64, validator=_at_least(1))
    learning_rate: float = attrs.field(default=0.1, validator=_within(0, 1e3, open_low=True))
    schedule: Literal["constant", "cosine", "one_cycle"] = "constant"
    """How the rate moves over all steps: not at all, down along a cosine, or up and down; the rate is its peak."""
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    momentum: float = attrs.field(default=0.0, validator=_within(0, 1, open_high=True))
    """Of ``sgd``."""
    weight_decay: float = attrs.field(default=0.0, validator=_within(0, 1))
    """On weights, not on biases: coupled for ``sgd``, decoupled for ``adamw``."""
    label_smoothing: float = attrs.field(default=0.0, validator=_within(0, 1, open_high=True))
    mixup: float = attrs.field(default=0.0, validator=_within(0, 100))
    """How much examples are mixed in pairs: shares drawn from Beta(mixup, mixup); 0 for none."""
    flip: bool = False
    """Whether each image is mirrored with probability 1/2 each time it is seen."""
    average: float = attrs.field(default=0.0, validator=_within(0, 1, open_high=True))
    """Decay of the exponential average of the weights, which is then the result; 0 for no average."""
    validation_fraction: float = attrs.field(default=0.1, validator=_within(0, 0.9))
    """Part of the training split that is held out to choose by; 0 trains on all of it."""
    keep: Literal["last", "best"] = "last"
    """Which epoch's network is the result: the last, or the one of the lowest validation loss."""
    on_nan: Literal["stop", "skip"] = "stop"
    """What a loss or gradient does that is NaN or infinite: end the run, or leave out that update."""
    seed: int = attrs.field(default=0, validator=_at_least(0))

    def __attrs_post_init__(self) -> None:
        """Check what no field can check alone."""
        if self.keep == "best" and self.validation_fraction == 0:
            raise ValueError("keep: 'best' needs validation rows to judge by, and validation_fraction is 0")
        if self.weight_decay and self.optimizer == "adam":
            raise ValueError("weight_decay: adam takes none; choose optimizer = 'adamw'")


@attrs.frozen(kw_only=True)
class RunSpec:
    """A whole run."""

    name: str = attrs.field(default="report", validator=_check_name)
    """Of the recipe, for file names and titles."""
    dataset: DatasetSpec = attrs.field(factory=DatasetSpec)
    model: ModelSpec = attrs.field(factory=ModelSpec)
    train: TrainSpec = attrs.field(factory=TrainSpec)

    def __attrs_post_init__(self) -> None:
        """Check what no part can check alone."""
        if self.dataset.scaling == "pixel" and (self.train.flip or self.model.mirror):
            raise ValueError(
                "dataset.scaling: a mirror image does not commute with 'pixel'; choose 'mirrored', 'standard' or 'unit'"
            )


def load_recipe(name: str) -> RunSpec:
    """Load a recipe that comes with the package.

    Args:
        name: Such as ``report``.

    Returns:
        Its specification.

    Raises:
        UsageProblem: There is no such recipe; the message lists those there are.

    Example:
        >>> load_recipe("report").name
        'report'
    """
    if name not in recipe_names():
        raise UsageProblem(
            f"there is no recipe {name!r}{_did_you_mean(name, recipe_names())}",
            where="--recipe",
            remedy=f"choose one of {', '.join(recipe_names())}",
        )
    return from_toml(recipe_text(name), RunSpec(name=name), where=f"recipe {name}")


def load_config(path: Path, base: RunSpec) -> RunSpec:
    """Load a TOML file over a base: what the file does not name stays.

    Args:
        path: The file.
        base: Gives all other fields.

    Returns:
        The merged specification.

    Raises:
        UsageProblem: The file cannot be read, is no TOML, or has an unknown or wrong field.
    """
    try:
        with path.open("rb") as file:
            data = file.read(TEXT_LIMIT + 1)
        if len(data) > TEXT_LIMIT:
            raise UsageProblem(
                f"the configuration is larger than {TEXT_LIMIT} bytes", where=str(path), remedy="name another file"
            )
        text = data.decode("utf-8")
    except OSError as error:
        inside = next((path / name for name in ("config.toml", "best.toml") if (path / name).is_file()), None)
        remedy = "check the path" if inside is None else f"name the file in it, {inside}"
        raise UsageProblem(f"cannot read the configuration: {error.strerror}", where=str(path), remedy=remedy) from None
    except UnicodeDecodeError:
        raise UsageProblem("the configuration is no UTF-8 text", where=str(path), remedy="save it as UTF-8") from None
    return from_toml(text, base, where=str(path))


def from_toml(text: str, base: RunSpec, *, where: str) -> RunSpec:
    """Read a specification from TOML text over a base.

    Args:
        text: Such as ``[train]`` and ``epochs = 3`` below it.
        base: Gives all fields that the text leaves out.
        where: Names the text in messages.

    Returns:
        The merged specification.

    Raises:
        UsageProblem: No TOML, or an unknown or wrong field; the message names field, expected and found.

    Example:
        >>> from_toml("[train]\\nepochs = 3", RunSpec(), where="example").train.epochs
        3
    """
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # bad syntax, a number without end, brackets without end
        raise UsageProblem(f"this is no TOML: {error}", where=where, remedy="mend the file") from None
    return merged(base, table, where=where)


def merged(base: SpecT, table: Mapping[str, object], *, where: str, path: str = "") -> SpecT:
    """Lay a table of plain values over a specification, strictly: no value is converted, no name is guessed.

    Args:
        base: A specification.
        table: Field -> value, nested as the specification is.
        where: Names the table in messages.
        path: Of the specification within the whole, such as ``train.``.

    Returns:
        A new specification.

    Raises:
        UsageProblem: An unknown field, a value of another type, or one out of range.

    Example:
        >>> merged(TrainSpec(), {"epochs": 3}, where="example").epochs
        3
    """
    types = get_type_hints(type(base))
    changes: dict[str, object] = {}
    for name, value in table.items():
        if name not in types:
            raise UsageProblem(
                f"unknown field {path}{name[:100]}{_did_you_mean(name, list(types))}",
                where=where,
                remedy=f"the fields here are {', '.join(types)}",
            )
        current = getattr(base, name)
        if attrs.has(type(current)):
            if not isinstance(value, Mapping):
                raise _wrong(path + name, "a table", value, where)
            changes[name] = merged(current, value, where=where, path=f"{path}{name}.")
        else:
            changes[name] = _checked(types[name], value, path + name, where)
    try:
        return attrs.evolve(base, **changes)  # type: ignore[misc]
    except ValueError as error:
        raise UsageProblem(f"{path}{error}", where=where, remedy="choose a value in that range") from None


def _checked(wanted: object, value: object, field: str, where: str) -> object:
    """Return the value if it has the wanted type; whole numbers may stand for real ones, lists for tuples."""
    if get_origin(wanted) is Literal:
        if value not in get_args(wanted):
            raise _wrong(field, f"one of {', '.join(map(repr, get_args(wanted)))}", value, where)
        return value
    if get_origin(wanted) is tuple:
        if not isinstance(value, list | tuple):
            raise _wrong(field, "a list", value, where)
        return tuple(_checked(get_args(wanted)[0], item, f"{field}[{i}]", where) for i, item in enumerate(value))
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    if wanted is float and type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise _wrong(field, "a number that a float can hold", value, where) from None
    if type(value) is int and wanted is int and not -(2**63) <= value < 2**63:
        raise _wrong(field, "a whole number of at most 64 bits", value, where)
    if type(value) is not wanted:
        raise _wrong(field, names[wanted], value, where)  # type: ignore[index]
    return value


def _wrong(field: str, expected: str, value: object, where: str) -> PipelineError:
    return UsageProblem(f"{field}: expected {expected}, found {_shown(value)}", where=where, remedy="mend the value")


def _shown(value: object) -> str:
    """A value as it is written, unless it is too long for a message."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of thousands of digits
        return "a number without end"
    return text if len(text) <= 200 else f"{text[:200]}..."


def near_name(name: str, known: Sequence[str]) -> str | None:
    """Find the known name that is meant by one with a slip in it.

    Args:
        name: As it was written.
        known: Names there are.

    Returns:
        The nearest, or None where none is near.

    Example:
        >>> near_name("epohcs", ["epochs", "seed"]), near_name("colour", ["epochs", "seed"])
        ('epochs', None)
    """
    return next(iter(difflib.get_close_matches(name, known, n=1)), None)


def _did_you_mean(name: str, known: Sequence[str]) -> str:
    near = near_name(name, known)
    return f" (did you mean {near}?)" if near else ""


def to_table(spec: attrs.AttrsInstance) -> dict[str, object]:
    """Turn a specification into plain values: what JSON and TOML can hold.

    Args:
        spec: Any specification.

    Returns:
        Field -> value; tuples become lists.

    Example:
        >>> to_table(ModelSpec(hidden=(8,)))["hidden"]
        [8]
    """
    table: dict[str, object] = {}
    for field in attrs.fields(type(spec)):
        value = getattr(spec, field.name)
        if attrs.has(type(value)):
            table[field.name] = to_table(value)
        else:
            table[field.name] = list(value) if isinstance(value, tuple) else value
    return table


def to_toml(spec: RunSpec) -> str:
    """Write a specification as TOML; `from_toml` reads it back to an equal one.

    Args:
        spec: Any run.

    Returns:
        TOML text with every field.

    Example:
        >>> from_toml(to_toml(RunSpec()), RunSpec(name="other"), where="example") == RunSpec()
        True
    """
    table = to_table(spec)
    lines = [_toml_line(name, value) for name, value in table.items() if not isinstance(value, dict)]
    for name, value in table.items():
        if isinstance(value, dict):
            lines += ["", f"[{name}]", *(_toml_line(key, item) for key, item in value.items())]
    return "\n".join(lines) + "\n"


def _toml_line(name: str, value: object) -> str:
    # JSON's texts, lists, numbers and truth values are TOML's, but for the DEL character, which TOML escapes.
    return f"{name} = " + json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
