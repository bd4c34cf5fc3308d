"""When a domain check runs, what it stores, and the notification of a change for the worse."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import select

from portal.clock import utcnow
from portal.db import db
from portal.domains import changes, checks
from portal.domains.models import DomainChange, DomainCheck, DomainCheckState, DomainStatus
from portal.settings import versions
from portal.settings.models import SmtpSettings
from portal.web import owner_limits
from tests.domains.conftest import FORM, SETTINGS, the_check, the_version, work
from tests.domains.zones import MUTE, text

pytestmark = [pytest.mark.both_databases, pytest.mark.thorough]


def test_live_settings_are_checked_daily(live, clock):
    assert work() == 1
    assert the_check().status is DomainStatus.ARRIVES
    assert work() == 0
    clock.shift(timedelta(hours=23))
    assert work() == 0
    clock.shift(timedelta(hours=2))
    assert work() == 1


def test_a_draft_is_checked_only_on_request(draft, clock):
    assert work() == 0
    checks.request_check(draft, now=utcnow())
    assert work() == 1
    assert the_check().status is DomainStatus.ARRIVES
    clock.shift(timedelta(days=3))
    assert work() == 0


def test_activated_settings_are_checked_again(draft, clock):
    checks.request_check(draft, now=utcnow())
    work()
    clock.shift(timedelta(minutes=5))
    versions.activate(db.session.get_one(SmtpSettings, draft.id), now=utcnow())
    db.session.commit()
    assert work() == 1


def test_a_check_with_failed_lookups_is_repeated_sooner(live, zones, clock):
    zones.faults["shop.example mx"] = MUTE
    work()
    assert the_check().status is DomainStatus.UNKNOWN
    clock.shift(timedelta(minutes=61))
    del zones.faults["shop.example mx"]
    assert work() == 1
    assert the_check().status is DomainStatus.ARRIVES


def test_the_check_of_a_crashed_worker_is_repeated(draft, clock):
    checks.request_check(draft, now=utcnow())
    claim = checks._claim(draft.id, utcnow())
    assert claim is not None
    assert work() == 0
    clock.shift(timedelta(seconds=91))
    assert work() == 1
    late = checks.assessment.failed_report(claim.target)  # of a worker that was only suspended
    checks._store(claim, late, utcnow())
    assert the_check().status is DomainStatus.ARRIVES


def test_a_request_during_a_check_starts_another_check(draft, clock):
    checks.request_check(draft, now=utcnow())
    claim = checks._claim(draft.id, utcnow())
    assert claim is not None
    clock.shift(timedelta(seconds=1))
    checks.request_check(draft, now=utcnow())
    checks._store(claim, checks.assessment.assess(claim.target, claim.resolver), utcnow())
    assert the_check().state is DomainCheckState.WAITING
    assert work() == 1


def test_no_transaction_is_open_during_dns_queries(draft, monkeypatch):
    checks.request_check(draft, now=utcnow())
    seen = []
    original = checks.assessment.assess
    monkeypatch.setattr(
        checks.assessment,
        "assess",
        lambda *args: (seen.append(db.session().in_transaction()), original(*args))[1],
    )
    work()
    assert seen == [False]


def test_an_internal_error_is_no_finding_about_the_domain(draft, monkeypatch):
    checks.request_check(draft, now=utcnow())
    monkeypatch.setattr(checks.assessment, "assess", lambda *args: 1 / 0)
    work()
    check = the_check()
    assert check.status is DomainStatus.UNKNOWN
    assert "internal error" in check.findings["why"][0]


def test_checks_are_limited(draft):
    for _ in range(owner_limits.DOMAIN_CHECKS.amount):
        checks.request_check(draft, now=utcnow())
    with pytest.raises(checks.TooManyChecks):
        checks.request_check(draft, now=utcnow())


def test_selectors_are_kept_for_the_next_version_of_the_same_domain(draft, owner):
    checks.add_selectors(draft, ["mine"], now=utcnow())
    owner.submit(SETTINGS, FORM | {"from_name": "Shop"})
    later = the_version()
    assert later.number == 2
    checks.request_check(later, now=utcnow())
    assert the_check().selectors == ["mine"]


def test_published_records_are_stored_without_control_characters(live, zones):
    zones.zone[("shop.example", "TXT")] = [text("v=spf1 include:mailgun.org \x00\x1b[2J -all")]
    work()
    assert "\x00" not in str(the_check().findings)
    assert "\ufffd" in str(the_check().findings)


def record_changes(app):
    recorded: list[tuple[str, str, bool]] = []
    changes.add_listener(
        app, lambda c: recorded.append((c.previous_status.value, c.new_status.value, c.ended_at is not None))
    )
    return recorded


def test_a_change_for_the_worse_is_stored_and_notified_until_it_ends(
    app, live, zones, clock: time_machine.Coordinates
):
    recorded = record_changes(app)
    work()
    assert recorded == []
    record = zones.zone.pop(("shop.example", "TXT"))
    clock.shift(timedelta(days=1, minutes=1))
    work()
    assert recorded == [("arrives", "at-risk", False)]
    (change,) = db.session.scalars(select(DomainChange)).all()
    assert utcnow() - change.since < timedelta(minutes=1)
    assert "no SPF record" in change.reason
    clock.shift(timedelta(days=1, minutes=1))
    work()
    assert len(recorded) == 1  # still the same
    zones.zone[("shop.example", "TXT")] = record
    clock.shift(timedelta(days=1, minutes=1))
    work()
    assert recorded[1:] == [("arrives", "at-risk", True)]
    db.session.rollback()
    assert changes.open_change(live.account_id, "shop.example") is None


def test_a_silent_name_server_is_no_change_for_the_worse(app, live, zones, clock):
    recorded = record_changes(app)
    work()
    zones.faults["shop.example"] = MUTE
    clock.shift(timedelta(days=1, minutes=1))
    work()
    assert the_check().status is DomainStatus.UNKNOWN
    assert recorded == []


def test_a_change_is_detected_after_a_silent_name_server_as_well(app, live, zones, clock):
    recorded = record_changes(app)
    work()
    zones.faults["shop.example mx"] = MUTE
    clock.shift(timedelta(days=1, minutes=1))
    work()
    del zones.faults["shop.example mx"]
    del zones.zone[("shop.example", "TXT")]
    clock.shift(timedelta(hours=2))
    work()
    assert recorded == [("arrives", "at-risk", False)]


def test_a_draft_that_is_worse_is_no_change(app, draft, zones):
    recorded = record_changes(app)
    checks.request_check(draft, now=utcnow())
    work()
    del zones.zone[("shop.example", "TXT")]
    checks.request_check(draft, now=utcnow())
    work()
    assert recorded == []
    assert db.session.scalar(select(DomainCheck.status)) is DomainStatus.AT_RISK
