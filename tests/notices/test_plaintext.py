"""HTML to plain text."""

from __future__ import annotations

from portal.notices import plaintext
from portal.notices.sanitize import SanitizedHtml


def _text(html: str) -> str:
    return plaintext.html_to_text(SanitizedHtml(html))


def test_a_table_becomes_lines_whatever_its_line_breaks():
    rows = "<tr>\n  <th>Order</th>\n  <td>A-1</td>\n</tr>\n<tr><th>Amount</th><td>8.00\n EUR</td></tr>"
    assert _text(f"<table>{rows}</table>") == "Order: A-1\nAmount: 8.00 EUR"
    assert _text("<table><tr><td></td> <td>b</td> <td>c</td></tr></table>") == "b c"
