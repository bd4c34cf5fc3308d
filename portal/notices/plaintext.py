"""The text of an HTML mail, for those who read no HTML: paragraphs, lists, links as "text (address)"."""

from __future__ import annotations

from html.parser import HTMLParser

_BLOCKS = {"p", "div", "h1", "h2", "h3", "ul", "ol", "blockquote", "pre", "table", "hr"}
_PREHEADER = 110  # characters; inboxes show about so many after the subject


def html_to_text(html: str) -> str:
    """Return the text of sanitised HTML. A paragraph is one line: mail programmes wrap as wide as they are."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    reader.end_block()
    return "\n\n".join(reader.blocks)


def extract_preheader(html: str) -> str:
    """Return the first words after the headings, as an inbox shows them beside the subject."""
    reader = _Reader(links=False)
    reader.feed(html)
    reader.close()
    reader.end_block()
    words = reader.first_paragraph
    return words if len(words) <= _PREHEADER else words[: _PREHEADER - 1].rsplit(" ", 1)[0] + "…"


class _Reader(HTMLParser):
    """Collects blocks of text. Lists and tables are blocks of lines."""

    def __init__(self, *, links: bool = True) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[str] = []
        self.first_paragraph = ""
        self._links = links
        self._words = ""
        self._lines: list[str] = []  # of the present list or table
        self._lists: list[int | None] = []  # the next number of each open list, None for bullets
        self._anchors: list[tuple[str, int, bool]] = []  # address, where its words begin, whether a button
        self._cells = 0
        self._quotes = self._pre = self._tables = 0

    # -- what the parser calls

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in _BLOCKS and not (self._lists or self._tables):
            self.end_block()
        if tag in ("ul", "ol"):
            self._end_line()
            start = given.get("start", "1")
            self._lists.append(
                None if tag == "ul" else int(start) if start.isdecimal() and len(start) < 7 else 1
            )
        elif tag == "table":
            self._tables += 1
        elif tag in ("blockquote", "pre"):
            self._quotes += tag == "blockquote"
            self._pre += tag == "pre"
        elif tag == "hr":
            self.blocks.append("____")
        elif tag == "br":
            self._words = self._words.rstrip(" ") + (", " if self._tables else "\n")
        elif tag == "img":
            self._words += given.get("alt", "")
        elif tag == "a":
            self._anchors.append((given.get("href", ""), len(self._words), given.get("class") == "button"))
        elif tag in ("td", "th"):
            if self._cells:  # the markup may well break the line between two cells
                words = self._words.rstrip()
                self._words = words + (": " if self._cells == 1 and words else " ")
            self._cells += 1
        elif tag == "li":
            self._begin_item()

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._anchors:
            self._end_link(*self._anchors.pop())
        elif tag in ("li", "tr") or (tag in _BLOCKS and (self._lists or self._tables)):
            self._end_line()
            self._cells = 0 if tag == "tr" else self._cells
        if tag in ("ul", "ol") and self._lists:
            self._lists.pop()
        elif tag == "table" and self._tables:
            self._tables -= 1
        if tag in _BLOCKS and not (self._lists or self._tables):
            self.end_block(tag)
        if tag == "blockquote":
            self._quotes -= 1
        elif tag == "pre":
            self._pre -= 1

    def handle_data(self, data: str) -> None:
        if self._pre:
            self._words += data
            return
        words = " ".join(data.split())
        if data[:1].isspace() and self._words and not self._words[-1].isspace():
            self._words += " "
        self._words += words
        if words and data[-1].isspace():
            self._words += " "

    # -- lines and blocks

    def end_block(self, tag: str = "") -> None:
        """Take what was read so far for a block."""
        self._end_line()
        block, self._lines = "\n".join(self._lines).strip("\n"), []
        if not block.strip():
            return
        if tag in ("h2", "h3"):
            block += "\n" + "-" * min(len(block), 72)
        elif not tag.startswith("h") and not self.first_paragraph:
            self.first_paragraph = " ".join(block.split())
        self.blocks.append(
            "\n".join(f"> {line}" for line in block.split("\n")) if self._quotes > 0 else block
        )

    def _end_line(self) -> None:
        words, self._words = self._words.strip(), ""
        if words:
            self._lines.append(words)

    def _begin_item(self) -> None:
        self._end_line()
        number = self._lists[-1] if self._lists else None
        if self._lists and number is not None:
            self._lists[-1] = number + 1
        self._words = "  " * max(0, len(self._lists) - 1) + ("- " if number is None else f"{number}. ")

    def _end_link(self, address: str, begin: int, button: bool) -> None:
        words = self._words[begin:].strip()
        address = (
            address.removeprefix("mailto:").partition("?")[0] if address.startswith("mailto:") else address
        )
        if not self._links or not address or address == words:
            return
        if not words:
            self._words += address
        elif button:
            self._words = f"{self._words.rstrip()}:\n{address}"
        else:
            self._words = f"{self._words.rstrip()} ({address})"
