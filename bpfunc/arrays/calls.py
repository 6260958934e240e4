"""How values print on one line: as the call that made them, and arrays by dtype and shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from functools import partial, update_wrapper
from html import escape
from inspect import signature
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


def hands_out(public: Callable[..., Any], /, **functions: Callable[..., Any]) -> None:
    """Name the functions that a public one hands out after it, for what Python itself says of a wrong call.

    Without it ``cosine(0.1, 100)()`` ends in "_cosine() missing 1 required positional argument". They are pickled by
    their new names, which lead from the public function to them; calls cost nothing more.

    Args:
        public: The function that hands them out.
        functions: What it hands out, by what that is.

    Returns:
        None.

    Example:
        >>> def growth(rate: float) -> Callable[[int], float]:
        ...     return partial(_grown, rate)
        >>> def _grown(rate: float, step: int) -> float:
        ...     return (1 + rate) ** step
        >>> hands_out(growth, schedule=_grown)
        >>> growth(0.5)()
        Traceback (most recent call last):
            ...
        TypeError: growth.schedule() missing 1 required positional argument: 'step'
    """
    for name, function in functions.items():
        function.__qualname__ = f"{public.__name__}.{name}"
        setattr(public, name, function)


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

    call = partial(_recorded_call, function)

    def make(*positional: object, **named: object) -> object:
        return call(positional, named)

    # With the function's own globals: names in its annotations are looked up there, by those who read them.
    own = FunctionType(make.__code__, function.__globals__, function.__name__, None, make.__closure__)
    return cast(MakerT, update_wrapper(own, function))


OTHER_WORDS = {
    "lr": "learning_rate",
    "rate": "learning_rate",
    "epsilon": "eps",
    "betas": "beta1 and beta2",
    "b1": "beta1",
    "b2": "beta2",
    "rho": "decay",
    "mu": "momentum",
    "wd": "weight_decay",
    "l2": "weight_decay",
    "smoothing": "label_smoothing",
}
"""Argument in other libraries -> ours."""


def _recorded_call(function: Callable[..., object], positional: tuple[object, ...], named: dict[str, object]) -> object:
    try:
        made = function(*positional, **named)
    except TypeError:
        from difflib import get_close_matches

        known = list(signature(function).parameters)
        unknown = [name for name in named if name not in known]
        if not unknown:
            raise
        meant = OTHER_WORDS.get(unknown[0], "")
        meant = meant if meant.partition(" ")[0] in known else "".join(get_close_matches(unknown[0], known, n=1))
        hint = f"; did you mean {meant}?" if meant else f"; it takes {', '.join(known)}"
        raise TypeError(f"{function.__name__} has no argument {unknown[0]!r}{hint}") from None
    return _noted(function.__name__, made, positional, named)


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
