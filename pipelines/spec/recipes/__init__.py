"""The recipes: a TOML file each, in this folder."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent


def recipe_names() -> tuple[str, ...]:
    """List the recipes.

    Returns:
        Their names, sorted.

    Example:
        >>> "report" in recipe_names()
        True
    """
    return tuple(sorted(path.stem for path in (_HERE).glob("*.toml")))


def recipe_text(name: str) -> str:
    """Read a recipe.

    Args:
        name: One of `recipe_names`.

    Returns:
        Its TOML text.

    Example:
        >>> "[train]" in recipe_text("report")
        True
    """
    return (_HERE / f"{name}.toml").read_text(encoding="utf-8")


def recipe_summary(name: str) -> str:
    """Return the purpose of a recipe in a line: the first line of its file.

    Args:
        name: One of `recipe_names`.

    Returns:
        The comment there, without its mark.

    Example:
        >>> recipe_summary("report").startswith("The course report")
        True
    """
    return recipe_text(name).partition("\n")[0].lstrip("# ")
