"""The command ``bpfunc``: every command in its group, and the one place where failures become messages and exit codes.

Heavy imports stand inside the commands, so that ``bpfunc --help`` pays for none of them.
"""

from __future__ import annotations

import os
import sys

import typer

from pipelines.cli import data, run, study
from pipelines.cli.terminal import complain
from pipelines.errors import PipelineError
from pipelines.signals import EXIT_CODE, Interrupted, terminate_as_interrupt

app = typer.Typer(
    name="bpfunc",
    help="Backpropagation as pure functions: prepare the data, train, evaluate, report.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(run.run)
app.command()(run.train)
app.command()(run.resume)
app.command()(run.evaluate)
app.command()(run.report)
app.command()(study.study)
app.command()(study.search)
app.command()(study.compare)

data_app = typer.Typer(
    help="Prepared data: make it, look at it, check it.", no_args_is_help=True, rich_markup_mode=None
)
data_app.command()(data.prepare)
data_app.command()(data.status)
data_app.command()(data.verify)
data_app.command()(data.bundle)
data_app.command()(data.download)
app.add_typer(data_app, name="data")


def main() -> None:
    """Run the command line; the one place where failures become messages and exit codes."""
    try:
        terminate_as_interrupt()
        app(prog_name="bpfunc")
    except Interrupted as stopped:
        print(f"interrupted; {stopped}", file=sys.stderr)
        sys.exit(EXIT_CODE)
    except PipelineError as problem:
        if _debugging():
            raise
        complain(problem.what, problem.where, problem.remedy)
        sys.exit(problem.exit_code)
    except OSError as error:
        if _debugging():
            raise
        where = "bpfunc" if error.filename is None else os.fsdecode(error.filename)
        complain(error.strerror or str(error), where, "check the path, its permissions and the free space")
        sys.exit(1)
    except Exception as error:
        if _debugging():
            raise
        complain(
            f"unexpected {type(error).__name__}: {error}", "bpfunc", "set BPFUNC_DEBUG=1 to see where, and report it"
        )
        sys.exit(1)


def _debugging() -> bool:
    return os.environ.get("BPFUNC_DEBUG") == "1"
