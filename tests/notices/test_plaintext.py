"""HTML to plain text."""

from __future__ import annotations

import pytest

from portal.notices import plaintext
from portal.notices.sanitize import SanitizedHtml


def _text(html: str) -> str:
    return plaintext.read(SanitizedHtml(html)).text


def test_a_table_becomes_lines_whatever_its_line_breaks():
    rows = "<tr>\n  <th>Order</th>\n  <td>A-1</td>\n</tr>\n<tr><th>Amount</th><td>8.00\n EUR</td></tr>"
    assert _text(f"<table>{rows}</table>") == "Order: A-1\nAmount: 8.00 EUR"
    assert _text("<table><tr><td></td> <td>b</td> <td>c</td></tr></table>") == "b c"


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<h1>Title</h1><p>First, <b>one</b>.</p><p>Second.</p>", "First, one."),
        (
            '<p>Read <a href="https://shop.example/a">the terms</a> first.</p><p>Second.</p>',
            "Read the terms first.",
        ),
        ('<p><a href="https://shop.example/a">Open</a></p>', "Open"),
        ('<h1><a href="https://shop.example/">Shop</a></h1>', ""),
        (f"<p>{'word ' * 40}</p>", "word " * 20 + "word…"),
    ],
)
def test_the_preheader_is_the_beginning_of_the_first_paragraph_without_addresses(html, expected):
    assert plaintext.read(SanitizedHtml(html)).preheader == expected
