"""Command doctor."""

from __future__ import annotations

import typer

from pipelines.cli.options import Given, shared
from pipelines.cli.terminal import print_result


@shared("cache", "raw", "threads", "as_json")
def doctor(given: Given) -> None:
    """Show what is installed, what is missing, and how to add it; exit code 1 if there is a problem.

    Example:
        bpfunc doctor
        bpfunc doctor --json | jq .extras
    """
    from pipelines.inspection.doctor import diagnose, diagnosis_lines, diagnosis_table

    found = diagnose(given.cache, given.raw)
    print_result(diagnosis_table(found), diagnosis_lines(found), as_json=given.as_json)
    if found.problems:
        raise typer.Exit(1)
