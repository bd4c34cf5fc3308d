"""Plain text that was typed where HTML is expected: its lines become paragraphs, its addresses become links."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..catalogue import Notice

_BLOCK = re.compile(
    r"<(?:p|div|h[1-6]|ul|ol|li|table|t[rdh]|blockquote|pre|br|hr|center|body|html|head|section|!--)(?![A-Za-z])",
    re.IGNORECASE,
)
_TAG_LINE = re.compile(r"(?:\s?\{%[^{}\n]{1,200}%\})+\s?")
_PIECES = re.compile(r"(</?[A-Za-z][^<>]{0,2000}>)")
_ADDRESS = re.compile(
    r"\{\{\s{0,3}(\w{1,40})\s{0,3}\}\}|https?://(?:[^\s<>\"'{}|]|\{\{\s?\w{1,40}\s?\}\})++", re.IGNORECASE
)
_AFTER_ADDRESS = ".,;:!?)"
_NO_LINKS_IN = ("a", "code", "pre")


def to_html(source: str, notice: Notice) -> str:
    """Return plain text of several lines as HTML; what has a block element, or one line only, is returned unchanged."""
    if "\n" not in source.strip() or _BLOCK.search(source):
        return source
    blocks = re.split(r"\n\n+", separate_tag_lines(source).strip())
    return link_addresses("\n".join(map(_paragraph, blocks)), notice)


def separate_tag_lines(source: str) -> str:
    """Put blank lines around lines that hold only Liquid tags, so that conditions enclose whole paragraphs."""
    lines = (
        f"\n{line}\n" if line and "{%" in line and _TAG_LINE.fullmatch(line) else line
        for line in source.split("\n")
    )
    return "\n".join(lines)


def link_addresses(html: str, notice: Notice) -> str:
    """Return HTML with links for the addresses in its text, which are not in a link or in code."""
    links = notice.link_names

    def link(match: re.Match[str]) -> str:
        text, name = match.group(), match.group(1)
        if name is not None:
            return f'<a href="{text}">{text}</a>' if name in links else text
        address = text.rstrip(_AFTER_ADDRESS)
        return f'<a href="{address}">{address}</a>{text[len(address) :]}'

    pieces = _PIECES.split(html)
    opened = 0
    for number, piece in enumerate(pieces):
        if number % 2:
            name = piece.strip("</>").split(None, 1)[0].lower().rstrip("/>")
            if name in _NO_LINKS_IN:
                opened = max(0, opened + (-1 if piece.startswith("</") else 1))
        elif not opened:
            pieces[number] = _ADDRESS.sub(link, piece)
    return "".join(pieces)


def _paragraph(block: str) -> str:
    if _TAG_LINE.fullmatch(block):
        return block
    return f"<p>{'<br>'.join(line.strip() for line in block.split(chr(10)))}</p>".replace("<br>", "<br>\n")
