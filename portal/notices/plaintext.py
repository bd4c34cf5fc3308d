"""HTML to plain text: the text part of an email with paragraphs, lists, and links as "text (address)"."""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser

_BLOCKS = {"p", "div", "h1", "h2", "h3", "ul", "ol", "blockquote", "pre", "table", "hr"}
_PREHEADER_LIMIT_CHARS = 110  # inboxes show about this many after the subject
_UNDERLINE_LIMIT_CHARS = 72


def html_to_text(html: str) -> str:
    """Return the plain text of sanitised HTML. Each paragraph is one line; mail programs wrap it to their width."""
    return "\n\n".join(_read(html).blocks)


def extract_preheader(html: str) -> str:
    """Return the beginning of the first paragraph, which an inbox shows beside the subject."""
    text = _read(html, with_addresses=False).first_paragraph
    if len(text) <= _PREHEADER_LIMIT_CHARS:
        return text
    return text[: _PREHEADER_LIMIT_CHARS - 1].rsplit(" ", 1)[0] + "…"


def _read(html: str, *, with_addresses: bool = True) -> _TextBuilder:
    builder = _TextBuilder(with_addresses=with_addresses)
    builder.feed(html)
    builder.close()
    builder.end_block()
    return builder


@dataclass(frozen=True)
class _OpenLink:
    """A link whose end tag was not read yet."""

    address: str
    start: int  # index of its text in the current line
    is_button: bool


class _TextBuilder(HTMLParser):
    """Collects blocks of text. A list and a table are one block each, with a line for each item or row."""

    def __init__(self, *, with_addresses: bool) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[str] = []
        self.first_paragraph = ""
        self._with_addresses = with_addresses
        self._line = ""  # the line being built
        self._lines: list[str] = []  # of the current block
        self._lists: list[int | None] = []  # the next number of each open list, None for bullets
        self._links: list[_OpenLink] = []
        self._cells = 0  # in the current row
        self._quotes = self._pre = self._tables = 0  # how many are open

    # -- called by HTMLParser

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
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

    def handle_endtag(self, tag: str) -> None:
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

    def handle_data(self, data: str) -> None:
        if self._pre:
            self._line += data
            return
        text = " ".join(data.split())
        if data[:1].isspace() and self._line and not self._line[-1].isspace():
            self._line += " "
        self._line += text
        if text and data[-1].isspace():
            self._line += " "

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
        line, self._line = self._line.strip(), ""
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
        self._line = indent + ("- " if number is None else f"{number}. ")

    def _begin_cell(self) -> None:
        if self._cells:  # strip: the source may have a line break between two cells
            line = self._line.rstrip()
            self._line = line + (": " if self._cells == 1 and line else " ")
        self._cells += 1

    def _add_void_element(self, tag: str, values: dict[str, str]) -> None:
        if tag == "hr":
            self.blocks.append("____")
        elif tag == "br":
            self._line = self._line.rstrip(" ") + (", " if self._tables else "\n")
        elif tag == "img":
            self._line += values.get("alt", "")

    def _end_link(self, link: _OpenLink) -> None:
        text, address = self._line[link.start :].strip(), link.address
        if address.startswith("mailto:"):
            address = address.removeprefix("mailto:").partition("?")[0]
        if not self._with_addresses or not address or address == text:
            return
        if not text:
            self._line += address
        elif link.is_button:
            self._line = f"{self._line.rstrip()}:\n{address}"
        else:
            self._line = f"{self._line.rstrip()} ({address})"
