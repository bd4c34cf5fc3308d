"""Which reports suppress a mailbox, the breaker, and lifting with a reason."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import event, func, insert, select

from portal.affiliates import suppressions
from portal.affiliates.models import SuppressionLift, SuppressionReason
from portal.bounces import breaker, outcomes, suppressing
from portal.bounces.matching import MessageSearch
from portal.bounces.meaning import Meaning, Report
from portal.bounces.models import (
    BounceBreaker,
    BounceEvent,
    BreakerDecision,
    EventState,
    MessageOutcome,
    SuppressionEffect,
)
from portal.bounces.recording import record_event, record_events
from portal.clock import utcnow
from portal.db import db
from portal.outbox.models import OutboxMessage, Status
from portal.outbox.queue import NewMessage, enqueue_row
from portal.state import get_state
from tests.bounces.support import GRACE, outcome, run_worker, send, suppressed

pytestmark = pytest.mark.both_databases


@pytest.fixture(autouse=True)
def clock():
    """A frozen clock that the test shifts."""
    with time_machine.travel("2026-03-02 09:12:00+00:00", tick=False) as traveller:
        yield traveller


def report(account_id: int, sent, meaning: Meaning, **more) -> None:
    """Record a report about a message, as the reader of a mailbox does, and process it."""
    found = Report(meaning, key=f"{sent.id} {meaning} {utcnow()}", reference=sent.reference, **more)
    record_event(account_id, "mailbox", found, now=utcnow())
    db.session.commit()
    run_worker()


def test_an_unknown_mailbox_is_suppressed_at_once_and_what_waits_for_it_does_not_leave(brightleaf):
    sent = send(brightleaf)
    waiting = enqueue_row(brightleaf, NewMessage("new-purchase", "later", GRACE, "S", "T"), now=utcnow())
    report(brightleaf, sent, Meaning.HARD, status="5.1.1", reason="No such user")
    assert suppressed(brightleaf) == {GRACE: SuppressionReason.BOUNCED}
    assert db.session.get_one(OutboxMessage, waiting.id).status is Status.SUPPRESSED
    assert "No such user" in suppressions.find_suppression(brightleaf, GRACE).note


def test_an_event_that_causes_an_internal_error_does_not_hold_up_the_others(app, brightleaf, caplog):
    search = get_state(app).part(MessageSearch)

    def broken(_account_id: int, value: str) -> list[int]:
        if value == "broken":
            db.session.execute(insert(BounceEvent).values(account_id=None))
        return []

    get_state(app).put(MessageSearch, replace(search, by_queue_id=broken))
    bad = Report(Meaning.HARD, key="bad", queue_id="broken")
    record_event(brightleaf, "mailbox", bad, now=utcnow())
    report(brightleaf, send(brightleaf), Meaning.HARD)
    get_state(app).put(MessageSearch, search)
    assert suppressed(brightleaf) == {GRACE: SuppressionReason.BOUNCED}
    states = {(one.queue_id, one.state) for one in db.session.scalars(select(BounceEvent))}
    assert states == {("broken", EventState.UNMATCHED), ("", EventState.MATCHED)}
    assert "processing bounce event" in caplog.text


@pytest.mark.parametrize("meaning", [Meaning.BLOCKED, Meaning.DELAYED, Meaning.AUTO_REPLY, Meaning.DELIVERED])
def test_policy_delay_and_automatic_replies_suppress_nothing(brightleaf, meaning):
    for _ in range(4):
        report(brightleaf, send(brightleaf), meaning)
    assert suppressed(brightleaf) == {}


def test_three_different_messages_within_14_days_suppress_for_soft_bounces(brightleaf, clock):
    first = send(brightleaf)
    for _ in range(5):
        report(brightleaf, first, Meaning.SOFT)
        clock.shift(60)
    assert suppressed(brightleaf) == {}, "one message counts once"
    clock.shift(3600)
    report(brightleaf, send(brightleaf), Meaning.SOFT)
    assert suppressed(brightleaf) == {}
    clock.shift(3600)
    report(brightleaf, send(brightleaf), Meaning.SOFT)
    assert suppressed(brightleaf) == {GRACE: SuppressionReason.BOUNCED}


def test_a_delivery_or_14_days_begin_the_count_of_soft_bounces_anew(brightleaf, clock):
    for meaning in (Meaning.SOFT, Meaning.SOFT, Meaning.DELIVERED, Meaning.SOFT, Meaning.SOFT):
        report(brightleaf, send(brightleaf), meaning)
        clock.shift(3600)
    assert suppressed(brightleaf) == {}
    clock.shift(timedelta(days=14))
    report(brightleaf, send(brightleaf), Meaning.SOFT)
    assert suppressed(brightleaf) == {}


def test_a_complaint_replaces_a_bounce_and_the_owners_decision_stays(brightleaf):
    sent = send(brightleaf)
    report(brightleaf, sent, Meaning.COMPLAINT)
    report(brightleaf, sent, Meaning.HARD)
    assert suppressed(brightleaf) == {GRACE: SuppressionReason.COMPLAINED}
    assert suppressions.find_suppression(brightleaf, GRACE).note == "your mailbox for bounces"
    other = send(brightleaf, "ben@receiver.example")
    suppressions.add(brightleaf, other.recipient, "by phone", now=utcnow())
    report(brightleaf, other, Meaning.COMPLAINT)
    assert suppressed(brightleaf)[other.recipient] is SuppressionReason.BY_OWNER


def test_a_bounce_after_an_unsubscription_from_the_same_message_suppresses(brightleaf):
    sent = send(brightleaf)
    for meaning in (Meaning.DELIVERED, Meaning.UNSUBSCRIBED):
        report(brightleaf, sent, meaning)
    assert suppressed(brightleaf) == {GRACE: SuppressionReason.UNSUBSCRIBED}
    report(brightleaf, sent, Meaning.HARD, status="5.1.1")
    assert suppressed(brightleaf) == {GRACE: SuppressionReason.BOUNCED}


def test_the_owners_own_mailbox_is_never_suppressed_but_shown(brightleaf):
    sent = send(brightleaf, "ada@brightleaf.example", affiliate=False)
    report(brightleaf, sent, Meaning.HARD)
    assert suppressed(brightleaf) == {}
    assert outcome(sent.id).meaning is Meaning.HARD


def test_late_reports_about_erased_persons_open_no_breaker(brightleaf):
    sent = [send(brightleaf, f"erased-{number}@erased.invalid") for number in range(22)]
    reports = [Report(Meaning.HARD, key=str(one.id), reference=one.reference) for one in sent]
    record_events(brightleaf, "mailbox", reports, now=utcnow())
    db.session.commit()
    run_worker()
    assert list(breaker.list_open(brightleaf)) == []
    assert suppressed(brightleaf) == {}


@pytest.mark.parametrize("meaning", [Meaning.HARD, Meaning.COMPLAINT])
def test_an_owner_who_is_an_affiliate_for_a_trial_still_gets_the_notices(brightleaf, meaning):
    report(brightleaf, send(brightleaf, "ada@brightleaf.example"), meaning)
    assert suppressed(brightleaf) == {}


def mass(account_id: int, number: int, *, refused: int, domain: str = "crowd.example"):
    """Send to many mailboxes of a domain, of which some are reported as unknown."""
    sent = [send(account_id, f"m{n}@{domain}") for n in range(number)]
    for one in sent[:refused]:
        report(account_id, one, Meaning.HARD, status="5.1.1")
    return sent


def test_mass_refusals_of_one_domain_wait_and_the_hour_can_be_undone(brightleaf, clock):
    sent = mass(brightleaf, 30, refused=25)
    assert len(suppressed(brightleaf)) == 20
    (row,) = breaker.list_open(brightleaf)
    assert row.domain == "crowd.example"
    report(brightleaf, send(brightleaf, "else@other.example"), Meaning.HARD)
    assert "else@other.example" in suppressed(brightleaf), "other domains are not concerned"
    count = breaker.decide(breaker.find_open(brightleaf, row.id), BreakerDecision.KEEP, now=utcnow())
    assert count == 25
    assert suppressed(brightleaf) == {"else@other.example": SuppressionReason.BOUNCED}
    report(brightleaf, sent[26], Meaning.HARD)
    assert len(suppressed(brightleaf)) == 1, "reports of the next hour are dismissed, too"
    clock.shift(timedelta(hours=2))
    report(brightleaf, sent[27], Meaning.HARD)
    assert sent[27].recipient in suppressed(brightleaf)
    assert breaker.list_open(brightleaf) == []


def test_keeping_the_mailboxes_lifts_only_what_reports_have_suppressed(brightleaf):
    sent = mass(brightleaf, 30, refused=18)
    refused, unsubscribed, complained, both = (one.recipient for one in sent[:4])
    for mailbox in (refused, sent[20].recipient):  # a server refused them itself, after a report or before
        suppressions.suppress(brightleaf, mailbox, SuppressionReason.BOUNCED, note="550 5.1.1", now=utcnow())
    suppressions.suppress(brightleaf, unsubscribed, SuppressionReason.UNSUBSCRIBED, now=utcnow())
    suppressions.suppress(brightleaf, sent[21].recipient, SuppressionReason.UNSUBSCRIBED, now=utcnow())
    report(brightleaf, sent[2], Meaning.COMPLAINT)
    for one in sent[18:26]:
        report(brightleaf, one, Meaning.HARD, status="5.1.1")
    report(brightleaf, send(brightleaf, both), Meaning.HARD)
    (row,) = breaker.list_open(brightleaf)
    count = breaker.decide(breaker.find_open(brightleaf, row.id), BreakerDecision.KEEP, now=utcnow())
    assert suppressed(brightleaf) == {
        refused: SuppressionReason.BOUNCED,
        sent[20].recipient: SuppressionReason.BOUNCED,
        complained: SuppressionReason.COMPLAINED,
        unsubscribed: SuppressionReason.UNSUBSCRIBED,
        sent[21].recipient: SuppressionReason.UNSUBSCRIBED,
    }
    assert count == 23, "of 25 with a report, two were refused by a server itself"


def test_the_owner_may_suppress_what_waited(brightleaf):
    mass(brightleaf, 25, refused=25)
    (row,) = breaker.list_open(brightleaf)
    breaker.decide(breaker.find_open(brightleaf, row.id), BreakerDecision.SUPPRESS, now=utcnow())
    assert len(suppressed(brightleaf)) == 25
    assert db.session.scalars(select(BounceBreaker.decision)).all() == [BreakerDecision.SUPPRESS]
    report(brightleaf, send(brightleaf, "late@crowd.example"), Meaning.HARD, status="5.1.1")
    assert "late@crowd.example" in suppressed(brightleaf), "the decision holds for the next hour"
    assert breaker.list_open(brightleaf) == []


def test_the_owner_decides_after_the_reports_that_are_processed_at_that_time(app, brightleaf):
    sent = mass(brightleaf, 25, refused=24)
    (row,) = breaker.list_open(brightleaf)
    breaker_id, order = row.id, []
    record_event(
        brightleaf, "mailbox", Report(Meaning.HARD, "last", reference=sent[24].reference), now=utcnow()
    )
    db.session.commit()

    def decide() -> None:
        with app.app_context():
            found = breaker.find_open(brightleaf, breaker_id)
            order.append("decided")
            breaker.decide(found, BreakerDecision.SUPPRESS, now=utcnow())
            db.session.remove()

    outcomes.lock_account(brightleaf)
    waiting = db.session.scalars(select(BounceEvent).where(BounceEvent.state == EventState.WAITING)).one()
    message = db.session.get_one(OutboxMessage, sent[24].id)
    outcomes.join(waiting, message, now=utcnow())
    suppressing.apply(waiting, message, now=utcnow())
    owner = threading.Thread(target=decide)
    owner.start()
    owner.join(0.5)
    order.append("processed")
    waiting.state, waiting.next_at = EventState.MATCHED, None
    db.session.commit()
    owner.join(300)
    assert order == ["processed", "decided"]
    assert sent[24].recipient in suppressed(brightleaf)


@pytest.mark.parametrize("decision", [BreakerDecision.SUPPRESS, BreakerDecision.KEEP])
def test_a_decision_about_many_mailboxes_lets_other_writers_in_between(brightleaf, decision):
    now = utcnow()
    row = {"account_id": brightleaf, "domain": "crowd.example", "meaning": Meaning.HARD, "source": "mailbox"}
    row |= dict.fromkeys(("occurred_at", "noted_at", "sent_at"), now) | {"effect": SuppressionEffect.WAITS}
    rows = [
        {**row, "message_id": 10_000 + n, "mailbox_key": f"m{n}@crowd.example", "event_key": str(n)}
        for n in range(450)
    ]
    db.session.execute(insert(MessageOutcome), rows)
    opened = BounceBreaker(account_id=brightleaf, domain="crowd.example", opened_at=now, last_seen_at=now)
    db.session.add(opened)
    db.session.commit()
    open_at_commit: list[int] = []

    def count_open(_session: object) -> None:
        with db.engine.connect() as other:
            query = select(func.count()).select_from(BounceBreaker).where(BounceBreaker.closed_at.is_(None))
            open_at_commit.append(other.scalar(query) or 0)

    event.listen(db.session, "after_commit", count_open)
    try:
        assert breaker.decide(breaker.find_open(brightleaf, opened.id), decision, now=now) == 450
    finally:
        event.remove(db.session, "after_commit", count_open)
    assert open_at_commit == [1, 1, 0], "it closes with the last batch"
    assert len(suppressed(brightleaf)) == (450 if decision is BreakerDecision.SUPPRESS else 0)
    effects = set(db.session.scalars(select(MessageOutcome.effect)))
    assert len(effects) == 1
    assert SuppressionEffect.WAITS not in effects


def test_a_tenth_of_many_is_no_mass_refusal(brightleaf):
    mass(brightleaf, 230, refused=22)
    assert breaker.list_open(brightleaf) == []
    assert len(suppressed(brightleaf)) == 22


def test_a_lifted_suppression_has_a_reason_and_earlier_messages_do_not_bring_it_back(
    brightleaf, owner, clock
):
    first = send(brightleaf)
    report(brightleaf, first, Meaning.HARD, status="5.1.1")
    row = suppressions.find_suppression(brightleaf, GRACE)
    address = f"/affiliates/not-written-to/{row.id}/remove"
    refused = owner.submit(address, {"why": " "}, page="/affiliates/not-written-to")
    assert refused.status_code == 422
    assert "Enter a reason for unblocking." in refused.get_data(as_text=True)
    assert GRACE in suppressed(brightleaf)
    clock.shift(60)
    done = owner.submit(address, {"why": "She has a new mailbox"}, page="/affiliates/not-written-to")
    assert done.status_code == 303
    assert suppressed(brightleaf) == {}
    lift = db.session.scalars(select(SuppressionLift)).one()
    assert (lift.mailbox_key, lift.why, lift.lifted_by) == (GRACE, "She has a new mailbox", "Ada Fairweather")
    report(brightleaf, first, Meaning.HARD, status="5.1.1")
    assert suppressed(brightleaf) == {}, "news about a message from before"
    clock.shift(60)
    report(brightleaf, send(brightleaf), Meaning.HARD, status="5.1.1")
    assert suppressed(brightleaf) == {GRACE: SuppressionReason.BOUNCED}


def test_another_account_lifts_nothing(brightleaf, stranger):
    report(brightleaf, send(brightleaf), Meaning.HARD)
    row = suppressions.find_suppression(brightleaf, GRACE)
    address = f"/affiliates/not-written-to/{row.id}/remove"
    assert stranger.submit(address, {"why": "x"}, page="/affiliates/rules").status_code == 404
