"""Times as bars, ours and the peers', relative to one peer: shorter is faster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.tables import Record, by_runner, fastest_of

Bars = dict[str, dict[str, float]]
"""Group -> runner -> time over the reference's."""
COLOURS = {"bpfunc compiled": "#0b6e4f", "bpfunc": "#7bc8a4"}
PEER = "#b8bcc4"


def draw(results: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Draw what has a picture.

    Args:
        results: What the suite measured.
        folder: For the pictures.

    Returns:
        Name of a section -> file.
    """
    drawn = {}
    for name, (reference, bars) in _pictures(results).items():
        if bars:
            drawn[name] = f"{name}.png"
            _write(bars, reference, folder / drawn[name])
    return drawn


def _pictures(results: Mapping[str, Any]) -> dict[str, tuple[str, Bars]]:
    pictures = {}
    for name, key, peer in (("recipes", "recipe", "torch"), ("estimators", "table", "scikit-learn")):
        if name in results:
            groups = by_runner(results[name]["records"], key)
            pictures[name] = (peer, {group[0]: _over(runners, runners.get(peer)) for group, runners in groups.items()})
    if "epochs" in results:
        groups = by_runner(results["epochs"]["records"]["times"], "cell", "optimizer")
        grid = {f"{cell} {optimizer}": _grid(group) for (cell, optimizer), group in groups.items()}
        pictures["epochs"] = ("the fastest peer", grid)
    return {
        name: (peer, {group: found for group, found in bars.items() if found})
        for name, (peer, bars) in pictures.items()
    }


def _grid(group: Mapping[str, Record]) -> dict[str, float]:
    fastest, eager = fastest_of(group), fastest_of(group, "torch foreach", "torch fused")
    bars = _over({name: group[name] for name in COLOURS if name in group}, fastest)
    return {**bars, "eager torch": eager["seconds"] / fastest["seconds"]} if fastest and eager else bars


def _over(runners: Mapping[str, Record], reference: Record | None) -> dict[str, float]:
    if reference is None or not reference["seconds"]:
        return {}
    return {name: one["seconds"] / reference["seconds"] for name, one in runners.items() if one["seconds"]}


def _write(bars: Bars, reference: str, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    named = dict.fromkeys(name for group in bars.values() for name in group)
    runners = [*(name for name in COLOURS if name in named), *(name for name in named if name not in COLOURS)]
    height = 0.8 / len(runners)
    figure, axes = plt.subplots(figsize=(9, 1 + len(bars) * (0.12 + 0.16 * len(runners))), layout="constrained")
    for place, runner in enumerate(runners):
        rows = [index + (place - (len(runners) - 1) / 2) * height for index in range(len(bars))]
        widths = [group.get(runner, 0.0) for group in bars.values()]
        drawn = axes.barh(rows, widths, height * 0.92, label=runner, color=COLOURS.get(runner, PEER))
        axes.bar_label(
            drawn, [f"{width:.2f}" if width else "" for width in widths], padding=3, fontsize=7, color="0.3", zorder=4
        )
    axes.axvline(1, color="0.35", linewidth=1, zorder=3)
    axes.set_yticks(range(len(bars)), list(bars))
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set_xlabel(f"time / time of {reference}: shorter is faster")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper left", ncols=len(runners), frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)
