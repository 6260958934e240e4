"""Results as text that a person can read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

from pipelines.disk.untrusted.printable import Printable, in_lines, printable
from pipelines.report.drawing.wording import plural

if TYPE_CHECKING:
    from pipelines.runs.listing import RunEntry, StudyEntry, TuningEntry
    from pipelines.runs.metrics import RunMetrics

    Entry: TypeAlias = RunEntry | StudyEntry | TuningEntry


TRUE_PREDICTED = "true \\ predicted"


def result_table(values: RunMetrics) -> Printable:
    """Lay out the figures of a run: accuracy, recall of each class, confusion matrix.

    Args:
        values: The figures.

    Returns:
        Lines of text, such as

            test accuracy 95.00 % (1 mistake in 20), loss 0.1000, trained in 2.0 s

              true \\ predicted      A      B   recall
              A                     9      1   90.0 %
              B                     0     10  100.0 %
    """
    width = max(6, *(len(name) for name in values.class_names))
    first = max(16, width)
    loss = "not finite" if values.test_loss is None else f"{values.test_loss:.4f}"
    lines = [
        f"test accuracy {100 * values.test_accuracy:.2f} % ({plural(values.test_mistakes, 'mistake', 'mistakes')} "
        f"in {values.test_rows}), loss {loss}, trained in {values.train_seconds:.1f} s",
        "",
        f"  {TRUE_PREDICTED:<{first}} " + " ".join(f"{name:>{width}}" for name in values.class_names) + "   recall",
    ]
    for name, row in zip(values.class_names, values.confusion_matrix, strict=True):
        figures = " ".join(f"{count:>{width}}" for count in row)
        lines.append(f"  {name:<{first}} {figures}  {100 * values.recall[name]:5.1f} %")
    return in_lines(lines)


def run_line(entry: RunEntry) -> Printable:
    """Lay out one run.

    Args:
        entry: From `pipelines.runs.listing.read_entry`.

    Returns:
        A line of text; accuracy in percent.
    """
    epochs = "" if entry.epochs is None else plural(entry.epochs, "epoch", "epochs")
    seed = "" if entry.seed is None else f"seed {entry.seed}"
    cells = [entry.state, entry.recipe, seed, epochs, _percent(entry.test_accuracy), str(entry.path)]
    return printable("  ".join(cell for cell in cells if cell))


def run_lines(
    runs: Sequence[RunEntry],
    others: Sequence[StudyEntry | TuningEntry],
    *,
    width: int | None = None,
    by: str = "date",
) -> Printable:
    """Lay out a list of runs, studies, searches and sweeps as a table: a header, and a row for each.

    The settings in which the runs differ are columns. A width leaves out columns until the rest fits: the settings
    from the last on, then the recipe, then the date. State, accuracy and name always stay.

    Args:
        runs: From `pipelines.runs.listing.list_runs`.
        others: From `pipelines.runs.listing.list_studies` and `pipelines.runs.listing.list_tunings`.
        width: Letters in a line, or None for as many as there are.
        by: Order of the rows, see `SORTS`.

    Returns:
        Lines of text; accuracies in percent.
    """
    entries = sorted([*runs, *others], key=SORTS[by])
    extras = differing([entry.settings for entry in runs])
    table = {
        "state": [entry.state for entry in entries],
        "began": [f"{datetime.fromtimestamp(entry.began):%Y-%m-%d %H:%M}" for entry in entries],
        "recipe": [entry.recipe for entry in entries],
        **{name.rpartition(".")[2]: [_setting(entry, name) for entry in entries] for name in extras},
        "accuracy": [_percent(entry.accuracy).rjust(8) for entry in entries],
        "run": [entry.path.name for entry in entries],
    }
    widths = {name: max(len(name), *map(len, cells)) for name, cells in table.items()}
    droppable = ["began", "recipe", *(name.rpartition(".")[2] for name in extras)]
    while width is not None and droppable and sum(widths.values()) + 2 * (len(widths) - 1) > width:
        del widths[droppable.pop()]
    rows = [[name, *table[name]] for name in widths]
    lines = zip(*([cell.ljust(widths[row[0]]) for cell in row] for row in rows), strict=True)
    return in_lines("  ".join(line).rstrip() for line in lines)


def differing(settings: Sequence[Mapping[str, object]]) -> list[str]:
    """Name the settings in which runs differ; the recipe's name has a column of its own.

    Args:
        settings: Dotted name -> value, of each run; those that cannot be read are empty and do not count.

    Returns:
        Names, those with the most different values first.

    Example:
        >>> differing([{"train.seed": 0, "train.epochs": 3}, {"train.seed": 1, "train.epochs": 3}, {}])
        ['train.seed']
    """
    known = [one for one in settings if one]
    counts = {name: len({repr(one.get(name)) for one in known}) for name in (known[0] if known else ())}
    names = [name for name, count in counts.items() if count > 1 and name != "name"]
    return sorted(names, key=lambda name: -counts[name])


SORTS: Mapping[str, Callable[[Entry], tuple[str | float, ...]]] = {
    "date": lambda entry: (entry.began, str(entry.path)),
    "accuracy": lambda entry: (-1.0 if entry.accuracy is None else entry.accuracy, entry.began),
    "name": lambda entry: (entry.path.name,),
    "recipe": lambda entry: (entry.recipe, entry.began),
}
"""Name of an order -> key; the last row is the newest or the best."""


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{100 * fraction:.2f} %"


def _setting(entry: Entry, name: str) -> str:
    value = entry.settings.get(name, "")
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
