"""Results as text that a person can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from pipelines.disk.untrusted.printable import Printable, in_lines

if TYPE_CHECKING:
    from pipelines.runs.listing import RunEntry, StudyEntry


TRUE_PREDICTED = "true \\ predicted"


def result_table(values: Mapping[str, object]) -> Printable:
    """Lay out the figures of a run: accuracy, recall of each class, confusion matrix.

    Args:
        values: What ``metrics.json`` holds.

    Returns:
        Lines of text.

    Example:
        >>> print(result_table({"class_names": ["A", "B"], "confusion_matrix": [[9, 1], [0, 10]], "test_accuracy": 0.95,
        ...     "test_loss": 0.1, "train_seconds": 2.0, "recall": {"A": 0.9, "B": 1.0}}))
        test accuracy 95.00 % (1 mistake in 20), loss 0.1000, trained in 2.0 s
        <BLANKLINE>
          true \\ predicted      A      B   recall
          A                     9      1   90.0 %
          B                     0     10  100.0 %
    """
    names = cast("list[str]", values["class_names"])
    matrix = cast("list[list[int]]", values["confusion_matrix"])
    recall = cast("Mapping[str, float]", values["recall"])
    total = sum(map(sum, matrix))
    mistakes = total - sum(row[k] for k, row in enumerate(matrix))
    width = max(6, *(len(name) for name in names))
    first = max(16, width)
    loss = cast("float | None", values["test_loss"])
    lines = [
        f"test accuracy {cast('float', values['test_accuracy']):.2%}".replace("%", " %")
        + f" ({mistakes} mistake{'' if mistakes == 1 else 's'} in {total}), "
        f"loss {'not finite' if loss is None else f'{loss:.4f}'}, trained in {values['train_seconds']:.1f} s",
        "",
        f"  {TRUE_PREDICTED:<{first}} " + " ".join(f"{name:>{width}}" for name in names) + "   recall",
    ]
    for name, row in zip(names, matrix, strict=True):
        figures = " ".join(f"{count:>{width}}" for count in row)
        lines.append(f"  {name:<{first}} {figures}  {100 * recall[name]:5.1f} %")
    return in_lines(lines)


def run_lines(runs: Sequence[RunEntry], studies: Sequence[StudyEntry]) -> Printable:
    """Lay out a list of runs and studies.

    Args:
        runs: From `pipelines.runs.listing.list_runs`.
        studies: From `pipelines.runs.listing.list_studies`.

    Returns:
        Lines of text; accuracies in percent.
    """
    rows = [
        (
            entry.state,
            entry.recipe,
            "" if entry.seed is None else f"seed {entry.seed}",
            "" if entry.epochs is None else f"{entry.epochs} epochs",
            "" if entry.test_accuracy is None else f"{100 * entry.test_accuracy:.2f} %",
            str(entry.path),
        )
        for entry in runs
    ] + [
        (
            "damaged study" if study.damaged else "study",
            study.recipe,
            f"{study.seeds} seeds",
            "",
            "" if study.mean_test_accuracy is None else f"{100 * study.mean_test_accuracy:.2f} %",
            str(study.path),
        )
        for study in studies
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return in_lines(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[5]]) for row in rows
    )
