"""The command ``bpfunc``: every command in its group, and the one place where failures become messages and exit codes.

Heavy imports stand inside the commands, so that ``bpfunc --help`` pays for none of them.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import sys
from collections.abc import Iterator

from typer._click.exceptions import NoArgsIsHelpError, UsageError

from pipelines.cli.commands import config, data, doctor, inspect as look, predict as use, run, runs, study
from pipelines.cli.help import group
from pipelines.cli.options import Version
from pipelines.cli.slips import usage_problem
from pipelines.cli.streams import messages, open_closed_streams, write_results
from pipelines.cli.terminal import WarningLines, complain, say
from pipelines.disk.untrusted.files import remedy_for
from pipelines.errors import PipelineError
from pipelines.training.interrupts import EXIT_CODE, Interrupted, terminate_as_interrupt

GROUPS = {
    "Prepare": ("data", "config", "doctor"),
    "Train": ("run", "train", "resume", "evaluate", "study", "search", "sweep"),
    "Look": ("report", "runs", "compare", "explain", "gradcheck"),
    "Use": ("predict", "export"),
}
"""Heading -> commands; one that is missing here is shown below ``More``."""

app = group(
    "Backpropagation as pure functions: prepare the data, train, evaluate, report.",
    GROUPS,
    examples=("bpfunc run", "bpfunc run --recipe best --set train.epochs=20", "bpfunc COMMAND --help"),
)
data_app = group("Prepared data: create, inspect, verify.")
config_app = group("Configurations: the recipes, and the settings of a run.")
runs_app = group("Runs on disk: list, show, compare, remove.")
runs_app.command("list")(runs.list_runs)
COMMANDS = {
    app: (
        *(run.run, run.train, run.resume, run.evaluate, run.report, study.study, study.search, study.sweep),
        *(study.compare, doctor.doctor, look.explain, look.gradcheck, use.predict, use.export),
    ),
    data_app: (data.prepare, data.status, data.partition, data.verify, data.bundle, data.download),
    config_app: (config.show, config.recipes, config.fields),
    runs_app: (runs.show, study.compare, runs.clean),
}
"""Group -> its commands, each called by the name of its function."""
for parent, functions in COMMANDS.items():
    for function in functions:
        parent.command()(function)
app.add_typer(data_app, name="data")
app.add_typer(config_app, name="config")
app.add_typer(runs_app, name="runs")


@app.callback()
def bpfunc(version: Version = False) -> None:
    """Backpropagation as pure functions: prepare the data, train, evaluate, report."""


def main() -> None:
    """Run the command line; the one place where failures become messages and exit codes."""
    open_closed_streams()
    results, code = io.StringIO(), 1
    with messages(), warnings_shown():
        try:
            with contextlib.redirect_stdout(results):
                code = _run_command()
        finally:
            lost = _write(results.getvalue())
            code = code or lost
    sys.exit(code)


@contextlib.contextmanager
def warnings_shown() -> Iterator[None]:
    """Show the warnings of the project's own modules on standard error, as long as the block lasts.

    Yields:
        Nothing.
    """
    handler, log = WarningLines(logging.WARNING), logging.getLogger("pipelines")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def _write(results: str) -> int:
    lost = write_results(results)
    if lost is None:
        return 0
    if not isinstance(lost, BrokenPipeError):  # a reader that has left, as ``| head -1`` does, wants no message
        what = "it is closed" if lost.errno == errno.EBADF else lost.strerror or str(lost)
        complain(
            f"the result cannot be written: {what}", "standard output", "send it elsewhere; the work itself is done"
        )
    return 1


def _run_command() -> int:
    """Run a command; return its exit code."""
    try:
        terminate_as_interrupt()
        code = app(prog_name="bpfunc", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except UsageError as error:
        complain(*usage_problem(error))
        return error.exit_code
    except KeyboardInterrupt:
        say("interrupted", quiet=False)
        return EXIT_CODE
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except Interrupted as stopped:
        say(f"interrupted; {stopped}", quiet=False)
        return EXIT_CODE
    except PipelineError as problem:
        if _debugging():
            raise
        complain(problem.what, problem.where, problem.remedy)
        return problem.exit_code
    except OSError as error:
        if _debugging():
            raise
        where = "bpfunc" if error.filename is None else os.fsdecode(error.filename)
        complain(error.strerror or str(error), where, remedy_for(error))
    except MemoryError:
        if _debugging():
            raise
        complain("there is not enough memory", "bpfunc", "take fewer rows or a smaller network, or a larger machine")
    except Exception as error:
        if _debugging():
            raise
        complain(
            f"unexpected {type(error).__name__}: {error}", "bpfunc", "set BPFUNC_DEBUG=1 to see where, and report it"
        )
    return 1


def _debugging() -> bool:
    return os.environ.get("BPFUNC_DEBUG") == "1"
