"""The pages of the room: who may see what, what they say, and what they do."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from portal.clock import utcnow
from portal.db import db
from portal.incidents.models import IncidentPolicy, OnFailure
from portal.outbox import cancellations, rate_limits
from portal.outbox.models import OutboxMessage, Outcome, Queue, Status
from portal.outbox.queue import hold
from portal.settings import versions
from portal.settings.routing import live_version, route_for
from tests.incidents.conftest import DOWN, REFUSED, happens, incidents, owe, work

PAGES = [
    "/incidents",
    "/incidents/waiting",
    "/incidents/waiting?hours=24",
    "/incidents/alerts",
    "/incidents/when-sending-fails",
    "/incidents/limits",
]
DEEDS = [
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


def text_of(browser, url: str) -> str:
    answer = browser.get(url)
    assert answer.status_code == 200
    return " ".join(answer.get_data(as_text=True).split())


@pytest.fixture
def refused(brightleaf, clock) -> int:
    """Fourteen emails wait: one new each hour, and the log-in is refused."""
    for number in range(14):
        owe(brightleaf, number)
        clock.shift(3600)
    hold(brightleaf, REFUSED, now=utcnow())
    first = db.session.scalars(select(OutboxMessage.id).order_by(OutboxMessage.id)).first()
    happens(brightleaf, diagnosis=REFUSED, message=first, reply_code=535, reply_text="5.7.8 no")
    return brightleaf


@pytest.mark.parametrize("url", PAGES)
def test_the_pages_are_for_the_owner_who_is_logged_in(url, client, owner, brightleaf):
    assert client.get(url).status_code == 303
    assert owner.get(url).status_code == 200


@pytest.mark.parametrize("url", DEEDS)
def test_nobody_does_anything_without_logging_in_or_without_the_token(url, client, owner, brightleaf):
    assert client.post(url).status_code in (303, 400)
    assert owner.post(url).status_code == 400


def test_an_incident_is_shown_to_its_owner_alone(refused, owner, stranger, client):
    ident = incidents(refused)[0].id
    assert owner.get(f"/incidents/{ident}").status_code == 200
    assert stranger.get(f"/incidents/{ident}").status_code == 404
    assert client.get(f"/incidents/{ident}").status_code == 303
    assert owner.get("/incidents/999999999999").status_code == 404
    assert "smtp.example.com" not in text_of(stranger, "/incidents")


def test_the_list_begins_with_what_is_open_and_pages_through_the_history(brightleaf, owner, clock):
    for number in range(45):
        happens(brightleaf, diagnosis=REFUSED | {"code": f"c{number}", "cause": f"Trouble number {number}."})
        happens(brightleaf, Outcome.ACCEPTED)
    happens(brightleaf, Outcome.DEFERRED, DOWN)
    first = text_of(owner, "/incidents")
    assert "Nothing at smtp.example.com" in first and "Trouble number 44." in first
    assert "Trouble number 24." not in first
    older = text_of(owner, f"/incidents?before={incidents(brightleaf)[25].id}")
    assert "Trouble number 24." in older and "Trouble number 44." not in older


def test_the_page_of_an_incident_says_what_happened_whose_move_and_what_to_do(refused, owner):
    work()
    page = text_of(owner, f"/incidents/{incidents(refused)[0].id}")
    assert "did not accept the username and password (535)." in page
    assert "Yours" in page and "Copy the SMTP password again" in page
    assert "5.7.8 no" in page
    assert "You were told of its beginning." in page
    assert "affiliate0@visitors.example" in page


def test_the_page_of_what_is_over_says_so_and_asks_nobody_for_anything(brightleaf, owner):
    happens(brightleaf, Outcome.DEFERRED, DOWN)
    happens(brightleaf, Outcome.ACCEPTED)
    page = text_of(owner, f"/incidents/{incidents(brightleaf)[0].id}")
    assert "<h1>Your mail server was in trouble</h1>" in page and "it is over." in page
    assert "What to do" not in page


def test_every_page_says_what_waits_since_when_and_what_can_be_done(refused, owner):
    for url in ("/deliveries", "/settings/email-preferences", "/incidents"):
        page = text_of(owner, url)
        assert "14 emails have waited since 2 Mar 2026, 23:12 UTC: smtp.example.com did not accept" in page
        assert "Fix the settings" in page and "Send through the platform" in page
        assert "Release or discard" in page


def test_a_queue_that_moves_has_no_banner(brightleaf, owner):
    assert "banner-danger" not in text_of(owner, "/deliveries")


def test_a_server_in_trouble_is_a_warning_and_not_the_owners_fault(brightleaf, owner, clock):
    owe(brightleaf, 1)
    happens(brightleaf, Outcome.DEFERRED, DOWN)
    page = text_of(owner, "/deliveries")
    assert "banner-warning" in page and "Nothing at smtp.example.com" in page
    assert "Fix the settings" not in page


def test_releasing_lets_the_queue_move_at_once(refused, owner):
    answer = owner.submit("/incidents/waiting/release", {}, page="/incidents/waiting")
    assert answer.status_code == 303
    db.session.expire_all()
    assert db.session.get(Queue, refused).held_at is None
    assert set(db.session.scalars(select(OutboxMessage.status))) == {Status.QUEUED}


def test_the_old_are_counted_before_they_are_discarded_and_each_says_why(refused, owner):
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
    assert "longer than 6 hours" in text_of(owner, f"/deliveries/{rows[0].id}")


def test_the_older_may_go_and_the_others_leave(refused, owner):
    fields = {"hours": "6", "release": "1"}
    owner.submit("/incidents/waiting/discard", fields, page="/incidents/waiting?hours=6")
    db.session.expire_all()
    counts = list(db.session.scalars(select(OutboxMessage.status).order_by(OutboxMessage.id)))
    assert counts == [Status.CANCELLED] * 8 + [Status.QUEUED] * 6


@pytest.mark.parametrize("hours", ["", "0", "-1", "2", "1e3", "abc", "999999999999999999999"])
def test_an_age_that_is_not_on_offer_discards_nothing(hours, refused, owner):
    answer = owner.submit("/incidents/waiting/discard", {"hours": hours}, page="/incidents/waiting?hours=6")
    assert answer.status_code == 422
    assert "Choose how old is too old." in answer.get_data(as_text=True)
    assert db.session.scalar(select(OutboxMessage).where(OutboxMessage.status == Status.CANCELLED)) is None


def test_what_belongs_to_another_account_is_neither_released_nor_discarded(refused, stranger):
    stranger.submit("/incidents/waiting/release", {}, page="/incidents/alerts")
    stranger.submit("/incidents/waiting/discard", {"hours": "1"}, page="/incidents/alerts")
    assert set(db.session.scalars(select(OutboxMessage.status))) == {Status.HELD}


def test_emails_go_through_the_platform_at_the_owners_word_and_back(refused, owner):
    owner.submit("/incidents/waiting/platform", {}, page="/incidents/waiting")
    db.session.expire_all()
    route = route_for(refused)
    assert (route.version_number, route.reply_to) == (None, "ada@brightleaf.example")
    page = text_of(owner, "/deliveries")
    assert "Your emails leave through the platform’s server since" in page
    assert incidents(refused)[0].is_open, "the detour hides nothing"
    owner.submit("/incidents/waiting/own", {}, page="/incidents/waiting")
    db.session.expire_all()
    assert live_version(refused).failover_since is None
    assert route_for(refused).version_number == 1


def test_what_happens_when_sending_fails_is_chosen(brightleaf, owner):
    url = "/incidents/when-sending-fails"
    assert owner.submit(url, {"action": "platform", "after_minutes": "45"}).status_code == 303
    row = db.session.scalars(select(IncidentPolicy)).one()
    assert (row.on_failure, row.after_minutes) == (OnFailure.PLATFORM, 45)
    assert 'value="45"' in text_of(owner, url)


@pytest.mark.parametrize(
    ("action", "minutes"), [("", "30"), ("explode", "30"), ("wait", ""), ("wait", "0"), ("wait", "9" * 30)]
)
def test_a_choice_that_is_none_is_refused_and_nothing_typed_is_lost(action, minutes, brightleaf, owner):
    answer = owner.submit("/incidents/when-sending-fails", {"action": action, "after_minutes": minutes})
    assert answer.status_code == 422
    assert "There is a problem" in answer.get_data(as_text=True)


def test_limits_are_saved_and_shown_again(brightleaf, owner):
    fields = {"per_second": "", "per_hour": "100", "per_day": "500"}
    assert owner.submit("/incidents/limits", fields).status_code == 303
    row = rate_limits.get_limits(brightleaf)
    assert (row.per_second, row.per_hour, row.per_day) == (None, 100, 500)
    page = text_of(owner, "/incidents/limits")
    assert 'value="100"' in page and 'value="500"' in page


@pytest.mark.parametrize("typed", ["0", "-1", "1.5", "many", "9" * 40, "１２"])
def test_a_limit_that_is_no_number_is_refused(typed, brightleaf, owner):
    answer = owner.submit("/incidents/limits", {"per_hour": typed})
    assert answer.status_code == 422
    assert "a whole number" in answer.get_data(as_text=True)


def test_the_worker_that_is_missing_is_told_on_every_page(app, owner, clock):
    assert "No worker is running" in text_of(owner, "/deliveries")


def test_the_oldest_that_waits_is_told(refused, owner):
    page = text_of(owner, "/incidents/waiting")
    assert "14 emails wait" in page and "2 Mar 2026, 09:12 UTC" in page
    assert db.session.get(Queue, refused).held_at - timedelta(hours=14) == db.session.scalar(
        select(OutboxMessage.created_at).order_by(OutboxMessage.id)
    )


def test_a_providers_limit_is_no_alarm_and_says_when_it_goes_on(brightleaf, owner):
    owe(brightleaf, 1)
    limit = DOWN | {"code": "rate", "cause": "smtp.example.com says too fast.", "retry_class": "rate"}
    happens(brightleaf, Outcome.DEFERRED, limit, reply_code=450)
    queue = db.session.get(Queue, brightleaf)
    queue.paused_until = utcnow() + timedelta(minutes=5)
    db.session.commit()
    page = text_of(owner, "/deliveries")
    assert "Your provider’s limit is reached" in page and "It goes on at 2 Mar 2026, 09:17 UTC" in page
    assert rate_limits.get_limits(brightleaf).slowed_to is not None


def test_the_owners_own_limit_says_when_it_goes_on(brightleaf, owner):
    rate_limits.set_limits(brightleaf, None, 2, None)
    rate_limits.consume(brightleaf, 1, utcnow())
    db.session.commit()
    assert "A sending limit is reached" not in text_of(owner, "/deliveries"), "nothing waits for it"
    owe(brightleaf, 1)
    assert "A sending limit is reached" in text_of(owner, "/deliveries")


def test_settings_that_are_made_live_anew_are_used_themselves(brightleaf, owner):
    owe(brightleaf, 1)
    owner.submit("/incidents/waiting/platform", {}, page="/incidents/waiting")
    db.session.expire_all()
    version = live_version(brightleaf)
    versions.stop_using(brightleaf, now=utcnow())
    versions.activate(version, now=utcnow())
    db.session.commit()
    assert route_for(brightleaf).version_number == 1
