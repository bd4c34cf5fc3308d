"""Incidents of bounces: rates over at least 200 messages, a receiver that blocks, and mass refusals."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import insert

from portal.bounces import breaker
from portal.bounces.meaning import Meaning, Report
from portal.bounces.models import BreakerDecision
from portal.bounces.recording import record_events
from portal.clock import utcnow
from portal.db import db
from portal.incidents.models import EndReason, IncidentKind
from portal.outbox.models import OutboxMessage, Status
from portal.outbox.reference import reference_of
from tests.bounces.support import add_affiliate, run_worker
from tests.incidents.conftest import incidents, run_worker_jobs, text_of

pytestmark = pytest.mark.both_databases


def accepted(account_id: int, number: int, domain: str = "d{n}.example") -> list[int]:
    """Add accepted messages to different domains; return their ids."""
    rows = [
        {
            "account_id": account_id,
            "kind": "new-purchase",
            "key": f"{domain}{n}",
            "recipient": f"r{n}@{domain.format(n=n)}",
            "subject": "S",
            "text": "T",
            "status": Status.SENT,
            "created_at": utcnow(),
            "next_attempt_at": utcnow(),
            "settled_at": utcnow(),
        }
        for n in range(number)
    ]
    found = list(db.session.scalars(insert(OutboxMessage).returning(OutboxMessage.id), rows))
    db.session.commit()
    return found


def report(account_id: int, message_ids: list[int], meaning: Meaning, reason: str = "") -> None:
    reports = [
        Report(meaning, f"{meaning} {id_}", reference=reference_of(id_), reason=reason) for id_ in message_ids
    ]
    record_events(account_id, "generic", reports, now=utcnow())
    db.session.commit()
    run_worker()


def causes(account_id: int) -> list[str]:
    return [row.cause for row in incidents(account_id) if row.is_open]


def test_five_percent_bounces_over_200_messages_are_an_incident(brightleaf, clock, owner):
    sent = accepted(brightleaf, 200)
    report(brightleaf, sent[:9], Meaning.SOFT)
    assert causes(brightleaf) == []
    clock.shift(61)
    report(brightleaf, sent[9:10], Meaning.HARD)
    assert causes(brightleaf) == ["bounce-rate"]
    (row,) = incidents(brightleaf)
    assert row.kind is IncidentKind.BOUNCES
    assert "5.0 % of your emails in the last 7 days bounced." in text_of(owner, f"/incidents/{row.id}")
    clock.shift(timedelta(hours=25))
    run_worker_jobs()
    assert causes(brightleaf) == []


def test_three_in_a_thousand_complaints_are_an_incident(brightleaf, clock):
    sent = accepted(brightleaf, 400)
    report(brightleaf, sent[1:], Meaning.DELIVERED)
    report(brightleaf, sent[:1], Meaning.COMPLAINT)
    assert causes(brightleaf) == []
    clock.shift(61)
    report(brightleaf, sent[1:2], Meaning.COMPLAINT)
    assert causes(brightleaf) == ["complaint-rate"]


def test_bounces_that_are_processed_at_once_are_an_incident(brightleaf):
    report(brightleaf, accepted(brightleaf, 200)[:30], Meaning.SOFT)
    assert causes(brightleaf) == ["bounce-rate"]


def test_complaints_are_compared_with_all_messages_until_200_deliveries_are_reported(brightleaf):
    sent = accepted(brightleaf, 400)
    report(brightleaf, sent[:1], Meaning.COMPLAINT)
    report(brightleaf, sent[1:50], Meaning.DELIVERED)
    assert causes(brightleaf) == []
    report(brightleaf, sent[50:51], Meaning.SOFT)
    assert causes(brightleaf) == [], "one complaint of 400 messages"


def test_fewer_than_200_messages_and_delays_are_none(brightleaf, clock):
    sent = accepted(brightleaf, 199)
    report(brightleaf, sent[:50], Meaning.SOFT)
    assert causes(brightleaf) == []
    more = accepted(brightleaf, 300, "late{n}.example")
    clock.shift(61)
    report(brightleaf, more[:100], Meaning.DELAYED)
    assert causes(brightleaf) == []


def test_a_receiver_that_blocks_is_an_incident_with_its_words(brightleaf, owner):
    sent = accepted(brightleaf, 12, "strict.example")
    report(brightleaf, sent[:9], Meaning.BLOCKED, "5.7.1 not from you")
    assert causes(brightleaf) == []
    report(brightleaf, sent[9:10], Meaning.BLOCKED, "5.7.1 not from you")
    (row,) = incidents(brightleaf)
    assert (row.cause, row.server, row.last_reply) == (
        "receiver-blocks",
        "strict.example",
        "5.7.1 not from you",
    )
    page = text_of(owner, f"/incidents/{row.id}")
    assert "A receiver blocks your emails" in page
    assert "Too many emails bounce" not in page


def test_mass_refusals_are_an_incident_until_the_owner_decides(brightleaf, clock, owner):
    sent = accepted(brightleaf, 25, "crowd.example")
    for number in range(25):
        add_affiliate(brightleaf, f"r{number}@crowd.example")
    report(brightleaf, sent, Meaning.HARD)
    assert "mass-refusals" in causes(brightleaf)
    clock.shift(timedelta(hours=30))
    run_worker_jobs()
    assert "mass-refusals" in causes(brightleaf), "it waits for the owner"
    (row,) = breaker.list_open(brightleaf)
    breaker.decide(breaker.find_open(brightleaf, row.id), BreakerDecision.KEEP, now=utcnow())
    ended = [row.ended for row in incidents(brightleaf) if row.cause == "mass-refusals"]
    assert ended == [EndReason.DECIDED]
