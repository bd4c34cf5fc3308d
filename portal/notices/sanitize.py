"""The HTML of a text: what may stand in it. Whatever is mailed went through here after its values were filled in."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import partial
from html.parser import HTMLParser

import nh3

_TAGS = {
    "h1", "h2", "h3", "p", "br", "hr", "a", "strong", "b", "em", "i", "u", "s", "small", "sub", "sup", "span", "div",
    "ul", "ol", "li", "blockquote", "pre", "code", "table", "thead", "tbody", "tr", "th", "td", "img",
}  # fmt: skip
_ATTRIBUTES = {
    "*": {"class", "style", "dir", "lang"},
    "a": {"href", "title"},
    "img": {"src", "alt", "width", "height"},
    "ol": {"start"},
    "td": {"colspan", "rowspan", "align", "valign", "width"},
    "th": {"colspan", "rowspan", "align", "valign", "width"},
    "table": {"width", "align"},
}
CLASSES = ("button", "slip", "figure", "facts", "quiet")  # what the frame knows how to dress
_STYLES = {
    "background-color", "border", "border-bottom", "border-left", "border-radius", "border-right", "border-top",
    "color", "font-family", "font-size", "font-style", "font-weight", "height", "letter-spacing", "line-height",
    "margin", "margin-bottom", "margin-left", "margin-right", "margin-top", "max-width", "padding", "padding-bottom",
    "padding-left", "padding-right", "padding-top", "text-align", "text-decoration", "text-transform",
    "vertical-align", "width",
}  # fmt: skip
_DROPPED_WITH_CONTENT = {
    "script",
    "style",
    "title",
    "noscript",
    "template",
    "svg",
    "math",
    "iframe",
    "object",
}
_SCHEMES = {"http", "https", "mailto"}
_URL = re.compile(r"(?i)(?:https?://[^\s/]|mailto:[^\s@]+@)")


@dataclass(frozen=True)
class SanitizedHtml:
    """HTML that was sanitised, which is why a template may put it in as it is."""

    html: str

    def __html__(self) -> str:
        return self.html


def sanitize(html: str) -> SanitizedHtml:
    """Keep what a mail may hold; everything is closed and in order afterwards."""
    return SanitizedHtml(_cleaned(html))


def _cleaned(html: str, mark: str = "") -> str:
    """Run the sanitiser. Where there is a ``mark``, it stands for placeholders, and comments stay for those."""
    return nh3.clean(
        html,
        tags=_TAGS,
        clean_content_tags=_DROPPED_WITH_CONTENT,
        attributes=_ATTRIBUTES,
        attribute_filter=partial(_only_absolute, mark),
        strip_comments=not mark,
        link_rel=None,
        url_schemes=_SCHEMES,
        filter_style_properties=_STYLES,
    )


def _only_absolute(mark: str, tag: str, name: str, value: str) -> str | None:
    """Drop addresses that lead nowhere in a mail, and pictures that would be fetched unencrypted."""
    if name == "href":
        return value if _leads_somewhere(value, mark) else None
    if name == "src":
        return value if value.strip().lower().startswith("https://") else None
    return value


# -- what an owner writes: HTML with placeholders, which must survive


class MisplacedTag(Exception):
    """A command stands where it cannot stay; ``index`` is where."""

    def __init__(self, sentence: str, index: int) -> None:
        super().__init__(sentence)
        self.index = index


_TOKEN = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


def sanitize_source(source: str) -> tuple[str, list[str]]:
    """Return a text's HTML as it is kept, and what was taken out of it. Raises MisplacedTag.

    Placeholders travel through the sanitiser as words, commands as comments: those may stand anywhere, even
    between the rows of a table.
    """
    mark = _mark_for(source)
    tokens: list[str] = []
    masked, inside = "", False
    end = 0
    for match in _TOKEN.finditer(source):
        between = source[end : match.start()]
        inside = _inside_tag(between, inside)
        word = f"{mark}{len(tokens)}x"
        masked += between + (f"<!--{word}-->" if match.group().startswith("{%") and not inside else word)
        tokens.append(match.group())
        end = match.end()
    masked += source[end:]
    cleaned = _cleaned(masked, mark)
    if "<tbody" not in source.lower():  # HTML implies it; nobody wants to read what they did not write
        cleaned = cleaned.replace("<tbody>", "").replace("</tbody>", "")
    dropped = _Inventory.of(masked, mark).without(_Inventory.of(cleaned, mark))
    restored = re.sub(rf"<!--(?:(?!{mark}).)*?-->", "", cleaned, flags=re.DOTALL)
    restored = re.sub(rf"<!--({mark}\d+x)-->", r"\1", restored)
    _all_there(source, tokens, restored, mark)
    return re.sub(rf"{mark}(\d+)x", lambda m: tokens[int(m.group(1))], restored), dropped


def _mark_for(source: str) -> str:
    number = 0
    while f"zq{number}z" in source:
        number += 1
    return f"zq{number}z"


def _inside_tag(between: str, before: bool) -> bool:
    opened, closed = between.rfind("<"), between.rfind(">")
    return before if opened == closed == -1 else opened > closed


def _all_there(source: str, tokens: list[str], restored: str, mark: str) -> None:
    kept = re.findall(rf"{mark}(\d+)x", restored)
    order = [number for number in kept if tokens[int(number)].startswith("{%")]
    wanted = [str(number) for number, token in enumerate(tokens) if token.startswith("{%")]
    if order == wanted:
        return
    place = next((n for n in wanted if order.count(n) != 1), wanted[0])
    index = [match.start() for match in _TOKEN.finditer(source)][int(place)]
    said = " ".join(tokens[int(place)].split())[:40]
    raise MisplacedTag(f"{said} cannot stand here, inside a tag. Put it around whole elements.", index)


class _Inventory(HTMLParser):
    """Counts elements and attributes, to tell what a sanitiser took out."""

    def __init__(self, mark: str) -> None:
        super().__init__(convert_charrefs=True)
        self._mark = mark
        self.found: Counter[str] = Counter()

    @classmethod
    def of(cls, html: str, mark: str) -> _Inventory:
        inventory = cls(mark)
        inventory.feed(html)
        inventory.close()
        return inventory

    def without(self, kept: _Inventory) -> list[str]:
        return [what for what, count in self.found.items() if count > kept.found[what]]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("html", "head", "body", "meta", "link", "tbody"):
            return
        self.found[f"<{tag}>" + (" and what was in it" if tag in _DROPPED_WITH_CONTENT else "")] += 1
        if tag not in _TAGS:
            return
        for name, value in attrs:
            if name == "style":
                self.found.update(f"the style “{one}” of <{tag}>" for one in _properties(value or ""))
            elif name == "href" and not _leads_somewhere(value or "", self._mark):
                self.found[f"the link “{(value or '')[:60]}”"] += 1
            else:
                self.found[f"{name} of <{tag}>"] += 1

    def handle_comment(self, data: str) -> None:
        if self._mark not in data:
            self.found["a comment"] += 1


def _properties(style: str) -> set[str]:
    return {name for part in style.split(";") if (name := part.partition(":")[0].strip().lower())}


def _leads_somewhere(address: str, mark: str) -> bool:
    placeholder = bool(mark) and address.strip().startswith(mark)
    return placeholder or _URL.match(address.strip()) is not None
