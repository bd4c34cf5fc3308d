"""Outcomes: what a failed or accepted attempt does to the message and to the account's queue."""

from dataclasses import replace
from datetime import timedelta

import pytest
import time_machine
from flask_mail import email_dispatched

from portal.clock import utcnow
from portal.db import db
from portal.outbox.models import Outcome, Status
from portal.outbox.queue import hold, release
from portal.outbox.routing import NoRoute
from portal.outbox.sending.drain import drain_queue
from portal.outbox.sending.message import AccountMessage
from portal.outbox.store import due
from portal.smtp.failure import Stage
from portal.smtp.server import Limits
from tests.outbox.support import (
    answering,
    attempts,
    enqueue_message,
    honest,
    message,
    message_ids,
    queue,
    route_to,
    statuses,
    subjects,
)
from tests.smtp.badserver import BadServer, disconnect

SETTINGS_FAILURES = {
    "a refused log-in": answering(AUTH=b"535 5.7.8 Username and password not accepted\r\n"),
    "a missing log-in": answering(MAIL=b"530 5.7.0 Authentication required\r\n"),
    "a refused sender": answering(MAIL=b"550 5.7.1 Sender address rejected: not owned by user\r\n"),
    "a certificate for another name": honest(certificate="wrong name"),
    "an expired certificate": honest(certificate="expired"),
}
TEMPORARY_REFUSALS = {
    "greylisting": answering(RCPT=b"451 4.7.1 Greylisted, try again later\r\n"),
    "a full mailbox": answering(RCPT=b"452 4.2.2 Mailbox full\r\n"),
    "a temporary refusal after DATA": answering(DOT=b"451 4.3.0 Try again later\r\n"),
}
SERVER_FAILURES = {
    "an overloaded server": answering(GREETING=b"421 4.3.2 Too busy, try again later\r\n"),
    "a server that disconnects": answering(EHLO=disconnect),
    "a rate limit": answering(MAIL=b"450 4.7.1 Rate limit exceeded, slow down\r\n"),
}


@pytest.fixture(autouse=True)
def clock():
    """A clock that stands still unless a test moves it, so that delays are exact."""
    with time_machine.travel("2026-05-04 10:00:00+00:00", tick=False) as traveller:
        yield traveller


@pytest.fixture
def serve_script(serve, routes, account):
    """Return a function that starts a server with a script and routes the account's mail to it."""

    def start(script) -> BadServer:
        server = serve(script)
        routes.send_to(account, server)
        return server

    return start


@pytest.mark.parametrize("failure", SETTINGS_FAILURES)
def test_a_failure_of_the_settings_holds_the_queue_and_counts_for_no_message(
    app, serve_script, account, failure
):
    serve_script(SETTINGS_FAILURES[failure])
    first, second = enqueue_message(account, "first"), enqueue_message(account, "second")
    drain_queue(account)
    assert statuses(account) == [Status.HELD, Status.HELD]
    assert message(first).attempts == 0
    assert attempts(second) == []
    assert [one.outcome for one in attempts(first)] == [Outcome.HELD]
    assert queue(account).hold_diagnosis["cause"] == attempts(first)[0].diagnosis["cause"]


def test_an_unknown_host_name_holds_the_queue(app, routes, account):
    route = route_to(587)
    routes.by_account[account] = lambda: replace(
        route, server=replace(route.server, host="no-such-host.invalid")
    )
    enqueue_message(account, "m")
    drain_queue(account)
    assert statuses(account) == [Status.HELD]


def test_a_username_that_auth_cannot_encode_holds_the_queue(app, routes, account):
    route = route_to(587)
    routes.by_account[account] = lambda: replace(route, server=replace(route.server, username="a\0b"))
    enqueue_message(account, "m")
    drain_queue(account)
    assert statuses(account) == [Status.HELD]
    assert queue(account).hold_diagnosis["code"] == "unsayable-login"


def test_a_missing_route_holds_the_queue(app, routes, account):
    def raise_no_route():
        raise NoRoute({"code": "none", "cause": "There is none.", "fixes": []})

    routes.by_account[account] = raise_no_route
    enqueue_message(account, "m")
    drain_queue(account)
    assert statuses(account) == [Status.HELD]
    assert queue(account).hold_diagnosis["cause"] == "There is none."


def test_a_message_that_is_enqueued_while_the_queue_is_held_waits(app, server, account):
    hold(account, {"code": "x", "cause": "y"}, now=utcnow())
    enqueue_message(account, "m")
    assert drain_queue(account) == 0
    assert statuses(account) == [Status.HELD]
    assert server.connections == 0


def test_a_refused_recipient_fails_that_message_only(app, serve_script, account):
    def refuse_one(peer, line):
        peer.send(b"550 5.1.1 No such user\r\n" if b"bad@" in line else b"250 2.1.5 Ok\r\n")

    server = serve_script(answering(RCPT=refuse_one))
    for key in ("first", "bad", "last"):
        enqueue_message(account, key)
    drain_queue(account)
    assert statuses(account) == [Status.SENT, Status.FAILED, Status.SENT]
    assert server.connections == 1, "the connection is used on after a refusal"
    assert queue(account).held_at is None


@pytest.mark.parametrize("refusal", TEMPORARY_REFUSALS)
def test_a_temporary_refusal_is_retried_and_stops_no_other_message(app, serve_script, account, refusal):
    serve_script(TEMPORARY_REFUSALS[refusal])
    id_, other = enqueue_message(account, "m"), enqueue_message(account, "other")
    drain_queue(account)
    row = message(id_)
    assert row.status is Status.QUEUED
    assert row.attempts == 1
    assert timedelta(seconds=48) <= row.next_attempt_at - utcnow() <= timedelta(seconds=72)
    assert len(attempts(other)) == 1
    assert queue(account).held_at is None


@pytest.mark.parametrize("failure", SERVER_FAILURES)
def test_a_failure_of_the_server_pauses_the_whole_queue(app, serve_script, account, failure, clock):
    server = serve_script(SERVER_FAILURES[failure])
    first, second = enqueue_message(account, "first"), enqueue_message(account, "second")
    drain_queue(account)
    assert len(attempts(first)) == 1
    assert attempts(second) == []
    assert utcnow() < queue(account).paused_until <= utcnow() + timedelta(minutes=2)
    assert drain_queue(account) == 0
    server.script = honest()
    clock.shift(timedelta(minutes=3))
    assert drain_queue(account) == 2
    assert set(statuses(account)) == {Status.SENT}
    assert queue(account).paused_until is None


def test_a_refused_connection_stops_the_queue(app, routes, account):
    routes.by_account[account] = lambda: route_to(1)
    enqueue_message(account, "m")
    drain_queue(account)
    assert statuses(account) in ([Status.QUEUED], [Status.HELD])
    assert queue(account).paused_until or queue(account).held_at


def test_pauses_grow_up_to_half_an_hour(app, serve_script, account, clock):
    serve_script(SERVER_FAILURES["an overloaded server"])
    pauses = []
    for number in range(7):
        enqueue_message(account, f"m{number}")
        drain_queue(account)
        pauses.append(queue(account).paused_until - utcnow())
        clock.shift(timedelta(minutes=31))
    assert pauses[0] < timedelta(minutes=2)
    assert pauses[1] > pauses[0]
    assert max(pauses) == timedelta(minutes=30)


def test_a_test_email_is_sent_during_a_pause(app, serve_script, account):
    server = serve_script(SERVER_FAILURES["an overloaded server"])
    enqueue_message(account, "first")
    drain_queue(account)
    server.script = honest()
    id_ = enqueue_message(account, "test", is_test=True)
    assert due.due_queues(utcnow()) == [account]
    drain_queue(account)
    assert message(id_).status is Status.SENT


def test_a_temporary_refusal_becomes_permanent_after_two_days_with_the_reason(
    app, serve_script, account, clock
):
    serve_script(TEMPORARY_REFUSALS["greylisting"])
    id_ = enqueue_message(account, "m")
    tried = 0
    while message(id_).status is Status.QUEUED:
        clock.move_to(message(id_).next_attempt_at + timedelta(seconds=1))
        tried += drain_queue(account)
        assert tried < 40
    row = message(id_)
    assert row.status is Status.FAILED
    assert timedelta(hours=40) < utcnow() - row.created_at <= timedelta(hours=48)
    assert "4.7.1" in attempts(id_)[-1].diagnosis["evidence"]["reply"]


def test_time_on_hold_does_not_count_towards_the_limit_of_two_days(app, serve_script, account, clock):
    server = serve_script(SETTINGS_FAILURES["a refused log-in"])
    id_ = enqueue_message(account, "m")
    drain_queue(account)
    clock.shift(timedelta(days=5))
    server.script = TEMPORARY_REFUSALS["greylisting"]
    release(account)
    db.session.commit()
    drain_queue(account)
    assert message(id_).status is Status.QUEUED


def test_a_possibly_delivered_message_is_retried_with_the_same_message_id(app, serve_script, account, clock):
    server = serve_script(answering(DOT=disconnect))
    id_ = enqueue_message(account, "m")
    drain_queue(account)
    row, (one,) = message(id_), attempts(id_)
    assert one.ambiguous
    assert row.status is Status.QUEUED
    assert row.next_attempt_at - utcnow() >= timedelta(minutes=12)
    server.script = honest()
    clock.shift(timedelta(hours=1))
    drain_queue(account)
    assert message(id_).status is Status.SENT
    first, second = message_ids(server)
    assert first == second


def test_a_possible_duplicate_keeps_its_message_id_when_the_sending_domain_changes(
    app, serve_script, routes, account, clock
):
    server = serve_script(answering(DOT=disconnect))
    enqueue_message(account, "m")
    drain_queue(account)
    server.script = honest()
    routes.send_to(account, server, sender="info@other.example")
    clock.shift(timedelta(hours=1))
    drain_queue(account)
    first, second = message_ids(server)
    assert first == second


def test_a_refused_message_gets_a_message_id_of_the_new_sending_domain(
    app, serve_script, routes, account, clock
):
    server = serve_script(TEMPORARY_REFUSALS["greylisting"])
    id_ = enqueue_message(account, "m")
    drain_queue(account)
    server.script = honest()
    routes.send_to(account, server, sender="info@other.example")
    clock.shift(timedelta(hours=1))
    drain_queue(account)
    assert message(id_).message_id.endswith("@other.example>")


@pytest.mark.parametrize("error", [KeyError("boom"), TypeError("boom"), RuntimeError("boom")])
def test_a_message_that_causes_an_internal_error_fails_after_three_tries(
    app, routes, serve, account, clock, error
):
    server, broken = serve(), []

    def fail_every_second_time():
        if not broken:
            broken.append(True)
            raise error
        broken.clear()
        return route_to(server.port)

    routes.by_account[account] = fail_every_second_time
    poison = enqueue_message(account, "poison")
    for number in range(3):
        broken.clear()
        enqueue_message(account, f"good{number}")
        drain_queue(account)
        clock.shift(timedelta(hours=1))
    assert message(poison).status is Status.FAILED
    assert [one.outcome for one in attempts(poison)] == [Outcome.DEFERRED] * 2 + [Outcome.REJECTED]
    assert statuses(account)[1:] == [Status.SENT] * 3, "the other messages are sent"


def test_the_rest_of_a_batch_is_sent_after_an_internal_error(app, server, account, monkeypatch):
    outgoing = AccountMessage.outgoing

    def fail_for_bad(self):
        if "bad" in self.subject:
            raise RuntimeError("an internal error")
        return outgoing(self)

    monkeypatch.setattr(AccountMessage, "outgoing", fail_for_bad)
    for key in ("bad", "good"):
        enqueue_message(account, key)
    assert drain_queue(account) == 2
    assert statuses(account) == [Status.QUEUED, Status.SENT]


@pytest.mark.parametrize(
    "field",
    [
        {"subject": "Hi\r\nBcc: eve@example.net"},
        {"recipient_name": "Bob\r\nBcc: eve@example.net"},
        {"recipient": "bob@example.net>\r\nRCPT TO:<eve@example.net"},
        {"recipient": "no address"},
        {"subject": "Hi \u202e"},
    ],
)
def test_a_message_that_cannot_be_built_fails_at_once_and_stops_no_other(app, server, account, field):
    bad, good = enqueue_message(account, "bad", **field), enqueue_message(account, "good")
    drain_queue(account)
    assert message(bad).status is Status.FAILED
    assert attempts(bad)[0].diagnosis["code"] == "message-not-sendable"
    assert message(good).status is Status.SENT
    assert b"eve@" not in bytes(server.received)


def test_a_signal_receiver_that_fails_after_the_acceptance_causes_no_second_attempt(app, server, account):
    def fail(_app, message):
        raise RuntimeError("an error in a receiver")

    id_ = enqueue_message(account, "m")
    with email_dispatched.connected_to(fail):
        drain_queue(account)
    assert message(id_).status is Status.SENT
    assert len(server.messages) == 1


def test_a_held_queue_sends_one_probe_after_a_growing_delay(app, serve_script, account, clock):
    server = serve_script(SETTINGS_FAILURES["a refused log-in"])
    for number in range(3):
        enqueue_message(account, f"m{number}")
    drain_queue(account)
    delays = []
    for _ in range(5):
        assert drain_queue(account) == 0, "no message is sent before the probe is due"
        delays.append(queue(account).next_probe_at - utcnow())
        clock.move_to(queue(account).next_probe_at + timedelta(seconds=1))
        before = server.connections
        assert due.due_queues(utcnow()) == [account]
        assert drain_queue(account) == 1
        assert server.connections == before + 1, "one log-in only, as providers lock users after several"
    assert delays == sorted(delays)
    assert delays[0] <= timedelta(minutes=1) < delays[-1]
    assert [message(id_).attempts for id_ in (1, 2, 3)] == [0, 0, 0]


def test_an_accepted_probe_releases_the_queue(app, serve_script, account, clock):
    server = serve_script(SETTINGS_FAILURES["a refused log-in"])
    for number in range(3):
        enqueue_message(account, f"m{number}")
    drain_queue(account)
    server.script = honest()
    clock.shift(timedelta(minutes=2))
    assert drain_queue(account) == 3
    assert set(statuses(account)) == {Status.SENT}
    assert queue(account).held_at is None
    assert queue(account).failed_probes == 0


def test_a_probe_whose_recipient_is_refused_releases_the_queue(app, serve_script, account, clock):
    server = serve_script(SETTINGS_FAILURES["a refused log-in"])
    first, second = enqueue_message(account, "first"), enqueue_message(account, "second")
    drain_queue(account)
    refusal, ok = b"550 5.1.1 No such user\r\n", b"250 ok\r\n"
    server.script = answering(RCPT=lambda peer, line: peer.send(refusal if b"first@" in line else ok))
    clock.shift(timedelta(minutes=2))
    drain_queue(account)
    assert message(first).status is Status.FAILED
    assert message(second).status is Status.SENT


@pytest.mark.parametrize("failure", [*SERVER_FAILURES, "a temporary refusal after DATA"])
def test_a_probe_that_meets_a_temporary_failure_is_sent_later(app, serve_script, account, clock, failure):
    server = serve_script(SETTINGS_FAILURES["a refused log-in"])
    id_ = enqueue_message(account, "only")
    drain_queue(account)
    server.script = (SERVER_FAILURES | TEMPORARY_REFUSALS)[failure]
    clock.shift(timedelta(minutes=2))
    drain_queue(account)
    server.script = honest()
    for _ in range(6):
        clock.shift(timedelta(hours=1))
        if due.due_queues(utcnow()):
            drain_queue(account)
    assert message(id_).status is Status.SENT


def test_a_test_email_is_sent_while_the_queue_is_held_and_its_acceptance_releases_it(
    app, serve_script, account
):
    server = serve_script(SETTINGS_FAILURES["a refused log-in"])
    waiting = enqueue_message(account, "waiting")
    drain_queue(account)
    test = enqueue_message(account, "test", is_test=True)
    drain_queue(account)
    assert message(test).status is Status.FAILED, "a test is tried once"
    assert message(waiting).status is Status.HELD
    server.script = honest()
    enqueue_message(account, "test2", is_test=True)
    drain_queue(account)
    assert message(waiting).status is Status.SENT
    assert subjects(server) == ["Welcome, test2", "Welcome, waiting"]


def test_a_server_that_never_replies_pauses_the_queue_after_its_time_limit(
    app, serve, routes, account, clock
):
    server = serve(lambda peer: peer.read_until_closed())
    routes.send_to(account, server, limits=Limits(deadline=0.5, greeting=0.3, reply=0.3))
    id_ = enqueue_message(account, "m")
    drain_queue(account)
    assert attempts(id_)[0].outcome is Outcome.DEFERRED
    assert queue(account).paused_until


def test_a_connection_that_the_server_closes_between_messages_is_replaced(app, serve_script, account):
    seen = []

    def close_every_second_time(peer, _line):
        if seen:
            seen.clear()
            peer.disconnect()
        seen.append(True)
        peer.send(b"250 2.1.0 Ok\r\n")

    server = serve_script(answering(MAIL=close_every_second_time))
    for number in range(4):
        enqueue_message(account, f"m{number}")
    drain_queue(account)
    assert set(statuses(account)) == {Status.SENT}
    assert len(server.messages) == 4
    assert all(len(attempts(id_)) == 1 for id_ in range(1, 5))


def test_a_settled_attempt_records_the_server_s_reply(app, server, account):
    id_ = enqueue_message(account, "m")
    drain_queue(account)
    (one,) = attempts(id_)
    assert (one.outcome, one.stage, one.reply_code, one.queue_id) == (
        Outcome.ACCEPTED,
        Stage.DATA,
        250,
        "4XyZ1a2b",
    )
    assert one.ended_at
    assert "DATA" in one.transcript
