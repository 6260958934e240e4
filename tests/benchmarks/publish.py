"""Results as Markdown, as a picture, and in ``docs/performance.md``: ``python -m tests.benchmarks.publish RESULTS``."""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.settings import ROOT

Record = Mapping[str, Any]
PAGE, FOLDER = ROOT / "docs" / "performance.md", ROOT / "docs" / "performance"
BEGIN, END = "<!-- figures: written by tests/benchmarks, do not edit -->\n", "<!-- end of figures -->\n"
LARGE = ("(256, 128) b128", "(512, 256) b256", "(1024, 1024) b256")


def publish(results: Mapping[str, Any], page: Path = PAGE, folder: Path = FOLDER) -> None:
    """Put figures and picture into the page, in place of those that were there.

    Args:
        results: What the suite measured.
        page: With the two marks.
        folder: For ``results.json`` and ``epochs.png``.
    """
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{page} lacks the marks between which the figures stand")
    folder.mkdir(exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    with tempfile.TemporaryDirectory() as name:
        drawn = Path(name) / "epochs.png"
        picture = ""
        if write_plot(results, drawn):
            shutil.copy(drawn, folder / drawn.name)
            picture = f"![Epoch times relative to the fastest peer]({folder.name}/{drawn.name})\n\n"
    page.write_text(f"{before}{BEGIN}\n{picture}{markdown(results)}\n{END}{after}", encoding="utf-8")


def markdown(results: Mapping[str, Any]) -> str:
    """Write all tables.

    Args:
        results: What the suite measured.

    Returns:
        Markdown.
    """
    sections = [f"### Against what was asked for\n\n{_targets(results)}"] if results else []
    for name, (title, table) in SECTIONS.items():
        if name in results:
            section = results[name]
            sections.append(f"### {title}\n\n{_circumstances(section)}\n\n{table(section['records'])}")
    return "\n\n".join(sections) + "\n"


def write_plot(results: Mapping[str, Any], path: Path) -> bool:
    """Draw the time of every runner in every cell, relative to the fastest peer there.

    Args:
        results: What the suite measured.
        path: A PNG.

    Returns:
        Whether there was anything to draw.
    """
    if "epochs" not in results or not any(_ratios(results)):
        return False
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    times = results["epochs"]["records"]["times"]
    cells = list(dict.fromkeys((time["cell"], time["optimizer"]) for time in times))
    runners = dict.fromkeys((time["kind"], time["runner"]) for time in times if time["runner"] != "copy")
    fastest = {
        cell: min(time["seconds"] for time in _of(times, cell) if time["kind"] == "peer" and time["seconds"])
        for cell in cells
    }
    figure, axes = plt.subplots(figsize=(9, 1.6 + 0.3 * len(cells)), layout="constrained")
    for kind, runner in runners:
        own = [time for time in times if time["runner"] == runner and time["seconds"]]
        across = [time["seconds"] / fastest[time["cell"], time["optimizer"]] for time in own]
        down = [cells.index((time["cell"], time["optimizer"])) for time in own]
        style = {
            "ours": {"marker": "D", "s": 70, "zorder": 3},
            "peer": {"alpha": 0.75},
            "floor": {"marker": "|", "s": 120},
        }
        axes.scatter(across, down, label=runner, **style[kind])
    axes.axvline(1, color="0.6", linewidth=1, zorder=0)
    axes.set_xscale("log")
    axes.set_xticks([0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4], ["0.25", "0.5", "0.75", "1", "1.5", "2", "3", "4"])
    axes.minorticks_off()
    axes.set_yticks(range(len(cells)), [" ".join(cell) for cell in cells])
    axes.invert_yaxis()
    axes.set_xlabel("time of an epoch / time of the fastest peer")
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=5, frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return True


def _circumstances(section: Record) -> str:
    how = "a quick look, not to be quoted" if section["quick"] else "full rounds"
    rows = f", {section['rows']} random rows" if section["rows"] else ""
    machine = dict(section["machine"])
    load = machine.pop("load")
    where = f"{machine.pop('processor')}, {machine.pop('cores')} cores, load {load:.1f}"
    versions = ", ".join(f"{name} {number}" for name, number in machine.items())
    return f"Measured {section['measured']}, threads: {section['threads']}, {how}{rows}. {where}. {versions}."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _of(times: Sequence[Record], cell: tuple[str, str]) -> list[Record]:
    return [time for time in times if (time["cell"], time["optimizer"]) == cell]


def _number(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _epochs(records: Record) -> str:
    times, rows = records["times"], []
    runners = list(dict.fromkeys(time["runner"] for time in times))
    for one in records["comparisons"]:
        seconds = {time["runner"]: time["seconds"] for time in _of(times, (one["cell"], one["optimizer"]))}
        spread = "" if one["ratio"] is None else f"**{one['ratio']:.2f}** ({one['low']:.2f} to {one['high']:.2f})"
        rows.append(
            [one["cell"], one["optimizer"], one["ours"], spread, one["fastest"]]
            + [_number(one["floor"], 2), _number(one["floor_copy"], 2)]
            + [_number(seconds[runner], 4) for runner in runners]
        )
    head = ["cell", "optimiser", "ours", "ours / fastest peer (rounds)", "fastest peer", "ours / products"]
    table = _table([*head, "ours / (products + copy)", *(f"{runner}, s" for runner in runners)], rows)
    noted = dict.fromkeys(f"- {time['runner']}: {time['note']}" for time in times if time["note"])
    return table + ("\n\nDid not take part:\n\n" + "\n".join(noted) if noted else "")


def _latency(records: Sequence[Record]) -> str:
    runners = list(dict.fromkeys(record["runner"] for record in records))
    rows = []
    for network, count in dict.fromkeys((record["network"], record["rows"]) for record in records):
        own = {r["runner"]: r["seconds"] for r in records if (r["network"], r["rows"]) == (network, count)}
        rows.append([network, str(count), *(_number(own[runner] and own[runner] * 1e6, 1) for runner in runners)])
    return _table(["network", "rows", *(f"{runner}, microseconds" for runner in runners)], rows)


def _memory(records: Sequence[Record]) -> str:
    rows = []
    for record in records:
        imported, total = ((record[key] or 0) / 1e6 for key in ("imported", "total"))
        figures = (
            [f"{value:.0f}" for value in (imported, total, total - imported)] if total else [record["note"], "", ""]
        )
        rows.append([record["cell"], record["optimizer"], record["runner"], *figures])
    return _table(["cell", "optimiser", "runner", "after the import, MB", "at most, MB", "difference, MB"], rows)


def _processes(records: Sequence[Record]) -> str:
    first = records[0]
    rows = [
        [record["name"], _number(record["seconds"]), _number(_over(record, first), 2), _spread(record), record["note"]]
        for record in records
    ]
    return _table(["process", "seconds", f"/ {first['name']}", "rounds", ""], rows)


def _over(record: Record, other: Record) -> float | None:
    return record["seconds"] / other["seconds"] if record["seconds"] and other["seconds"] else None


def _spread(record: Record) -> str:
    return f"{min(record['rounds']):.3f} to {max(record['rounds']):.3f}" if record["rounds"] else ""


def _profile(records: Sequence[Record]) -> str:
    columns = list(dict.fromkeys((record["cell"], record["optimizer"]) for record in records))
    values = {(r["part"], r["cell"], r["optimizer"]): r["microseconds"] for r in records}
    parts = dict.fromkeys(record["part"] for record in records)
    rows = [[part, *(_number(values.get((part, *column)), 1) for column in columns)] for part in parts]
    return _table(["part, microseconds", *(" ".join(column) for column in columns)], rows)


SECTIONS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "epochs": ("Seconds for an epoch", _epochs),
    "whole_process": ("From the prepared cache to saved weights", _processes),
    "cold_start": ("Cold start", _processes),
    "prediction": ("Prediction", _latency),
    "memory": ("Peak memory of training", _memory),
    "step_profile": ("Where the time of a step goes", _profile),
}


def _ratios(results: Mapping[str, Any]) -> Iterator[Record]:
    if "epochs" in results:
        yield from (one for one in results["epochs"]["records"]["comparisons"] if one["ratio"] is not None)


def _targets(results: Mapping[str, Any]) -> str:
    rows = [
        [
            what,
            f"{sign} {bound}",
            _number(found, 2),
            "yes" if (found < bound if sign == "<" else found <= bound) else "no",
        ]
        for what, sign, bound, found in (*_epoch_targets(results), *_other_targets(results))
    ]
    return _table(["figure", "asked for", "found", "reached"], rows)


Target = tuple[str, str, float, float]


def _epoch_targets(results: Mapping[str, Any]) -> Iterator[Target]:
    ratios = list(_ratios(results))
    best: dict[tuple[str, str], float] = {}
    for one in ratios:
        cell = (one["cell"], one["optimizer"])
        best[cell] = min(one["ratio"], best.get(cell, one["ratio"]))
    plain = [one for one in ratios if one["ours"] == "bpfunc"]
    if plain:
        gradient = [one["ratio"] for one in plain if one["optimizer"] in ("SGD", "momentum")]
        if gradient:
            yield "plain NumPy: worst ratio to the fastest peer, SGD and momentum", "<", 1.0, max(gradient)
        mean = statistics.geometric_mean(one["ratio"] for one in plain)
        yield "plain NumPy: geometric mean of the ratios", "<=", 0.95, mean
    if best:
        yield "best configuration: worst ratio", "<", 1.0, max(best.values())
        yield "best configuration: geometric mean", "<=", 0.75, statistics.geometric_mean(best.values())
    every = results.get("epochs", {}).get("records", {}).get("comparisons", [])
    for names, bound in ((("SGD", "momentum"), 1.25), (("Adam", "AdamW"), 1.45)):
        floors: dict[tuple[str, str], float] = {}
        for one in every:
            if one["cell"] in LARGE and one["optimizer"] in names and one["floor"] is not None:
                cell = (one["cell"], one["optimizer"])
                floors[cell] = min(one["floor"], floors.get(cell, one["floor"]))
        if floors:
            yield (
                f"best configuration: worst ratio to the products, large, {' and '.join(names)}",
                "<=",
                bound,
                max(floors.values()),
            )


def _other_targets(results: Mapping[str, Any]) -> Iterator[Target]:
    def seconds(name: str) -> dict[str, float]:
        records = results.get(name, {}).get("records", [])
        return {record["name"]: record["seconds"] for record in records if record["seconds"]}

    whole, cold = seconds("whole_process"), seconds("cold_start")
    peers = {"torch": 0.25, "scikit-learn": 0.6}
    ours = min((took for name, took in whole.items() if name not in peers), default=None)
    for peer, bound in peers.items():
        if ours and peer in whole:
            yield f"whole process / {peer}", "<=", bound, ours / whole[peer]
    for name, bound in (("import bpfunc", 1.5), ("bpfunc --help", 4.0)):
        if name in cold:
            yield f"{name} / import numpy", "<=", bound, cold[name] / cold["import numpy"]
    latency = [record for record in results.get("prediction", {}).get("records", []) if record["seconds"]]
    for single, bound in ((True, 1.5), (False, 1.2)):
        found = []
        for reference in (r for r in latency if r["runner"] == "onnxruntime" and (r["rows"] == 1) == single):
            same = [r for r in latency if (r["network"], r["rows"]) == (reference["network"], reference["rows"])]
            found.append(min(r["seconds"] for r in same if r["kind"] == "ours") / reference["seconds"])
        if found:
            yield f"prediction of {'one row' if single else 'many rows'} / onnxruntime, worst", "<=", bound, max(found)
    memory = [record for record in results.get("memory", {}).get("records", []) if record["total"]]
    for cell in dict.fromkeys(record["cell"] for record in memory):
        own = [r["total"] for r in memory if r["cell"] == cell and r["kind"] == "ours"]
        torch = [r["total"] for r in memory if r["cell"] == cell and r["runner"].startswith("torch")]
        if own and torch:
            yield f"peak memory / torch, {cell}", "<=", 1.0, min(own) / min(torch)


if __name__ == "__main__":
    publish(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
