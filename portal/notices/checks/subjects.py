"""HTML in a subject, which an inbox shows as it stands."""

from __future__ import annotations

import re
from html import unescape

_TAG = re.compile(
    r"</?(?:a|b|big|br|center|code|div|em|font|h[1-6]|i|img|li|p|pre|small|span|strong|sub|sup|table|td|tr|u|ul)(?:\s[^<>]{0,300})?/?>",
    re.IGNORECASE,
)
_REFERENCE = re.compile(r"&(?:[A-Za-z]{2,30}[0-9]{0,2}|#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6});")


def find_html(subject: str) -> list[str]:
    """Return the tags and the character references of a subject."""
    references = [one for one in _REFERENCE.findall(subject) if unescape(one) != one]
    return [*_TAG.findall(subject), *references]


def remove_html(subject: str) -> str:
    """Return the subject without tags, and with the characters that its references stand for."""
    without = _TAG.sub(lambda match: " " if match.group().lower().startswith("<br") else "", subject)
    return " ".join(_REFERENCE.sub(lambda match: unescape(match.group()), without).split())
