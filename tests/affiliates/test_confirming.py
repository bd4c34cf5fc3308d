"""Confirming a sign-up, being invited, choosing emails, and what the owner decides: from the form to the outbox."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import select

from portal.affiliates import directory, suppressions
from portal.affiliates.models import AffiliateState, SuppressionReason
from portal.clock import utcnow
from portal.db import db
from portal.enrolment import cleanup, listing, signup, signup_rules
from portal.events import weekly_summary
from portal.events.dispatch import record_event
from portal.events.models import EmailDecision, EventMail, Week, WeekState
from portal.events.types import EventType, Source
from portal.outbox.models import OutboxMessage
from portal.state import get_state

GRACE = {"name": "Grace Hopper", "mailbox": "grace@example.org", "consent": "y"}


def _account():
    return directory.find_account("brightleaf")


def _affiliate():
    db.session.rollback()
    return listing.list_affiliates(_account(), _config()).rows[0].affiliate


def _config():
    from portal.state import current_config

    return current_config()


def _mails(kind):
    db.session.rollback()
    return list(db.session.scalars(select(OutboxMessage).where(OutboxMessage.kind == kind)))


def _path(kind, word):
    text = _mails(kind)[-1].text
    return re.search(rf"http://127\.0\.0\.1(/{word}/\S+)", text).group(1)


def _signed_up(client, **changes):
    assert client.submit("/join/brightleaf", GRACE | changes).status_code == 303


def test_an_owner_who_is_logged_in_may_try_the_own_page(owner):
    _signed_up(owner)
    _signed_up(owner)  # known by now
    assert len(_mails("confirm-sign-up")) == 2


def test_a_sign_up_is_asked_to_confirm_and_welcomed_once_it_did(owner, client):
    _signed_up(client)
    [mail] = _mails("confirm-sign-up")
    assert "Grace" not in mail.text + mail.html + mail.subject + mail.recipient_name
    assert not _mails("new-sign-up")
    path = _path("confirm-sign-up", "confirm-sign-up")
    assert "Yes, confirm my sign-up" in client.get(path).get_data(as_text=True)
    assert _affiliate().state is AffiliateState.UNCONFIRMED, "looking changes nothing"
    for _ in range(2):
        assert client.submit(path, {}).status_code == 303 if _ == 0 else True
    assert "Welcome, you are signed up" in client.get(path).get_data(as_text=True)
    assert _affiliate().state is AffiliateState.ACTIVE
    assert len(_mails("new-sign-up")) == 1
    assert signup.confirm(path.rpartition("/")[2], now=utcnow()) is not None
    assert len(_mails("new-sign-up")) == 1, "a second time changes nothing"


def test_an_old_link_says_so_and_an_unknown_one_is_not_found(owner, client):
    with time_machine.travel(utcnow() - timedelta(days=8), tick=False):
        _signed_up(client)
    page = client.get(_path("confirm-sign-up", "confirm-sign-up"))
    assert "This link is too old" in page.get_data(as_text=True)
    with pytest.raises(signup.LinkExpired):
        signup.confirm(_path("confirm-sign-up", "confirm-sign-up").rpartition("/")[2], now=utcnow())
    assert client.get("/confirm-sign-up/nonsense").status_code == 404


def test_a_form_that_comes_back_at_once_is_asked_for_again_and_loses_nothing(app, owner, client):
    from dataclasses import replace

    get_state(app).config = replace(_config(), sign_up_seconds=2.0)
    answer = client.submit("/join/brightleaf", GRACE)
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert "quicker than most people type" in page
    assert 'value="grace@example.org"' in page
    assert not _mails("confirm-sign-up")


def test_the_owner_approves_or_declines_who_waits_and_a_second_click_is_harmless(owner, stranger, client):
    signup_rules.save_rules(_account().id, signup_rules.Rules(auto_approve=False, confirm=False))
    _signed_up(client)
    page = f"/affiliates/{_affiliate().id}"
    assert stranger.get(page).status_code == 404
    assert client.get(page).status_code == 303
    assert "They wait for your decision" in owner.get(page).get_data(as_text=True)
    for _ in range(2):
        assert owner.submit(f"{page}/decline", {"reason": "Too early"}, page=page).status_code == 303
    assert len(_mails("declined")) == 1
    assert "Too early" in _mails("declined")[0].text
    for _ in range(2):
        assert owner.submit(f"{page}/approve", {}, page=page).status_code == 303
    assert len(_mails("approved")) == 1
    assert stranger.submit(f"{page}/suspend", {}, page="/affiliates/rules").status_code == 404
    owner.submit(f"{page}/suspend", {}, page=page)
    assert _affiliate().state is AffiliateState.SUSPENDED
    assert owner.get(page).status_code == 200
    owner.submit(f"{page}/unsuspend", {}, page=page)
    assert _affiliate().state is AffiliateState.ACTIVE


def test_somebody_invited_joins_by_the_link_and_the_suppressed_are_not_invited(owner, client):
    wish = {"name": "Grace Hopper", "mailbox": "grace@example.org", "message": "Hello\nfrom us"}
    assert owner.submit("/affiliates/invite", wish).status_code == 303
    [mail] = _mails("invited")
    assert mail.unsubscribe_url
    path = _path("invited", "invitation")
    assert client.submit(path, {}).status_code == 422
    assert client.submit(path, {"consent": "y"}).status_code == 303
    assert _affiliate().state is AffiliateState.ACTIVE
    assert _affiliate().consented_at
    for page in ("/events", "/affiliates", "/affiliates?status=invited", f"/affiliates/{_affiliate().id}"):
        text = owner.get(page).get_data(as_text=True)
        assert path.rpartition("/")[2] not in text
    assert "By your invitation" in text
    assert "On your sign-up page" not in text
    mail = _mails("new-sign-up")[-1]
    assert "By your invitation" in owner.get(f"/deliveries/{mail.id}").get_data(as_text=True)
    suppressions.add(_account().id, "bob@example.org", "", now=utcnow())
    refused = owner.submit("/affiliates/invite", wish | {"mailbox": "bob@example.org"})
    assert refused.status_code == 422
    assert "not written to" in refused.get_data(as_text=True)


def test_one_click_unsubscribes_without_cookie_or_token_and_looking_does_not(owner, client):
    signup_rules.save_rules(_account().id, signup_rules.Rules(confirm=False))
    _signed_up(client)
    key = _affiliate().preferences_key
    path = f"/unsubscribe/{key}/weekly-summary"
    assert client.get(path).headers["Referrer-Policy"] == "no-referrer"
    assert suppressions.find_suppression(_account().id, "grace@example.org") is None
    for _ in range(2):
        answer = client.post(path, data={"List-Unsubscribe": "One-Click"})
        assert answer.status_code == 200
    row = suppressions.find_suppression(_account().id, "grace@example.org")
    assert row.reason is SuppressionReason.UNSUBSCRIBED
    for unknown in ("/unsubscribe/x/weekly-summary", f"/unsubscribe/{key}/new-sign-up", "/preferences/x"):
        assert client.post(unknown).status_code in (400, 404)
        assert client.get(unknown).status_code == 404
    assert "not written to" in owner.get("/affiliates/not-written-to").get_data(as_text=True).lower()
    prefs = f"/preferences/{key}"
    asked = client.get(prefs).get_data(as_text=True)
    assert "When somebody buys through your link." in asked
    assert "an affiliate’s link" not in asked, "it is the affiliate who reads"
    assert client.submit(prefs, {"kind": ["weekly-summary"]}).status_code == 303
    assert suppressions.find_suppression(_account().id, "grace@example.org") is None
    assert "new-lead" in suppressions.opted_out(_affiliate().id)
    assert client.submit(prefs, {"essential_only": "1", "kind": "new-lead"}).status_code == 303
    assert "weekly-summary" in suppressions.opted_out(_affiliate().id)


def test_an_event_is_caused_once_and_says_why_an_email_was_not_sent(owner, client):
    signup_rules.save_rules(_account().id, signup_rules.Rules(confirm=False))
    _signed_up(client)
    affiliate, account = _affiliate(), _account()
    values = {"order": "A1", "amount": "10.00", "currency": "EUR", "commission": "1.00"}
    suppressions.opt_out(affiliate.id, ["new-purchase"], now=utcnow())
    more = {"key": "a1", "source": Source.API, "now": utcnow()}
    first = record_event(account, EventType.PURCHASE, affiliate, values, **more)
    again = record_event(account, EventType.PURCHASE, affiliate, values, **more)
    db.session.commit()
    assert (first.fresh, again.fresh, again.event.id) == (True, False, first.event.id)
    whys = dict(
        db.session.execute(
            select(EventMail.kind, EventMail.decision).where(EventMail.event_id == first.event.id)
        ).all()
    )
    assert whys["new-purchase"] is EmailDecision.OPTED_OUT
    page = owner.get("/events?occasion=purchase&mail=no-email").get_data(as_text=True)
    assert "The affiliate does not want this email." in page
    dashboard = client.get(f"/affiliate/{affiliate.dashboard_key}").get_data(as_text=True)
    assert "order A1" in dashboard
    assert "1.00 EUR" in dashboard


def test_a_week_is_told_once_and_skipped_when_it_is_long_over(owner, client):
    monday = utcnow().replace(year=2026, month=11, day=16, hour=10, minute=0)
    with time_machine.travel(monday - timedelta(days=4), tick=False):
        account = _account()
        account.created_at = utcnow()
        signup_rules.save_rules(account.id, signup_rules.Rules(confirm=False))
        _signed_up(client)
        values = {"order": "A1", "amount": "10", "currency": "EUR", "commission": "0.10"}
        account, affiliate = _account(), _affiliate()
        for number in range(3):
            told = {"key": str(number), "source": Source.API, "now": utcnow()}
            record_event(account, EventType.PURCHASE, affiliate, values, **told)
        db.session.commit()
    assert ("weekly-summary", _account().id) in weekly_summary.find_work(monday)
    for _ in range(2):
        weekly_summary.enqueue_summaries(_account().id, now=monday)
    [mail] = _mails("weekly-summary")
    assert "0.30 EUR" in mail.text
    assert len(_mails("owner-weekly-summary")) == 1
    assert ("weekly-summary", _account().id) not in weekly_summary.find_work(monday)
    weekly_summary.enqueue_summaries(_account().id, now=monday + timedelta(days=9))
    weeks = list(db.session.scalars(select(Week).order_by(Week.id)))
    assert [week.state for week in weeks] == [WeekState.DONE, WeekState.SKIPPED]
    assert len(_mails("weekly-summary")) == 1


def test_nobody_who_never_confirmed_is_kept_for_ever(owner, client):
    with time_machine.travel(utcnow() - timedelta(days=31), tick=False):
        _signed_up(client)
    assert cleanup.find_work(utcnow()) == [("cleanup", 0)]
    assert cleanup.delete_unconfirmed(now=utcnow()) == 1
    assert cleanup.find_work(utcnow()) == []


def test_the_list_is_searched_and_exported_safely(owner, stranger, client):
    signup_rules.save_rules(_account().id, signup_rules.Rules(confirm=False))
    _signed_up(client, name="Éloïse Ångström")
    for query in ("éLOÏSE", "ångström", "GRACE@", "%25", "_", "'"):
        assert owner.get(f"/affiliates?q={query}").status_code == 200
    assert "grace@example.org" in owner.get("/affiliates?q=ÉLOÏSE").get_data(as_text=True)
    assert "Nobody was found" in owner.get("/affiliates?q=%25").get_data(as_text=True)
    answer = owner.get("/affiliates.csv")
    assert answer.mimetype == "text/csv"
    assert "Éloïse Ångström,grace@example.org,active" in answer.get_data(as_text=True)
    assert "grace@example.org" not in stranger.get("/affiliates.csv").get_data(as_text=True)


@pytest.mark.parametrize(
    "path",
    ["/events", "/affiliates/invite", "/affiliates/rules", "/affiliates/not-written-to", "/affiliates.csv"],
)
def test_the_owners_pages_are_for_owners(owner, client, path):
    assert owner.get(path).status_code == 200
    assert client.get(path).status_code == 303


def test_the_owners_email_leads_to_the_affiliate_and_nobody_else_gets_there(owner, stranger, client):
    signup_rules.save_rules(_account().id, signup_rules.Rules(confirm=False))
    _signed_up(client)
    [mail] = _mails("owner-new-affiliate")
    path = re.search(r"http://127\.0\.0\.1(/affiliates/by-code/\w+)", mail.text).group(1)
    answer = owner.get(path)
    assert (answer.status_code, answer.location) == (303, f"/affiliates/{_affiliate().id}")
    assert stranger.get(path).status_code == 404
    assert owner.get("/affiliates/by-code/%00").status_code == 404
    assert client.get(path).location.startswith("/log-in")
