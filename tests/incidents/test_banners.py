"""Banners about sending and about a missing worker."""

from __future__ import annotations

from datetime import timedelta

from portal.clock import utcnow
from portal.db import db
from portal.outbox import rate_limits
from portal.outbox.models import Outcome, Queue
from portal.status import evidence
from portal.status.sending import status_of
from tests.incidents.conftest import (
    DOWN,
    enqueue,
    process_attempt,
    text_of,
)


def test_every_page_shows_the_waiting_emails_and_what_can_be_done(account_on_hold, owner):
    for url in ("/deliveries", "/settings/email-preferences", "/incidents"):
        page = text_of(owner, url)
        assert "14 emails waiting since 2 Mar 2026, 23:12 UTC: smtp.example.com did not accept" in page
        assert "Fix the settings" in page and "Send through the platform" in page
        assert "Release or discard" in page


def test_a_queue_that_is_not_on_hold_has_no_banner(brightleaf, owner):
    assert "banner-danger" not in text_of(owner, "/deliveries")


def test_a_server_failure_is_a_warning_without_a_link_to_the_settings(brightleaf, owner, clock):
    enqueue(brightleaf, 1)
    process_attempt(brightleaf, Outcome.DEFERRED, DOWN)
    page = text_of(owner, "/deliveries")
    assert "banner-warning" in page and "Nothing at smtp.example.com" in page
    assert "Fix the settings" not in page


def test_every_page_shows_a_missing_worker(app, owner, clock):
    assert "No worker is running" in text_of(owner, "/deliveries")


def test_a_providers_limit_is_information_with_the_time_of_resumption(brightleaf, owner):
    enqueue(brightleaf, 1)
    limit = DOWN | {"code": "rate", "cause": "smtp.example.com says too fast.", "retry_class": "rate"}
    process_attempt(brightleaf, Outcome.DEFERRED, limit, reply_code=450)
    queue = db.session.get(Queue, brightleaf)
    queue.paused_until = utcnow() + timedelta(minutes=5)
    db.session.commit()
    page = text_of(owner, "/deliveries")
    assert (
        "You have reached your provider’s limit" in page
        and "Sending resumes automatically at 2 Mar 2026, 09:17 UTC" in page
    )
    assert rate_limits.get_limits(brightleaf).slowed_to is not None


def test_the_own_limit_is_shown_while_emails_wait_for_it(brightleaf, owner):
    rate_limits.set_limits(brightleaf, None, 2, None)
    rate_limits.consume(brightleaf, 1, utcnow())
    db.session.commit()
    assert "You have reached a sending limit" not in text_of(owner, "/deliveries"), "no email waits for it"
    enqueue(brightleaf, 1)
    assert "You have reached a sending limit" in text_of(owner, "/deliveries")


def test_more_waiting_emails_than_are_counted_are_a_lower_bound(account_on_hold, owner, monkeypatch):
    monkeypatch.setattr(evidence, "MAX_SHOWN", 10)
    assert "10+ emails waiting since 2 Mar 2026, 23:12 UTC" in text_of(owner, "/deliveries")
    facts = status_of(account_on_hold).as_dict()
    assert (facts["waiting"], facts["more_waiting"]) == (10, True)
    monkeypatch.setattr(evidence, "MAX_SHOWN", 14)
    assert "14 emails waiting since" in text_of(owner, "/deliveries")
