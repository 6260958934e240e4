"""The sections of the page: a title, a sentence, and a function that makes a Markdown table of the records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *rows))


def number(value: float | None, digits: int = 3) -> str:
    """A number, or nothing."""
    return "" if value is None else f"{value:.{digits}f}"


def circumstances(section: Record) -> str:
    """When, where and how a section was measured."""
    how = "a quick look, not to be quoted" if section["quick"] else "full rounds"
    rows = f", {section['rows']} random rows" if section["rows"] else ""
    machine = dict(section["machine"])
    load = machine.pop("load")
    where = f"{machine.pop('processor')}, {machine.pop('cores')} cores, load {load:.1f}"
    versions = ", ".join(f"{name} {version}" for name, version in machine.items())
    return f"*Measured {section['measured']}, threads: {section['threads']}, {how}{rows}. {where}. {versions}.*"


def by_runner(records: Sequence[Record], *keys: str) -> dict[tuple[Any, ...], dict[str, Record]]:
    """Group records: values of the keys -> runner -> record."""
    groups: dict[tuple[Any, ...], dict[str, Record]] = {}
    for record in records:
        groups.setdefault(tuple(record[key] for key in keys), {})[record["runner"]] = record
    return groups


def ratio(own: Record | None, other: Record | None) -> float | None:
    """Median over median, where both ran."""
    if own is None or other is None or not own["seconds"] or not other["seconds"]:
        return None
    return float(own["seconds"]) / float(other["seconds"])


def spread(own: Record | None, other: Record | None) -> str:
    """The ratio, with the smallest and the largest of a round."""
    middle = ratio(own, other)
    if middle is None or own is None or other is None:
        return ""
    rounds = [a / b for a, b in zip(own["rounds"], other["rounds"], strict=True)]
    return f"**{middle:.2f}** ({min(rounds):.2f} to {max(rounds):.2f})"


def _compared(records: Sequence[Record], key: str, peer: str, last: str) -> str:
    """A row for each recipe or table: both engines over the peer, and the seconds of all."""
    groups = by_runner(records, key)
    runners = list(dict.fromkeys(record["runner"] for record in records))
    ours = [runner for runner in reversed(runners) if runner != peer]
    rows = [
        [name]
        + [spread(group.get(runner), group.get(peer)) for runner in ours]
        + [number(group[runner]["seconds"]) if runner in group else "" for runner in runners]
        + [number(group[runners[0]][last], 3)]
        for (name,), group in groups.items()
    ]
    return table([key, *(f"{one} / {peer}" for one in ours), *(f"{one}, s" for one in runners), last], rows)


def _recipes(records: Sequence[Record]) -> str:
    return _compared(records, "recipe", "torch", "loss")


def _estimators(records: Sequence[Record]) -> str:
    return _compared(records, "table", "scikit-learn", "score")


def _epochs(records: Record) -> str:
    times = records["times"]
    runners = list(dict.fromkeys(time["runner"] for time in times))
    rows = []
    for (cell, optimizer), group in by_runner(times, "cell", "optimizer").items():
        fastest, eager = fastest_of(group), fastest_of(group, "torch foreach", "torch fused")
        first = [spread(group.get("bpfunc compiled"), fastest), "" if fastest is None else str(fastest["runner"])]
        plain = [spread(group.get("bpfunc"), eager), number(ratio(group.get("bpfunc"), group.get("products")), 2)]
        rows.append([cell, optimizer, *first, *plain, *(number(group[runner]["seconds"], 4) for runner in runners)])
    head = ["cell", "optimiser", "compiled / fastest peer", "fastest peer", "NumPy / eager torch", "NumPy / products"]
    noted = dict.fromkeys(f"- {time['runner']}: {time['note']}" for time in times if time["note"])
    text = table([*head, *(f"{runner}, s" for runner in runners)], rows)
    return text + ("\n\nDid not take part:\n\n" + "\n".join(noted) if noted else "")


def fastest_of(group: Mapping[str, Record], *names: str) -> Record | None:
    """The fastest peer of a cell, of all or of some."""
    ran = [one for one in group.values() if one["kind"] == "peer" and one["seconds"]]
    return min(
        (one for one in ran if not names or one["runner"] in names), key=lambda one: one["seconds"], default=None
    )


def _latency(records: Sequence[Record]) -> str:
    runners = list(dict.fromkeys(record["runner"] for record in records))
    rows = [
        [network, str(count), *(number(group[name]["seconds"] and group[name]["seconds"] * 1e6, 1) for name in runners)]
        for (network, count), group in by_runner(records, "network", "rows").items()
    ]
    return table(["network", "rows", *(f"{runner}, microseconds" for runner in runners)], rows)


def _images(records: Sequence[Record]) -> str:
    rows = []
    for (network,), group in by_runner(records, "network").items():
        peer = group["torch eager"]
        for runner, one in group.items():
            held, total = (f"{size / 1e6:.0f}" for size in (one["total"] - one["imported"], one["total"]))
            step = (number(1e3 * one["seconds"], 2), spread(one, peer), number(one["cores"], 2))
            rows.append([network, runner, *step, total, held, number(one["total"] / peer["total"], 2)])
    head = ["network", "runner", "ms a step", "/ torch", "cores", "peak MB", "without imports", "/ torch"]
    return table(head, rows)


def _memory(records: Sequence[Record]) -> str:
    rows = []
    for record in records:
        imported, total = ((record[key] or 0) / 1e6 for key in ("imported", "total"))
        figures = (
            [f"{value:.0f}" for value in (imported, total, total - imported)] if total else [record["note"], "", ""]
        )
        rows.append([record["cell"], record["optimizer"], record["runner"], *figures])
    return table(["cell", "optimiser", "runner", "after the import, MB", "at most, MB", "difference, MB"], rows)


def _processes(records: Sequence[Record]) -> str:
    first = records[0]
    rows = [
        [one["name"], number(one["seconds"]), number(ratio(one, first), 2), _rounds(one), one["note"]]
        for one in records
    ]
    return table(["process", "seconds", f"/ {first['name']}", "rounds", ""], rows)


def _rounds(record: Record) -> str:
    return f"{min(record['rounds']):.3f} to {max(record['rounds']):.3f}" if record["rounds"] else ""


def _profile(records: Sequence[Record]) -> str:
    columns = list(dict.fromkeys((record["cell"], record["optimizer"]) for record in records))
    values = {(one["part"], one["cell"], one["optimizer"]): one["microseconds"] for one in records}
    parts = dict.fromkeys(record["part"] for record in records)
    rows = [[part, *(number(values.get((part, *column)), 1) for column in columns)] for part in parts]
    return table(["part, microseconds", *(" ".join(column) for column in columns)], rows)


SECTIONS: dict[str, tuple[str, str, Callable[[Any], str]]] = {
    "recipes": (
        "Recipes, seconds for an epoch",
        "All that a recipe asks for (mirroring, mixup, dropout, averaged weights, a look at validation rows), the "
        "mean over the training rows' losses in the last column. `ten-class` is timed on random rows of its size.",
        _recipes,
    ),
    "estimators": (
        "Estimators, seconds for a fit",
        "Seven tables of several kinds with equal settings and numbers of epochs; the score is accuracy or R² on the "
        "training rows.",
        _estimators,
    ),
    "recipe_process": (
        "The recipe `best`, from the prepared cache to the saved network",
        "Whole processes, imports and files included; accuracy without the mirror images of a prediction.",
        _processes,
    ),
    "whole_process": (
        "At least 98.48 %, from the prepared cache to the saved network",
        "Whole processes with the same network, batches, epochs and rate.",
        _processes,
    ),
    "epochs": ("The grid, seconds for an epoch", "Networks 784-h1-h2-3 on 18,000 rows, four optimisers.", _epochs),
    "images": (
        "Convolution, a step",
        "Forward, backward and SGD with momentum of two small networks over 28 x 28 pixels, on NumPy alone.",
        _images,
    ),
    "prediction": ("Prediction", "From array to array.", _latency),
    "cold_start": ("Cold start", "Whole processes, from nothing until the first thing is done.", _processes),
    "memory": ("Peak memory of training", "Of a process that does nothing else.", _memory),
    "step_profile": ("Where the time of a step goes", "The composed step on NumPy.", _profile),
}
