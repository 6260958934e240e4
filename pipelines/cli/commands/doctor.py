"""Command doctor."""

from __future__ import annotations

import typer

from pipelines.cli.options import DEFAULT_CACHE, DEFAULT_RAW, AsJson, Cache, Raw, Threads
from pipelines.cli.terminal import print_json, print_text
from pipelines.training.threads import use_threads


def doctor(cache: Cache = DEFAULT_CACHE, raw: Raw = DEFAULT_RAW, threads: Threads = 1, as_json: AsJson = False) -> None:
    """Say what this installation is made of, what is missing, and how to add it; exit code 1 if there is a problem.

    Example:
        bpfunc doctor
        bpfunc doctor --json | jq .extras
    """
    use_threads(threads)
    from pipelines.inspection.doctor import diagnose, diagnosis_lines, diagnosis_table

    found = diagnose(cache, raw)
    if as_json:
        print_json(diagnosis_table(found))
    else:
        print_text(diagnosis_lines(found))
    if found.problems:
        raise typer.Exit(1)
