"""A deprecation at the live version's provider shows a banner in time, until a check passes after its date."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
import time_machine
from sqlalchemy import update

from portal.db import db
from portal.languages import ENGLISH, language_of
from portal.settings import deprecations
from portal.settings.models import SettingsCheck, SmtpSettings
from portal.smtp.providers import load_catalogue
from tests.conftest import PASSWORD
from tests.pages import LintingClient
from tests.settings.conftest import PAGE, text_of

SOON = "Something will change at Microsoft 365: December 2026"
OVER = "Something has changed at Microsoft 365: December 2026"


@pytest.fixture
def live_at_microsoft(live: SmtpSettings) -> None:
    db.session.execute(update(SmtpSettings).values(host="smtp.office365.com"))
    db.session.commit()


def titles(now: str, live: SmtpSettings | None) -> list[str]:
    return [one.title for one in deprecations.banners(live, datetime.fromisoformat(now).replace(tzinfo=UTC))]


def stored() -> SmtpSettings:
    db.session.rollback()
    return db.session.query(SmtpSettings).one()


@pytest.mark.usefixtures("live_at_microsoft")
def test_the_banner_is_shown_from_ninety_days_before_the_date() -> None:
    live = stored()
    assert titles("2026-10-01", live) == []
    assert titles("2026-10-02", live) == [SOON]
    assert titles("2026-12-31", live) == [SOON]
    assert titles("2027-01-01", live) == [OVER]


@pytest.mark.usefixtures("live_at_microsoft")
def test_two_dates_have_a_banner_each() -> None:
    assert titles("2027-12-01", stored()) == [OVER, "Something will change at Microsoft 365: 2027"]


@pytest.mark.usefixtures("live_at_microsoft")
def test_a_version_whose_check_passed_after_the_date_has_no_banner() -> None:
    db.session.execute(update(SettingsCheck).values(ended_at=datetime(2027, 1, 1, 9, tzinfo=UTC)))
    db.session.commit()
    assert titles("2027-01-02", stored()) == []


@pytest.mark.usefixtures("live_at_microsoft")
def test_a_version_activated_without_a_passed_check_has_banners_of_past_dates() -> None:
    db.session.execute(update(SettingsCheck).values(state="failed"))
    db.session.commit()
    assert titles("2028-01-01", stored()) == [OVER, "Something has changed at Microsoft 365: 2027"]


def test_without_a_live_version_there_is_no_banner() -> None:
    assert deprecations.banners(None, datetime(2027, 1, 1, tzinfo=UTC)) == []


@pytest.mark.usefixtures("live_at_microsoft")
def test_the_page_shows_the_banner_in_time(owner: LintingClient) -> None:
    assert "Something will change" not in text_of(owner.get(PAGE))
    page = _page_on(owner, "2026-11-23")
    assert SOON in page
    assert "Password log-in is off by default from the end of December 2026" in page


def _page_on(owner: LintingClient, day: str) -> str:
    with time_machine.travel(f"{day} 09:01:00+00:00", tick=False):
        owner.submit("/log-in", {"mailbox": "ada@brightleaf.example", "password": PASSWORD})
        return text_of(owner.get(PAGE))


def test_every_date_of_every_provider_card_is_valid() -> None:
    for card in load_catalogue():
        days = [one.day for one in deprecations.for_provider(card)]
        assert days == sorted(days)


@pytest.mark.parametrize(
    ("written", "day", "english", "german"),
    [
        ("2027", date(2027, 12, 31), "2027", "2027"),
        ("2028-02", date(2028, 2, 29), "February 2028", "Februar 2028"),
        ("2025-03-31", date(2025, 3, 31), "31 March 2025", "31. März 2025"),
    ],
)
def test_a_partial_date_is_its_last_day(written: str, day: date, english: str, german: str) -> None:
    assert deprecations._last_day(written) == day
    dated = deprecations.DatedDeprecation("Mailgun", day, written, "")
    assert dated.write_date(ENGLISH) == english
    assert dated.write_date(language_of("de")) == german
