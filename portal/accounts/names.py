"""The rule for names of programmes and owners, which appear in the headers and texts of emails.

Mail programs turn what looks like an address into a link, so a name with one would carry a stranger's link. Names saved
before the rule existed stay valid until they are changed.
"""

from __future__ import annotations

import re
import unicodedata

from flask_babel import gettext as _

LIMIT_CHARS = 100
_JOINERS = "\u200c\u200d"  # needed in some scripts and in emoji sequences
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
_DOTS = str.maketrans(dict.fromkeys("\u2022\u2024\u2027\u2219\u22c5\u3002\ua78f\uff0e\uff61", "."))
_SLASHES = str.maketrans(dict.fromkeys("\u2044\u2215\u29f8\uff0f\\", "/"))
# Of the alphabets whose letters look like Latin ones, those that "http" and "www" can be written with.
_LETTERS = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u04bb\u0475\u051d\u03bf\u03c1\u03bd\u0442", "aeopcyxhvwopvt"
)
_LINK = re.compile(r"\w\.\w{2}|\d\.\d+\.\d|://|//|\bwww\b|\bh[tx]{2}ps?\b")
_SEPARATED = re.compile(
    r"[a-z0-9]\u30fb[a-z]{2}"
)  # the dot that separates Japanese names, between Latin letters
# The dot between letters in Catalan and in French forms for all genders, before what no word of these ends in.
_MIDDLE_DOT = re.compile(
    r"[a-z0-9]\u00b7(?:app|biz|com|dev|info|link|net|online|org|shop|site|store|top|xyz)\b"
)
_SPELLED_DOT = re.compile(r"\w ?[\[({] ?(?:\.|dot) ?[\])}] ?\w")


def why_refused(name: str) -> str:
    """Return why a text may not be the name of a programme or an owner, as a sentence; empty if it may."""
    if not 0 < len(name) <= LIMIT_CHARS or not _shows_anything(name):
        return str(
            _("The programme and its owner need names of 1 to %(limit)s characters.", limit=LIMIT_CHARS)
        )
    if any(unicodedata.category(c) in _INVISIBLE and c not in _JOINERS for c in name):
        return str(_("Use a name without invisible characters."))
    if holds_link(name):
        return str(_("Use a name without a web or email address; put a space after each dot."))
    return ""


def holds_link(text: str) -> bool:
    """Return whether a short text holds a web or email address, or what a mail program or a reader takes for one."""
    plain = unicodedata.normalize("NFKC", text.translate(_DOTS)).casefold()
    plain = plain.translate(_DOTS).translate(_SLASHES).translate(_LETTERS)
    plain = "".join(c for c in plain if c not in _JOINERS)
    return "@" in plain or any(one.search(plain) for one in (_LINK, _SEPARATED, _MIDDLE_DOT, _SPELLED_DOT))


def _shows_anything(name: str) -> bool:
    return any(unicodedata.category(c)[0] in "LNPS" for c in name)
