"""Conversion of texts written for LeadDyno: its placeholders such as ``$FIRST_NAME$`` become Liquid variables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .catalogue import Notice

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
_SIMILARITY = 0.5  # the least that difflib must find between a name and a variable to suggest it


@dataclass(frozen=True)
class Conversion:
    """A placeholder and the variable that replaced it."""

    old: str
    new: str


@dataclass(frozen=True)
class UnknownPlaceholder:
    """A placeholder without a variable in this notice. ``nearest`` is the most similar variable, or empty."""

    placeholder: str
    line: int
    nearest: str


def convert(
    source: str, notice: Notice, *, html: bool
) -> tuple[str, list[Conversion], list[UnknownPlaceholder]]:
    """Return the text with variables, the conversions, and the placeholders that were left in place."""
    known = {variable.name for variable in notice.variables}
    converted: dict[str, Conversion] = {}
    unknown: list[UnknownPlaceholder] = []

    def replace(match: re.Match[str]) -> str:
        old, placeholder = match.group(), match.group(1)
        name = _VARIABLES.get(placeholder, placeholder.lower())
        if name not in known:
            line = source.count("\n", 0, match.start()) + 1
            unknown.append(UnknownPlaceholder(old, line, nearest_variable(placeholder, notice)))
            return old
        new = f"{{{{ {name} }}}}"
        if html and placeholder in _LINKS and _is_plain_content(source[: match.start()]):
            new = f'<a href="{new}">{new}</a>'
        converted.setdefault(old, Conversion(old, new))
        return new

    return _PLACEHOLDER.sub(replace, source), list(converted.values()), unknown


def nearest_variable(name: str, notice: Notice) -> str:
    """Return the variable of the notice whose name is most similar to ``name``, or an empty string."""
    variables = [variable.name for variable in notice.variables]
    simple = name.lower().replace("-", "_").replace(" ", "_")
    close = get_close_matches(simple, variables, n=1, cutoff=_SIMILARITY)
    if close:
        return close[0]
    return next((one for one in variables if one in simple or simple in one), "") if len(simple) > 2 else ""


def _is_plain_content(before: str) -> bool:
    """Return whether a position is neither inside a tag nor inside a link; ``before`` is the HTML up to there."""
    return before.rfind("<") <= before.rfind(">") and before.rfind("<a ") <= before.rfind("</a")
