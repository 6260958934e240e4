"""The Persian page of the report has the figures, tables, code and formulas of the English page."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
ENGLISH = (DOCS / "report.md").read_text(encoding="utf-8")
PERSIAN = (DOCS / "report.fa.md").read_text(encoding="utf-8")
WESTERN = "0123456789.,%"
PERSIAN_SIGNS = "".join(map(chr, [*range(0x6F0, 0x6FA), 0x66B, 0x66C, 0x66A]))
"""Persian digits, decimal and thousands separators and percent sign."""
NUMBER = re.compile(r"[+-]?\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?(?:\s?%)?")
"""A number with its sign, its thousands, its exponent and its percent sign."""
CODE = re.compile(r"^```\w+\n.*?^```$", re.MULTILINE | re.DOTALL)
LEFT_TO_RIGHT = re.compile(r'<span dir="ltr">(.*?)</span>')


def numbers(text: str) -> list[str]:
    """All numbers of a text in Western digits, in order."""
    return [
        found.replace(" ", "").replace("\n", "")
        for found in NUMBER.findall(text.translate(str.maketrans(PERSIAN_SIGNS, WESTERN)))
    ]


def in_persian(number: str) -> str:
    """The number in Persian digits."""
    return number.translate(str.maketrans(WESTERN, PERSIAN_SIGNS))


def figures(text: str) -> Counter[str]:
    """How often the text has each number with a decimal point or a percent sign."""
    return Counter(number for number in numbers(text) if "." in number or "%" in number)


def tables(text: str) -> list[list[Counter[str]]]:
    """The numbers of each row of each table."""
    found: list[list[Counter[str]]] = []
    inside = False
    for line in CODE.sub("", text).splitlines():
        if line.startswith("|"):
            if not inside:
                found.append([])
            found[-1].append(Counter(numbers(line)))
        inside = line.startswith("|")
    return found


def differences(english: str, persian: str) -> list[str]:
    """What one page has and the other does not."""
    ours, theirs = figures(english), figures(persian)
    wrong = [f"not in Persian: {number}" for number in sorted((ours - theirs).elements())]
    wrong += [f"not in English: {number}" for number in sorted((theirs - ours).elements())]
    rows = [list(map(len, tables(text))) for text in (english, persian)]
    if rows[0] != rows[1]:
        return [*wrong, f"rows of the tables: {rows[0]} and {rows[1]}"]
    for table, (left, right) in enumerate(zip(tables(english), tables(persian), strict=True), 1):
        for row, (here, there) in enumerate(zip(left, right, strict=True), 1):
            if here != there:
                wrong.append(f"table {table}, row {row}: {dict(here - there)} and {dict(there - here)}")
    return wrong


def test_same_figures() -> None:
    """Each figure of one page is in the other, as often, and in the tables in the same row."""
    assert sum(figures(ENGLISH).values()) > 100
    assert len(tables(ENGLISH)) == 6
    assert differences(ENGLISH, PERSIAN) == []


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("0.22 ", "0.23 ", "not in English: 0.23"),
        ("72.4 %", in_persian("72.5%"), "not in Persian: 72.4%"),
        ("| 534,019 |", "| 534,091 |", "table 2, row 4"),
        ("+0.053", "-0.053", "not in Persian: +0.053"),
        ("| `small` |", "\n| `small` |", "rows of the tables"),
    ],
)
def test_planted_differences_are_found(right: str, wrong: str, message: str) -> None:
    """The check above fails for a wrong figure in prose or in a table, a wrong sign and a table cut in two."""
    assert right in PERSIAN
    found = differences(ENGLISH, PERSIAN.replace(right, wrong, 1))
    assert any(message in line for line in found), found


def test_persian_digits_count() -> None:
    """Figures in Persian digits are the same figures."""
    text = PERSIAN.replace("72.4 %", in_persian("72.4%")).replace("0.22 ", in_persian("0.22 "))
    assert text != PERSIAN
    assert differences(ENGLISH, text) == []


def test_same_code_and_sections() -> None:
    """Code is the same character by character, and each section has its twin."""
    assert CODE.findall(PERSIAN) == CODE.findall(ENGLISH)
    levels = [re.findall(r"^(#+) ", CODE.sub("", text), re.MULTILINE) for text in (ENGLISH, PERSIAN)]
    assert levels[0] == levels[1]
    assert re.findall(r"^\$\$.*\$\$$", PERSIAN, re.MULTILINE) == re.findall(r"^\$\$.*\$\$$", ENGLISH, re.MULTILINE)


def test_code_stays_left_to_right() -> None:
    """Code that begins or ends with a sign, which a paragraph from right to left would move, is set apart."""
    prose = LEFT_TO_RIGHT.sub("", CODE.sub("", PERSIAN))
    assert [code for code in re.findall(r"`([^`]+)`", prose) if not (code[0].isalnum() and code[-1].isalnum())] == []
    opened = PERSIAN.count('<div dir="ltr">\n\n```')
    assert opened == 2
    assert PERSIAN.count("<div") == PERSIAN.count("</div>") == opened + 1
