"""Predictions as text for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.disk.untrusted.printable import Printable, in_lines

if TYPE_CHECKING:
    from pipelines.inference.predict import Answers


ANSWERS_SHOWN = 40
"""Most images that a table of answers lists."""


def answer_lines(answers: Answers, *, top: int) -> Printable:
    """Lay out what a network says of images.

    Args:
        answers: From `pipelines.inference.predict.predict`.
        top: How many classes to show for each image.

    Returns:
        A line for each of the first `ANSWERS_SHOWN` images, the most probable class first, and a summary of all.
    """
    total = len(answers.files)
    shown = range(min(total, ANSWERS_SHOWN))
    places = [_place(answers, index) for index in shown]
    width = max(map(len, places), default=0)
    lines = [
        f"{place:<{width}}  {_most_probable(answers, index, top)}  {answers.conversions[index]}"
        for place, index in zip(places, shown, strict=True)
    ]
    if total > len(shown):
        lines.append(f"... and {total - len(shown)} more; --out FILE and --json have all")
    counts = [(name, int((answers.labels == k).sum())) for k, name in enumerate(answers.class_names)]
    summary = ", ".join(f"{name} {count}" for name, count in counts if count)
    changed = answers.conversions.count("converted")
    lines.append(f"{total} image{'' if total == 1 else 's'}, {changed or 'none'} converted: {summary or 'no answer'}")
    return in_lines(lines)


def _place(answers: Answers, index: int) -> str:
    file = answers.files[index]
    return f"{file}, row {answers.rows[index]}" if file.lower().endswith((".npy", ".parquet")) else file


def _most_probable(answers: Answers, index: int, top: int) -> str:
    width, values = max(map(len, answers.class_names)), answers.probabilities[index]
    ranks = (-values).argsort(kind="stable")[:top]
    return "  ".join(f"{answers.class_names[k]:<{width}} {100 * values[k]:6.2f} %" for k in ranks)
