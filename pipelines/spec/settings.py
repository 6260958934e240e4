"""Settings given as ``FIELD=VALUE``, and where each value of a configuration came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs

from pipelines.disk.untrusted.documents import parse_toml
from pipelines.errors import UsageProblem
from pipelines.spec.run_spec import RunSpec
from pipelines.spec.toml import near_name, to_table

OPTION = "--set"


def field_names(spec: attrs.AttrsInstance, path: str = "") -> tuple[str, ...]:
    """Name every field of a configuration.

    Args:
        spec: Any specification.
        path: Path of it within the whole, such as ``train.``.

    Returns:
        Dotted names, in the order of the fields.

    Example:
        >>> field_names(RunSpec())[:3]
        ('name', 'dataset.classes', 'dataset.scaling')
    """
    return tuple(name for name, _ in flat(to_table(spec), path))


def flat(table: Mapping[str, object], path: str = "") -> Iterator[tuple[str, object]]:
    """Walk the values of nested tables.

    Args:
        table: Plain values.
        path: Path of it within the whole.

    Yields:
        Dotted name and value.

    Example:
        >>> list(flat({"name": "a", "train": {"epochs": 3}}))
        [('name', 'a'), ('train.epochs', 3)]
    """
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def settings_table(settings: Sequence[str]) -> dict[str, object]:
    """Read settings such as ``train.learning_rate=0.05`` into one table.

    A value is written as in TOML. What is not valid TOML is a text, so that a name needs no quotes within quotes.

    Args:
        settings: In the order given.

    Returns:
        Field -> value, nested as the specification is.

    Raises:
        UsageProblem: A setting has no ``=``, names no field, or names one a second time.

    Example:
        >>> settings_table(["train.epochs=3", "train.optimizer=adamw", "model.hidden=[8, 4]"])
        {'train': {'epochs': 3, 'optimizer': 'adamw'}, 'model': {'hidden': [8, 4]}}
    """
    table: dict[str, object] = {}
    for setting in settings:
        field, equals, text = (part.strip() for part in setting.partition("="))
        if not equals:
            raise UsageProblem(
                f"expected FIELD=VALUE, found {setting!r}",
                where=OPTION,
                remedy="write, for example, --set train.learning_rate=0.05",
            )
        _check_field(field)
        put(table, field, _value(text))
    return table


OTHER_WORDS = {
    "lr": "train.learning_rate",
    "learning_rate_init": "train.learning_rate",
    "rate": "train.learning_rate",
    "eta": "train.learning_rate",
    "bs": "train.batch_size",
    "batch": "train.batch_size",
    "wd": "train.weight_decay",
    "l2": "train.weight_decay",
    "alpha": "train.weight_decay",
    "optim": "train.optimizer",
    "solver": "train.optimizer",
    "optimiser": "train.optimizer",
    "scheduler": "train.schedule",
    "lr_scheduler": "train.schedule",
    "layers": "model.hidden",
    "hidden_layer_sizes": "model.hidden",
    "units": "model.hidden",
    "act": "model.activation",
    "nonlinearity": "model.activation",
    "ema": "train.average",
    "num_epochs": "train.epochs",
    "n_epochs": "train.epochs",
    "max_iter": "train.epochs",
    "random_state": "train.seed",
    "val_split": "train.validation_fraction",
    "validation_split": "train.validation_fraction",
    "normalize": "dataset.scaling",
}
"""Last part of a name in other tools -> field."""


def meant_field(name: str, *, near: bool = True) -> str | None:
    """Find the field that is meant by a name that is not a field.

    Args:
        name: As it was written, with or without its table.
        near: Whether a name with a slip in it counts.

    Returns:
        The dotted name of a field, or None.

    Example:
        >>> meant_field("lr"), meant_field("momentum"), meant_field("model.epohcs"), meant_field("xyz")
        ('train.learning_rate', 'train.momentum', 'train.epochs', None)
    """
    known = field_names(RunSpec())
    last = name.rpartition(".")[2]
    # The right name below another table, or none, is the commonest slip.
    ends = {field.rpartition(".")[2]: field for field in known}
    sure = ends.get(last) or OTHER_WORDS.get(last.casefold())
    if sure or not near:
        return sure
    return ends.get(near_name(last, list(ends)) or "") or near_name(name, known)


def _check_field(field: str) -> None:
    known = field_names(RunSpec())
    if field in known:
        return
    remedy = f"the fields are {', '.join(known)}"
    if any(name.startswith(f"{field}.") for name in known):
        raise UsageProblem(f"{field} is a table, not a field", where=OPTION, remedy=remedy)
    near = meant_field(field)
    hint = f" (did you mean {near}?)" if near else ""
    raise UsageProblem(f"unknown field {field}{hint}", where=OPTION, remedy=remedy)


def _value(text: str) -> object:
    try:
        table = parse_toml(f"value = {text}")
    except ValueError:
        return text
    return table["value"] if list(table) == ["value"] else text


def put(table: dict[str, object], field: str, value: object) -> None:
    """Put a value into nested tables, in place: the reverse of `flat`.

    Args:
        table: Field -> value, nested as the specification is.
        field: Dotted name.
        value: Its value.

    Raises:
        UsageProblem: The field has a value already.

    Example:
        >>> table = {}
        >>> put(table, "train.epochs", 3)
        >>> table
        {'train': {'epochs': 3}}
    """
    *folders, name = field.split(".")
    for folder in folders:
        inner = table.setdefault(folder, {})
        assert isinstance(inner, dict)
        table = inner
    if name in table:
        raise UsageProblem(f"{field} is set twice", where=OPTION, remedy="set it once")
    table[name] = value


def joined(flags: Mapping[str, Mapping[str, object]], settings: Mapping[str, object]) -> dict[str, object]:
    """Put the values of options and of ``--set`` into one table.

    Args:
        flags: Table -> field -> value, of options such as ``--epochs``.
        settings: From `settings_table`.

    Returns:
        One table for both.

    Raises:
        UsageProblem: Both name one field: neither is taken over the other in silence.

    Example:
        >>> joined({"train": {"epochs": 3}}, {"train": {"seed": 1}})
        {'train': {'epochs': 3, 'seed': 1}}
    """
    both = {name for name, _ in flat(flags)} & {name for name, _ in flat(settings)}
    if both:
        raise UsageProblem(
            f"{', '.join(sorted(both))} is given twice, by {OPTION} and by an option of its own",
            where="command line",
            remedy="give it once",
        )
    table: dict[str, object] = {name: dict(values) for name, values in flags.items()}
    for name, value in settings.items():
        before = table.get(name)
        table[name] = {**before, **value} if isinstance(before, dict) and isinstance(value, Mapping) else value
    return table
