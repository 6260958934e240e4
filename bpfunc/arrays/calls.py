"""How values print on one line: as the call that made them, and arrays by dtype and shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from functools import partial, update_wrapper
from html import escape
from types import FunctionType
from typing import Any, TypeVar, cast

import attrs
import numpy as np

MakerT = TypeVar("MakerT", bound=Callable[..., Any])

LINE = 160
"""Characters of a line from which on a record prints its parts shorter."""


@attrs.frozen(eq=False)
class Call:
    """The call that made a value, as it was written.

    Args:
        name: Name of the function.
        positional: Its positional arguments.
        named: Its keyword arguments.

    Example:
        >>> Call("sgd", (0.1,), {"momentum": 0.9})
        sgd(0.1, momentum=0.9)
    """

    name: str
    positional: tuple[object, ...] = ()
    named: dict[str, object] = attrs.field(factory=dict)

    def __repr__(self) -> str:
        """Print as it was written."""
        arguments = [shown(value) for value in self.positional]
        arguments += [f"{name}={shown(value)}" for name, value in self.named.items()]
        return called(self.name, arguments)


def called(name: str, arguments: list[str]) -> str:
    """Write a call; where it is long, without the arguments in the middle.

    Args:
        name: Name of the function.
        arguments: Each as text.

    Returns:
        One line.

    Example:
        >>> called("serial", ["dense(4)", "relu()"])
        'serial(dense(4), relu())'
    """
    text = f"{name}({', '.join(arguments)})"
    if len(text) > LINE and len(arguments) > 6:
        arguments = [*arguments[:3], f"... {len(arguments) - 5} more ...", *arguments[-2:]]
    return f"{name}({', '.join(arguments)})"


def recorded(function: MakerT) -> MakerT:
    """Let a function that makes a record write down in its field ``call`` how it was called: for `repr` alone.

    Args:
        function: Returns a record with a field ``call``.

    Returns:
        The function, whose results carry the `Call`.

    Example:
        >>> from bpfunc.metrics import Metric
        >>> @recorded
        ... def nothing(*, count: int) -> Metric:
        ...     return Metric("nothing", lambda outputs, batch: (), lambda state: 0)
        >>> nothing(count=3)
        nothing(count=3)
    """

    note = partial(_noted, function.__name__)

    def make(*positional: object, **named: object) -> object:
        return note(function(*positional, **named), positional, named)

    # With the function's own globals: names in its annotations are looked up there, by those who read them.
    own = FunctionType(make.__code__, function.__globals__, function.__name__, None, make.__closure__)
    return cast(MakerT, update_wrapper(own, function))


def _noted(name: str, made: object, positional: tuple[object, ...], named: dict[str, object]) -> object:
    noted = copy(made)  # what was made may be one of the arguments
    object.__setattr__(noted, "call", Call(name, positional, named))
    return noted


def shown(value: object) -> str:
    """Write a value on one line: arrays by dtype and shape, functions by name, records as they print themselves.

    Args:
        value: Anything.

    Returns:
        One line.

    Example:
        >>> shown((np.zeros((2, 3), np.float32), np.float64(0.5), abs, "a"))
        "(float32[2,3], 0.5, abs, 'a')"
    """
    if isinstance(value, np.ndarray):
        return f"{value.dtype}[{','.join(map(str, value.shape))}]"
    if isinstance(value, partial):
        return repr(Call(shown(value.func).lstrip("_"), value.args, value.keywords))
    if isinstance(value, tuple | list):
        parts = [shown(part) for part in value]
        if type(value) is tuple:
            return f"({parts[0]},)" if len(parts) == 1 else f"({', '.join(parts)})"
        return called("" if isinstance(value, list) else type(value).__name__, parts)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {shown(part)}" for key, part in value.items()) + "}"
    if isinstance(value, np.generic):
        return repr(value.item())
    if callable(value) and not attrs.has(type(value)) and hasattr(value, "__name__"):
        return str(value.__name__)
    return " ".join(repr(value).split())


def one_line(self: Any) -> str:
    """Print a record of arrays and trees: the ``__repr__`` of all such classes.

    Args:
        self: An instance of an attrs class.

    Returns:
        One line: each field with its value, or where that gets long with what it holds.

    Example:
        >>> from bpfunc.layers import DenseParams
        >>> one_line(DenseParams(np.zeros((2, 3)), None))
        'DenseParams(weight=float64[2,3], bias=None)'
    """
    fields = [(field.name, getattr(self, field.name)) for field in attrs.fields(type(self)) if field.repr]
    name = type(self).__name__
    text = f"{name}({', '.join(f'{field}={shown(value)}' for field, value in fields)})"
    if len(text) <= LINE:
        return text
    return f"{name}({', '.join(f'{field}={_counted(value)}' for field, value in fields)})"


def _counted(value: object) -> str:
    """What a tree holds, where it is long."""
    text = shown(value)
    sizes = list(_sizes(value))
    if len(text) <= LINE // 4 or not sizes:
        return text
    arrays = "1 array" if len(sizes) == 1 else f"{len(sizes)} arrays"
    name = "" if type(value) is tuple else type(value).__name__
    return f"{name}({arrays}, {sum(sizes):,} numbers)"


def _sizes(value: object) -> Iterator[int]:
    """Sizes of the arrays in a tree."""
    if isinstance(value, np.ndarray):
        yield value.size
        return
    children: Any = value if isinstance(value, tuple | list) else value.values() if isinstance(value, dict) else ()
    kind: type[Any] = type(value)
    if attrs.has(kind):
        children = (getattr(value, field.name) for field in attrs.fields(kind))
    for child in children:
        yield from _sizes(child)


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay cells out as a table in HTML, for notebooks.

    Args:
        head: What the columns are called.
        rows: The cells of each row.

    Returns:
        A ``table`` element; the text of the cells is escaped.

    Example:
        >>> html_table(["a"], [["<"]])
        '<table><thead><tr><th>a</th></tr></thead><tbody><tr><td>&lt;</td></tr></tbody></table>'
    """
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"
