"""What all pages share: the document around them, sections, tables, and wide content that scrolls by itself."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib import resources

from pipelines.disk.untrusted.printable import printable_json
from pipelines.report.drawing.markup import Html, element, join, text, trusted


def document(title: str, *body: Html) -> str:
    """Wrap a page into one HTML document that needs nothing beside it.

    Args:
        title: For the browser's tab.
        *body: The page.

    Returns:
        The document. Its policy lets the browser run the page's own script, known by its hash, and fetch nothing.

    Example:
        >>> document("Bags & coats")[:15], "<title>Bags &amp; coats</title>" in document("Bags & coats")
        ('<!doctype html>', True)
    """
    return page_document(title, _own_file("style.css"), _own_file("script.js"), *body)


def page_document(title: str, style: str, script: str, *body: Html, data: str | None = None) -> str:
    """Wrap a page that has its own style sheet and script into one HTML document.

    Args:
        title: For the browser's tab.
        style: The style sheet.
        script: The script.
        *body: The page.
        data: JSON that the script reads from the element ``data``.

    Returns:
        The document. Its policy lets the browser run that script, known by its hash, and fetch nothing.

    Example:
        >>> page_document("Bags", "", "", data='["</script>"]').count("</script>")
        2
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    head = element(
        "head",
        {},
        element("meta", {"charset": "utf-8"}),
        element("meta", {"http-equiv": "Content-Security-Policy", "content": policy}),
        element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", {"name": "color-scheme", "content": "light dark"}),
        # An empty icon keeps a browser from asking a server for one.
        element("link", {"rel": "icon", "href": "data:,"}),
        element("title", {}, text(title)),
        element("style", {}, trusted(style)),
    )
    last = [element("script", {}, trusted(script))]
    if data is not None:
        kept = trusted(printable_json(data).replace("<", "\\u003c"))
        last.insert(0, element("script", {"type": "application/json", "id": "data"}, kept))
    whole = element("html", {"lang": "en"}, head, element("body", {}, *body, *last))
    return f"<!doctype html>\n{whole}\n"


def _own_file(name: str) -> str:
    return resources.files("pipelines.report").joinpath(name).read_text(encoding="utf-8")


def header(
    kicker: str, title: str, headline: str, said: str, beneath: str, contents: Sequence[tuple[str, str]], *more: Html
) -> Html:
    """Open a page: what it is, its one figure, and where its sections are.

    Args:
        kicker: What kind of page.
        title: Subject of the page.
        headline: The one figure, written large.
        said: What the figure means.
        beneath: Smaller words.
        contents: (anchor, name) of each section.
        *more: What else belongs on the first screen.

    Returns:
        A ``header`` element.

    Example:
        >>> header("report", "Bags", "98 %", "accuracy", "Bag, Coat", [("facts", "Facts")]).count("<a href=")
        1
    """
    # A title of several parts breaks between them.
    parts = [element("span", {}, text(part)) for part in re.split(r"(?<=,) ", title)]
    links = [element("li", {}, element("a", {"href": f"#{anchor}"}, text(name))) for anchor, name in contents]
    return element(
        "header",
        {},
        element("p", {"class": "kicker"}, text(kicker)),
        element("h1", {}, join(parts, " ")),
        element("p", {"class": "headline"}, element("strong", {}, text(headline)), element("span", {}, text(said))),
        element("p", {"class": "classes"}, text(beneath)),
        *more,
        element("nav", {"aria-label": "Contents"}, element("ul", {}, *links)),
    )


def section(anchor: str, heading: str, *children: Html) -> Html:
    """Set a part of a page apart, under its heading.

    Args:
        anchor: Its id.
        heading: Its heading.
        *children: What is in it.

    Returns:
        A ``section`` element, named by its heading.

    Example:
        >>> section("facts", "Facts", note("None.")).startswith('<section id="facts" aria-labelledby="facts-heading">')
        True
    """
    return element(
        "section",
        {"id": anchor, "aria-labelledby": f"{anchor}-heading"},
        element("h2", {"id": f"{anchor}-heading"}, text(heading)),
        *children,
    )


def scroll(name: str, content: Html) -> Html:
    """Let wide content scroll by itself, by keyboard too, so that the page never does.

    Args:
        name: Name of the content.
        content: A table or a picture.

    Returns:
        A ``div`` element that can take the focus.

    Example:
        >>> scroll("Figures", text("..."))
        '<div class="scroll" role="region" aria-label="Figures" tabindex="0">...</div>'
    """
    return element("div", {"class": "scroll", "role": "region", "aria-label": name, "tabindex": "0"}, content)


def paragraph(words: str) -> Html:
    """Write a paragraph.

    Args:
        words: Its text.

    Returns:
        A ``p`` element.

    Example:
        >>> paragraph("Words.")
        '<p>Words.</p>'
    """
    return element("p", {}, text(words))


def note(words: str) -> Html:
    """Write a remark below a figure or a table.

    Args:
        words: Its text.

    Returns:
        A ``p`` element, set smaller.

    Example:
        >>> note("Words.")
        '<p class="note">Words.</p>'
    """
    return element("p", {"class": "note"}, text(words))


def row(*cells: Html) -> Html:
    """Put cells into a row of a table.

    Args:
        *cells: Its ``th`` and ``td`` elements.

    Returns:
        A ``tr`` element.

    Example:
        >>> row(head_cell("Class"))
        '<tr><th scope="col">Class</th></tr>'
    """
    return element("tr", {}, *cells)


def head_cell(name: str, *, scope: str = "col", style: str = "") -> Html:
    """Name a column or a row of a table.

    Args:
        name: What it says.
        scope: ``col`` or ``row``.
        style: Class names of the style sheet.

    Returns:
        A ``th`` element.

    Example:
        >>> head_cell("Dress", scope="row")
        '<th scope="row">Dress</th>'
    """
    return element("th", {"scope": scope} | ({"class": style} if style else {}), text(name))


def table(name: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, style: str = "") -> Html:
    """Lay out a table of words and numbers, the first cell of each row being its name.

    Args:
        name: Name of the table, for those who cannot see it.
        columns: Head of each column.
        rows: Cells of each row, as many as there are columns.
        style: Class names of the style sheet.

    Returns:
        A table that scrolls by itself where it is too wide.

    Raises:
        ValueError: A row has another number of cells than there are columns, or a column has no name.

    Example:
        >>> table("Seeds", ["Seed", "Accuracy"], [["0", "98.48 %"]]).count("<th scope=")
        3
    """
    if not all(columns):
        raise ValueError(f"{name}: a column has no name: {list(columns)}")
    for cells in rows:
        if len(cells) != len(columns):
            raise ValueError(f"{name}: a row of {len(cells)} cells under {len(columns)} columns: {list(cells)}")
    body = [
        row(head_cell(cells[0], scope="row"), *(element("td", {}, text(cell)) for cell in cells[1:])) for cells in rows
    ]
    head = element("thead", {}, row(*(head_cell(column) for column in columns)))
    kind = {"class": style} if style else {}
    # The section around it is a region as well, and often named alike.
    return scroll(f"{name}, table", element("table", kind, head, element("tbody", {}, *body)))


def details(summary: str, *children: Html) -> Html:
    """Fold content away until it is opened.

    Args:
        summary: What is always seen.
        *children: What is folded away.

    Returns:
        A ``details`` element, which needs no script.

    Example:
        >>> details("The numbers", note("1, 2"))
        '<details><summary>The numbers</summary><p class="note">1, 2</p></details>'
    """
    return element("details", {}, element("summary", {}, text(summary)), *children)


def facts(anchor: str, heading: str, pairs: Mapping[str, str]) -> Html:
    """List facts by their names.

    Args:
        anchor: Id of the section, and its class in the style sheet.
        heading: Heading of the section.
        pairs: Name -> value, in the order to show.

    Returns:
        A section.

    Example:
        >>> facts("facts", "Facts", {"Seed": "0"}).count("<dt>")
        1
    """
    items = [
        element("div", {}, element("dt", {}, text(name)), element("dd", {}, text(value)))
        for name, value in pairs.items()
    ]
    return section(
        anchor, heading, element("dl", {"class": anchor}, *items) if items else note("Nothing was recorded.")
    )


def again(said: str, command: str, *children: Html) -> Html:
    """Close a page with the command that made it.

    Args:
        said: What the command promises.
        command: A shell command.
        *children: What else is needed.

    Returns:
        A section.

    Example:
        >>> "<span>--seed</span> <span>0</span>" in again("Equal bits.", "bpfunc run --seed 0")
        True
    """
    # One element for each word, so that a narrow page does not break a line after the hyphens of an option.
    words = [element("span", {}, text(word)) for word in command.split(" ")]
    code = element("pre", {}, element("code", {"id": "command"}, join(words, " ")))
    # Shown by the script, which it needs.
    copy = element("button", {"type": "button", "data-copy": "command", "hidden": ""}, text("Copy the command"))
    return section("again", "Run it again", paragraph(said), code, copy, *children)
