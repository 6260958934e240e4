"""Pieces of SVG that every chart is made of; lengths are in units of the view box."""

from __future__ import annotations

from pipelines.report.drawing.markup import Html, element, text


def number(value: float) -> str:
    """Write a length.

    Args:
        value: Any finite number.

    Returns:
        At most two decimals, none that says nothing.

    Example:
        >>> number(2.5), number(3.0), number(1 / 3)
        ('2.5', '3', '0.33')
    """
    return f"{value:.2f}".rstrip("0").rstrip(".")


def label(x: float, y: float, value: str, style: str, anchor: str = "start") -> Html:
    """Write words into a chart.

    Args:
        x: Where they start, or their middle or end.
        y: Their base line.
        value: The words.
        style: Class names of the style sheet.
        anchor: ``start``, ``middle`` or ``end``.

    Returns:
        A ``text`` element.

    Example:
        >>> label(1, 2, "epochs", "tick")
        '<text x="1" y="2" class="tick" text-anchor="start">epochs</text>'
    """
    place = {"x": number(x), "y": number(y), "class": style, "text-anchor": anchor}
    return element("text", place, text(value))


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> Html:
    """Draw a straight line.

    Args:
        x1: Its start.
        y1: Its start.
        x2: Its end.
        y2: Its end.
        style: Class names of the style sheet.

    Returns:
        A ``line`` element.

    Example:
        >>> line(0, 0, 1, 0, "grid")
        '<line x1="0" y1="0" x2="1" y2="0" class="grid"></line>'
    """
    ends = {"x1": number(x1), "y1": number(y1), "x2": number(x2), "y2": number(y2)}
    return element("line", ends | {"class": style})


def dot(x: float, y: float, radius: float, style: str) -> Html:
    """Draw a dot.

    Args:
        x: Its middle.
        y: Its middle.
        radius: Its radius.
        style: Class names of the style sheet.

    Returns:
        A ``circle`` element.

    Example:
        >>> dot(1, 2, 3, "dot")
        '<circle class="dot" cx="1" cy="2" r="3"></circle>'
    """
    return element("circle", {"class": style, "cx": number(x), "cy": number(y), "r": number(radius)})


def picture(width: float, height: float, words: str, *children: Html, style: str = "") -> Html:
    """Frame a chart as one picture with a name, for those who cannot see it.

    Args:
        width: Width of the view box, which the page shows at about one CSS pixel a unit.
        height: Height of the view box.
        words: What the picture shows.
        *children: The pieces.
        style: Class names of the style sheet.

    Returns:
        An ``svg`` element.

    Example:
        >>> picture(10, 20, "Nothing")
        '<svg viewBox="0 0 10 20" style="--natural:10px" role="img" aria-label="Nothing"></svg>'
    """
    box = f"0 0 {number(width)} {number(height)}"
    # The style sheet derives the least legible width from the natural one.
    natural = f"--natural:{number(width)}px"
    kind = {"class": style} if style else {}
    return element("svg", kind | {"viewBox": box, "style": natural, "role": "img", "aria-label": words}, *children)
