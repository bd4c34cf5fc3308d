"""The rule for names of affiliates: people, shops, blogs and creators, in any script, but no links and nothing that misleads.

The portal writes a name into emails, and a stranger may have entered it. So what a mail program would turn into a link,
what looks like another text than it is, and what covers neighbouring lines is refused.
"""

from __future__ import annotations

import re
import unicodedata

from flask_babel import gettext as _

from ..accounts.names import holds_link

LIMIT_CHARS = 60
_NORMALIZED_MAX_CHARS = (
    1000  # NFC takes quadratic time for alternating marks, and this runs before the length is checked
)
_PUNCTUATION = set(
    " '’‘ʼ`´.,،-‐‑–—·・׳״&+/()[]!?#:“”„\"«»¡¿|_°®™©№\u200c\u200d"
)  # besides letters and digits
# Letters by their Unicode category that are not visible: a name of these alone would look empty.
_INVISIBLE = set("\u115f\u1160\u3164\uffa0\u17b4\u17b5\u034f")
_SPACES = re.compile(
    r"[^\S\t\n\r\v\f\x1c-\x1f\x85\u2028\u2029]+"
)  # in any script, without control characters
# An initial or a title before its dot, then a name with a capital letter: "J.R.R.Tolkien", "Dr.Müller".
_ABBREVIATION = re.compile(
    r"(?<![^\W_])([^\W\d_]|dr|prof|st|mr|mrs|ms|mx|ing|dipl|mag|sr|sra|jr|rev|fr|hr|lic|dott)\.(?=([^\W\d_]{3,}))",
    re.IGNORECASE,
)
# Ends of host names that an abbreviation does not excuse; no family name in Latin letters has them.
_DOMAINS_TEXT = """
app art bet biz blog cam casino cash click club com dev edu fun gov info int icu ink link live loan lol mil mobi
name net new news one online org page pro pub shop site space store tech top vip web win work world wtf xxx xyz zip
"""
_DOMAINS = frozenset(_DOMAINS_TEXT.split())
_PHONE = re.compile(r"(?:\d[ ./()–-]{0,3}){7}")  # seven digits, however they are grouped
_PERCENT = re.compile(r"(?<=\d) ?%(?!\w)")  # 100 % Cotton
_WORD = re.compile(r"\w++(?:\.\w++)*+")  # with dots, because a link is of one alphabet
_MAX_MARKS_PER_LETTER = 5  # Tibetan and Vietnamese need three; more would cover neighbouring lines
_MAX_MARKS_PER_ALPHABETIC_LETTER = 2  # once composed, of Latin, Greek and Cyrillic letters
_OVERLAYS = set(map(chr, range(0x334, 0x339)))  # marks that strike a letter out
# Alphabets whose letters look alike. A word of two of them imitates another word.
_ALPHABETS = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC")
_MIXED_ON_PURPOSE = frozenset("µμΩΩ")


def normalize_name(value: str | None) -> str | None:
    """Return a name in one form: NFC, single spaces, none at either end. One that is far too long is only stripped."""
    if not isinstance(value, str):
        return value
    if len(value) > _NORMALIZED_MAX_CHARS:
        return value.strip()
    return unicodedata.normalize("NFC", _SPACES.sub(" ", value)).strip()


def why_refused(name: str) -> str:
    """Return why a normalized text may not be an affiliate's name, as a sentence; empty if it may."""
    if not 0 < len(name) <= LIMIT_CHARS:
        return str(_("Use a name of 1 to %(limit)s characters.", limit=LIMIT_CHARS))
    if holds_address(name):
        return str(_("Enter your name without links; put a space after each dot."))
    wrong = next((c for c in _PERCENT.sub("", name) if not _is_allowed(c)), "")
    if wrong and wrong.isprintable():
        return str(_("Enter your name without the character %(character)s.", character=wrong))
    if wrong or _INVISIBLE & set(name):
        return str(_("Enter your name without invisible characters."))
    if not any(unicodedata.category(c)[0] == "L" for c in name):
        return str(_("Enter your name with at least one letter."))
    if _PHONE.search(name):
        return str(_("Enter your name without a phone number."))
    if _has_too_many_marks(name):
        return str(_("Enter your name with fewer accents on one letter."))
    mixed = next((word for word in _WORD.findall(name) if _mixes_alphabets(word)), "")
    if mixed:
        return str(
            _("Enter your name in one alphabet: “%(word)s” mixes letters that look alike.", word=mixed)
        )
    return ""


def holds_address(text: str) -> bool:
    """Return whether a short text holds a web or email address. A title or an initial before a name is none."""
    return holds_link(_ABBREVIATION.sub(_spaced, text))


def without_addresses(text: str) -> str:
    """Return a short text that strangers wrote without the words that are web or email addresses."""
    kept = " ".join(word for word in text.split() if not holds_address(word))
    return "" if holds_address(kept) else kept


def _spaced(found: re.Match[str]) -> str:
    short, following = found[1], found[2]
    is_name = following[0].isupper() and following.casefold() not in _DOMAINS
    return f"{short}. " if is_name else found[0]


def _is_allowed(character: str) -> bool:
    category = unicodedata.category(character)
    return character in _PUNCTUATION or category[0] in "LM" or category in ("Nd", "Nl")


def _has_too_many_marks(name: str) -> bool:
    """Return whether marks are piled on a letter, strike it out or enclose it."""
    marks, limit = 0, _MAX_MARKS_PER_LETTER
    for c in name:
        if unicodedata.category(c)[0] != "M":
            marks = 0
            limit = _MAX_MARKS_PER_ALPHABETIC_LETTER if _alphabet(c) else _MAX_MARKS_PER_LETTER
            continue
        marks += 1
        if marks > limit or c in _OVERLAYS or unicodedata.category(c) == "Me":
            return True
    return False


def _mixes_alphabets(word: str) -> bool:
    if word.isascii():
        return False
    return len({_alphabet(c) for c in word if c not in _MIXED_ON_PURPOSE} - {""}) > 1


def _alphabet(character: str) -> str:
    if character.isascii():
        return "LATIN" if character.isalpha() else ""
    first = unicodedata.name(character, "").split(" ", 1)[0]
    return first if first in _ALPHABETS and character.isalpha() else ""
