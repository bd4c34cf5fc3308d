"""Clothes for the plain HTML of a text: inline styles and tables, since mail programmes know little else.

Owners write ``<p><a class="button" ...>`` and see in the editor what they wrote; the rest is added when the mail is
made. Class names go along, for the frame's dark scheme takes hold of them.
"""

from __future__ import annotations

import re
from html import escape
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from .sanitize import SanitizedHtml

if TYPE_CHECKING:
    from collections.abc import Mapping

SERIF = "Palatino,'Palatino Linotype','Book Antiqua',Georgia,serif"
SANS = "-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif"
MONO = "Menlo,Consolas,'Liberation Mono',monospace"
_VOID = {"br", "hr", "img"}
_ATTRS = r'((?:[^>"]|"[^"]*")*)'
_LONE_BUTTON = re.compile(
    rf"<p{_ATTRS}>\s*(<a{_ATTRS}class=\"button\"{_ATTRS}>(?:(?!</?[ap]\b).)*</a>)\s*</p>", re.DOTALL
)
_SLIP = re.compile(r'<p class="slip">((?:(?!</p>).)*)</p>', re.DOTALL)

_STYLES: Mapping[str, str] = {
    "h1": f"margin:0 0 14px;font-family:{SERIF};font-size:29px;line-height:1.2;font-weight:bold;color:#1c2733",
    "h2": f"margin:30px 0 10px;font-family:{SERIF};font-size:21px;line-height:1.3;font-weight:bold;color:#1c2733",
    "h3": "margin:24px 0 8px;font-size:16px;line-height:1.4;font-weight:bold;color:#1c2733",
    "p": "margin:0 0 18px",
    "ul": "margin:0 0 18px;padding:0 0 0 24px",
    "ol": "margin:0 0 18px;padding:0 0 0 24px",
    "li": "margin:0 0 6px",
    "a": "color:#1d4f7c;text-decoration:underline",
    "hr": "margin:26px 0;border:0;border-top:1px solid #ded5c4;height:0",
    "blockquote": "margin:0 0 18px;padding:2px 0 2px 18px;border-left:3px solid #c9bda6;color:#1c2733",
    "pre": f"margin:0 0 18px;font-family:{MONO};font-size:14px;white-space:pre-wrap",
    "code": f"font-family:{MONO};font-size:15px",
    "table": "margin:0 0 22px;border-collapse:collapse",
    "th": "padding:6px 14px 6px 0;text-align:left;vertical-align:top",
    "td": "padding:6px 14px 6px 0;text-align:left;vertical-align:top",
    "img": "max-width:100%;height:auto;border:0",
    "small": "font-size:13px",
}
_BY_CLASS: Mapping[tuple[str, str], str] = {
    (
        "p",
        "figure",
    ): f"margin:0 0 18px;font-family:{SERIF};font-size:36px;line-height:1.15;font-weight:bold;color:#1c2733",
    ("p", "quiet"): "margin:0 0 18px;font-size:14px;line-height:1.55;color:#535c66",
    ("table", "facts"): "margin:4px 0 26px;width:100%;border-collapse:collapse;border-top:1px solid #ded5c4",
    ("table", "slip"): "margin:0 0 26px;width:100%;border-collapse:separate",
    ("table", "button"): "margin:4px 0 26px;border-collapse:separate",
}
_IN_FACTS = (
    "padding:9px 0;border-bottom:1px solid #ded5c4;text-align:left;vertical-align:top;font-weight:normal"
)
_IN_SLIP = (
    f"padding:14px 18px;background-color:#f1ebdf;border:1px dashed #81786a;border-radius:6px;font-family:{MONO};"
    "font-size:15px;line-height:1.5;word-break:break-all"
)
_ROLES = {  # what the dark scheme of the frame takes hold of
    "h1": "title", "h2": "title", "h3": "title", "a": "link", "hr": "rule", "blockquote": "words rule",
}  # fmt: skip


def apply_inline_styles(body: SanitizedHtml, accent: str) -> SanitizedHtml:
    """Return the body with everything a mail programme needs; ``accent`` is the colour of buttons."""
    html = _LONE_BUTTON.sub(r'<table class="button"><tbody><tr><td>\2</td></tr></tbody></table>', body.html)
    html = _SLIP.sub(r'<table class="slip"><tbody><tr><td>\1</td></tr></tbody></table>', html)
    tailor = _StyleWriter(accent)
    tailor.feed(html)
    tailor.close()
    return SanitizedHtml("".join(tailor.done))


class _StyleWriter(HTMLParser):
    """Writes what it reads, dressed. What it reads was sanitised, so everything is closed and in order."""

    def __init__(self, accent: str) -> None:
        super().__init__(convert_charrefs=False)
        self.done: list[str] = []
        self._accent = accent
        self._tables: list[str] = []  # the class of each open table

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        known = given.get("class", "")
        if tag == "table":
            self._tables.append(known)
            given = {"role": "presentation", "cellpadding": "0", "cellspacing": "0", "border": "0", **given}
            if known in ("facts", "slip"):
                given["width"] = "100%"
        style, role = self._clothes(tag, known)
        if tag == "td" and self._tables and self._tables[-1] == "button":
            given["bgcolor"] = self._accent
        given["style"] = ";".join(filter(None, (style, given.get("style", ""))))
        given["class"] = role
        said = "".join(
            f' {name}="{escape(value)}"' for name, value in given.items() if value or name == "alt"
        )
        self.done.append(f"<{tag}{said}>")

    def _clothes(self, tag: str, known: str) -> tuple[str, str]:
        """Return style and class of an element."""
        table = self._tables[-1] if self._tables else ""
        if tag == "a" and known == "button":
            return self._button(alone=table == "button"), "" if table == "button" else "button"
        if tag in ("td", "th") and table == "button":
            return f"background-color:{self._accent};border-radius:6px;mso-padding-alt:14px 26px", "button"
        if tag == "td" and table == "slip":
            return _IN_SLIP, "slip"
        if tag in ("td", "th") and table == "facts":
            aside = ";width:38%;padding-right:14px;color:#535c66" if tag == "th" else ";font-weight:bold"
            return _IN_FACTS + aside, "quiet rule" if tag == "th" else "rule"
        role = {"quiet": "quiet", "figure": "words"}.get(known, _ROLES.get(tag, ""))
        if tag == "table":
            role = "button-table" if known == "button" else "rule" if known == "facts" else ""
        return _BY_CLASS.get((tag, known), _STYLES.get(tag, "")), role

    def _button(self, *, alone: bool) -> str:
        colour = "" if alone else f"background-color:{self._accent};border-radius:6px;"
        return (
            f"display:inline-block;padding:14px 26px;{colour}font-family:{SANS};font-size:16px;line-height:1.25;"
            "font-weight:bold;color:#ffffff;text-decoration:none"
        )

    def handle_endtag(self, tag: str) -> None:
        if tag == "table" and self._tables:
            self._tables.pop()
        if tag not in _VOID:
            self.done.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.done.append(data)

    def handle_entityref(self, name: str) -> None:
        self.done.append(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.done.append(f"&#{name};")
