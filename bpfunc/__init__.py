"""Backpropagation as pure functions on NumPy.

Everything is a value: parameters, gradients, optimiser state and randomness go in and come out, nothing is changed in
place. The public names are listed in ``__init__.pyi``. A name's module is imported when the name is first used, so that
a program pays for what it uses; see SPEC 1 of the Scientific Python project.
"""

from functools import cache as _cache
from sys import modules as _modules

__version__ = "0.1.0"


@_cache
def _public() -> tuple[dict[str, str], list[str]]:
    """Read the list: public name -> module, and the names in their order."""
    import ast
    from pathlib import Path

    text = Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    homes: dict[str, str] = {}
    names: list[str] = []
    for statement in ast.parse(text).body:
        if isinstance(statement, ast.ImportFrom) and statement.module is not None:
            homes |= {alias.name: statement.module for alias in statement.names}
        elif isinstance(statement, ast.Assign):
            names = ast.literal_eval(statement.value)
    return homes, names


def __getattr__(name: str) -> object:
    """Import what is asked for: a public name, or a module of the package."""
    if name == "__all__":
        return _public()[1]
    from importlib import import_module
    from importlib.util import find_spec

    home = _public()[0].get(name)
    if home is not None:
        value = getattr(import_module(home), name)
        globals()[name] = value
        return value
    if not name.startswith("_") and find_spec(f"{__name__}.{name}") is not None:
        return import_module(f"{__name__}.{name}")
    missing = f"module {__name__!r} has no attribute {name!r}"
    if name.startswith("_"):
        raise AttributeError(missing, name=name, obj=_modules[__name__])
    from bpfunc.arrays.names import suggested

    # Without `name` and `obj`: Python would add a guess of its own.
    meant = suggested(name, _public()[1])
    raise AttributeError(f"{missing}; did you mean {meant!r}?" if meant else missing)


def __dir__() -> list[str]:
    return sorted({*globals(), *_public()[1]})
