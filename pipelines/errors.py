"""What can go wrong, in one shape: what, where, and what to do. The command line prints it and nothing else."""

from __future__ import annotations

from functools import partial
from typing import ClassVar


class PipelineError(Exception):
    """A failure that a person can act on.

    Args:
        what: What happened.
        where: File, field or option.
        remedy: What to do about it.

    Example:
        >>> print(PipelineError("no such class", where="--classes", remedy="choose one of Dress, Coat"))
        no such class (--classes): choose one of Dress, Coat
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str, remedy: str) -> None:
        """Keep the parts."""
        super().__init__(f"{what} ({where}): {remedy}")
        self.what = what
        self.where = where
        self.remedy = remedy

    def __reduce__(self) -> tuple[partial[PipelineError], tuple[()]]:
        """Let worker processes hand it back: by default, what is pickled is called without its named parts."""
        return partial(type(self), self.what, where=self.where, remedy=self.remedy), ()


class WorkFailed(PipelineError):
    """The work was asked for rightly and failed: exit code 1."""

    exit_code = 1


class UsageProblem(PipelineError):
    """What was asked for makes no sense: exit code 2."""

    exit_code = 2


class DataProblem(PipelineError):
    """The data is missing, damaged, or not what was pinned: exit code 3."""

    exit_code = 3


def first_line(error: BaseException) -> str:
    """Tell another library's error in one line, not too long for a terminal.

    Args:
        error: Any.

    Returns:
        The first line of its message; its kind where it has none.

    Example:
        >>> first_line(ValueError("too large\\nat 7"))
        'too large'
    """
    lines = str(error).splitlines()
    return lines[0][:300] if lines else type(error).__name__
