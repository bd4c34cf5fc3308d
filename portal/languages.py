"""The languages of programmes: how their emails and public pages are marked, and how dates are written.

Signet's sentences to affiliates exist in the complete languages. In the others owners write texts of their own, with the
direction and the dates of the language; what Signet adds stays English and is marked so. The portal's own pages, for the
people of a programme, exist in the languages of ``PORTAL_LANGUAGES``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, time
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from babel import Locale
from babel.dates import format_date, format_datetime, format_skeleton, format_time

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


@dataclass(frozen=True)
class Language:
    """A language. ``code`` is that of BCP 47; ``locale`` that of CLDR, for dates and numbers.

    ``is_complete``: all that affiliates read is translated. ``is_for_portal``: the pages of owners, too.
    """

    code: str
    name: str  # in the language itself
    locale: str
    is_complete: bool = False
    is_for_portal: bool = False
    is_right_to_left: bool = False

    @property
    def direction(self) -> str:
        """The value of the attribute ``dir``."""
        return "rtl" if self.is_right_to_left else "ltr"


ENGLISH = Language("en", "English", "en_GB", is_complete=True, is_for_portal=True)
LANGUAGES: Mapping[str, Language] = {
    one.code: one
    for one in (
        ENGLISH,
        Language("de", "Deutsch", "de", is_complete=True, is_for_portal=True),
        Language("es", "Español", "es", is_complete=True),
        Language("fr", "Français", "fr", is_complete=True),
        Language("ar", "العربية", "ar", is_right_to_left=True),
        Language("fa", "فارسی", "fa", is_right_to_left=True),
        Language("he", "עברית", "he", is_right_to_left=True),
        Language("ur", "اردو", "ur", is_right_to_left=True),
    )
}

PORTAL_LANGUAGES: Mapping[str, Language] = {
    code: language for code, language in LANGUAGES.items() if language.is_for_portal
}


def language_of(code: str | None) -> Language:
    """Return a language by its code, English for an unknown one."""
    return LANGUAGES.get(code or "", ENGLISH)


def shipped_language(code: str | None) -> Language:
    """Return the language of Signet's own sentences in a programme of this language: English where it is not complete."""
    language = language_of(code)
    return language if language.is_complete else ENGLISH


def portal_language(code: str | None) -> Language:
    """Return the language of the portal's own pages for a person with this choice: English where they do not exist in it."""
    return PORTAL_LANGUAGES.get(code or "", ENGLISH)


def write_day(day: date, language: Language) -> str:
    """Return a day as the language writes it: ``16 November 2026``."""
    return format_date(day, "long", _locale(language.locale))


def write_iso_day(text: str, language: Language) -> str:
    """Return a day given as ``2026-11-16`` as the language writes it; another text unchanged."""
    try:
        return write_day(date.fromisoformat(text), language)
    except ValueError:
        return text


def write_day_of_year(day: date, language: Language) -> str:
    """Return a day without its year: ``9 November``."""
    return str(format_skeleton("MMMMd", day, locale=_locale(language.locale)))


def write_month(day: date, language: Language) -> str:
    """Return the month of a day with its year: ``March 2025``."""
    return str(format_skeleton("yMMMM", day, locale=_locale(language.locale)))


def write_moment(moment: datetime, language: Language, *, with_seconds: bool = False) -> str:
    """Return a time without its year, in its own time zone: ``2 Mar, 09:41``."""
    clock = _write_clock(moment.hour, moment.minute, language.locale)
    return f"{_write_month_day(moment.date(), language.locale)}, {clock}{f':{moment:%S}' if with_seconds else ''}"


def write_short_day(day: date, language: Language, *, with_year: bool = False) -> str:
    """Return a day as charts and filters show it: ``2 Mar``, or ``2 Mar 2026``."""
    locale = _locale(language.locale)
    if with_year:
        return format_date(day, "medium", locale)
    return str(format_skeleton("MMMd", day, locale=locale))


def write_time(moment: datetime, language: Language, *, with_seconds: bool = False) -> str:
    """Return a time with its date, in its own time zone: ``3 Nov 2026, 09:12``."""
    if language is ENGLISH:  # pages have hundreds of them, and it needs no look-up
        return (
            f"{moment.day} {moment:%b %Y, %H:%M:%S}"
            if with_seconds
            else f"{moment.day} {moment:%b %Y, %H:%M}"
        )
    locale, zone = _locale(language.locale), moment.tzinfo
    clock = format_datetime(moment, "HH:mm:ss" if with_seconds else "HH:mm", tzinfo=zone, locale=locale)
    return f"{format_date(moment, 'medium', locale)}, {clock}"


@lru_cache(maxsize=2000)  # pages have hundreds of times, of few days
def _write_month_day(day: date, locale: str) -> str:
    return str(format_skeleton("MMMd", day, locale=_locale(locale)))


@lru_cache(maxsize=6000)
def _write_clock(hour: int, minute: int, locale: str) -> str:
    return str(format_time(time(hour, minute), "HH:mm", locale=_locale(locale)))


@cache
def _locale(name: str) -> Locale:
    return Locale.parse(name)
