"""What was asked for, and what was found."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tests.benchmarks.tables import Record, by_runner, fastest_of, number, ratio, table

Target = tuple[str, str, float, float | None]
"""What, ``<`` or ``<=``, the bound, the figure."""
ENGINES = {"bpfunc compiled": "compiled", "bpfunc": "NumPy alone"}


def targets(results: Mapping[str, Any]) -> str:
    """Write the table of bounds."""
    every = (_recipes, _processes, _estimators, _grid, _images, _prediction, _start, _memory)
    rows = [
        [
            what,
            f"{sign} {bound:g}",
            number(found, 2),
            "yes" if (found < bound if sign == "<" else found <= bound) else "no",
        ]
        for part in every
        for what, sign, bound, found in part(results)
        if found is not None
    ]
    return table(["figure", "asked for", "found", "reached"], rows)


def _records(results: Mapping[str, Any], name: str) -> Any:
    return results[name]["records"] if name in results else ()


def _recipes(results: Mapping[str, Any]) -> Iterator[Target]:
    bounds = {"report": (0.45, 0.75), "best": (0.70, 1.20), "ten-class": (0.85, 1.10)}
    for (recipe,), group in by_runner(_records(results, "recipes"), "recipe").items():
        for (runner, engine), bound in zip(ENGINES.items(), bounds[recipe], strict=True):
            yield f"recipe `{recipe}`, {engine} / torch", "<=", bound, ratio(group.get(runner), group.get("torch"))


def _processes(results: Mapping[str, Any]) -> Iterator[Target]:
    for name, what, bounds in (
        ("recipe_process", "process of `best`", {"torch": 0.65}),
        ("whole_process", "process to 98.48 %", {"torch": 0.35, "scikit-learn": 0.55}),
    ):
        ran = {one["name"]: one for one in _records(results, name)}
        ours = min((one for one in map(ran.get, ENGINES) if one and one["seconds"]), key=_seconds, default=None)
        for peer, bound in bounds.items():
            yield f"{what}, better engine / {peer}", "<=", bound, ratio(ours, ran.get(peer))


def _seconds(record: Record) -> float:
    return float(record["seconds"])


def _estimators(results: Mapping[str, Any]) -> Iterator[Target]:
    groups = by_runner(_records(results, "estimators"), "table")
    for runner, engine in ENGINES.items():
        ratios = _known(ratio(group.get(runner), group.get("scikit-learn")) for group in groups.values())
        bounds = (0.40, 0.70) if runner == "bpfunc compiled" else (0.85, None)
        yield f"estimators, {engine} / scikit-learn, geometric mean", "<=", bounds[0], _mean(ratios)
        if bounds[1] is not None:
            yield f"estimators, {engine} / scikit-learn, worst", "<=", bounds[1], max(ratios, default=None)


def _known(ratios: Iterable[float | None]) -> list[float]:
    return [one for one in ratios if one is not None]


def _mean(ratios: Sequence[float]) -> float | None:
    return statistics.geometric_mean(ratios) if ratios else None


def _grid(results: Mapping[str, Any]) -> Iterator[Target]:
    if "epochs" not in results:
        return
    groups = by_runner(_records(results, "epochs")["times"], "cell", "optimizer")
    best = _known(
        min(_known(ratio(group.get(runner), fastest_of(group)) for runner in ENGINES), default=None)
        for group in groups.values()
    )
    yield "grid, better engine / fastest peer, worst", "<", 1.0, max(best, default=None)
    yield "grid, better engine / fastest peer, geometric mean", "<=", 0.75, _mean(best)
    for names, mean, worst in ((("SGD", "momentum"), 0.95, 1.10), (("Adam", "AdamW"), 1.25, None)):
        ratios = _known(
            ratio(group.get("bpfunc"), fastest_of(group, "torch foreach", "torch fused"))
            for (_, optimizer), group in groups.items()
            if optimizer in names
        )
        what = f"grid, NumPy alone / eager torch, {' and '.join(names)}"
        yield f"{what}, geometric mean", "<=", mean, _mean(ratios)
        if worst is not None:
            yield f"{what}, worst", "<=", worst, max(ratios, default=None)


def _images(results: Mapping[str, Any]) -> Iterator[Target]:
    for (network,), group in by_runner(_records(results, "images"), "network").items():
        ours, peer = group["bpfunc"], group["torch eager"]
        yield f"convolution {network}, NumPy alone / torch", "<=", 2.0, ratio(ours, peer)
        yield f"convolution {network}, peak memory / torch", "<=", 1.5, ours["total"] / peer["total"]


def _prediction(results: Mapping[str, Any]) -> Iterator[Target]:
    for (network, rows), group in by_runner(_records(results, "prediction"), "network", "rows").items():
        ran = [one for one in group.values() if one["kind"] == "ours" and one["seconds"]]
        ours = min(ran, key=_seconds, default=None)
        for peer, bound in {(1, "(128, 64)"): (("onnxruntime", 1.5),), (1, "(512, 256)"): (("torch", 1.0),)}.get(
            (rows, network), (("torch", 1.0),) if rows == 32 else ()
        ):
            count = "one row" if rows == 1 else f"{rows} rows"
            yield f"prediction, {network}, {count} / {peer}", "<=", bound, ratio(ours, group.get(peer))


def _start(results: Mapping[str, Any]) -> Iterator[Target]:
    ran = {one["name"]: one for one in _records(results, "cold_start")}
    for name, bound in (("import bpfunc", 1.5), ("bpfunc --help", 4.0)):
        yield f"{name} / import numpy", "<=", bound, ratio(ran.get(name), ran.get("import numpy"))
    first = ran.get("first step, kept machine code")
    if first and first["seconds"]:
        yield (
            "first step with kept machine code, seconds beyond NumPy's import",
            "<=",
            0.5,
            (first["seconds"] - ran["import numpy"]["seconds"]),
        )


def _memory(results: Mapping[str, Any]) -> Iterator[Target]:
    records = [one for one in _records(results, "memory") if one["total"]]
    for cell in dict.fromkeys(one["cell"] for one in records):
        own = [one["total"] for one in records if one["cell"] == cell and one["kind"] == "ours"]
        torch = [one["total"] for one in records if one["cell"] == cell and one["runner"].startswith("torch")]
        if own and torch:
            yield f"peak memory / torch, {cell}", "<=", 1.0, min(own) / min(torch)
