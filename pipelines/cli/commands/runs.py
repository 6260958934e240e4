"""Commands below ``bpfunc runs``: list, show, clean; compare is that of `pipelines.cli.commands.study`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipelines.cli.options import AsJson, Quiet, RunDirectory
from pipelines.cli.terminal import print_json, print_text, say, terminal_width
from pipelines.disk.untrusted.printable import in_lines, printable, printable_lines
from pipelines.errors import UsageProblem
from pipelines.runs.naming import RUNS

if TYPE_CHECKING:
    from pipelines.runs.listing import RunEntry, StudyEntry, TuningEntry

Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Directory of the runs.")]


def list_runs(
    runs: Runs = RUNS,
    sort: Annotated[
        Literal["date", "accuracy", "name", "recipe"],
        typer.Option("--sort", metavar="date|accuracy|name|recipe", help="Order; the highest last."),
    ] = "date",
    as_json: AsJson = False,
) -> None:
    """List runs, studies, searches and sweeps, the one that began last at the end, with the settings that differ.

    Example:
        bpfunc runs list
        bpfunc runs list --sort accuracy
        bpfunc runs list --runs elsewhere --json
    """
    from pipelines.runs.listing import list_runs, list_studies, list_tunings
    from pipelines.runs.text import SORTS, run_lines

    found, studies = sorted(list_runs(runs), key=SORTS[sort]), sorted(list_studies(runs), key=SORTS[sort])
    tunings = sorted(list_tunings(runs), key=SORTS[sort])
    if as_json:
        plain = {"runs": list(map(_plain, found)), "studies": list(map(_plain, studies))}
        for name, kind in (("searches", "search"), ("sweeps", "sweep")):
            plain[name] = [_plain(entry) for entry in tunings if entry.kind == kind]
        print_json(plain)
    elif found or studies or tunings:
        print_text(run_lines(found, [*studies, *tunings], width=terminal_width(), by=sort))
    else:
        print_text(printable(f"no runs in {runs}"))


def _plain(entry: RunEntry | StudyEntry | TuningEntry) -> dict[str, object]:
    import attrs

    return attrs.asdict(entry) | {"path": str(entry.path), "state": entry.state}


def show(run: RunDirectory, as_json: AsJson = False) -> None:
    """Show a run: its state, its figures, its configuration.

    Example:
        bpfunc runs show data/runs/first
    """
    from pipelines.runs.directory import read_config
    from pipelines.runs.listing import read_entry
    from pipelines.runs.metrics import metrics_table, read_metrics
    from pipelines.runs.text import result_table, run_line
    from pipelines.spec.toml import to_table, to_toml

    entry, spec = read_entry(run), read_config(run)
    figures = read_metrics(run) if entry.state in ("finished", "damaged") else None
    if as_json:
        shown = None if figures is None else metrics_table(figures)
        print_json({**_plain(entry), "config": to_table(spec), "metrics": shown})
        return
    print_text(run_line(entry))
    if figures is not None:
        print_text(in_lines([""]))
        print_text(result_table(figures))
    print_text(in_lines([""]))
    print_text(printable_lines(to_toml(spec).rstrip("\n")))


def clean(
    runs: Runs = RUNS,
    older_than: Annotated[
        float | None,
        typer.Option(
            "--older-than", metavar="DAYS", min=0, help="Also remove trained runs that are at least this old."
        ),
    ] = None,
    idle: Annotated[
        float,
        typer.Option("--idle", metavar="MINUTES", min=0, help="Keep unfinished runs that changed within this time."),
    ] = 60.0,
    yes: Annotated[bool, typer.Option("--yes", help="Remove what is listed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list; remove nothing, even with --yes.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """List unfinished runs, and old ones if asked; with --yes remove them. What is not a run is never touched.

    Example:
        bpfunc runs clean
        bpfunc runs clean --older-than 30 --yes
    """
    from pipelines.disk.atomic import foreign_files
    from pipelines.disk.ownership import RUN_FILES
    from pipelines.inspection.doctor import size_in_words
    from pipelines.runs.listing import list_runs, remove_run, unwanted, why_kept

    chosen = unwanted(list_runs(runs), time.time(), older_than_days=older_than, idle_minutes=idle)
    kept = {one.entry.path: why for one in chosen if (why := why_kept(one.entry.path))}
    to_remove = []
    remove = yes and not dry_run
    for one in chosen:
        path = one.entry.path
        try:
            if remove and path not in kept:
                remove_run(path)
        except UsageProblem as problem:  # it was taken up meanwhile
            kept[path] = problem.what
        if path in kept:
            say(f"{path}: left alone, {kept[path]}", quiet=quiet)
        else:
            to_remove.append(one)
            say(f"{path}: {one.why}, {size_in_words(one.entry.size)}", quiet=quiet)
    if as_json:
        print_json(
            {
                "removed": remove,
                "runs": [_plain(one.entry) | {"why": one.why} for one in to_remove],
                "left_alone": {str(path): list(foreign_files(path, RUN_FILES)) for path in kept},
                "why_left_alone": {str(path): why for path, why in kept.items()},
            }
        )
        return
    size = size_in_words(sum(one.entry.size for one in to_remove))
    noun = f"{len(to_remove)} run{'' if len(to_remove) == 1 else 's'}, {size}"
    print_text(
        printable(
            f"removed {noun}" if remove else f"would remove {noun}{'' if dry_run or not to_remove else '; add --yes'}"
        )
    )
