"""Provider deprecations: the dated notes of a provider card, and the banners they cause for the live version."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from flask_babel import gettext as _
from sqlalchemy import func, select

from ..db import db
from ..languages import write_day, write_month
from ..web.translations import current_language, translated
from . import providers
from .models import CheckState, SettingsCheck, SmtpSettings

if TYPE_CHECKING:
    from ..languages import Language
    from ..smtp.providers.model import Provider

_NOTICE_PERIOD = timedelta(days=90)


@dataclass(frozen=True)
class DatedDeprecation:
    """A feature that a provider removes, or removed, by ``day``. ``written``: the day, month or year on the provider's card."""

    provider: str
    day: date
    written: str
    text: str

    def write_date(self, language: Language) -> str:
        """Return the date in a language, as precise as the card."""
        match self.written.count("-"):
            case 2:
                return write_day(self.day, language)
            case 1:
                return write_month(self.day, language)
        return self.written

    @property
    def shown_date(self) -> str:
        """The date in the language of the page."""
        return self.write_date(current_language())

    def has_passed(self, now: datetime) -> bool:
        return self.day < now.date()


@dataclass(frozen=True)
class DeprecationBanner:
    """A deprecation that affects the live version, as title and text of a banner."""

    title: str
    text: str
    can_connect: bool = False  # its provider can be connected without a password


def for_provider(provider: Provider) -> list[DatedDeprecation]:
    """Return the deprecations of a provider card, earliest first."""
    notes = [
        DatedDeprecation(provider.name, _last_day(one.date), one.date, one.text)
        for one in provider.deprecations
    ]
    return sorted(notes, key=lambda one: one.day)


def banners(live: SmtpSettings | None, now: datetime) -> list[DeprecationBanner]:
    """Return banners for what the live version's provider removes within 90 days, or removed since the last passed check."""
    if live is None or live.grant_id is not None:  # what ends is always a log-in with a password
        return []
    card = providers.by_host(live.host)
    notes, can_connect = for_provider(card), card.oauth is not None
    past = [one for one in notes if one.has_passed(now)]
    last_passed = _last_passed_check(live) if past else None
    return [
        *(
            _past_banner(one, can_connect=can_connect)
            for one in past
            if last_passed is None or last_passed.date() <= one.day
        ),
        *(
            _upcoming_banner(one, can_connect=can_connect)
            for one in notes
            if not one.has_passed(now) and one.day - now.date() <= _NOTICE_PERIOD
        ),
    ]


def _past_banner(deprecation: DatedDeprecation, *, can_connect: bool) -> DeprecationBanner:
    text = _(
        "%(change)s. Choose Check again to see whether your settings still work. Emails that cannot be sent wait.",
        change=translated(deprecation.text),
    )
    return DeprecationBanner(
        _(
            "Something has changed at %(provider)s: %(date)s",
            provider=deprecation.provider,
            date=deprecation.shown_date,
        ),
        text,
        can_connect,
    )


def _upcoming_banner(deprecation: DatedDeprecation, *, can_connect: bool) -> DeprecationBanner:
    text = _(
        "%(change)s. Signet does not change your settings, but they may stop working then.",
        change=translated(deprecation.text),
    )
    return DeprecationBanner(
        _(
            "Something will change at %(provider)s: %(date)s",
            provider=deprecation.provider,
            date=deprecation.shown_date,
        ),
        text,
        can_connect,
    )


def _last_passed_check(version: SmtpSettings) -> datetime | None:
    return db.session.scalar(
        select(func.max(SettingsCheck.ended_at)).where(
            SettingsCheck.version_id == version.id, SettingsCheck.state == CheckState.PASSED
        )
    )


def _last_day(written: str) -> date:
    """Return the last day that a date of YYYY, YYYY-MM or YYYY-MM-DD can mean."""
    year, month, day = (*map(int, written.split("-")), 0, 0)[:3]
    if not month:
        return date(year, 12, 31)
    return date(year, month, day or monthrange(year, month)[1])
