"""The page Bounces: set-up, state, keys, breakers, and events without a message."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import update

from portal.bounces import breaker, hooks
from portal.bounces.models import BounceEvent, BounceHook
from portal.clock import utcnow
from portal.db import db
from tests.bounces.providers.mailgun import KEY, call, event
from tests.bounces.providers.samples import SAMPLES
from tests.bounces.support import hook_row, make_hook, path_of, post, run_worker, send, suppressed
from tests.bounces.test_suppressing import mass
from tests.incidents.conftest import add_settings, incidents

PAGE = "/settings/bounces"


def text_of(browser, url: str = PAGE) -> str:
    answer = browser.get(url)
    assert answer.status_code == 200
    return " ".join(answer.get_data(as_text=True).split())


def test_the_provider_of_the_live_settings_is_offered_first(brightleaf, owner):
    assert "sends your emails" not in text_of(owner)
    add_settings(brightleaf, host="smtp.mailgun.org")
    assert "Mailgun sends your emails" in text_of(owner)
    assert owner.submit(f"{PAGE}/mailgun", {}, page=PAGE).location == f"{PAGE}#mailgun"
    assert owner.submit(f"{PAGE}/mailgun", {}, page=PAGE).status_code == 303, "a second click"
    text = text_of(owner)
    assert path_of(brightleaf, "mailgun") in text
    assert "Permanent Failure" in text
    assert "Signet refuses events until you save the HTTP webhook signing key below." in text


def test_a_key_is_saved_checked_and_never_shown(brightleaf, owner):
    make_hook(brightleaf, "mailgun")
    for wrong in ("", "two words", "é"):
        refused = owner.submit(f"{PAGE}/mailgun/key", {"key": wrong}, page=PAGE)
        assert refused.status_code == 422
        assert 'aria-invalid="true"' in refused.get_data(as_text=True)
    assert owner.submit(f"{PAGE}/mailgun/key", {"key": KEY}, page=PAGE).status_code == 303
    assert KEY not in text_of(owner)
    assert hooks.open_key(hook_row(brightleaf, "mailgun")) == KEY


def test_the_last_event_two_quiet_weeks_and_wrong_signatures_are_shown(app, brightleaf, owner):
    path = make_hook(brightleaf, "mailgun", KEY)
    assert "No events received yet." in text_of(owner)
    post(app, path, call(event(send(brightleaf), "delivered")))
    assert "It works: one event received." in text_of(owner)
    for _ in range(2):
        post(app, path, call({}, key="wrong"))
    assert "2 calls had a wrong signature" in text_of(owner)
    db.session.execute(update(BounceHook).values(last_event_at=utcnow() - timedelta(days=15)))
    db.session.commit()
    assert "No events received for 15 days." in text_of(owner)


def test_a_call_without_events_is_not_counted_as_working(app, brightleaf, owner):
    assert post(app, make_hook(brightleaf, "sparkpost"), [{"msys": {}}]) == 200
    assert "No events received yet." in text_of(owner)
    assert "Last event" not in text_of(owner)
    db.session.execute(
        update(BounceHook).values(last_event_at=None, created_at=utcnow() - timedelta(days=16))
    )
    db.session.commit()
    assert "No events received for 16 days." in text_of(owner), "since it was made"


@pytest.mark.parametrize(("provider", "wrong"), [("sendgrid", "a-word"), ("resend", "whsec_no-base64")])
def test_a_text_that_is_no_key_of_the_provider_is_refused(brightleaf, owner, provider, wrong):
    make_hook(brightleaf, provider)
    refused = owner.submit(f"{PAGE}/{provider}/key", {"key": wrong}, page=PAGE)
    assert refused.status_code == 422
    assert "This is not a" in refused.get_data(as_text=True)
    assert "you save the" in text_of(owner)
    key = SAMPLES[provider].key
    assert owner.submit(f"{PAGE}/{provider}/key", {"key": key}, page=PAGE).status_code == 303


def test_a_key_that_the_portal_can_no_longer_open_is_asked_for_again(brightleaf, owner):
    make_hook(brightleaf, "mailgun", KEY)
    db.session.execute(update(BounceHook).values(sealed_key=b"sealed with a lost key"))
    db.session.commit()
    text = text_of(owner)
    assert "Save it again below." in text
    assert "A key is saved." not in text


def test_calls_of_amazon_that_cannot_be_verified_are_named(app, brightleaf, owner):
    post(app, make_hook(brightleaf, "ses"), {"Type": "SubscriptionConfirmation"})
    assert "has asked for confirmation yet" in text_of(owner)
    db.session.execute(update(BounceEvent).values(tries=2))
    db.session.commit()
    text = text_of(owner)
    assert "this portal cannot reach Amazon to verify or confirm them" in text
    assert "has asked for confirmation yet" not in text


def test_a_new_address_is_made_and_a_hook_removed(brightleaf, owner):
    former = make_hook(brightleaf, "generic")
    owner.submit(f"{PAGE}/generic/secret", {}, page=PAGE)
    assert "works for 7 more days" in text_of(owner)
    assert former not in text_of(owner)
    owner.submit(f"{PAGE}/generic/remove", {}, page=PAGE)
    assert owner.submit(f"{PAGE}/generic/remove", {}, page=PAGE).status_code == 404
    assert owner.submit(f"{PAGE}/generic/secret", {}, page=PAGE).status_code == 404
    assert owner.submit(f"{PAGE}/generic/key", {"key": "x"}, page=PAGE).status_code == 404


def test_events_without_a_message_are_listed_as_they_came(app, brightleaf, owner, stranger):
    path = make_hook(brightleaf, "generic")
    assert "No events" in text_of(owner, f"{PAGE}/events")
    post(
        app, path, {"type": "hard", "recipient": "x@receiver.example", "reason": "<script>alert(1)</script>"}
    )
    post(app, path, b"<html>hello</html>")
    for number in range(25):
        post(app, path, {"type": "hard", "id": str(number)})
    run_worker()
    text = text_of(owner, f"{PAGE}/events")
    assert "Events that Signet could not match or understand" in text_of(owner)
    older = text_of(owner, f"{PAGE}/events?before=3")
    assert "&lt;html&gt;hello" in older
    assert "The provider reported something that Signet does not recognise" in older
    assert "&lt;script&gt;" in older
    assert "before=" in text
    assert "hello" not in text_of(stranger, f"{PAGE}/events")


def test_a_breaker_waits_for_the_owners_decision(app, brightleaf, owner, stranger):
    with time_machine.travel(utcnow(), tick=False):
        mass(brightleaf, 23, refused=23)
    (row,) = breaker.list_open(brightleaf)
    text = text_of(owner)
    assert "Very many mailboxes at crowd.example are reported as unknown" in text
    assert "3 mailboxes need your decision. Signet stopped writing to 20 in the same hour." in text
    assert 'href="/deliveries?q=@crowd.example"' in text
    (incident,) = incidents(brightleaf)
    about = text_of(owner, f"/incidents/{incident.id}")
    assert "No incident has ended yet." in text_of(owner, "/incidents")
    assert f'href="{PAGE}"' in about
    assert 'href="/deliveries?q=@crowd.example"' in about
    assert stranger.submit(f"{PAGE}/breakers/{row.id}/keep", {}, page=PAGE).status_code == 404
    assert owner.submit(f"{PAGE}/breakers/{row.id}/keep", {}, page=PAGE).status_code == 303
    assert "23 addresses stay in use." in text_of(owner)
    assert suppressed(brightleaf) == {}
    assert owner.submit(f"{PAGE}/breakers/{row.id}/keep", {}, page=PAGE).status_code == 404


@pytest.mark.parametrize("page", [PAGE, f"{PAGE}/events"])
def test_a_visitor_sees_nothing(client, page):
    assert client.get(page).status_code == 303
