"""HTML and SVG as values whose type says that they are escaped.

``Html`` is a type of its own, and only the functions here make one. A plain string therefore cannot reach the page
unescaped: the type checker stops it. Characters that a browser would obey and not show are escaped as well.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import NewType

from pipelines.disk.untrusted.printable import printable, printable_lines

Html = NewType("Html", str)
"""Markup that is safe to place into a page."""

_VOID = frozenset({"img", "input", "link", "meta"})


def text(value: str) -> Html:
    """Escape a plain string: one line of text.

    Args:
        value: Any text.

    Returns:
        The same text as markup.

    Example:
        >>> text("Bags & <belts>")
        'Bags &amp; &lt;belts&gt;'
    """
    return Html(html.escape(printable(value), quote=False))


def text_lines(value: str) -> Html:
    r"""Escape a plain text of several lines that the project has composed, for an element that keeps line breaks.

    Args:
        value: Lines with ``\n`` between.

    Returns:
        The same lines as markup.

    Example:
        >>> text_lines("a = 1\nb = '<'")
        "a = 1\nb = '&lt;'"
    """
    return Html(html.escape(printable_lines(value), quote=False))


def trusted(value: str) -> Html:
    """Take a string of the project's own as markup, as it is: the style sheet, never a value from outside.

    Args:
        value: Markup or CSS from a file of this package.

    Returns:
        The same characters.

    Example:
        >>> trusted("a > b {}")
        'a > b {}'
    """
    return Html(value)


def join(parts: tuple[Html, ...] | list[Html], separator: str = "") -> Html:
    r"""Put pieces of markup one after the other.

    Args:
        parts: Markup, in order.
        separator: Text between two pieces; it is escaped.

    Returns:
        One piece of markup.

    Example:
        >>> join([text("a"), text("b")], " < ")
        'a &lt; b'
    """
    return Html(text(separator).join(parts))


def element(name: str, attributes: Mapping[str, str], *children: Html) -> Html:
    """Build one element.

    Args:
        name: Tag name.
        attributes: Attribute name -> plain value, escaped here; written in this order.
        *children: Markup inside; none for ``img``, ``link`` and ``meta``, which have no closing tag.

    Returns:
        The element as markup.

    Raises:
        ValueError: An element that cannot hold anything was given children.

    Example:
        >>> element("a", {"href": "#top", "title": 'say "up"'}, text("<up>"))
        '<a href="#top" title="say &quot;up&quot;">&lt;up&gt;</a>'
        >>> element("img", {"alt": ""})
        '<img alt="">'
    """
    opening = "".join(f' {key}="{html.escape(printable(value))}"' for key, value in attributes.items())
    if name in _VOID:
        if children:
            raise ValueError(f"<{name}> holds no children; put the content beside it")
        return Html(f"<{name}{opening}>")
    return Html(f"<{name}{opening}>{''.join(children)}</{name}>")
