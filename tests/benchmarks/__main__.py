"""Measure bpfunc beside its peers: ``python -m tests.benchmarks [name...]``.

Leaves ``results.json``, ``results.md`` and pictures in the output directory. Results of other names that are
there already stay. With ``--publish`` the figures go into ``docs/performance.md`` as well.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import attrs

from tests.benchmarks.peers import PEERS, PREDICTORS
from tests.benchmarks.pictures import draw
from tests.benchmarks.publish import markdown, publish
from tests.benchmarks.settings import GRID, OPTIMIZERS, ROOT, Cell, Settings

NAMES = (
    *("recipes", "estimators", "recipe_process", "whole_process", "epochs", "images", "prediction"),
    *("cold_start", "memory", "step_profile"),
)
"""Modules with a function `measure`."""
LIBRARIES = ("bpfunc", "numpy", "numba", "torch", "jax", "optax", "scikit-learn", "onnxruntime")


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, measure, write."""
    options = _parser().parse_args(arguments)
    settings = Settings(
        threads=options.threads,
        cells=tuple(map(Cell.parse, options.cells)) if options.cells else GRID,
        optimizers=tuple(options.optimizers),
        peers=tuple(options.peers),
        quick=options.quick,
        rows=options.rows,
    )
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "results.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    for name in options.names or NAMES:
        found = importlib.import_module(f"tests.benchmarks.{name}").measure(settings)
        results[name] = {**_circumstances(settings), "records": _plain(found)}
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    text = markdown(results)
    (options.out / "results.md").write_text(text, encoding="utf-8")
    draw(results, options.out)
    print(text)
    if options.publish:
        publish(results)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"what to measure, of {', '.join(NAMES)}; all if none")
    parser.add_argument("--threads", type=int, default=2, choices=(1, 2), help="for everybody; on a busy machine 1")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: to see that it runs, not to quote")
    parser.add_argument("--cells", nargs="+", default=[], metavar="h1,h2:batch", help="in place of the grid")
    parser.add_argument("--optimizers", nargs="+", default=list(OPTIMIZERS), choices=list(OPTIMIZERS))
    peers = sorted({*PEERS, *PREDICTORS, "none"})
    parser.add_argument("--peers", nargs="+", default=[], choices=peers, help="these alone, in place of all")
    parser.add_argument("--rows", type=int, help="random rows in place of the real ones")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "benchmarks", metavar="DIR")
    parser.add_argument("--publish", action="store_true", help="write the figures into docs/performance.md")
    return parser


def _circumstances(settings: Settings) -> dict[str, object]:
    """When, where and how: figures mean nothing without."""
    return {
        "measured": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        "threads": settings.threads,
        "quick": settings.quick,
        "rows": settings.rows,
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            "python": platform.python_version(),
            **{name: found for name in LIBRARIES if (found := _version(name))},
        },
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _plain(records: object) -> object:
    if isinstance(records, tuple):
        return [_plain(record) for record in records]
    return attrs.asdict(records) if attrs.has(type(records)) else records


if __name__ == "__main__":
    main()
