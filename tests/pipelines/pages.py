"""A page as a tree, parsed strictly, for the tests that read pages."""

from __future__ import annotations

from html.parser import HTMLParser

import attrs

VOID = {"img", "input", "link", "meta"}


@attrs.define
class Node:
    """An element of a parsed page."""

    tag: str
    attributes: dict[str, str]
    children: list[Node | str] = attrs.Factory(list)

    def all(self, tag: str, style: str | None = None) -> list[Node]:
        below = [node for child in self.children if isinstance(child, Node) for node in (child, *child.all("*"))]
        return [
            node
            for node in below
            if tag in ("*", node.tag) and (style is None or style in node.attributes.get("class", "").split())
        ]

    def one(self, tag: str, style: str | None = None) -> Node:
        (node,) = self.all(tag, style)
        return node

    def section(self, anchor: str) -> Node:
        (node,) = (n for n in self.all("section") if n.attributes["id"] == anchor)
        return node

    @property
    def text(self) -> str:
        words = "".join(c if isinstance(c, str) else c.text for c in self.children)
        return words.replace("\N{NO-BREAK SPACE}", " ")


class Reader(HTMLParser):
    """Builds the tree of a page and refuses what is not nested properly."""

    def __init__(self) -> None:
        super().__init__()
        self.open = [Node("document", {})]

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attributes}) == len(attributes), f"<{tag}> repeats an attribute"
        node = Node(tag, {name: value or "" for name, value in attributes})
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parsed(document: str) -> Node:
    reader = Reader()
    reader.feed(document)
    reader.close()
    assert len(reader.open) == 1, "an element stays open"
    return reader.open[0]


def table_of(section: Node) -> list[list[str]]:
    rows = section.one("table").all("tr")
    return [[" ".join(cell.text.split()) for cell in row.children if isinstance(cell, Node)] for row in rows]
