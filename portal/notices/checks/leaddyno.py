"""Conversion of texts written for LeadDyno: its placeholders such as ``$FIRST_NAME$`` become Liquid variables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from flask_babel import gettext as _

from .names import variable_meant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..catalogue import Notice

_PLACEHOLDER = re.compile(r"\$([A-Z][A-Z0-9_]{1,40})\$")
_VARIABLES: Mapping[str, str] = {  # where the lower-cased placeholder is not the name of the variable
    "AFFILIATE_URL": "link",
    "AFFILIATE_LINK": "link",
    "AFFILIATE_DASHBOARD_URL": "dashboard",
    "AFFILIATE_DASHBOARD_LINK": "dashboard",
    "AFFILIATE_CODE": "code",
    "DISPLAY_FIRST_NAME": "first_name",
    "VIRAL_URL": "link",
    "LEAD_FIRST_NAME": "lead_name",
    "COMPANY_NAME": "programme",
}
_LINKS = {"AFFILIATE_LINK", "AFFILIATE_DASHBOARD_LINK"}  # they insert a whole <a> element


class Conversion(NamedTuple):
    """A piece of a text and what replaced it; an empty ``new`` means that it was removed."""

    old: str
    new: str

    def __str__(self) -> str:
        if not self.new:
            return str(_("%(old)s was removed", old=self.old))
        return str(_("%(old)s became %(new)s", old=self.old, new=self.new))


@dataclass(frozen=True)
class UnknownPlaceholder:
    """A placeholder without a variable in this notice, and its line."""

    placeholder: str
    line: int


def convert(
    source: str, notice: Notice, *, html: bool
) -> tuple[str, list[Conversion], list[UnknownPlaceholder]]:
    """Return the text with variables, the conversions, and the placeholders that were left in place."""
    known = notice.variable_names
    converted: dict[str, Conversion] = {}
    unknown: list[UnknownPlaceholder] = []
    position = _Position(source)

    def replace(match: re.Match[str]) -> str:
        old, placeholder = match.group(), match.group(1)
        name = _VARIABLES.get(placeholder, placeholder.lower())
        position.move_to(match.start())
        if name not in known:
            unknown.append(UnknownPlaceholder(old, position.line))
            return old
        new = f"{{{{ {name} }}}}"
        if html and placeholder in _LINKS and position.is_plain_content:
            new = f'<a href="{new}">{new}</a>'
        converted.setdefault(old, Conversion(old, new))
        return new

    return _PLACEHOLDER.sub(replace, source), list(converted.values()), unknown


def replace_meant(source: str, notice: Notice) -> str:
    """Return the text with variables for unknown placeholders whose meaning is certain, such as ``$ORDER_ID$``."""

    def replace(match: re.Match[str]) -> str:
        placeholder = match.group(1)
        if _VARIABLES.get(placeholder, placeholder.lower()) in notice.variable_names:
            return match.group()
        variable = variable_meant(placeholder, notice)
        return f"{{{{ {variable} }}}}" if variable else match.group()

    return _PLACEHOLDER.sub(replace, source)


class _Position:
    """A position in HTML that moves forward, so that each character is read once."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._index = 0
        self._last = dict.fromkeys(("<", ">", "<a ", "</a"), -1)  # where each was last before the position
        self.line = 1

    def move_to(self, index: int) -> None:
        """Move forward to ``index``, where no tag begins."""
        start, self._index = self._index, index
        self.line += self._source.count("\n", start, index)
        for text in self._last:
            self._last[text] = max(self._last[text], self._source.rfind(text, start, index))

    @property
    def is_plain_content(self) -> bool:
        """Whether the position is neither inside a tag nor inside a link."""
        return self._last["<"] <= self._last[">"] and self._last["<a "] <= self._last["</a"]
