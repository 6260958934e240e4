"""Files that travel with the package: recipes, the pins of the official data, and the embedded bundle."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent


def data_directory() -> Path:
    """Find the data that comes with the project.

    Returns:
        ``pipelines/data`` in an installed wheel, the project's ``data`` in a checkout.

    Example:
        >>> (data_directory() / "sources.toml").is_file()
        True
    """
    installed = _HERE / "data"
    return installed if installed.is_dir() else _HERE.parent / "data"


def recipe_names() -> tuple[str, ...]:
    """List the recipes.

    Returns:
        Their names, sorted.

    Example:
        >>> "report" in recipe_names()
        True
    """
    return tuple(sorted(path.stem for path in (_HERE / "recipes").glob("*.toml")))


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
    return (_HERE / "recipes" / f"{name}.toml").read_text(encoding="utf-8")


def recipe_summary(name: str) -> str:
    """Say in a line what a recipe is for: the first line of its file.

    Args:
        name: One of `recipe_names`.

    Returns:
        The comment there, without its mark.

    Example:
        >>> recipe_summary("report").startswith("The course report")
        True
    """
    return recipe_text(name).partition("\n")[0].lstrip("# ")
