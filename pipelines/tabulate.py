"""Results as text that a person can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from pipelines.ablation import AblationRow
    from pipelines.catalogue import RunEntry, StudyEntry
    from pipelines.compare import Comparison
    from pipelines.derivatives import Checked
    from pipelines.explain import Explained, Operation
    from pipelines.predict import Answers
    from pipelines.study import Study
    from pipelines.sweep import TrialResult

TRUE_PREDICTED = "true \\ predicted"
ANSWERS_SHOWN = 40
"""Most images that a table of answers lists."""


def result_table(values: Mapping[str, object]) -> str:
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
    lines = [
        f"test accuracy {cast('float', values['test_accuracy']):.2%}".replace("%", " %")
        + f" ({mistakes} mistake{'' if mistakes == 1 else 's'} in {total}), loss {values['test_loss']:.4f}, "
        f"trained in {values['train_seconds']:.1f} s",
        "",
        f"  {TRUE_PREDICTED:<{first}} " + " ".join(f"{name:>{width}}" for name in names) + "   recall",
    ]
    for name, row in zip(names, matrix, strict=True):
        figures = " ".join(f"{count:>{width}}" for count in row)
        lines.append(f"  {name:<{first}} {figures}  {100 * recall[name]:5.1f} %")
    return "\n".join(lines)


def study_lines(study: Study) -> str:
    """Lay out a study: every seed, mean, deviation, interval, recall.

    Args:
        study: Any study.

    Returns:
        Lines of text; accuracies in percent.
    """
    seeds = ", ".join(f"{100 * result.test_accuracy:.2f}" for result in study.results)
    low, high = study.interval
    recall = ", ".join(f"{name} {100 * value:.2f} %" for name, value in study.recall.items())
    return "\n".join(
        [
            f"{study.name}, {len(study.results)} seeds: mean test accuracy {100 * study.mean:.3f} %",
            f"  standard deviation {100 * study.deviation:.3f}, 95 % interval of the mean "
            f"{100 * low:.3f} to {100 * high:.3f} %",
            f"  every seed: {seeds}",
            f"  recall: {recall}",
            f"  training time: {sum(result.train_seconds for result in study.results):.1f} s in all",
        ]
    )


def ablation_lines(rows: Sequence[AblationRow]) -> str:
    """Lay out what each ingredient of a recipe is worth.

    Args:
        rows: From `pipelines.ablation.ablation_rows`.

    Returns:
        Lines of text; accuracies in percent, differences in percentage points.
    """
    lines = [f"  {'without':<18} mean %   worth, in points   95 % interval"]
    for row in rows:
        low, high = row.interval
        lines.append(
            f"  {row.ingredient:<18} {100 * row.mean:6.3f}   {100 * row.difference:+16.3f}   "
            f"{100 * low:+.3f} to {100 * high:+.3f}"
        )
    return "\n".join(lines)


def comparison_lines(found: Comparison) -> str:
    """Lay out a comparison of two runs or studies.

    Args:
        found: From `pipelines.compare.compare`.

    Returns:
        Lines of text; accuracies in percent, differences in percentage points.
    """
    low, high = found.interval
    lines = [
        f"A {100 * found.accuracy[0]:.3f} % ({found.runs[0]} run{'s' * (found.runs[0] > 1)}), "
        f"B {100 * found.accuracy[1]:.3f} % ({found.runs[1]} run{'s' * (found.runs[1] > 1)}), {found.rows} test rows",
        f"  A minus B: {100 * found.difference:+.3f} points, "
        f"95 % bootstrap interval {100 * low:+.3f} to {100 * high:+.3f}",
    ]
    if found.p_value is not None:
        lines.append(
            f"  only A right: {found.only_a_right}, only B right: {found.only_b_right}; "
            f"McNemar's exact test: p = {found.p_value:.4f}"
        )
    return "\n".join(lines)


def run_lines(runs: Sequence[RunEntry], studies: Sequence[StudyEntry]) -> str:
    """Lay out a list of runs and studies.

    Args:
        runs: From `pipelines.catalogue.list_runs`.
        studies: From `pipelines.catalogue.list_studies`.

    Returns:
        Lines of text; accuracies in percent.
    """
    rows = [
        (
            entry.state,
            entry.recipe,
            f"seed {entry.seed}",
            f"{entry.epochs} epochs",
            "" if entry.test_accuracy is None else f"{100 * entry.test_accuracy:.2f} %",
            str(entry.path),
        )
        for entry in runs
    ] + [
        (
            "study",
            study.recipe,
            f"{study.seeds} seeds",
            "",
            "" if study.mean_test_accuracy is None else f"{100 * study.mean_test_accuracy:.2f} %",
            str(study.path),
        )
        for study in studies
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[5]]) for row in rows
    )


def trial_line(trial: TrialResult) -> str:
    """Lay out one trial of a sweep.

    Args:
        trial: One that is over.

    Returns:
        A line of text: number, loss in nats, accuracy in percent, settings.

    Example:
        >>> from pipelines.sweep import TrialResult
        >>> trial_line(TrialResult(3, "pruned", {"train.epochs": 9}, 0.25, 0.9, 2))
        'trial 3, pruned after 2 epochs: loss 0.2500, 90.00 %, train.epochs = 9'
    """
    after = f", pruned after {trial.epochs} epochs" if trial.state == "pruned" else ""
    loss = "no loss" if trial.validation_loss is None else f"loss {trial.validation_loss:.4f}"
    right = "" if trial.validation_accuracy is None else f", {100 * trial.validation_accuracy:.2f} %"
    settings = ", ".join(f"{name} = {value}" for name, value in trial.settings.items())
    return f"trial {trial.number}{after}: {loss}{right}, {settings}"


def check_lines(rows: Sequence[Checked]) -> str:
    """Lay out checks of derivatives.

    Args:
        rows: From `pipelines.derivatives.check_derivatives`, at least one.

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
            lines.append(f"       {row.found}")
    return "\n".join(lines)


def answer_lines(answers: Answers, *, top: int) -> str:
    """Lay out what a network says of images.

    Args:
        answers: From `pipelines.predict.predict`.
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
    return "\n".join(lines)


def _place(answers: Answers, index: int) -> str:
    file = answers.files[index]
    return f"{file}, row {answers.rows[index]}" if file.lower().endswith((".npy", ".parquet")) else file


def _most_probable(answers: Answers, index: int, top: int) -> str:
    width, values = max(map(len, answers.class_names)), answers.probabilities[index]
    ranks = (-values).argsort(kind="stable")[:top]
    return "  ".join(f"{answers.class_names[k]:<{width}} {100 * values[k]:6.2f} %" for k in ranks)


def explained_lines(found: Explained) -> str:
    """Lay out a step for a terminal.

    Args:
        found: From `pipelines.explain.explain`.

    Returns:
        Lines of text: each operation with its formula below it.
    """
    rows = len(found.inputs)
    lines = [
        f"{found.recipe}, seed {found.seed}: step {found.step} of {found.steps}, in epoch {found.epoch}; "
        f"{rows} examples, learning rate {found.learning_rate:.6g}",
    ]
    for stage, title in (("forward", "forward"), ("backward", "backward, from the end")):
        lines += ["", f"{title:<29}{'shape':<28}{'norm':>10}{'FLOPs':>13}{'time':>11}"]
        for one in found.operations:
            if one.stage == stage:
                lines += _operation_lines(one)
        if stage == "forward":
            lines.append(f"  loss {found.loss:.6g} nats, accuracy {100 * found.accuracy:.1f} %")
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
    return "\n".join(lines)


def _operation_lines(one: Operation) -> list[str]:
    name = one.layer if one.place == "loss" else f"{one.place} {one.layer}"
    shape = f"{shape_in_words(one.takes)} -> {'-' if one.gives is None else shape_in_words(one.gives)}"
    size = "-" if one.norm is None else f"{one.norm:.4g}"
    work = "-" if one.flops is None else f"{one.flops:,}"
    lines = [f"  {name:<27}{shape:<28}{size:>10}{work:>13}{time_in_words(one.seconds):>11}"]
    lines += [f"      {line}" for line in one.formulas]
    return lines + [f"      |d{g.name}| = {g.norm:.4g}  {shape_in_words(g.shape)}" for g in one.gradients]


def shape_in_words(shape: Sequence[int]) -> str:
    """Write the shape of an array.

    Args:
        shape: Any.

    Returns:
        Sizes with a cross between.

    Example:
        >>> shape_in_words((32, 784)), shape_in_words(())
        ('32 x 784', 'scalar')
    """
    return " x ".join(map(str, shape)) or "scalar"


def time_in_words(seconds: float) -> str:
    """Write a short time.

    Args:
        seconds: At least 0.

    Returns:
        In the unit that leaves a whole part; microseconds are ``us``, which any terminal can show.

    Example:
        >>> time_in_words(0.0000123), time_in_words(0.0045), time_in_words(2.0)
        ('12.3 us', '4.5 ms', '2.0 s')
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 1e-6:.1f} us"
