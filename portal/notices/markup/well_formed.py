"""HTML as people write it, to well-formed HTML of bounded depth, before nh3 sanitises it.

nh3 builds the tree of the HTML standard, which repairs wrong nesting by copying elements: 20 KB of ``<b>`` that cross
``<p>`` become 36 MB, and each ``<div>`` costs time in proportion to its depth. Well-formed HTML with a bounded depth
needs no repair, so that the work of nh3 grows linearly with the text. nh3 alone decides what is safe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .html_tokens import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .html_tokens import Token

_QUOTE = '"'
DEPTH_LIMIT = 60  # open elements; ten tables inside each other need 40
_VOID = {"br", "hr", "img"}
_HEADINGS = {"h1", "h2", "h3"}
_ENDS_PARAGRAPH = {*_HEADINGS, "p", "hr", "div", "center", "ul", "ol", "li", "blockquote", "pre", "table"}
_CELLS = {"td", "th"}
_TABLE_PARENTS = {  # of each part of a table; a missing <tbody> or <tr> is implied
    "thead": {"table"},
    "tbody": {"table"},
    "tr": {"thead", "tbody", "table"},
    "td": {"tr", "thead", "tbody", "table"},
    "th": {"tr", "thead", "tbody", "table"},
}
_IN_TABLE = {"table", "thead", "tbody", "tr"}
_BETWEEN_ITEMS = {
    *_HEADINGS,
    "ul",
    "ol",
    "blockquote",
    "pre",
}  # an <li> does not end an item outside of these
# The end tag of an inline element does not end these; it takes effect where they end.
_STRUCTURE = {"div", "center", "ul", "ol", "li", "blockquote", "pre", *_IN_TABLE, *_CELLS}


class WellFormedHtml:
    """Writes tokens as well-formed HTML with the given elements and attributes.

    Args:
        elements: the elements to keep, with their attributes ("*": of all). Other tags and attributes are dropped.
        dropped_with_content: elements that are dropped with all that is in them.
        kept_comment: comments that contain this word are kept, if it is not empty.
    """

    def __init__(
        self, elements: Mapping[str, set[str]], *, dropped_with_content: set[str], kept_comment: str = ""
    ) -> None:
        self._elements = elements
        self._dropped_with_content = dropped_with_content
        self._kept_comment = kept_comment
        self._parts: list[str] = []
        self._open: list[str] = []
        self._scopes = [0]  # where the content of each open table and cell begins in ``_open``, and 0
        self._ended: set[int] = set()  # indexes of open elements whose end tag was read too early
        self._skipped, self._skipped_depth = "", 0  # the element that is being dropped with its content

    def write(self, tokens: Iterable[Token]) -> str:
        """Return the HTML of the tokens."""
        for token in tokens:
            if self._skipped:
                self._skip(token)
            elif token.kind is Kind.TEXT:
                self._parts.append(token.value)
            elif token.kind is Kind.COMMENT:
                if self._kept_comment and self._kept_comment in token.value:
                    self._parts.append(f"<!--{token.value}-->")
            elif token.kind is Kind.END:
                self._end(token.value)
            elif token.value in self._dropped_with_content:
                self._skipped, self._skipped_depth = token.value, 1
            elif token.value in self._elements:
                self._start(token)
        self._close_to(0)
        return "".join(self._parts)

    def _skip(self, token: Token) -> None:
        if token.value == self._skipped and token.kind in (Kind.START, Kind.END):
            self._skipped_depth += 1 if token.kind is Kind.START else -1
            if not self._skipped_depth:
                self._skipped = ""

    def _start(self, token: Token) -> None:
        name = token.value
        if name in _TABLE_PARENTS and "table" not in self._open:
            return
        self._close_implied(name)
        if name not in _TABLE_PARENTS and self._open and self._open[-1] in _IN_TABLE:
            return  # between the cells of a table, where a browser would move it before the table
        if name not in _VOID:
            if len(self._open) >= DEPTH_LIMIT:
                return
            self._open.append(name)
            if name == "table" or name in _CELLS:
                self._scopes.append(len(self._open))
        self._parts.append(self._write_start(token))

    def _write_start(self, token: Token) -> str:
        if not token.attributes:
            return f"<{token.value}>"
        allowed, common = self._elements[token.value], self._elements["*"]
        written = [
            f' {name}="{value.replace(_QUOTE, "&quot;")}"'
            for name, value in token.attributes.items()
            if name in allowed or name in common
        ]
        return f"<{token.value}{''.join(written)}>"

    def _close_implied(self, name: str) -> None:
        """Close the elements that the start of ``name`` ends by the HTML standard."""
        if name in _TABLE_PARENTS:
            while self._open[-1] not in _TABLE_PARENTS[name]:
                self._close_to(len(self._open) - 1)
            return
        if name == "table" and self._open and self._open[-1] in _IN_TABLE:
            self._close_to(_last(self._open, {"table"}))
        if name == "li":
            item = _last(self._open, {"li", *_BETWEEN_ITEMS}, self._scopes[-1])
            if item != -1 and self._open[item] == "li":
                self._close_to(item)
        if name in _ENDS_PARAGRAPH:
            self._close_innermost({"p"})
        if name in _HEADINGS and self._open and self._open[-1] in _HEADINGS:
            self._close_to(len(self._open) - 1)
        if name == "a":
            self._close_innermost({"a"})

    def _close_innermost(self, names: set[str]) -> None:
        index = _last(self._open, names, self._scopes[-1])
        if index != -1:
            self._close_to(index)

    def _end(self, name: str) -> None:
        scope = self._scopes[-1]
        if name in _IN_TABLE or name in _CELLS:
            table = _last(self._open, {"table"})
            scope = max(0, table if name == "table" else table + 1)
        index = _last(self._open, {name}, scope)
        if index == -1 and name in _HEADINGS:  # any end tag of a heading ends a heading
            index = _last(self._open, _HEADINGS, scope)
        if index == -1:
            return
        if name not in _STRUCTURE and not _STRUCTURE.isdisjoint(self._open[index + 1 :]):
            self._ended.add(index)
        else:
            self._close_to(index)

    def _close_to(self, index: int) -> None:
        """Close all elements from ``index`` on, and before it those whose end tag was read already."""
        while len(self._open) > index or len(self._open) - 1 in self._ended:
            self._parts.append(f"</{self._open.pop()}>")
            self._ended.discard(len(self._open))
            if self._scopes[-1] > len(self._open):
                self._scopes.pop()


def _last(names: list[str], wanted: set[str], start: int = 0) -> int:
    """Return the index of the last of ``names`` that is wanted, from ``start`` on, or -1."""
    if wanted.isdisjoint(names):
        return -1
    return next((index for index in range(len(names) - 1, start - 1, -1) if names[index] in wanted), -1)
