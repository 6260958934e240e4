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
        path: Of it within the whole, such as ``train.``.

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
        path: Of it within the whole.

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
                remedy="write such as --set train.learning_rate=0.05",
            )
        _check_field(field)
        _put(table, field, _value(text))
    return table


def _check_field(field: str) -> None:
    known = field_names(RunSpec())
    if field in known:
        return
    remedy = f"the fields are {', '.join(known)}"
    if any(name.startswith(f"{field}.") for name in known):
        raise UsageProblem(f"{field} is a table, not a field", where=OPTION, remedy=remedy)
    # The right name below another table, or none, is the commonest slip.
    last = field.rpartition(".")[2]
    near = next((name for name in known if name.rpartition(".")[2] == last), None) or near_name(field, known)
    if near is None:
        ends = {name.rpartition(".")[2]: name for name in known}
        near = ends.get(near_name(last, list(ends)) or "")
    hint = f" (did you mean {near}?)" if near else ""
    raise UsageProblem(f"unknown field {field}{hint}", where=OPTION, remedy=remedy)


def _value(text: str) -> object:
    try:
        table = parse_toml(f"value = {text}")
    except ValueError:
        return text
    return table["value"] if list(table) == ["value"] else text


def _put(table: dict[str, object], field: str, value: object) -> None:
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
