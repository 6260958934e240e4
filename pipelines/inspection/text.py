"""An explained step and checked derivatives as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipelines.disk.untrusted.printable import Printable, in_lines
from pipelines.report.drawing.wording import shape_in_words, time_in_words

if TYPE_CHECKING:
    from pipelines.inspection.explain import Explained, Operation
    from pipelines.inspection.gradcheck import Checked


def check_lines(rows: Sequence[Checked]) -> Printable:
    """Lay out checks of derivatives.

    Args:
        rows: From `pipelines.inspection.gradcheck.check_derivatives`, at least one.

    Returns:
        A line for each; below one that failed, what was expected and found.
    """
    width = max(len(row.name) for row in rows)
    lines = [f"{'':<6} {'':<{width}} {'derivative':<17} {'error':>8}  of at most"]
    for row in rows:
        verdict = "passed" if row.found.passed else "WRONG"
        lines.append(
            f"{row.subject:<6} {row.name:<{width}} {row.derivative:<17} {row.found.error:8.1e}  "
            f"{row.found.tolerance:.0e}  {verdict}"
        )
        if not row.found.passed:
            lines += [f"       {line}" for line in str(row.found).splitlines()]
    return in_lines(lines)


def explained_lines(found: Explained) -> Printable:
    """Lay out a step for a terminal.

    Args:
        found: From `pipelines.inspection.explain.explain`.

    Returns:
        Lines of text: each operation with its formula below it.
    """
    rows = len(found.inputs)
    lines = [
        f"{found.recipe}, {_when(found)}; {rows} examples"
        + ("" if found.learning_rate is None else f", learning rate {found.learning_rate:.6g}"),
    ]
    for stage, title in (("forward", "forward"), ("backward", "backward, from the end")):
        lines += ["", *_pass_lines(title, [one for one in found.operations if one.stage == stage])]
        if stage == "forward":
            right = "" if found.accuracy is None else f", accuracy {100 * found.accuracy:.1f} %"
            lines.append(f"  loss {found.loss:.6g} nats{right}")
    time = time_in_words(found.update_seconds)
    titles = ("update", "shape", "gradient", "step", "parameters", "ratio", time)
    updates = [
        (
            f"  {one.path}",
            shape_in_words(one.shape),
            f"{one.gradient:.3g}",
            f"{one.step:.3g}",
            f"{one.parameters:.3g}",
            f"{one.step / one.parameters:.1e}" if one.parameters else "-",
            "",
        )
        for one in found.updates
    ]
    head, *below = _aligned([titles, *updates], (25, 14, 9, 9, 10, 8, 7))
    lines += ["", head, *(f"      {line}" for line in found.update_formulas), *below]
    lines += [
        "",
        f"the same batch after the update: loss {found.loss_after:.6g} nats ({found.loss_after - found.loss:+.3g})",
        f"the whole step: {time_in_words(found.seconds)}, {found.flops:,} FLOPs counted in both passes, "
        f"{found.flops / found.seconds / 1e9:.1f} GFLOP/s",
    ]
    return in_lines(lines)


def _when(found: Explained) -> str:
    if found.steps is None:
        return f"step {found.step}"
    return f"seed {found.seed}: step {found.step} of {found.steps}, in epoch {found.epoch}"


def _pass_lines(title: str, operations: Sequence[Operation]) -> list[str]:
    """A pass as a table, each operation with its formulas below it."""
    head, *rows = _aligned(
        [(title, "shape", "norm", "FLOPs", "time"), *map(_operation_row, operations)], (29, 27, 9, 11, 9)
    )
    lines = [head]
    for row, one in zip(rows, operations, strict=True):
        lines += [row, *(f"      {line}" for line in one.formulas)]
        lines += [f"      |d{g.name}| = {g.norm:.4g}  {shape_in_words(g.shape)}" for g in one.gradients]
    return lines


def _operation_row(one: Operation) -> tuple[str, ...]:
    name = one.layer if one.place == "loss" else f"{one.place} {one.layer}"
    shape = f"{shape_in_words(one.takes)} -> {'-' if one.gives is None else shape_in_words(one.gives)}"
    size = "-" if one.norm is None else f"{one.norm:.4g}"
    work = "-" if one.flops is None else f"{one.flops:,}"
    return f"  {name}", shape, size, work, time_in_words(one.seconds)


def _aligned(rows: Sequence[tuple[str, ...]], least: Sequence[int]) -> list[str]:
    """Rows of a table as lines: two columns of words, then numbers; each as wide as its longest, or the least."""
    widths = [max(wide, *map(len, column)) for wide, column in zip(least, zip(*rows, strict=True), strict=True)]
    sides = "<<" + ">" * (len(widths) - 2)
    return [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)).rstrip()
        for row in rows
    ]
