"""Sanitised HTML of a text to Markdown, at the owner's request. Formatting that Markdown has no sign for is lost."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING
from urllib.parse import quote

from ..liquid import LiquidToken, find_tokens
from ..sanitize import unused_marker
from .html_tokens import Kind, read_tokens
from .markdown import BUTTON_TITLE
from .markdown_line import SIGNS, MarkdownLine, fence

if TYPE_CHECKING:
    from .html_tokens import Token

_BLOCKS = {"p", "div", "center", "h1", "h2", "h3", "blockquote", "pre", "ul", "ol", "table", "hr"}
_SPECIAL = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_[]<>~|"})
_LINE_START = re.compile(r"\A(\s*)([#+-]|\d{1,9}(?=[.)]))")
_ENTITY = re.compile(r"&(?=#?\w{1,31};)")
_LINES = {"p", "h1", "h2", "h3"}  # a condition in one is part of it
_BARE_ADDRESS = re.compile(
    r"https?://[^\s<>\"'{}|]*[^\s<>\"'{}|.,;:!?)]", re.IGNORECASE
)  # it becomes a link without brackets
_BALANCED = re.compile(r"[^()]*+(?:\([^()]*+\)[^()]*+)*+")


def html_to_markdown(html: str) -> str:
    """Return Markdown with the words, links, lists, tables and conditions of the source of a text."""
    marker = unused_marker(html)
    tokens = find_tokens(html)
    parts: list[str] = []
    at = 0
    for number, token in enumerate(tokens):
        parts += (html[at : token.start], f"{marker}{number}x")
        at = token.end
    writer = _MarkdownWriter(marker, tokens)
    for one in read_tokens("".join((*parts, html[at:]))):
        writer.add(one)
    text = "\n\n".join(writer.finish())
    return re.sub(rf"{marker}(\d+)x", lambda match: tokens[int(match.group(1))].text, text)


class _MarkdownWriter:
    """Collects blocks of Markdown."""

    def __init__(self, marker: str, tokens: list[LiquidToken]) -> None:
        self.blocks: list[str] = []
        self._number = re.compile(rf"{marker}(\d+)x")
        self._tokens = tokens
        self._line = MarkdownLine()
        self._lines: list[str] = []  # of the block
        self._prefix = ""  # of a heading or an item
        self._lists: list[int | None] = []
        self._links: list[tuple[int, dict[str, str]]] = []
        self._quotes = self._tables = self._cells = 0
        self._pre = self._is_inside = False
        self._code: list[str] | None = None  # the words of an open <code>

    def add(self, token: Token) -> None:
        """Write the next token."""
        if token.kind is Kind.TEXT:
            self._text(unescape(token.value))
        elif token.kind is Kind.START:
            self._start(token.value, token.decoded_attributes)
        elif token.kind is Kind.END:
            self._end(token.value)

    def finish(self) -> list[str]:
        """End the last block and return all blocks."""
        self._end_block()
        return self.blocks

    def _text(self, data: str) -> None:
        if self._pre:
            self._line.pieces.append(data)
        elif self._code is not None:
            self._code.append(data)
        elif self._is_between_blocks and self._only_tags(data):
            self._end_block()
            self.blocks.append(data.strip())
        elif self._tables and not self._cells and not self._line.pieces:
            self._between_rows(data)
        else:
            self._line.write(_escape(re.sub(r"\s+", " ", data)))

    def _between_rows(self, data: str) -> None:
        """Write conditions around rows: their end belongs to the line before it, their beginning to the next one."""
        for match in self._number.finditer(data):
            token = self._tokens[int(match.group(1))]
            is_end = token.text.replace("-", "").replace(" ", "").startswith("{%end")
            if is_end and self._lines and not self._line.pieces:
                self._lines[-1] += match.group()
            else:
                self._line.pieces.append(match.group())

    @property
    def _is_between_blocks(self) -> bool:
        used = self._line.pieces or self._lines or self._lists or self._tables or self._links
        return not (used or self._is_inside)

    def _only_tags(self, data: str) -> bool:
        numbers = self._number.findall(data)
        only_tokens = bool(numbers) and not self._number.sub("", data).strip()
        return only_tokens and all(self._tokens[int(number)].is_tag for number in numbers)

    def _start(self, tag: str, values: dict[str, str]) -> None:
        if tag in _BLOCKS:
            self._separate()
            self._is_inside = tag in _LINES
        if self._code is not None:
            self._code += [" "] if tag == "br" else []
        elif tag in SIGNS or tag in ("code", "a"):
            self._start_words(tag, values)
        elif tag in ("h1", "h2", "h3"):
            self._prefix = "#" * int(tag[1]) + " "
        elif tag in ("ul", "ol", "li"):
            self._start_list(tag)
        elif tag == "table":
            self._tables += 1
        elif tag in ("td", "th"):
            self._begin_cell()
        elif tag == "blockquote":
            self._quotes += 1
        elif tag == "pre":
            self._end_line()
            self._pre = True
        else:
            self._void(tag, values)

    def _start_words(self, tag: str, values: dict[str, str]) -> None:
        if tag == "a":
            self._line.begin_words("[")
            self._links.append((len(self._line.pieces), values))
        elif tag == "code" and not self._pre:
            self._code = []
        elif not self._pre:
            self._line.open(tag)

    def _void(self, tag: str, values: dict[str, str]) -> None:
        if tag == "br" and (self._links or self._prefix.startswith("#")):
            self._line.space()
        elif tag == "br":
            self._end_line()
        elif tag == "hr":
            self.blocks.append("---")
        elif tag == "img":
            self._line.write(f"![{_escape(values.get('alt', ''))}]({_destination(values.get('src', ''))})")

    def _end(self, tag: str) -> None:
        if tag in SIGNS or tag in ("code", "a"):
            self._end_words(tag)
        elif tag in ("li", "tr"):
            self._end_line()
            self._cells = 0
        elif tag in ("ul", "ol") and self._lists:
            self._end_line()
            self._lists.pop()
        elif tag == "table" and self._tables:
            self._tables -= 1
        elif tag == "pre" and self._pre:
            self._end_pre()
        if tag in _BLOCKS:
            self._separate()
            self._is_inside = False
        if tag == "blockquote" and self._quotes:
            self._quotes -= 1

    def _end_words(self, tag: str) -> None:
        if tag == "code" and self._code is not None:
            self._line.write_code("".join(self._code))
            self._code = None
        elif tag == "a" and self._links and self._code is None:
            self._end_link(*self._links.pop())
        elif tag in SIGNS and not self._pre and self._code is None:
            self._line.close()

    def _separate(self) -> None:
        """End a block; in a list or a table, which are one, put a space between its words and the next ones."""
        if self._lists or self._tables:
            self._line.space()
        else:
            self._end_block()

    def _start_list(self, tag: str) -> None:
        self._end_line()
        if tag != "li":
            self._lists.append(None if tag == "ul" else 1)
            return
        number = self._lists[-1] if self._lists else None
        if self._lists and number is not None:
            self._lists[-1] = number + 1
        indent = "".join("  " if one is None else "   " for one in self._lists[:-1])
        self._prefix = f"{indent}{'-' if number is None else f'{number}.'} "

    def _begin_cell(self) -> None:
        """Write the cells of a row one after another; the first of two is its label."""
        if self._cells:
            while self._line.pieces and self._line.pieces[-1].isspace():
                self._line.pieces.pop()
            self._line.pieces.append(": " if self._cells == 1 else ", ")
        self._cells += 1

    def _end_link(self, start: int, values: dict[str, str]) -> None:
        inside, address = "".join(self._line.pieces[start:]), values.get("href", "")
        del self._line.pieces[start:]
        text = inside.strip()
        if inside[:1].isspace():
            self._line.space()
        if not address:
            link = text
        elif self._unmasked(text) == self._unmasked(address) and (
            self._number.fullmatch(address) or _BARE_ADDRESS.fullmatch(address)
        ):
            link = _escape(address)  # written out, it becomes a link again
        else:
            title = f' "{BUTTON_TITLE}"' if values.get("class") == "button" else ""
            link = f"[{text or _escape(address)}]({_destination(address)}{title})"
        self._line.pieces += [link] if link else []
        if inside[-1:].isspace():
            self._line.space()

    def _unmasked(self, text: str) -> str:
        text = self._number.sub(lambda match: self._tokens[int(match.group(1))].text, text)
        return re.sub(r"\\(.)", r"\1", text)

    def _end_line(self) -> None:
        if self._code is not None:
            self._line.write_code("".join(self._code))
            self._code = []
        line = self._line.take()
        self._links = [(0, values) for _start, values in self._links]
        if not line:
            return
        if not self._prefix:
            line = (
                _LINE_START.sub(r"\1\\\2", line)
                if line[0] in "#+-"
                else re.sub(r"\A(\d{1,9})([.)])", r"\1\\\2", line)
            )
        self._lines.append(f"{self._prefix}{line}")
        self._prefix = ""

    def _end_pre(self) -> None:
        self._pre = False
        code, self._line.pieces = "".join(self._line.pieces).strip("\n"), []
        signs = fence(code, 3)
        self._lines += [signs, *code.split("\n"), signs]

    def _end_block(self) -> None:
        self._end_line()
        lines, self._lines, self._prefix = self._lines, [], ""
        if lines:
            self.blocks.append("\n".join(f"{'> ' * self._quotes}{line}" for line in lines))


def _escape(text: str) -> str:
    """Return text in which no character is a sign of Markdown."""
    return _ENTITY.sub(r"\\&", text.translate(_SPECIAL))


def _destination(address: str) -> str:
    """Return an address as it stands in a link of Markdown, where spaces and single parentheses would end it."""
    found = re.sub(r"[\s<>\\]", lambda match: quote(match.group()), address)
    if not _BALANCED.fullmatch(found):
        found = found.replace("(", "%28").replace(")", "%29")
    return _ENTITY.sub(r"\\&", found)
