"""Pages of incidents, held mail and the incident policy: access, contents and operations."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from portal.accounts.models import Account
from portal.clock import utcnow
from portal.db import db
from portal.incidents.models import IncidentPolicy, OnFailure
from portal.outbox import cancellations, rate_limits
from portal.outbox.models import OutboxMessage, Outcome, Queue, Status
from portal.settings import versions
from portal.settings.routing import live_version, route_for
from tests.cases import in_one_test
from tests.incidents.conftest import (
    DOWN,
    REFUSED,
    enqueue,
    incidents,
    process_attempt,
    run_worker_jobs,
    text_of,
)

PAGES = [
    "/incidents",
    "/incidents/waiting",
    "/incidents/waiting?hours=24",
    "/incidents/alerts",
    "/incidents/when-sending-fails",
    "/incidents/limits",
]
OPERATIONS = [
    "/incidents/waiting/release",
    "/incidents/waiting/discard",
    "/incidents/waiting/platform",
    "/incidents/waiting/own",
    "/incidents/alerts/mail/off",
    "/incidents/alerts/webhook",
    "/incidents/alerts/webhook/secret",
    "/incidents/alerts/webhook/stop",
    "/incidents/alerts/webhook/test",
    "/incidents/when-sending-fails",
    "/incidents/limits",
]


@pytest.mark.parametrize("url", PAGES)
def test_the_pages_require_a_login(url, client, owner, brightleaf):
    assert client.get(url).status_code == 303
    assert owner.get(url).status_code == 200


@pytest.mark.parametrize("url", OPERATIONS)
def test_operations_require_a_login_and_the_csrf_token(url, client, owner, brightleaf):
    assert client.post(url).status_code in (303, 400)
    assert owner.post(url).status_code == 400


def test_an_incident_is_shown_to_its_owner_only(account_on_hold, owner, stranger, client):
    incident_id = incidents(account_on_hold)[0].id
    assert owner.get(f"/incidents/{incident_id}").status_code == 200
    assert stranger.get(f"/incidents/{incident_id}").status_code == 404
    assert client.get(f"/incidents/{incident_id}").status_code == 303
    assert owner.get("/incidents/999999999999").status_code == 404
    assert "smtp.example.com" not in text_of(stranger, "/incidents")


def test_the_list_starts_with_open_incidents_and_pages_through_closed_ones(brightleaf, owner, clock):
    for number in range(45):
        process_attempt(
            brightleaf, diagnosis=REFUSED | {"code": f"c{number}", "cause": f"Trouble number {number}."}
        )
        process_attempt(brightleaf, Outcome.ACCEPTED)
    process_attempt(brightleaf, Outcome.DEFERRED, DOWN)
    first = text_of(owner, "/incidents")
    assert "Nothing at smtp.example.com" in first and "Trouble number 44." in first
    assert "Trouble number 24." not in first
    older = text_of(owner, f"/incidents?before={incidents(brightleaf)[25].id}")
    assert "Trouble number 24." in older and "Trouble number 44." not in older


def test_the_page_of_an_incident_shows_cause_whose_move_it_is_and_fix(account_on_hold, owner):
    run_worker_jobs()
    db.session.execute(
        update(OutboxMessage)
        .where(OutboxMessage.recipient == "affiliate0@visitors.example")
        .values(recipient_name="Grace Hopper")
    )
    db.session.commit()
    page = text_of(owner, f"/incidents/{incidents(account_on_hold)[0].id}")
    assert page.index("<bdi>Grace Hopper</bdi>") < page.index(">affiliate0@visitors.example<")
    assert "did not accept the username and password (535)." in page
    assert "You" in page and "Copy the SMTP password again" in page
    assert "5.7.8 no" in page
    assert "We alerted you that it started." in page
    assert "affiliate0@visitors.example" in page


def test_the_page_of_a_closed_incident_shows_no_fix(brightleaf, owner):
    process_attempt(brightleaf, Outcome.DEFERRED, DOWN)
    process_attempt(brightleaf, Outcome.ACCEPTED)
    page = text_of(owner, f"/incidents/{incidents(brightleaf)[0].id}")
    assert "<h1>Your mail server had a problem</h1>" in page and "This is over." in page
    assert "What to do" not in page


def test_a_released_queue_is_not_on_hold(account_on_hold, owner):
    response = owner.submit("/incidents/waiting/release", {}, page="/incidents/waiting")
    assert response.status_code == 303
    db.session.expire_all()
    assert db.session.get(Queue, account_on_hold).held_at is None
    assert set(db.session.scalars(select(OutboxMessage.status))) == {Status.QUEUED}


def test_old_emails_are_counted_then_discarded_with_the_reason(account_on_hold, owner):
    page = text_of(owner, "/incidents/waiting?hours=6")
    assert "<strong>8 emails</strong> have waited longer than 6 hours; 6 emails have not." in page
    fields = {"hours": "6"}
    assert (
        owner.submit("/incidents/waiting/discard", fields, page="/incidents/waiting?hours=6").status_code
        == 303
    )
    db.session.expire_all()
    rows = db.session.scalars(select(OutboxMessage).order_by(OutboxMessage.id)).all()
    assert [row.status for row in rows] == [Status.CANCELLED] * 8 + [Status.HELD] * 6
    assert "Ada Fairweather discarded it" in cancellations.find_reason(rows[0].id)
    page = f"/deliveries/{rows[0].id}"
    assert "longer than 6 hours" in text_of(owner, page)
    owner.submit("/account/language", {"language": "de"}, page="/account")
    assert "Ada Fairweather hat sie verworfen, weil sie länger gewartet hatte als 6 Stunden." in text_of(
        owner, page
    )


def test_old_emails_are_discarded_and_the_others_released(account_on_hold, owner):
    fields = {"hours": "6", "release": "1"}
    owner.submit("/incidents/waiting/discard", fields, page="/incidents/waiting?hours=6")
    db.session.expire_all()
    counts = list(db.session.scalars(select(OutboxMessage.status).order_by(OutboxMessage.id)))
    assert counts == [Status.CANCELLED] * 8 + [Status.QUEUED] * 6


@in_one_test("hours", ["", "0", "-1", "2", "1e3", "abc", "999999999999999999999"])
def test_an_invalid_age_discards_nothing(hours, account_on_hold, owner):
    response = owner.submit("/incidents/waiting/discard", {"hours": hours}, page="/incidents/waiting?hours=6")
    assert response.status_code == 422
    assert "Choose an age." in response.get_data(as_text=True)
    assert db.session.scalar(select(OutboxMessage).where(OutboxMessage.status == Status.CANCELLED)) is None


def test_emails_of_other_accounts_are_neither_released_nor_discarded(account_on_hold, stranger):
    stranger.submit("/incidents/waiting/release", {}, page="/incidents/alerts")
    stranger.submit("/incidents/waiting/discard", {"hours": "1"}, page="/incidents/alerts")
    assert set(db.session.scalars(select(OutboxMessage.status))) == {Status.HELD}


def test_the_owner_starts_and_ends_a_failover(account_on_hold, owner):
    owner.submit("/incidents/waiting/platform", {}, page="/incidents/waiting")
    db.session.expire_all()
    route = route_for(account_on_hold)
    assert (route.version_number, route.reply_to) == (None, "ada@brightleaf.example")
    page = text_of(owner, "/deliveries")
    assert "The platform’s server has sent your emails since" in page
    assert incidents(account_on_hold)[0].is_open, "a failover closes no incident"
    owner.submit("/incidents/waiting/own", {}, page="/incidents/waiting")
    db.session.expire_all()
    assert live_version(account_on_hold).failover_since is None
    assert route_for(account_on_hold).version_number == 1


def test_the_failure_policy_is_saved(brightleaf, owner):
    url = "/incidents/when-sending-fails"
    assert owner.submit(url, {"action": "platform", "after_minutes": "45"}).status_code == 303
    row = db.session.scalars(select(IncidentPolicy)).one()
    assert (row.on_failure, row.after_minutes) == (OnFailure.PLATFORM, 45)
    assert 'value="45"' in text_of(owner, url)


@pytest.mark.parametrize(
    ("action", "minutes"), [("", "30"), ("explode", "30"), ("wait", ""), ("wait", "0"), ("wait", "9" * 30)]
)
def test_an_invalid_failure_policy_is_refused(action, minutes, brightleaf, owner):
    response = owner.submit("/incidents/when-sending-fails", {"action": action, "after_minutes": minutes})
    assert response.status_code == 422
    assert "There is a problem" in response.get_data(as_text=True)


def test_limits_are_saved_and_shown(brightleaf, owner):
    fields = {"per_second": "", "per_hour": "100", "per_day": "500"}
    assert owner.submit("/incidents/limits", fields).status_code == 303
    row = rate_limits.get_limits(brightleaf)
    assert (row.per_second, row.per_hour, row.per_day) == (None, 100, 500)
    page = text_of(owner, "/incidents/limits")
    assert 'value="100"' in page and 'value="500"' in page


@pytest.mark.parametrize("typed", ["0", "-1", "1.5", "many", "9" * 40, "１２"])
def test_a_limit_that_is_not_a_number_is_refused(typed, brightleaf, owner):
    response = owner.submit("/incidents/limits", {"per_hour": typed})
    assert response.status_code == 422
    assert "a whole number" in response.get_data(as_text=True)


def test_the_oldest_waiting_email_is_shown(account_on_hold, owner):
    page = text_of(owner, "/incidents/waiting")
    assert "14 emails wait" in page and re.search(r"2 Mar( 2026)?, 09:12", page)
    assert db.session.get(Queue, account_on_hold).held_at - timedelta(hours=14) == db.session.scalar(
        select(OutboxMessage.created_at).order_by(OutboxMessage.id)
    )


def test_settings_that_are_activated_again_are_used_without_failover(brightleaf, owner):
    enqueue(brightleaf, 1)
    owner.submit("/incidents/waiting/platform", {}, page="/incidents/waiting")
    db.session.expire_all()
    version = live_version(brightleaf)
    versions.stop_using(brightleaf, now=utcnow())
    versions.activate(version, now=utcnow())
    db.session.commit()
    assert route_for(brightleaf).version_number == 1


@pytest.mark.parametrize("stopped", [False, True])
def test_the_page_of_waiting_emails_shows_whether_attempts_are_automatic(stopped, account_on_hold, owner):
    queue = db.session.get(Queue, account_on_hold)
    queue.next_probe_at = None if stopped else utcnow() + timedelta(minutes=5)
    db.session.commit()
    page = text_of(owner, "/incidents/waiting")
    assert ("Signet makes no automatic attempts." in page) == stopped
    assert ("Signet tries again automatically." in page) == (not stopped)


def test_the_page_of_waiting_emails_promises_no_attempts_to_a_suspended_account(account_on_hold, owner):
    db.session.get(Account, account_on_hold).suspended_at = utcnow()
    db.session.commit()
    page = text_of(owner, "/incidents/waiting")
    assert "Signet sends none of these emails while your account is suspended" in page
    assert "Signet tries again automatically." not in page


def test_the_alerts_page_shows_that_no_alert_is_on(brightleaf, owner):
    assert "We alert you once" in text_of(owner, "/incidents/alerts")
    owner.submit("/incidents/alerts/mail/off", {}, page="/incidents/alerts")
    page = text_of(owner, "/incidents/alerts")
    assert "You get no alerts at present." in page
    assert "We alert you once" not in page
