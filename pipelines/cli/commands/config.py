"""Commands below ``bpfunc config``: show, recipes."""

from __future__ import annotations

from pipelines.cli.options import NETWORK, AsJson, Given, shared
from pipelines.cli.terminal import print_result, terminal_width
from pipelines.disk.untrusted.printable import in_lines


@shared(*NETWORK, "epochs", "seed", "on_nan", "engine", "unpinned", "as_json")
def show(given: Given) -> None:
    """Print the configuration that a run would have, and where each value came from, as TOML.

    Example:
        bpfunc config show --recipe best --set train.epochs=3
        bpfunc config show --recipe best > mine.toml
    """
    from pipelines.spec.origins import explained_toml, origins
    from pipelines.spec.toml import to_table

    spec = given.spec()
    found = origins(given.recipe, given.config, given.settings or [], given.fields_given())
    document = {"config": to_table(spec), "origins": found}
    print_result(document, explained_toml(spec, found), as_json=given.as_json)


def fields(as_json: AsJson = False) -> None:
    """List every field of the configuration: name, type, range, default and meaning.

    Example:
        bpfunc config fields
        bpfunc config fields --json
    """
    import attrs

    from pipelines.spec.fields import spec_fields
    from pipelines.spec.text import field_lines

    known = spec_fields()
    text = field_lines(known, width=terminal_width() or 120)
    print_result([attrs.asdict(field) for field in known], text, as_json=as_json)


def recipes(as_json: AsJson = False) -> None:
    """List the recipes, each with what it is for.

    Example:
        bpfunc config recipes
    """
    from pipelines.spec.recipes import recipe_names, recipe_summary

    found = {name: recipe_summary(name) for name in recipe_names()}
    width = max(map(len, found))
    print_result(found, in_lines(f"{name:<{width}}  {words}" for name, words in found.items()), as_json=as_json)
