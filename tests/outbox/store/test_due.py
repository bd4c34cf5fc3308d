"""The due query: which messages may be claimed, and in which order."""

from datetime import timedelta

import pytest
import time_machine

from portal.db import db
from portal.db.transaction import db_now
from portal.outbox.models import OutboxMessage, Status
from portal.outbox.sending.drain import Drain, drain_queue
from portal.outbox.store import due
from tests.outbox.support import (
    answering,
    attempts,
    enqueue_message,
    honest,
    message,
    new_account,
    start_drain,
    subjects,
)

GREYLISTING = answering(RCPT=b"451 4.7.1 Greylisted, try again later\r\n")


def test_the_account_served_longest_ago_is_first(app, server, routes, account):
    other = new_account("Copperpot")
    routes.send_to(other, server)
    for id_ in (account, other):
        enqueue_message(id_, f"first{id_}")
        drain_queue(id_)
    enqueue_message(account, "again")
    enqueue_message(other, "again too")
    assert due.due_queues(db_now()) == [account, other]
    drain_queue(account)
    enqueue_message(account, "once more")
    assert due.due_queues(db_now()) == [other, account]


def test_messages_to_one_recipient_are_sent_in_the_order_they_were_enqueued(app, server, account):
    for number in range(5):
        enqueue_message(account, f"m{number}", recipient="bob@example.net")
    first = start_drain(account)
    assert not any(Drain(account).start() for _ in range(3)), "no later message overtakes the one in progress"
    first.run_claimed()
    assert subjects(server) == [f"Welcome, m{number}" for number in range(5)]


def test_a_message_waits_while_an_earlier_one_to_the_same_recipient_is_retried(app, serve, routes, account):
    server = serve(GREYLISTING)
    routes.send_to(account, server)
    with time_machine.travel("2026-05-04 10:00:00+00:00", tick=False) as clock:
        first = enqueue_message(account, "first", recipient="bob@example.net")
        other = enqueue_message(account, "other")
        drain_queue(account)
        server.script = honest()
        second = enqueue_message(account, "second", recipient="bob@example.net")
        drain_queue(account)
        assert attempts(second) == []
        test = enqueue_message(account, "test", recipient="bob@example.net", is_test=True)
        drain_queue(account)
        assert message(test).status is Status.SENT, "a test does not wait for earlier messages"
        clock.shift(timedelta(minutes=3))
        drain_queue(account)
    assert {message(one).status for one in (first, second, other)} == {Status.SENT}
    sent = subjects(server)
    assert sent.index("Welcome, first") < sent.index("Welcome, second")


@pytest.mark.parametrize("end", [Status.SENT, Status.FAILED, Status.CANCELLED])
def test_a_settled_message_blocks_no_later_one(app, server, account, end):
    first = enqueue_message(account, "first", recipient="bob@example.net")
    db.session.execute(db.update(OutboxMessage).where(OutboxMessage.id == first).values(status=end))
    db.session.commit()
    second = enqueue_message(account, "second", recipient="bob@example.net")
    drain_queue(account)
    assert message(second).status is Status.SENT


def test_many_messages_to_one_recipient_do_not_hide_a_later_one_to_another(app, server, account):
    drain = None
    for number in range(90):
        enqueue_message(account, f"m{number}", recipient="bob@example.net")
        drain = drain or start_drain(account)
    last = enqueue_message(account, "last")
    drain_queue(account)
    assert message(last).status is Status.SENT


def test_the_due_query_scans_no_table_of_messages(app, database):
    if database == "postgresql":
        pytest.skip("the planner of PostgreSQL decides by statistics")
    queries = [due.due_statement(system=system) for system in (True, False)]
    for rule in (due._TESTS, due._CRASHED, *due._PROBES):
        table = f"outbox_message m INDEXED BY ix_outbox_message_{rule.index}"
        queries += [due._narrow_query(1, rule.where, table), due._wide_query(1, rule.where, table)]
    names = dict.fromkeys(("now", "earliest", "latest", "account", "limit", "window"), 1)
    for statement in queries:
        plan = db.session.execute(db.text(f"EXPLAIN QUERY PLAN {statement}"), names).all()
        steps = " | ".join(step[-1] for step in plan)
        assert "SCAN m" not in steps or "CO-ROUTINE m" in steps, steps
        assert "ix_outbox_message_log" not in steps, steps
        assert "ix_outbox_message" in steps
