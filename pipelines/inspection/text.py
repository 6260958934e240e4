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
        lines += ["", f"{title:<29}{'shape':<28}{'norm':>10}{'FLOPs':>13}{'time':>11}"]
        for one in found.operations:
            if one.stage == stage:
                lines += _operation_lines(one)
        if stage == "forward":
            right = "" if found.accuracy is None else f", accuracy {100 * found.accuracy:.1f} %"
            lines.append(f"  loss {found.loss:.6g} nats{right}")
    time = time_in_words(found.update_seconds)
    lines += ["", f"{'update':<25}{'shape':<14}{'gradient':>11}{'step':>11}{'parameters':>12}{'ratio':>10}{time:>9}"]
    lines += [f"      {line}" for line in found.update_formulas]
    for update in found.updates:
        ratio = f"{update.step / update.parameters:10.1e}" if update.parameters else f"{'-':>10}"
        lines.append(
            f"  {update.path:<23}{shape_in_words(update.shape):<14}{update.gradient:>11.3g}{update.step:>11.3g}"
            f"{update.parameters:>12.3g}{ratio}"
        )
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


def _operation_lines(one: Operation) -> list[str]:
    name = one.layer if one.place == "loss" else f"{one.place} {one.layer}"
    shape = f"{shape_in_words(one.takes)} -> {'-' if one.gives is None else shape_in_words(one.gives)}"
    size = "-" if one.norm is None else f"{one.norm:.4g}"
    work = "-" if one.flops is None else f"{one.flops:,}"
    lines = [f"  {name:<26} {shape:<27} {size:>10}{work:>13}{time_in_words(one.seconds):>11}"]
    lines += [f"      {line}" for line in one.formulas]
    return lines + [f"      |d{g.name}| = {g.norm:.4g}  {shape_in_words(g.shape)}" for g in one.gradients]
