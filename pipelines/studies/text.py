"""Studies, ablations, comparisons and trials as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipelines.disk.untrusted.printable import Printable, in_lines, printable
from pipelines.report.drawing.wording import plural
from pipelines.studies.statistics import Interval, no_interval

if TYPE_CHECKING:
    from pipelines.studies.ablation import AblationRow
    from pipelines.studies.compare import Comparison
    from pipelines.studies.study import Study
    from pipelines.studies.tuning.cross_validation import Trial
    from pipelines.studies.tuning.sweep import TrialResult


def _ends(interval: Interval, sign: str) -> str:
    return " to ".join(f"{100 * end:{sign}.3f}" for end in interval)


def study_lines(study: Study) -> Printable:
    """Lay out a study: every seed, mean, deviation, interval, recall.

    Args:
        study: Any study.

    Returns:
        Lines of text; accuracies in percent.
    """
    seeds = ", ".join(f"{100 * result.test_accuracy:.2f}" for result in study.results)
    deviation = "needs two seeds" if study.deviation is None else f"{100 * study.deviation:.3f}"
    interval = no_interval(len(study.results)) if study.interval is None else f"{_ends(study.interval, '')} %"
    recall = ", ".join(f"{name} {100 * value:.2f} %" for name, value in study.recall.items())
    return in_lines(
        [
            f"{study.name}, {plural(len(study.results), 'seed', 'seeds')}: mean test accuracy {100 * study.mean:.3f} %",
            f"  standard deviation {deviation}, 95 % interval of the mean {interval}",
            f"  every seed: {seeds}",
            f"  recall: {recall}",
            f"  training time: {sum(result.train_seconds for result in study.results):.1f} s in all",
        ]
    )


def ablation_lines(rows: Sequence[AblationRow]) -> Printable:
    """Lay out what each ingredient of a recipe is worth.

    Args:
        rows: From `pipelines.studies.ablation.ablation_rows`.

    Returns:
        Lines of text; accuracies in percent, differences in percentage points.
    """
    lines = [f"  {'without':<18} mean %   worth, in points   95 % interval"]
    for row in rows:
        why = no_interval(len(row.every), values="differences")
        interval = why if row.interval is None else _ends(row.interval, "+")
        lines.append(f"  {row.ingredient:<18} {100 * row.mean:6.3f}   {100 * row.difference:+16.3f}   {interval}")
    return in_lines(lines)


def comparison_lines(found: Comparison) -> Printable:
    """Lay out a comparison of two runs or studies.

    Args:
        found: From `pipelines.studies.compare.compare`.

    Returns:
        Lines of text; accuracies in percent, differences in percentage points.
    """
    why = no_interval(found.rows, "test rows", "differences")
    lines = [
        f"A {100 * found.accuracy[0]:.3f} % ({found.runs[0]} run{'s' * (found.runs[0] > 1)}), "
        f"B {100 * found.accuracy[1]:.3f} % ({found.runs[1]} run{'s' * (found.runs[1] > 1)}), {found.rows} test rows",
        f"  A minus B: {100 * found.difference:+.3f} points, "
        f"95 % bootstrap interval {why if found.interval is None else _ends(found.interval, '+')}",
    ]
    if found.p_value is not None:
        lines.append(
            f"  only A right: {found.only_a_right}, only B right: {found.only_b_right}; "
            f"McNemar's exact test: p {'< 0.0001' if found.p_value < 1e-4 else f'= {found.p_value:.4f}'}"
        )
    return in_lines(lines)


def trial_line(trial: TrialResult) -> Printable:
    """Lay out one trial of a sweep.

    Args:
        trial: One that is over.

    Returns:
        A line of text: number, loss in nats, accuracy in percent, settings.

    Example:
        >>> from pipelines.studies.tuning.sweep import TrialResult
        >>> trial_line(TrialResult(3, "pruned", {"train.epochs": 9}, 0.25, 0.9, 2))
        'trial 3, pruned after 2 epochs: loss 0.2500, 90.00 %, train.epochs = 9'
        >>> trial_line(TrialResult(4, "pruned", {"train.epochs": 9}, None, None, 0, "the loss is not finite at step 7"))
        'trial 4: the loss is not finite at step 7, train.epochs = 9'
    """
    settings = ", ".join(f"{name} = {value}" for name, value in trial.settings.items())
    if trial.problem is not None:
        return printable(f"trial {trial.number}: {trial.problem}, {settings}")
    after = f", pruned after {plural(trial.epochs, 'epoch', 'epochs')}" if trial.state == "pruned" else ""
    loss = "no loss" if trial.validation_loss is None else f"loss {trial.validation_loss:.4f}"
    right = "" if trial.validation_accuracy is None else f", {100 * trial.validation_accuracy:.2f} %"
    return printable(f"trial {trial.number}{after}: {loss}{right}, {settings}")


def search_trial_line(trial: Trial) -> Printable:
    """Lay out one trial of a search.

    Args:
        trial: A variant on a fold.

    Returns:
        A line of text: accuracy in percent, loss in nats, seconds; or how it diverged.

    Example:
        >>> from pipelines.studies.tuning.cross_validation import Trial
        >>> search_trial_line(Trial("wide", 0, 0.9, 0.25, 3.0))
        'wide, fold 0: 90.00 %, loss 0.2500, 3 s'
        >>> search_trial_line(Trial("fast", 0, None, None, 3.0, "the loss is not finite at step 7"))
        'fast, fold 0: diverged, the loss is not finite at step 7'
    """
    accuracy, loss = trial.validation_accuracy, trial.validation_loss
    if accuracy is None or loss is None:
        return printable(f"{trial.variant}, fold {trial.fold}: diverged, {trial.problem}")
    figures = f"{100 * accuracy:.2f} %, loss {loss:.4f}, {trial.train_seconds:.0f} s"
    return printable(f"{trial.variant}, fold {trial.fold}: {figures}")


def search_lines(rows: Sequence[Mapping[str, object]]) -> Printable:
    """Lay out a search, the best variant first.

    Args:
        rows: From `pipelines.studies.tuning.cross_validation.search_table`.

    Returns:
        A line for each variant.

    Example:
        >>> print(search_lines([{"validation_accuracy": 0.9, "validation_loss": 0.25, "variant": "wide"},
        ...                     {"validation_accuracy": None, "validation_loss": None, "variant": "fast"}]))
        90.000 %  loss 0.2500  wide
        diverged               fast
    """
    lines = []
    for row in rows:
        accuracy, loss = row["validation_accuracy"], row["validation_loss"]
        figures = f"{'diverged':<21}"
        if isinstance(accuracy, float) and isinstance(loss, float):
            figures = f"{100 * accuracy:.3f} %  loss {loss:.4f}"
        lines.append(f"{figures}  {row['variant']}")
    return in_lines(lines)
