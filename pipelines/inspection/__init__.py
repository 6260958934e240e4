"""Looking inside: one training step explained, derivatives checked, the installation examined."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.inspection.explain import Explained, explain_step
    from pipelines.inspection.explain_page import write_explain_page

__all__ = ["Explained", "explain_step", "write_explain_page"]


def __getattr__(name: str) -> object:
    """Import a public name when it is asked for: commands that look at something else stay quick."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pipelines.inspection import explain, explain_page

    found: object = getattr(explain_page if name.endswith("page") else explain, name)
    return found


def __dir__() -> list[str]:
    return __all__
