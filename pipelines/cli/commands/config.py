"""Commands below ``bpfunc config``: show, recipes."""

from __future__ import annotations

from pipelines.cli.options import (
    AsJson,
    Classes,
    Config,
    Engine,
    Epochs,
    Hidden,
    OnNan,
    Recipe,
    Seed,
    Settings,
    Unpinned,
    merged_spec,
)
from pipelines.cli.terminal import print_json, print_text, terminal_width
from pipelines.disk.untrusted.printable import in_lines


def show(
    config: Config = None,
    recipe: Recipe = "report",
    settings: Settings = None,
    classes: Classes = None,
    hidden: Hidden = None,
    epochs: Epochs = None,
    seed: Seed = None,
    on_nan: OnNan = None,
    engine: Engine = None,
    unpinned: Unpinned = False,
    as_json: AsJson = False,
) -> None:
    """Print the configuration that a run would have, and where each value came from, as TOML.

    Example:
        bpfunc config show --recipe best --set train.epochs=3
        bpfunc config show --recipe best > mine.toml
    """
    from pipelines.spec.origins import explained_toml, origins
    from pipelines.spec.toml import to_table

    spec = merged_spec(
        recipe,
        config,
        classes=classes,
        hidden=hidden,
        epochs=epochs,
        seed=seed,
        on_nan=on_nan,
        engine=engine,
        unpinned=unpinned,
        settings=settings,
    )
    given: dict[str, tuple[str, object]] = {
        "dataset.classes": ("--classes", classes),
        "dataset.pinned": ("--unpinned", unpinned or None),
        "model.hidden": ("--hidden", hidden),
        "train.epochs": ("--epochs", epochs),
        "train.seed": ("--seed", seed),
        "train.on_nan": ("--on-nan", on_nan),
        "train.engine": ("--engine", engine),
    }
    flags = {field: option for field, (option, value) in given.items() if value is not None}
    found = origins(recipe, config, settings or [], flags)
    if as_json:
        print_json({"config": to_table(spec), "origins": found})
    else:
        print_text(explained_toml(spec, found))


def fields(as_json: AsJson = False) -> None:
    """List every field of the configuration: name, type, range, default and meaning.

    Example:
        bpfunc config fields
        bpfunc config fields --json
    """
    import attrs

    from pipelines.spec.fields import spec_fields
    from pipelines.spec.text import field_lines

    if as_json:
        print_json([attrs.asdict(field) for field in spec_fields()])
    else:
        print_text(field_lines(spec_fields(), width=terminal_width() or 120))


def recipes(as_json: AsJson = False) -> None:
    """List the recipes, each with what it is for.

    Example:
        bpfunc config recipes
    """
    from pipelines.spec.recipes import recipe_names, recipe_summary

    found = {name: recipe_summary(name) for name in recipe_names()}
    if as_json:
        print_json(found)
    else:
        width = max(map(len, found))
        print_text(in_lines(f"{name:<{width}}  {words}" for name, words in found.items()))
