"""Formulas filled with numbers, in a form in which the page's script finds the numbers of another example."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from pipelines.inspection.explain_numbers import TIMES, Found, Numbers, figure
from pipelines.report.drawing.markup import Html, element, join, text
from pipelines.report.drawing.wording import count


def formula(line: str) -> Html:
    """Set a formula: what stands after ``^`` is raised, arrows and minus signs are drawn.

    Args:
        line: As in `pipelines.inspection.equations`.

    Returns:
        Markup.

    Example:
        >>> formula("dW = x^T dy")
        'dW = x<sup>T</sup> dy'
        >>> formula("w <- w - r e^-x")
        'w ← w − r e<sup>−x</sup>'
    """
    drawn = line.replace("<-", "\N{LEFTWARDS ARROW}")
    drawn = re.sub(r"(?<=[\s^(])-(?=[\s\w(])", "\N{MINUS SIGN}", drawn)
    parts = []
    for index, piece in enumerate(re.split(r"\^([\N{MINUS SIGN}-]?\w+)", drawn)):
        parts.append(element("sup", {}, text(piece)) if index % 2 else text(piece))
    return join(parts)


def fill(line: str, find: Callable[[str], tuple[Found, str] | Html]) -> Html:
    """Put numbers into a formula; one behind ``^`` is raised, one below zero behind a sign stands in brackets."""
    parts: list[Html] = []
    pieces = re.split(r"\{(\w+)\}", line)
    for index, piece in enumerate(pieces):
        if index % 2 == 0:
            parts.append(formula(piece.removesuffix("^").replace(" * ", f" {TIMES} ")))
            continue
        found, before = find(piece), pieces[index - 1]
        shown = found if isinstance(found, str) else data(*found, signed=before.endswith(("+ ", "- ")))
        parts.append(element("sup", {}, shown) if before.endswith("^") else shown)
    return join(parts)


def data(found: Found, find: str = "", *, signed: bool = False) -> Html:
    """Show a number, with what the script finds it by for another example; ``signed`` brackets what is below zero."""
    place = {"value": repr(found.value)} | ({"data-find": find} if find else {})
    place |= ({"data-of": found.of} if found.of else {}) | ({"data-signed": ""} if signed else {})
    words = figure(found.value)
    return element("data", place, text(f"({words})" if signed and found.value < 0 else words))


def say(what: str, words: str) -> Html:
    """Mark words that the script replaces when another example or unit is chosen."""
    return element("span", {"data-say": what}, text(words))


def terms(first: Numbers, name: str, layer: int) -> Html:
    """Write a sum of products out, as the script does."""
    pairs, rest = first.terms(name, layer)
    parts: list[Html] = []
    for index, (one, other) in enumerate(pairs):
        parts += [text(" + " if index else ""), data(one, signed=bool(index)), text(f" {TIMES} "), data(other)]
    total = _total_terms(first, name, layer) - len(pairs)
    if total:
        parts += [text(" + "), data(rest, signed=True), text(f" ({count(total)} more)")]
    return element("span", {"class": "terms", "data-terms": f"{name}:{layer}"}, *parts)


def _total_terms(first: Numbers, name: str, layer: int) -> int:
    return len(first.arrays[f"W{layer}"]) if name == "inputs" else first.arrays[f"d{layer}"].shape[1]


def facts(pairs: Mapping[str, str | Html]) -> Html:
    """List names and what belongs to them."""
    return element(
        "dl",
        {},
        *(
            element(
                "div",
                {},
                element("dt", {}, text(name)),
                element("dd", {}, Html(value) if value.startswith("<data") else text(value)),
            )
            for name, value in pairs.items()
        ),
    )
