"""Hooks: the generic form, repeated, shuffled and simultaneous calls, bad input, secrets, and other accounts."""

from __future__ import annotations

import itertools
import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from portal.bounces import cleanup, hooks, processing, receiving, recording
from portal.bounces.meaning import Meaning
from portal.bounces.models import BounceEvent, BounceHook, EventState, FormerSecret, OutcomeHour
from portal.clock import utcnow
from portal.db import db
from portal.jobs import fair_pool
from portal.jobs.registry import job_registry
from portal.outbox.reference import reference_of
from portal.state import get_state
from tests.bounces.support import (
    GRACE,
    events,
    hook_row,
    make_hook,
    outcome,
    path_of,
    post,
    run_worker,
    send,
    state_of,
    suppressed,
)
from tests.outbox.support import PATIENCE_S, wait_for

pytestmark = pytest.mark.both_databases
AT = "2026-03-02T09:00:00Z"


def about(sent, kind: str, **more: Any) -> dict[str, Any]:
    return {"id": f"{sent.id}-{kind}", "type": kind, "reference": sent.reference, "at": AT, **more}


def story(sent) -> list[dict[str, Any]]:
    """Return what is reported about one message: it bounces in the end, and its recipient complains."""
    return [
        about(sent, "delayed", status="4.4.1"),
        about(sent, "delivered"),
        about(sent, "hard", status="5.1.1", reply_code=550, reason="No such user"),
        about(sent, "complaint"),
    ]


ORDERS = [order for number, order in enumerate(itertools.permutations(range(4))) if number in (0, 7, 16, 23)]


@pytest.mark.thorough
def test_any_order_any_number_of_times_and_8_threads_make_one_row_and_one_state(app, brightleaf):
    hook, states = make_hook(brightleaf, "generic"), []
    for number, order in enumerate(ORDERS):
        sent = send(brightleaf, f"r{number}@receiver{number}.example")
        calls = [story(sent)[place] for place in order]

        def repeat(count: int, calls: list[dict[str, Any]] = calls) -> None:
            for _ in range(count):
                for one in calls:
                    with app.app_context():
                        body = json.dumps(one)
                        assert app.test_client().post(hook, data=body).status_code == 200
            with app.app_context():
                processing.process(brightleaf)
                db.session.remove()

        threads = [threading.Thread(target=repeat, args=(6 if n < 6 else 5,)) for n in range(8)]
        db.session.commit()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
        run_worker()
        stored = [row for row in events() if row.message_id == sent.id]
        assert len(stored) == 4
        assert {row.state for row in stored} == {EventState.MATCHED}
        states.append(state_of(sent.id)[:-1])
    assert len(set(states)) == 1
    assert states[0][0] is Meaning.COMPLAINT
    counts = db.session.execute(select(OutcomeHour.meaning, OutcomeHour.count)).all()
    assert {meaning: count for meaning, count in counts if count} == {Meaning.COMPLAINT: len(ORDERS)}


@pytest.mark.parametrize("order", list(itertools.permutations(["delayed", "delivered", "hard"])))
def test_late_news_never_undoes_a_bounce(app, brightleaf, order):
    hook, sent = make_hook(brightleaf, "generic"), send(brightleaf)
    for kind in order:
        post(app, hook, about(sent, kind))
        run_worker()
    assert outcome(sent.id).meaning is Meaning.HARD


def test_a_delay_is_no_bounce(app, brightleaf):
    hook, sent = make_hook(brightleaf, "generic"), send(brightleaf)
    post(app, hook, [about(sent, "delayed"), about(sent, "delivered")])
    run_worker()
    assert outcome(sent.id).meaning is Meaning.DELIVERED
    assert suppressed(brightleaf) == {}


def test_the_message_is_found_by_reference_queue_id_or_message_id(app, brightleaf):
    hook = make_hook(brightleaf, "generic")
    first, second, third = (send(brightleaf, f"p{n}@receiver.example") for n in range(3))
    post(
        app,
        hook,
        {
            "events": [
                {"type": "delivered", "reference": first.reference.upper()},
                {"type": "delivered", "queue_id": second.queue_id},
                {"type": "delivered", "message_id": third.header_id.strip("<>")},
            ]
        },
    )
    run_worker()
    assert [outcome(sent.id).meaning for sent in (first, second, third)] == [Meaning.DELIVERED] * 3


@pytest.mark.parametrize(
    ("given", "kept"),
    [("5.1.1 (no such user)", "5.1.1"), ("5.1.1" * 100, ""), ("gone", ""), ("5.0.0", "5.0.0")],
)
def test_what_is_no_enhanced_code_is_not_shown_as_one(app, brightleaf, given, kept):
    sent = send(brightleaf)
    post(app, make_hook(brightleaf, "generic"), about(sent, "hard", status=given))
    run_worker()
    assert outcome(sent.id).status == kept


def test_an_address_alone_identifies_no_message(app, brightleaf):
    hook, sent = make_hook(brightleaf, "generic"), send(brightleaf)
    post(app, hook, {"type": "hard", "recipient": sent.recipient, "status": "5.1.1"})
    run_worker()
    (row,) = events()
    assert (row.state, row.message_id) == (EventState.UNMATCHED, None)
    assert outcome(sent.id) is None
    assert suppressed(brightleaf) == {}


def test_a_queue_id_that_several_messages_have_needs_the_recipient(app, brightleaf):
    hook = make_hook(brightleaf, "generic")
    send(brightleaf, "a@receiver.example", queue_id="SAME")
    meant = send(brightleaf, "b@receiver.example", queue_id="SAME")
    post(
        app,
        hook,
        [
            {"type": "soft", "queue_id": "SAME"},
            {"type": "soft", "queue_id": "SAME", "recipient": "B@receiver.example"},
        ],
    )
    run_worker()
    assert {row.message_id for row in events()} == {None, meant.id}


def test_an_event_before_our_own_acceptance_waits_for_it(app, brightleaf):
    hook = make_hook(brightleaf, "generic")
    send(brightleaf, queue_id="known")
    post(app, hook, {"type": "hard", "queue_id": "unknown-yet", "recipient": GRACE, "status": "5.1.1"})
    run_worker()
    (event,) = events()
    assert event.state is EventState.WAITING
    other = send(brightleaf, GRACE, queue_id="unknown-yet")
    db.session.execute(update(BounceEvent).values(next_at=utcnow() - timedelta(seconds=1)))
    db.session.commit()
    run_worker()
    assert outcome(other.id).meaning is Meaning.HARD


def test_the_events_of_one_message_are_bounded_and_the_deciding_one_stays(app, brightleaf):
    hook, sent = make_hook(brightleaf, "generic"), send(brightleaf)
    event = {"reference": sent.reference, "recipient": GRACE}
    batch = [{**event, "type": "delivered", "id": str(number)} for number in range(120)]
    assert post(app, hook, {"events": batch}) == 200
    run_worker()
    assert post(app, hook, {**event, "type": "hard", "id": "hard"}) == 200
    assert post(app, hook, {"events": batch}) == 200, "a provider repeats them"
    run_worker()
    kept = events()
    assert len(kept) == 50
    assert {one.state for one in kept} == {EventState.MATCHED}
    assert [one.meaning for one in kept].count(Meaning.HARD) == 1
    assert outcome(sent.id).meaning is Meaning.HARD


def test_one_accounts_events_do_not_delay_anothers(app, brightleaf, copperpot):
    released, run = threading.Event(), job_registry(app).tasks[recording.JOB].call_local
    ids = {}
    for account_id in (brightleaf, copperpot):
        ids[account_id] = send(account_id).id
        hook = make_hook(account_id, "generic")
        assert post(app, hook, {"type": "soft", "id": "1", "reference": reference_of(ids[account_id])}) == 200
    try:
        flood = ("flood", brightleaf)
        fair_pool.submit(app, "bounces", brightleaf, flood, lambda: released.wait(PATIENCE_S))
        run(brightleaf)  # the one thread of the queue goes on at once
        run(copperpot)
        wait_for(lambda: outcome(ids[copperpot]) is not None)
        assert outcome(ids[brightleaf]) is None
    finally:
        released.set()
    wait_for(lambda: outcome(ids[brightleaf]) is not None)
    get_state(app).part(fair_pool.FairPools).finish()


def test_an_event_that_matches_nothing_for_an_hour_is_kept_as_such(app, brightleaf):
    hook = make_hook(brightleaf, "generic")
    post(app, hook, {"type": "soft", "queue_id": "never"})
    early = utcnow() - timedelta(hours=2)
    db.session.execute(update(BounceEvent).values(received_at=early, next_at=early))
    db.session.commit()
    run_worker()
    (row,) = events()
    assert (row.state, row.next_at) == (EventState.UNMATCHED, None)


def test_another_accounts_hook_changes_nothing_here(app, brightleaf, copperpot):
    hook, sent = make_hook(copperpot, "generic"), send(brightleaf)
    post(
        app,
        hook,
        [
            about(sent, "hard"),
            {"type": "hard", "queue_id": sent.queue_id},
            {"type": "hard", "message_id": sent.header_id},
        ],
    )
    run_worker()
    assert outcome(sent.id) is None
    assert suppressed(brightleaf) == suppressed(copperpot) == {}
    assert {row.account_id for row in events()} == {copperpot}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"3",
        b'["a", 1]',
        b"[" * 100_000,
        b'{"type": "hard", "at": "9999999-01-01", "reply_code": 1e400, "reference": ["x"]}',
        b'{"type": ["hard"], "recipient": {"a": 1}}',
        b'{"type": "\\u0000\\ud800", "reason": "\\u0000"}',
        b'{"type": "invented", "id": "' + b"9" * 5000 + b'"}',
        b'{"events": {"type": "hard"}}',
        b'{"type": "hard", "reply_code": ' + b"9" * 5000 + b"}",
    ],
)  # fmt: skip
def test_what_is_not_understood_is_kept_and_never_an_error(app, brightleaf, body):
    hook = make_hook(brightleaf, "generic")
    assert post(app, hook, body) == 200
    assert post(app, hook, body) == 200
    run_worker()
    assert len(events()) == 1
    assert events()[0].state is EventState.UNMATCHED


def test_bodies_and_batches_are_bounded(app, brightleaf):
    hook = make_hook(brightleaf, "generic")
    assert post(app, hook, b" " * (1024 * 1024 + 1)) == 413
    assert post(app, hook, [{"type": "soft", "queue_id": str(n)} for n in range(2500)]) == 200
    assert len(events()) == 2000
    assert post(app, hook, {"type": "soft", "reason": "x" * 50_000, "recipient": "y" * 5000}) == 200
    row = events()[-1]
    assert len(row.raw) <= 16_000
    assert (len(row.reason), len(row.recipient)) == (300, 254)


def test_a_hook_takes_no_more_events_than_the_worker_keeps_up_with(app, brightleaf, copperpot, monkeypatch):
    monkeypatch.setattr(receiving, "MAX_WAITING", 500)  # of 20,000: each is processed below
    hook, other = make_hook(brightleaf, "generic"), make_hook(copperpot, "generic")
    at = {"occurred_at": utcnow(), "received_at": utcnow(), "next_at": utcnow()}
    row = {"account_id": brightleaf, "source": "generic", "meaning": Meaning.SOFT, **at}
    db.session.execute(
        insert(BounceEvent), [{**row, "key": str(n)} for n in range(receiving.MAX_WAITING - 1)]
    )
    db.session.commit()
    one = {"type": "soft", "queue_id": "1"}
    assert [post(app, hook, {**one, "id": n}) for n in range(2)] == [200, 503]
    assert post(app, other, one) == 200
    processing.process(brightleaf)
    assert post(app, hook, {**one, "id": 2}) == 200


def test_a_probe_is_answered_and_a_wrong_address_is_not(app, brightleaf):
    hook = make_hook(brightleaf, "generic")
    browser = app.test_client()
    assert (browser.get(hook).status_code, browser.head(hook).status_code) == (200, 200)
    for wrong in (f"{hook}x", hook.replace("generic", "mailgun"), "/hooks/generic/", "/hooks/none/x"):
        assert post(app, wrong, {"type": "soft"}) == 404, wrong
        assert browser.get(wrong).status_code == 404
    assert browser.put(hook).status_code == 405
    assert events() == []


def test_a_former_address_works_for_a_week(app, brightleaf):
    former = make_hook(brightleaf, "generic")
    assert hooks.renew(brightleaf, "generic", now=utcnow())
    assert path_of(brightleaf, "generic") != former
    assert post(app, former, {"type": "soft", "id": "1"}) == 200
    second = path_of(brightleaf, "generic")
    assert hooks.renew(brightleaf, "generic", now=utcnow()), "a second click"
    assert post(app, former, {"type": "soft", "id": "2"}) == 200
    assert post(app, second, {"type": "soft", "id": "4"}) == 200
    db.session.execute(update(FormerSecret).values(works_until=utcnow()))
    assert post(app, former, {"type": "soft", "id": "5"}) == 404
    assert post(app, second, {"type": "soft", "id": "6"}) == 404
    assert post(app, path_of(brightleaf, "generic"), {"type": "soft", "id": "3"}) == 200
    for _ in range(20):
        assert hooks.renew(brightleaf, "generic", now=utcnow())
    with pytest.raises(hooks.TooManyAddresses):
        hooks.renew(brightleaf, "generic", now=utcnow())
    assert hooks.remove(brightleaf, "generic")
    assert not hooks.remove(brightleaf, "generic")


def test_two_requests_for_a_hook_make_one(app, brightleaf):
    first = make_hook(brightleaf, "generic")
    assert make_hook(brightleaf, "generic") == first


def test_the_secret_is_in_no_column_in_plain_text(app, brightleaf):
    secret = make_hook(brightleaf, "mailgun", "the-signing-key").rpartition("/")[2]
    row = hook_row(brightleaf, "mailgun")
    stored = [getattr(row, column.name) for column in BounceHook.__table__.columns]
    for hidden in (secret, "the-signing-key"):
        assert not any(hidden.encode() in (v if isinstance(v, bytes) else str(v).encode()) for v in stored)


def test_what_is_old_is_deleted(app, brightleaf):
    hook, sent = make_hook(brightleaf, "generic"), send(brightleaf)
    post(app, hook, [about(sent, "delivered"), {"type": "soft", "recipient": GRACE}])
    run_worker()
    cleanup.delete_old(utcnow() + timedelta(days=29))
    assert len(events()) == 2
    cleanup.delete_old(utcnow() + timedelta(days=31))
    (row,) = events()
    assert (row.state, row.raw) == (EventState.MATCHED, "")
    assert outcome(sent.id) is not None


def test_the_unmatched_events_of_an_account_are_bounded(app, brightleaf):
    make_hook(brightleaf, "generic")
    at = {"occurred_at": utcnow(), "received_at": utcnow()}
    row = {
        "account_id": brightleaf,
        "source": "generic",
        "state": EventState.UNMATCHED,
        "meaning": Meaning.SOFT,
    }
    db.session.execute(insert(BounceEvent), [{**row, **at, "key": str(number)} for number in range(10_005)])
    db.session.commit()
    cleanup.delete_old(utcnow())
    assert len(events()) == 10_000
    assert events()[0].key == "5"


def test_more_than_one_batch_is_cleaned_up_at_once(app, brightleaf):
    make_hook(brightleaf, "generic")
    at = {"occurred_at": utcnow(), "received_at": utcnow()}
    row = {"account_id": brightleaf, "source": "generic", "meaning": Meaning.SOFT, "raw": "{}", **at}
    for state, count in ((EventState.MATCHED, 1_100), (EventState.UNMATCHED, 10_600)):
        rows = [{**row, "state": state, "key": f"{state} {number}"} for number in range(count)]
        db.session.execute(insert(BounceEvent), rows)
    db.session.commit()
    cleanup.delete_old(utcnow())
    assert len(events()) == 11_100
    cleanup.delete_old(utcnow() + timedelta(days=31))
    assert {(one.state, one.raw) for one in events()} == {(EventState.MATCHED, "")}


def test_an_early_report_with_a_late_time_is_kept_in_bounds(app, brightleaf):
    hook, sent = make_hook(brightleaf, "generic"), send(brightleaf)
    post(app, hook, {**about(sent, "hard"), "at": "2999-01-01T00:00:00Z"})
    run_worker()
    assert outcome(sent.id).occurred_at < datetime.now(UTC) + timedelta(days=2)
    early = send(brightleaf, "ben@receiver.example")
    post(app, hook, {**about(early, "hard"), "at": "0001-01-01T00:00:00Z"})
    run_worker()
    assert outcome(early.id).occurred_at.year >= 2000


def test_a_reference_that_was_not_made_here_matches_nothing(app, brightleaf):
    hook, sent = make_hook(brightleaf, "generic"), send(brightleaf)
    guess = reference_of(sent.id)[:-1] + ("0" if reference_of(sent.id)[-1] != "0" else "1")
    post(app, hook, {"type": "hard", "reference": guess})
    run_worker()
    assert outcome(sent.id) is None
