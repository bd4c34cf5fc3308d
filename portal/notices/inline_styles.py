"""Inline styles for the HTML of a text. Many mail programs ignore style sheets and lay out pages only by tables.

Owners write plain elements such as ``<p><a class="button" ...>``, and the editor shows what they wrote. Styles and
layout tables are added when the email is rendered, with class names that the dark scheme of the layout selects.
"""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

from .markup.html_tokens import Kind, Token
from .sanitize import SanitizedHtml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_SERIF = "Palatino,'Palatino Linotype','Book Antiqua',Georgia,serif"
_SANS = "-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif"
_MONO = "Menlo,Consolas,'Liberation Mono',monospace"
_VOID_ELEMENTS = {"br", "hr", "img"}
_TABLE_STARTS = {name: Token(Kind.START, "table", {"class": name}) for name in ("button", "slip")}
_CELL_START = tuple(Token(Kind.START, name) for name in ("tbody", "tr", "td"))
_TABLE_END = tuple(Token(Kind.END, name) for name in ("td", "tr", "tbody", "table"))
_STYLES_BY_TAG: Mapping[str, str] = {
    "h1": f"margin:0 0 14px;font-family:{_SERIF};font-size:29px;line-height:1.2;font-weight:bold;color:#1c2733",
    "h2": f"margin:30px 0 10px;font-family:{_SERIF};font-size:21px;line-height:1.3;font-weight:bold;color:#1c2733",
    "h3": "margin:24px 0 8px;font-size:16px;line-height:1.4;font-weight:bold;color:#1c2733",
    "p": "margin:0 0 18px",
    "ul": "margin:0 0 18px;padding:0 0 0 24px",
    "ol": "margin:0 0 18px;padding:0 0 0 24px",
    "li": "margin:0 0 6px",
    "a": "color:#1d4f7c;text-decoration:underline",
    "hr": "margin:26px 0;border:0;border-top:1px solid #ded5c4;height:0",
    "blockquote": "margin:0 0 18px;padding:2px 0 2px 18px;border-left:3px solid #c9bda6;color:#1c2733",
    "pre": f"margin:0 0 18px;font-family:{_MONO};font-size:14px;white-space:pre-wrap",
    "code": f"font-family:{_MONO};font-size:15px",
    "table": "margin:0 0 22px;border-collapse:collapse",
    "th": "padding:6px 14px 6px 0;text-align:left;vertical-align:top",
    "td": "padding:6px 14px 6px 0;text-align:left;vertical-align:top",
    "img": "max-width:100%;height:auto;border:0",
    "small": "font-size:13px",
}
_STYLES_BY_CLASS: Mapping[tuple[str, str], str] = {
    (
        "p",
        "figure",
    ): f"margin:0 0 18px;font-family:{_SERIF};font-size:36px;line-height:1.15;font-weight:bold;color:#1c2733",
    ("p", "quiet"): "margin:0 0 18px;font-size:14px;line-height:1.55;color:#535c66",
    ("table", "facts"): "margin:4px 0 26px;width:100%;border-collapse:collapse;border-top:1px solid #ded5c4",
    ("table", "slip"): "margin:0 0 26px;width:100%;border-collapse:separate",
    ("table", "button"): "margin:4px 0 26px;border-collapse:separate",
}
_FACTS_CELL_STYLE = (
    "padding:9px 0;border-bottom:1px solid #ded5c4;text-align:left;vertical-align:top;font-weight:normal"
)
_SLIP_CELL_STYLE = (
    f"padding:14px 18px;background-color:#f1ebdf;border:1px dashed #81786a;border-radius:6px;font-family:{_MONO};"
    "font-size:15px;line-height:1.5;word-break:break-all"
)
_SIDES = re.compile(r"\b(?:left|right)\b")
_FOUR_SIDES = re.compile(r"(?<=padding:)(\S+) (\S+) (\S+) ([^\s;]+)")  # top, right, bottom, left
_SCHEME_CLASSES = {  # selected by the dark scheme in templates/mail/layout.html
    "h1": "title", "h2": "title", "h3": "title", "a": "link", "hr": "rule", "blockquote": "words rule",
}  # fmt: skip


def apply_inline_styles(body: SanitizedHtml, accent: str, *, is_right_to_left: bool = False) -> SanitizedHtml:
    """Return the body with the styles and tables that mail programs need; ``accent`` is the colour of buttons."""
    writer = _StyleWriter(accent, is_right_to_left=is_right_to_left)
    for token in _paragraphs_to_tables(body.tokens):
        writer.add(token)
    return SanitizedHtml("".join(writer.parts))


def _paragraphs_to_tables(tokens: Sequence[Token]) -> Iterator[Token]:
    """Write a paragraph that is one button, or of the class "slip", as a table, which Outlook needs."""
    at = 0
    while at < len(tokens):
        token = tokens[at]
        if token.kind is not Kind.START or token.value != "p":
            yield token
            at += 1
            continue
        button_end, end = _find_button(tokens, at)
        if button_end:
            class_, inner = "button", tokens[_skip_space(tokens, at + 1) : button_end]
        else:
            end = _find_tag(tokens, at + 1, {"p"})
            if dict(token.attributes) != {"class": "slip"} or not _is_tag(tokens, end, Kind.END, "p"):
                yield token
                at += 1
                continue
            class_, inner = "slip", tokens[at + 1 : end]
        yield _TABLE_STARTS[class_]
        yield from _CELL_START
        yield from inner
        yield from _TABLE_END
        at = end + 1


def _find_button(tokens: Sequence[Token], paragraph: int) -> tuple[int, int]:
    """Return the indexes after the button and of the end of a paragraph that contains nothing else; else zeros."""
    start = _skip_space(tokens, paragraph + 1)
    if not _is_tag(tokens, start, Kind.START, "a") or tokens[start].attributes.get("class") != "button":
        return 0, 0
    closing = _find_tag(tokens, start + 1, {"a", "p"})
    end = _skip_space(tokens, closing + 1)
    is_button = _is_tag(tokens, closing, Kind.END, "a") and _is_tag(tokens, end, Kind.END, "p")
    return (closing + 1, end) if is_button else (0, 0)


def _skip_space(tokens: Sequence[Token], at: int) -> int:
    is_space = at < len(tokens) and tokens[at].kind is Kind.TEXT and tokens[at].value.isspace()
    return at + 1 if is_space else at


def _find_tag(tokens: Sequence[Token], at: int, names: set[str]) -> int:
    """Return the index of the next tag with one of these names."""
    while at < len(tokens) and not (tokens[at].kind in (Kind.START, Kind.END) and tokens[at].value in names):
        at += 1
    return at


def _is_tag(tokens: Sequence[Token], at: int, kind: Kind, name: str) -> bool:
    return at < len(tokens) and tokens[at].kind is kind and tokens[at].value == name


class _StyleWriter:
    """Copies sanitised HTML to ``parts`` and adds styles. Expects balanced elements, as the sanitiser returns them."""

    def __init__(self, accent: str, *, is_right_to_left: bool) -> None:
        self.parts: list[str] = []
        self._accent = accent
        self._is_mirrored = is_right_to_left
        self._tables: list[str] = []  # the class of each open table
        self._starts: dict[tuple[object, ...], str] = {}  # a text repeats few start tags many times

    def add(self, token: Token) -> None:
        """Write the next token."""
        if token.kind is Kind.TEXT:
            self.parts.append(token.value)
        elif token.kind is Kind.START:
            self._start(token.value, token.decoded_attributes)
        elif token.kind is Kind.END:
            self._end(token.value)

    def _start(self, tag: str, values: dict[str, str]) -> None:
        key = (tag, self._table, *values.items())
        written = self._starts.get(key)
        if written is None:
            written = self._starts[key] = self._start_tag(tag, values)
        if tag == "table":
            self._tables.append(values.get("class", ""))
        self.parts.append(written)

    def _start_tag(self, tag: str, values: dict[str, str]) -> str:
        """Return a start tag with its styles."""
        class_ = values.get("class", "")
        if tag == "table":
            values = {"role": "presentation", "cellpadding": "0", "cellspacing": "0", "border": "0", **values}
            if class_ in ("facts", "slip"):
                values["width"] = "100%"
        else:
            values = dict(values)
        style, scheme_class = self._style_and_class(tag, class_)
        if self._is_mirrored:
            style = _mirror(style)
        if tag == "td" and self._table == "button":
            values["bgcolor"] = self._accent  # Outlook ignores the style
        values["style"] = ";".join(filter(None, (style, values.get("style", ""))))
        values["class"] = scheme_class
        written = "".join(
            f' {name}="{escape(value)}"' for name, value in values.items() if value or name == "alt"
        )
        return f"<{tag}{written}>"

    @property
    def _table(self) -> str:
        """The class of the innermost open table."""
        return self._tables[-1] if self._tables else ""

    def _style_and_class(self, tag: str, class_: str) -> tuple[str, str]:
        """Return the style of an element and the class that the dark scheme selects."""
        table = self._table
        if tag == "a" and class_ == "button":
            in_table = table == "button"
            return self._button_style(in_table=in_table), "" if in_table else "button"
        if tag in ("td", "th") and table == "button":
            return f"background-color:{self._accent};border-radius:6px;mso-padding-alt:14px 26px", "button"
        if tag == "td" and table == "slip":
            return _SLIP_CELL_STYLE, "slip"
        if tag in ("td", "th") and table == "facts":
            more = ";width:38%;padding-right:14px;color:#535c66" if tag == "th" else ";font-weight:bold"
            return _FACTS_CELL_STYLE + more, "quiet rule" if tag == "th" else "rule"
        style = _STYLES_BY_CLASS.get((tag, class_), _STYLES_BY_TAG.get(tag, ""))
        if tag == "table":
            return style, {"button": "button-table", "facts": "rule"}.get(class_, "")
        return style, {"quiet": "quiet", "figure": "words"}.get(class_, _SCHEME_CLASSES.get(tag, ""))

    def _button_style(self, *, in_table: bool) -> str:
        """Return the style of a button link. In a table, the cell has the background."""
        background = "" if in_table else f"background-color:{self._accent};border-radius:6px;"
        return (
            f"display:inline-block;padding:14px 26px;{background}font-family:{_SANS};font-size:16px;line-height:1.25;"
            "font-weight:bold;color:#ffffff;text-decoration:none"
        )

    def _end(self, tag: str) -> None:
        if tag == "table" and self._tables:
            self._tables.pop()
        if tag not in _VOID_ELEMENTS:
            self.parts.append(f"</{tag}>")


def _mirror(style: str) -> str:
    """Return one of the styles above with its sides exchanged. Outlook does not know text-align:start."""
    style = _SIDES.sub(lambda found: "right" if found[0] == "left" else "left", style)
    return _FOUR_SIDES.sub(r"\1 \4 \3 \2", style)
