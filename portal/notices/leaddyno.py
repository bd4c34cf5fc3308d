"""Texts that were written for LeadDyno: its ``$FIRST_NAME$`` is read and turned into our spelling."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .catalogue import Notice

_SPELLED = re.compile(r"\$([A-Z][A-Z0-9_]{1,40})\$")
_NAMES: Mapping[str, str] = {
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
_LINKS = {"AFFILIATE_LINK", "AFFILIATE_DASHBOARD_LINK"}  # these stand for a whole link, not for its address


@dataclass(frozen=True)
class Conversion:
    """One spelling and what it became."""

    old: str
    new: str


@dataclass(frozen=True)
class UnknownPlaceholder:
    """A spelling that stands for nothing here, where it stands, and the nearest that does."""

    spelling: str
    line: int
    nearest: str


def convert(
    source: str, notice: Notice, *, html: bool
) -> tuple[str, list[Conversion], list[UnknownPlaceholder]]:
    """Return the text in our spelling, what was converted, and what could not be."""
    ours = {variable.name for variable in notice.variables}
    found: dict[str, Conversion] = {}
    unknown: list[UnknownPlaceholder] = []

    def replace(match: re.Match[str]) -> str:
        old, spelled = match.group(), match.group(1)
        name = _NAMES.get(spelled, spelled.lower())
        if name not in ours:
            line = source.count("\n", 0, match.start()) + 1
            unknown.append(UnknownPlaceholder(old, line, nearest_variable(spelled.lower(), notice)))
            return old
        new = f"{{{{ {name} }}}}"
        if html and spelled in _LINKS and _is_text(source[: match.start()]):
            new = f'<a href="{new}">{new}</a>'
        found.setdefault(old, Conversion(old, new))
        return new

    return _SPELLED.sub(replace, source), list(found.values()), unknown


def nearest_variable(name: str, notice: Notice) -> str:
    """Return the variable of the notice whose name is most like this one, or nothing."""
    names = [variable.name for variable in notice.variables]
    simple = name.lower().replace("-", "_").replace(" ", "_")
    close = get_close_matches(simple, names, n=1, cutoff=0.5)
    part = next((one for one in names if one in simple or simple in one), "") if len(simple) > 2 else ""
    return close[0] if close else part


def _is_text(before: str) -> bool:
    """Whether a place is neither inside a tag nor inside a link."""
    return before.rfind("<") <= before.rfind(">") and before.rfind("<a ") <= before.rfind("</a")
