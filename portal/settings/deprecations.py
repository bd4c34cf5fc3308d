"""What ends at a provider: the dated notes of its card, and whether they concern the version that is live."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from ..db import db
from . import providers
from .models import CheckState, SettingsCheck, SmtpSettings

if TYPE_CHECKING:
    from ..smtp.providers.model import Provider

_SOON = timedelta(days=90)


@dataclass(frozen=True)
class Ending:
    """Something that ends, or ended, at a provider by ``day``. ``when`` is as exact as its card."""

    provider: str
    day: date
    when: str
    text: str

    def is_over(self, now: datetime) -> bool:
        return self.day < now.date()


@dataclass(frozen=True)
class EndingBanner:
    """An ending that concerns the live version, in the words of a banner."""

    title: str
    text: str


def of_provider(provider: Provider) -> list[Ending]:
    """Return all that its card says, the earliest first."""
    notes = [Ending(provider.name, *_day(one.date), one.text) for one in provider.deprecations]
    return sorted(notes, key=lambda one: one.day)


def warnings(live: SmtpSettings | None, now: datetime) -> list[EndingBanner]:
    """Return what ends within 90 days at the live version's provider, or ended since it last proved itself."""
    if live is None:
        return []
    notes = of_provider(providers.provider_of(live.host))
    over = [one for one in notes if one.is_over(now)]
    proved = _last_proof(live) if over else None
    return [
        *(_over(one) for one in over if proved is None or proved.date() <= one.day),
        *(_soon(one) for one in notes if not one.is_over(now) and one.day - now.date() <= _SOON),
    ]


def _over(one: Ending) -> EndingBanner:
    text = f"{one.text}. Choose Check again to see whether your settings still work; emails that cannot leave wait."
    return EndingBanner(f"Something has changed at {one.provider}: {one.when}", text)


def _soon(one: Ending) -> EndingBanner:
    text = f"{one.text}. Your settings are not touched, but they may stop working then."
    return EndingBanner(f"Something will change at {one.provider}: {one.when}", text)


def _last_proof(version: SmtpSettings) -> datetime | None:
    return db.session.scalar(
        select(func.max(SettingsCheck.ended_at)).where(
            SettingsCheck.version_id == version.id, SettingsCheck.state == CheckState.PASSED
        )
    )


def _day(written: str) -> tuple[date, str]:
    """Return the last day a card's YYYY, YYYY-MM or YYYY-MM-DD may mean, and the words for it."""
    year, month, day = (*map(int, written.split("-")), 0, 0)[:3]
    if not month:
        return date(year, 12, 31), str(year)
    last = date(year, month, day or monthrange(year, month)[1])
    return last, f"{last.day} {last:%B %Y}" if day else f"{last:%B %Y}"
