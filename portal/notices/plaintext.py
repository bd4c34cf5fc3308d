"""HTML to plain text: the text part of an email with paragraphs, lists, and links as "text (address)"."""

from __future__ import annotations

from dataclasses import dataclass
from html import unescape
from typing import TYPE_CHECKING

from .markup.html_tokens import Kind

if TYPE_CHECKING:
    from .markup.html_tokens import Token
    from .sanitize import SanitizedHtml

_BLOCKS = {"p", "div", "center", "h1", "h2", "h3", "ul", "ol", "blockquote", "pre", "table", "hr"}
_PREHEADER_LIMIT_CHARS = 110  # inboxes show about this many after the subject
_UNDERLINE_LIMIT_CHARS = 72


@dataclass(frozen=True)
class PlainText:
    """``text`` has one line for each paragraph; mail programs wrap it. ``preheader`` is shown beside the subject."""

    text: str
    preheader: str


def read(html: SanitizedHtml) -> PlainText:
    """Return the plain text of sanitised HTML, and the beginning of its first paragraph."""
    builder = _TextBuilder()
    for token in html.tokens:
        builder.add(token)
    builder.end_block()
    paragraph = builder.first_paragraph
    if builder.has_addresses:
        paragraph = _first_paragraph_without_addresses(html)
    return PlainText("\n\n".join(builder.blocks), _truncate(paragraph))


def _first_paragraph_without_addresses(html: SanitizedHtml) -> str:
    builder = _TextBuilder(with_addresses=False)
    for token in html.tokens:
        builder.add(token)
        if builder.first_paragraph:
            return builder.first_paragraph
    builder.end_block()
    return builder.first_paragraph


def _truncate(paragraph: str) -> str:
    if len(paragraph) <= _PREHEADER_LIMIT_CHARS:
        return paragraph
    return paragraph[: _PREHEADER_LIMIT_CHARS - 1].rsplit(" ", 1)[0] + "…"


@dataclass(frozen=True)
class _OpenLink:
    """A link whose end tag was not read yet."""

    address: str
    start: int  # number of pieces in the line before its text
    is_button: bool


class _Line:
    """The line being built, in pieces. Joining them once takes linear time, and appending to a string does not."""

    def __init__(self, *pieces: str) -> None:
        self._pieces = list(pieces)

    def __len__(self) -> int:
        return len(self._pieces)

    def add(self, text: str) -> None:
        """Append text."""
        if text:
            self._pieces.append(text)

    def rstrip(self, characters: str | None = None) -> None:
        """Remove white space, or only ``characters``, from the end."""
        while self._pieces:
            last = self._pieces.pop().rstrip(characters)
            if last:
                self._pieces.append(last)
                return

    @property
    def ends_with_word(self) -> bool:
        """Whether there is text that does not end with white space."""
        return bool(self._pieces) and not self._pieces[-1][-1].isspace()

    def text(self, start: int = 0) -> str:
        """Return the text, or the text of the pieces from ``start`` on."""
        return "".join(self._pieces[start:])


class _TextBuilder:
    """Collects blocks of text. A list and a table are one block each, with a line for each item or row."""

    def __init__(self, *, with_addresses: bool = True) -> None:
        self.blocks: list[str] = []
        self.has_addresses = False  # of links, behind their texts
        self.first_paragraph = ""
        self._with_addresses = with_addresses
        self._line = _Line()
        self._lines: list[str] = []  # of the current block
        self._lists: list[int | None] = []  # the next number of each open list, None for bullets
        self._links: list[_OpenLink] = []
        self._cells = 0  # in the current row
        self._quotes = self._pre = self._tables = 0  # how many are open

    def add(self, token: Token) -> None:
        """Add the text of the next token."""
        if token.kind is Kind.TEXT:
            self._add_text(unescape(token.value))
        elif token.kind is Kind.START:
            self._start(token.value, token.decoded_attributes)
        elif token.kind is Kind.END:
            self._end(token.value)

    def _start(self, tag: str, values: dict[str, str]) -> None:
        if tag in _BLOCKS and not self._in_list_or_table:
            self.end_block()
        if tag in ("ul", "ol"):
            self._begin_list(tag, values.get("start", "1"))
        elif tag == "li":
            self._begin_item()
        elif tag in ("td", "th"):
            self._begin_cell()
        elif tag in ("table", "blockquote", "pre"):
            self._count_open(tag, 1)
        elif tag == "a":
            link = _OpenLink(values.get("href", ""), len(self._line), values.get("class") == "button")
            self._links.append(link)
        else:
            self._add_void_element(tag, values)

    def _end(self, tag: str) -> None:
        if tag == "a" and self._links:
            self._end_link(self._links.pop())
        elif tag in ("li", "tr") or (tag in _BLOCKS and self._in_list_or_table):
            self._end_line()
            self._cells = 0 if tag == "tr" else self._cells
        if tag in ("ul", "ol") and self._lists:
            self._lists.pop()
        elif tag == "table" and self._tables:
            self._count_open(tag, -1)
        if tag in _BLOCKS and not self._in_list_or_table:
            self.end_block(tag)
        if tag in ("blockquote", "pre"):
            self._count_open(tag, -1)

    def _add_text(self, data: str) -> None:
        if self._pre:
            self._line.add(data)
            return
        if data[:1].isspace() and self._line.ends_with_word:
            self._line.add(" ")
        text = " ".join(data.split())
        self._line.add(text)
        if text and data[-1].isspace():
            self._line.add(" ")

    # -- lines and blocks

    @property
    def _in_list_or_table(self) -> bool:
        return bool(self._lists or self._tables)

    def end_block(self, tag: str = "") -> None:
        """Append what was read since the last block as a new block; ``tag`` is the element that ends."""
        self._end_line()
        block, self._lines = "\n".join(self._lines).strip("\n"), []
        if not block.strip():
            return
        if tag in ("h2", "h3"):
            block += "\n" + "-" * min(len(block), _UNDERLINE_LIMIT_CHARS)
        elif not tag.startswith("h") and not self.first_paragraph:
            self.first_paragraph = " ".join(block.split())
        if self._quotes > 0:
            block = "\n".join(f"> {line}" for line in block.split("\n"))
        self.blocks.append(block)

    def _end_line(self) -> None:
        line, self._line = self._line.text().strip(), _Line()
        if line:
            self._lines.append(line)

    def _count_open(self, tag: str, change: int) -> None:
        if tag == "table":
            self._tables += change
        elif tag == "blockquote":
            self._quotes += change
        else:
            self._pre += change

    def _begin_list(self, tag: str, start: str) -> None:
        self._end_line()
        first = int(start) if start.isdecimal() and len(start) < 7 else 1
        self._lists.append(None if tag == "ul" else first)

    def _begin_item(self) -> None:
        self._end_line()
        number = self._lists[-1] if self._lists else None
        if self._lists and number is not None:
            self._lists[-1] = number + 1
        indent = "  " * max(0, len(self._lists) - 1)
        self._line = _Line(indent + ("- " if number is None else f"{number}. "))

    def _begin_cell(self) -> None:
        if self._cells:  # strip: the source may have a line break between two cells
            self._line.rstrip()
            self._line.add(": " if self._cells == 1 and self._line else " ")
        self._cells += 1

    def _add_void_element(self, tag: str, values: dict[str, str]) -> None:
        if tag == "hr":
            self.blocks.append("____")
        elif tag == "br":
            self._line.rstrip(" ")
            self._line.add(", " if self._tables else "\n")
        elif tag == "img":
            self._line.add(values.get("alt", ""))

    def _end_link(self, link: _OpenLink) -> None:
        text, address = self._line.text(link.start).strip(), link.address
        if address.startswith(("mailto:", "tel:")):
            address = address.partition(":")[2].partition("?")[0]
        if not self._with_addresses or not address or address == text:
            return
        self.has_addresses = True
        if not text:
            self._line.add(address)
            return
        self._line.rstrip()
        self._line.add(f":\n{address}" if link.is_button else f" ({address})")
