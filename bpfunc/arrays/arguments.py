"""Arguments of the wrong kind: one form of message, with a hint where the slip is a common one."""

from __future__ import annotations

from inspect import Parameter, signature
from typing import Any, TypeVar

import numpy as np

from bpfunc.arrays.calls import shown

ValueT = TypeVar("ValueT")
HINTS = {
    "ndarray": "write numpy.asarray(...)",
    "Key": "write Key(0)",
    "Batch": "write Batch(inputs, targets)",
    "Context": "write INFERENCE, or Context(train=True, key=key)",
}


def expected(function: str, name: str, value: object, kind: type[ValueT]) -> ValueT:
    """Check the kind of an argument, and hand it on.

    Args:
        function: Name of the function that was given it, for the message.
        name: Name of the argument.
        value: What was given.
        kind: Class of which it should be.

    Returns:
        The value.

    Raises:
        TypeError: It is of another kind; the message says what was found, and how to correct a common slip.

    Example:
        >>> expected("greet", "name", "Ada", str)
        'Ada'
        >>> expected("serial", "layers[0]", 3, str)
        Traceback (most recent call last):
            ...
        TypeError: serial takes a str as layers[0], got the int 3
    """
    if isinstance(value, kind):
        return value
    hint = _hint(value, kind.__name__)
    article = "an" if kind.__name__[0] in "AEIOUn" else "a"
    given = f"{function} takes {article} {kind.__name__} as {name}, got {described(value)}"
    raise TypeError(f"{given}; {hint}" if hint else given)


def expected_function(function: str, name: str, value: Any, kind: str) -> Any:
    """Check that an argument is a function of a kind, and neither the name of one nor a function that makes one.

    Args:
        function: Name of the function that was given it, for the message.
        name: Name of the argument.
        value: What was given.
        kind: Such as ``Initializer``: what a function that makes one is annotated to return.

    Returns:
        The value.

    Raises:
        TypeError: It is something else; the message says what was found, and how to correct a common slip.

    Example:
        >>> from bpfunc.layers.initializers import constant, he_normal
        >>> expected_function("dense", "weight_init", he_normal, "Initializer") is he_normal
        True
        >>> expected_function("dense", "weight_init", constant, "Initializer")
        Traceback (most recent call last):
            ...
        TypeError: dense takes an Initializer as weight_init, got the function constant; call it: constant(...)
    """
    hint = "write its name without quotes" if isinstance(value, str) else _hint(value, kind)
    if callable(value) and not hint:
        return value
    given = f"{function} takes {'an' if kind[0] in 'AEIOU' else 'a'} {kind} as {name}, got {described(value)}"
    raise TypeError(f"{given}; {hint}" if hint else given)


def described(value: object) -> str:
    """Describe a value, for a message.

    Args:
        value: Anything.

    Returns:
        A noun with what it is like.

    Example:
        >>> described(0), described([1]), described(np.zeros(3)), described(len)
        ('the int 0', 'a list', 'an array of shape (3,)', 'the function len')
    """
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if isinstance(value, bool | int | float | str):
        return f"the {type(value).__name__} {value!r}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    kind = type(value).__name__
    if value is None or kind in ("list", "tuple", "dict", "generator"):
        return "None" if value is None else f"a {kind}"
    if callable(value) and hasattr(value, "__name__"):
        return f"the function {value.__name__}"
    return f"{'an' if kind[0] in 'AEIOU' else 'a'} {kind}, {shown(value)}"


def _hint(value: Any, kind: str) -> str:
    name = getattr(value, "__name__", "")
    if name and getattr(value, "__annotations__", {}).get("return") == kind:
        needs = any(parameter.default is Parameter.empty for parameter in signature(value).parameters.values())
        return f"call it: {name}({'...' if needs else ''})"
    return "unpack it with *" if isinstance(value, list | tuple) and kind not in HINTS else HINTS.get(kind, "")
