"""Slots, the order of each recipient's mail, clocks that disagree, and how a queue opens after trouble."""

from dataclasses import replace
from datetime import timedelta

import pytest
import time_machine

from portal.clock import utcnow
from portal.db import db
from portal.db.transaction import db_now
from portal.outbox import callbacks
from portal.outbox.models import OutboxMessage, Outcome, Status
from portal.outbox.sending.drain import Drain, drain_queue
from portal.outbox.store import due, leases
from portal.smtp.providers import load_catalogue
from portal.state import get_state
from portal.tuning import Tuning
from tests.outbox.support import (
    answering,
    attempts,
    count_leases,
    enqueue_message,
    expire_leases,
    honest,
    message,
    new_account,
    queue,
    route_to,
    start_drain,
    statuses,
    subjects,
)
from tests.smtp.badserver import BadServer

LATER = answering(RCPT=b"451 4.7.1 Greylisted, try again later\r\n")


def taken(account, times):
    """How many of so many drains find a slot."""
    found = 0
    for _ in range(times):
        found += Drain(account).start()
    return found


def test_an_account_has_so_many_connections_at_once_and_no_more(app, server, account):
    for number in range(40):
        enqueue_message(account, f"m{number}")
    assert taken(account, 6) == count_leases(account) == Tuning().connections_per_account


def test_a_provider_that_takes_one_connection_gets_one(app, server, routes, account):
    only_one = load_catalogue().by_host("smtp.office365.com")
    assert only_one.connections == 1
    routes.by_account[account] = lambda: replace(route_to(server.port), provider=only_one)
    for number in range(10):
        enqueue_message(account, f"m{number}")
    assert taken(account, 3) == 1


def test_all_accounts_together_have_so_many_connections(app, server, routes, account):
    get_state(app).config = replace(get_state(app).config, connections=2)
    others = [new_account(f"Other{number}") for number in range(3)]
    for ident in others:
        routes.send_to(ident, server)
        enqueue_message(ident, f"m{ident}")
    assert sum(taken(ident, 1) for ident in others) == 2


def test_a_slot_whose_worker_died_is_free_again(app, server, account):
    enqueue_message(account, "m")
    start_drain(account)
    expire_leases(account)
    drain_queue(account)
    assert (count_leases(account), statuses(account)) == (0, [Status.SENT])


def test_the_account_served_longest_ago_comes_first(app, server, routes, account):
    other = new_account("Copperpot")
    routes.send_to(other, server)
    for ident in (account, other):
        enqueue_message(ident, f"first{ident}")
        drain_queue(ident)
    enqueue_message(account, "again")
    enqueue_message(other, "again too")
    assert due.due_queues(db_now()) == [account, other]
    drain_queue(account)
    enqueue_message(account, "once more")
    assert due.due_queues(db_now()) == [other, account]


# -- order


def test_to_one_recipient_messages_leave_in_the_order_they_were_owed(app, server, account):
    for number in range(5):
        enqueue_message(account, f"m{number}", recipient="bob@example.net")
    first = start_drain(account)
    assert taken(account, 3) == 0, "nobody overtakes what is being sent"
    first.run_claimed()
    assert subjects(server) == [f"Welcome, m{number}" for number in range(5)]


def test_a_message_waits_while_an_earlier_one_to_the_same_recipient_is_tried_again(
    app, serve, routes, account
):
    server = serve(LATER)
    routes.send_to(account, server)
    with time_machine.travel("2026-05-04 10:00:00+00:00", tick=False) as clock:
        first, second = enqueue_message(account, "first", recipient="bob@example.net"), None
        other = enqueue_message(account, "other")
        drain_queue(account)
        server.script = honest()
        second = enqueue_message(account, "second", recipient="bob@example.net")
        drain_queue(account)
        assert attempts(second) == []
        test = enqueue_message(account, "test", recipient="bob@example.net", is_test=True)
        drain_queue(account)
        assert message(test).status is Status.SENT, "a test waits for nothing"
        clock.shift(timedelta(minutes=3))
        drain_queue(account)
    assert {message(one).status for one in (first, second, other)} == {Status.SENT}
    sent = subjects(server)
    assert sent.index("Welcome, first") < sent.index("Welcome, second")


@pytest.mark.parametrize("end", [Status.SENT, Status.FAILED, Status.CANCELLED])
def test_what_is_over_blocks_nobody(app, server, account, end):
    first = enqueue_message(account, "first", recipient="bob@example.net")
    db.session.execute(db.update(OutboxMessage).where(OutboxMessage.id == first).values(status=end))
    db.session.commit()
    second = enqueue_message(account, "second", recipient="bob@example.net")
    drain_queue(account)
    assert message(second).status is Status.SENT


def test_a_crowd_to_one_recipient_does_not_hide_what_comes_after(app, server, account):
    drain = None
    for number in range(90):
        enqueue_message(account, f"m{number}", recipient="bob@example.net")
        drain = drain or start_drain(account)
    last = enqueue_message(account, "last")
    drain_queue(account)
    assert message(last).status is Status.SENT


# -- clocks


@pytest.mark.clocks_disagree
@pytest.mark.parametrize("hours", [-1, 1])
def test_a_worker_whose_clock_is_an_hour_off_takes_nothing_from_others_and_sends(app, server, account, hours):
    enqueue_message(account, "m")
    start_drain(account)
    with time_machine.travel(utcnow() + timedelta(hours=hours)):
        assert drain_queue(account) == 0, "the lease stands, whatever this worker's clock says"
        other = enqueue_message(account, "other")
        assert drain_queue(account) == 1
    assert message(other).status is Status.SENT
    assert len(server.messages) == 1


@pytest.mark.clocks_disagree
@pytest.mark.parametrize("hours", [-1, 1])
def test_what_a_portal_owes_whose_clock_is_an_hour_off_leaves_at_once(app, server, account, hours):
    with time_machine.travel(utcnow() + timedelta(hours=hours)):
        ident = enqueue_message(account, "m")
    drain_queue(account)
    assert message(ident).status is Status.SENT


def test_after_the_database_s_clock_was_set_back_nothing_waits_for_an_hour(app, server, account):
    from portal.outbox.store import recovery

    recovery._last_seen.clear()
    with time_machine.travel(utcnow() + timedelta(hours=1), tick=True):
        recovery.sweep()
        stuck, fresh = enqueue_message(account, "stuck"), None
        start_drain(account)
        fresh = enqueue_message(account, "fresh")
    recovery.sweep()
    drain_queue(account)
    assert message(fresh).status is Status.SENT
    assert message(stuck).status is Status.SENDING, "whoever lives has a lease's time to renew it"
    get_state(app).discard(leases._ClockSteps)  # which has passed
    drain_queue(account)
    assert message(stuck).status is Status.SENT, "a lease so far ahead was given before the clock was set"


# -- after trouble


def test_after_a_pause_one_message_leaves_first_and_only_its_success_opens_the_queue(
    app, serve, routes, account
):
    server: BadServer = serve(answering(GREETING=b"421 4.3.2 Too busy\r\n"))
    routes.send_to(account, server)
    with time_machine.travel("2026-05-04 10:00:00+00:00", tick=False) as clock:
        for number in range(40):
            enqueue_message(account, f"m{number}")
        drain_queue(account)
        assert (queue(account).ramp_limit, queue(account).healthy) == (0, True)
        clock.shift(timedelta(minutes=3))
        server.script = honest()
        probe = start_drain(account)
        assert len(probe.claims) == 1, "one message, and nobody beside it"
        assert taken(account, 3) == 0
        widths = []
        while probe.current is not None:
            probe.send_current()
            widths.append(queue(account).ramp_limit)
    assert widths[0] == 1
    assert list(dict.fromkeys(widths)) == [1, 2, 4, None]
    assert set(statuses(account)) == {Status.SENT}


def test_a_herd_of_retries_is_spread(app):
    from collections import Counter

    from portal.outbox import retry

    seconds = Counter(int(retry.delay(1).total_seconds()) for _ in range(20_000))
    assert max(seconds.values()) <= 0.05 * 20_000


# -- listeners and gates


def test_whoever_listens_is_told_of_every_settlement_in_its_transaction(app, serve, routes, account):
    heard = []

    def listen(account_id, claim, outcome, diagnosis, server):
        assert db.session().in_transaction()
        code = diagnosis["code"] if diagnosis else None
        heard.append((account_id, claim.message.id, outcome, code is None, server.split(":")[0]))

    def fail(*_):
        raise RuntimeError("a listener of ours")

    callbacks.add_listener(app, fail)
    callbacks.add_listener(app, listen)
    bad = serve(
        answering(RCPT=lambda peer, line: peer.say(b"550 5.1.1 No\r\n" if b"bad@" in line else b"250 ok\r\n"))
    )
    routes.send_to(account, bad)
    good, refused = enqueue_message(account, "good"), enqueue_message(account, "bad")
    drain_queue(account)
    assert heard == [
        (account, good, Outcome.ACCEPTED, True, "localhost"),
        (account, refused, Outcome.REJECTED, False, "localhost"),
    ]
    assert statuses(account) == [Status.SENT, Status.FAILED]


def test_a_gate_says_how_many_may_leave_now(app, server, account):
    allowed = [1, 0]
    callbacks.add_gate(app, lambda queue, now: allowed.pop(0) if allowed else 0)
    for number in range(3):
        enqueue_message(account, f"m{number}")
    drain_queue(account)
    assert statuses(account) == [Status.SENT, Status.QUEUED, Status.QUEUED]
    assert count_leases(account) == 0


# -- cost


def test_finding_what_is_due_reads_no_table_of_messages(app, database):
    if database == "postgresql":
        pytest.skip("its planner decides by statistics")
    queries = [due.due_statement(system=system) for system in (True, False)]
    for rule in (due._TESTS, due._CRASHED, *due._PROBES):
        table = f"outbox_message m INDEXED BY ix_outbox_message_{rule.index}"
        queries += [due._narrow_query(1, rule.where, table), due._wide_query(1, rule.where, table)]
    names = dict.fromkeys(("now", "earliest", "latest", "account", "limit", "window"), 1)
    for statement in queries:
        plan = db.session.execute(db.text(f"EXPLAIN QUERY PLAN {statement}"), names).all()
        words = " | ".join(step[-1] for step in plan)
        assert "SCAN m" not in words or "CO-ROUTINE m" in words, words
        assert "ix_outbox_message_log" not in words, words
        assert "ix_outbox_message" in words
