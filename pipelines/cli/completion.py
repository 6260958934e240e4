"""What the shell offers when a value of an option is half written."""

from __future__ import annotations


def complete_recipe(incomplete: str) -> list[str]:
    """Complete the name of a recipe.

    Args:
        incomplete: What is written so far.

    Returns:
        Names that begin so.

    Example:
        >>> complete_recipe("rep")
        ['report']
    """
    from pipelines.spec.recipes import recipe_names

    return [name for name in recipe_names() if name.startswith(incomplete)]


def complete_run(incomplete: str) -> list[str]:
    """Complete the name of a run in ``data/runs``, or ``latest``; the shell itself knows nothing of either.

    Args:
        incomplete: What is written so far.

    Returns:
        Names that begin so, and paths of runs where a path is begun.

    Example:
        >>> complete_run("lat")
        ['latest']
    """
    from pathlib import Path

    from pipelines.runs.naming import LATEST, RUNS, named_directories

    parent, slash, _ = incomplete.rpartition("/")
    place = Path(parent or slash) if slash else RUNS
    names = [f"{parent}{slash}{run.name}" for run in named_directories(place)]
    return [name for name in (*names, *(() if slash else (LATEST,))) if name.startswith(incomplete)]


def complete_field(incomplete: str) -> list[str]:
    """Complete the name of a field of the configuration, with the equals sign that follows it.

    Args:
        incomplete: What is written so far.

    Returns:
        Fields that begin so; nothing once there is an equals sign.

    Example:
        >>> complete_field("train.learn")
        ['train.learning_rate=']
    """
    from pipelines.spec.run_spec import RunSpec
    from pipelines.spec.settings import field_names

    return [f"{name}=" for name in field_names(RunSpec()) if f"{name}=".startswith(incomplete)]


def complete_classes(incomplete: str) -> list[str]:
    """Complete the last class of a list; a name with a space is offered as its number, which needs no quotes.

    Args:
        incomplete: What is written so far, such as ``Dress,Tr``.

    Returns:
        Lists that go on so, in the letters' case of the person.

    Example:
        >>> complete_classes("Dress,Tr"), complete_classes("sn"), complete_classes("Dress,An")
        (['Dress,Trouser'], ['sneaker'], [])
    """
    from pipelines.dataset.classes import CLASS_NAMES

    before, comma, last = incomplete.rpartition(",")
    taken = {name.strip().casefold() for name in before.split(",")}
    offers = []
    for number, name in enumerate(CLASS_NAMES):
        if name.casefold() in taken or str(number) in taken:
            continue
        offer = str(number) if " " in name else name
        if offer.casefold().startswith(last.casefold()):
            # The shell takes only what begins as it was written.
            offers.append(f"{before}{comma}{last}{offer[len(last) :]}")
    return offers
