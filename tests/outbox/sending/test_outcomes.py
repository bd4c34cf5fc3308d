"""What a failure does: to the message, to the account's queue, and to nobody else."""

from datetime import timedelta

import pytest
import time_machine
from flask_mail import email_dispatched

from portal.clock import utcnow
from portal.db import db
from portal.outbox import retry
from portal.outbox.models import Outcome, Status
from portal.outbox.queue import hold, release
from portal.outbox.routing import NoRoute
from portal.outbox.sending.drain import drain_queue
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
from tests.smtp.badserver import BadServer, hang_up

SETTINGS = {
    "a refused log-in": answering(AUTH=b"535 5.7.8 Username and password not accepted\r\n"),
    "a log-in that is missing": answering(MAIL=b"530 5.7.0 Authentication required\r\n"),
    "a refused sender": answering(MAIL=b"550 5.7.1 Sender address rejected: not owned by user\r\n"),
    "a certificate for another name": honest(certificate="wrong name"),
    "an expired certificate": honest(certificate="expired"),
}
LATER = {
    "greylisting": answering(RCPT=b"451 4.7.1 Greylisted, try again later\r\n"),
    "a full mailbox": answering(RCPT=b"452 4.2.2 Mailbox full\r\n"),
    "an acceptance put off": answering(DOT=b"451 4.3.0 Try again later\r\n"),
}
SERVER = {
    "an overloaded server": answering(GREETING=b"421 4.3.2 Too busy, try again later\r\n"),
    "a server that hangs up": answering(EHLO=hang_up),
    "a rate limit": answering(MAIL=b"450 4.7.1 Rate limit exceeded, slow down\r\n"),
}


@pytest.fixture(autouse=True)
def clock():
    """Time stands still but for what a test moves, so that delays are exact."""
    with time_machine.travel("2026-05-04 10:00:00+00:00", tick=False) as traveller:
        yield traveller


@pytest.fixture
def play(serve, routes, account):
    """Let the account's mail go to a server with this script."""

    def start(script) -> BadServer:
        server = serve(script)
        routes.send_to(account, server)
        return server

    return start


@pytest.mark.parametrize("what", SETTINGS)
def test_trouble_with_the_settings_holds_the_queue_and_blames_no_message(app, play, account, what):
    play(SETTINGS[what])
    first, second = enqueue_message(account, "first"), enqueue_message(account, "second")
    drain_queue(account)
    assert statuses(account) == [Status.HELD, Status.HELD]
    assert message(first).attempts == 0
    assert attempts(second) == []
    assert [one.outcome for one in attempts(first)] == [Outcome.HELD]
    assert queue(account).hold_diagnosis["cause"] == attempts(first)[0].diagnosis["cause"]


def test_a_name_that_does_not_exist_holds_the_queue(app, routes, account):
    from dataclasses import replace

    route = route_to(587)
    routes.by_account[account] = lambda: replace(
        route, server=replace(route.server, host="no-such-host.invalid")
    )
    enqueue_message(account, "m")
    drain_queue(account)
    assert statuses(account) == [Status.HELD]


def test_a_log_in_that_cannot_be_said_holds_the_queue(app, routes, account):
    from dataclasses import replace

    route = route_to(587)
    routes.by_account[account] = lambda: replace(route, server=replace(route.server, username="a\0b"))
    enqueue_message(account, "m")
    drain_queue(account)
    assert statuses(account) == [Status.HELD]
    assert queue(account).hold_diagnosis["code"] == "unsayable-login"


def test_no_way_out_holds_the_queue(app, routes, account):
    def none():
        raise NoRoute({"code": "none", "cause": "There is none.", "fixes": []})

    routes.by_account[account] = none
    enqueue_message(account, "m")
    drain_queue(account)
    assert statuses(account) == [Status.HELD]
    assert queue(account).hold_diagnosis["cause"] == "There is none."


def test_what_is_owed_while_the_queue_is_held_waits(app, server, account):
    hold(account, {"code": "x", "cause": "y"}, now=utcnow())
    enqueue_message(account, "m")
    assert drain_queue(account) == 0
    assert statuses(account) == [Status.HELD]
    assert server.connections == 0


def test_a_refused_recipient_fails_that_message_only(app, play, account):
    def judge(peer, line):
        peer.say(b"550 5.1.1 No such user\r\n" if b"bad@" in line else b"250 2.1.5 Ok\r\n")

    server = play(answering(RCPT=judge))
    for key in ("first", "bad", "last"):
        enqueue_message(account, key)
    drain_queue(account)
    assert statuses(account) == [Status.SENT, Status.FAILED, Status.SENT]
    assert server.connections == 1, "an honest no leaves the connection usable"
    assert queue(account).held_at is None


@pytest.mark.parametrize("what", LATER)
def test_passing_trouble_is_tried_again_later_and_stops_nobody_else(app, play, account, what):
    play(LATER[what])
    ident, other = enqueue_message(account, "m"), enqueue_message(account, "other")
    drain_queue(account)
    row = message(ident)
    assert row.status is Status.QUEUED
    assert row.attempts == 1
    assert timedelta(seconds=48) <= row.next_attempt_at - utcnow() <= timedelta(seconds=72)
    assert len(attempts(other)) == 1
    assert queue(account).held_at is None


@pytest.mark.parametrize("what", SERVER)
def test_trouble_of_the_server_pauses_the_whole_queue(app, play, account, what, clock):
    server = play(SERVER[what])
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


def test_nobody_listening_pauses_the_queue(app, routes, account):
    routes.by_account[account] = lambda: route_to(1)
    enqueue_message(account, "m")
    drain_queue(account)
    assert statuses(account) in ([Status.QUEUED], [Status.HELD])
    assert queue(account).paused_until or queue(account).held_at


def test_pauses_grow_up_to_half_an_hour(app, play, account, clock):
    play(SERVER["an overloaded server"])
    pauses = []
    for number in range(7):
        enqueue_message(account, f"m{number}")
        drain_queue(account)
        pauses.append(queue(account).paused_until - utcnow())
        clock.shift(timedelta(minutes=31))
    assert pauses[0] < timedelta(minutes=2)
    assert pauses[1] > pauses[0]
    assert max(pauses) == timedelta(minutes=30)


def test_a_test_email_goes_through_a_pause(app, play, account):
    server = play(SERVER["an overloaded server"])
    enqueue_message(account, "first")
    drain_queue(account)
    server.script = honest()
    ident = enqueue_message(account, "test", is_test=True)
    assert due.due_queues(utcnow()) == [account]
    drain_queue(account)
    assert message(ident).status is Status.SENT


def test_passing_trouble_is_given_up_after_two_days_with_the_reason(app, play, account, clock):
    play(LATER["greylisting"])
    ident = enqueue_message(account, "m")
    tried = 0
    while message(ident).status is Status.QUEUED:
        clock.move_to(message(ident).next_attempt_at + timedelta(seconds=1))
        tried += drain_queue(account)
        assert tried < 40
    row = message(ident)
    assert row.status is Status.FAILED
    assert timedelta(hours=40) < utcnow() - row.created_at <= timedelta(hours=48)
    assert "4.7.1" in attempts(ident)[-1].diagnosis["evidence"]["reply"]


def test_the_delays_grow_and_are_spread(app):
    means = [sum(retry.delay(n).total_seconds() for _ in range(200)) / 200 for n in range(1, 8)]
    assert means == sorted(means)
    assert len({retry.delay(3) for _ in range(20)}) > 10
    assert all(48 <= retry.delay(1).total_seconds() <= 72 for _ in range(100))


def test_the_time_a_message_was_held_is_not_held_against_it(app, play, account, clock):
    server = play(SETTINGS["a refused log-in"])
    ident = enqueue_message(account, "m")
    drain_queue(account)
    clock.shift(timedelta(days=5))
    server.script = LATER["greylisting"]
    release(account)
    db.session.commit()
    drain_queue(account)
    assert message(ident).status is Status.QUEUED, (
        "one passing refusal after five days of waiting is no reason"
    )


def test_a_message_that_may_have_arrived_is_tried_again_later_with_the_same_id(app, play, account, clock):
    server = play(answering(DOT=hang_up))
    ident = enqueue_message(account, "m")
    drain_queue(account)
    row, (one,) = message(ident), attempts(ident)
    assert one.ambiguous
    assert row.status is Status.QUEUED
    assert row.next_attempt_at - utcnow() >= timedelta(minutes=12)
    server.script = honest()
    clock.shift(timedelta(hours=1))
    drain_queue(account)
    assert message(ident).status is Status.SENT
    first, second = message_ids(server)
    assert first == second


def test_a_twin_keeps_its_id_even_when_another_domain_sends_by_now(app, play, routes, account, clock):
    server = play(answering(DOT=hang_up))
    enqueue_message(account, "m")
    drain_queue(account)
    server.script = honest()
    routes.send_to(account, server, sender="info@other.example")
    clock.shift(timedelta(hours=1))
    drain_queue(account)
    first, second = message_ids(server)
    assert first == second


def test_a_message_that_was_only_refused_gets_an_id_of_the_domain_that_sends(
    app, play, routes, account, clock
):
    server = play(LATER["greylisting"])
    ident = enqueue_message(account, "m")
    drain_queue(account)
    server.script = honest()
    routes.send_to(account, server, sender="info@other.example")
    clock.shift(timedelta(hours=1))
    drain_queue(account)
    assert message(ident).message_id.endswith("@other.example>")


@pytest.mark.parametrize("fault", [KeyError("boom"), TypeError("boom"), RuntimeError("boom")])
def test_a_message_that_makes_us_stumble_is_set_aside_after_three_tries(
    app, routes, serve, account, clock, fault
):
    server, broken = serve(), []

    def sometimes():
        if not broken:
            broken.append(True)
            raise fault
        broken.clear()
        return route_to(server.port)

    routes.by_account[account] = sometimes
    poison = enqueue_message(account, "poison")
    for number in range(3):
        broken.clear()
        enqueue_message(account, f"good{number}")
        drain_queue(account)
        clock.shift(timedelta(hours=1))
    assert message(poison).status is Status.FAILED
    assert [one.outcome for one in attempts(poison)] == [Outcome.DEFERRED] * 2 + [Outcome.REJECTED]
    assert statuses(account)[1:] == [Status.SENT] * 3, "and the others leave as ever"


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
def test_a_message_that_no_mail_can_carry_fails_at_once_and_alone(app, server, account, field):
    bad, good = enqueue_message(account, "bad", **field), enqueue_message(account, "good")
    drain_queue(account)
    assert message(bad).status is Status.FAILED
    assert attempts(bad)[0].diagnosis["code"] == "message-not-sendable"
    assert message(good).status is Status.SENT
    assert b"eve@" not in bytes(server.received)


def test_a_listener_that_fails_after_the_acceptance_does_not_send_twice(app, server, account):
    def fails(_app, message):
        raise RuntimeError("a listener of ours")

    ident = enqueue_message(account, "m")
    with email_dispatched.connected_to(fails):
        drain_queue(account)
    assert message(ident).status is Status.SENT
    assert len(server.messages) == 1


def test_a_held_queue_tries_one_message_after_a_growing_while(app, play, account, clock):
    server = play(SETTINGS["a refused log-in"])
    for number in range(3):
        enqueue_message(account, f"m{number}")
    drain_queue(account)
    waits = []
    for _ in range(5):
        assert drain_queue(account) == 0, "nothing before its time"
        waits.append(queue(account).next_probe_at - utcnow())
        clock.move_to(queue(account).next_probe_at + timedelta(seconds=1))
        before = server.connections
        assert due.due_queues(utcnow()) == [account]
        assert drain_queue(account) == 1
        assert server.connections == before + 1, "one log-in, however many wait: providers lock users"
    assert waits == sorted(waits)
    assert waits[0] <= timedelta(minutes=1) < waits[-1]
    assert [message(ident).attempts for ident in (1, 2, 3)] == [0, 0, 0]


def test_a_probe_that_succeeds_releases_the_queue(app, play, account, clock):
    server = play(SETTINGS["a refused log-in"])
    for number in range(3):
        enqueue_message(account, f"m{number}")
    drain_queue(account)
    server.script = honest()
    clock.shift(timedelta(minutes=2))
    assert drain_queue(account) == 3
    assert set(statuses(account)) == {Status.SENT}
    assert queue(account).held_at is None
    assert queue(account).failed_probes == 0


def test_a_probe_whose_recipient_is_refused_has_proved_the_settings(app, play, account, clock):
    server = play(SETTINGS["a refused log-in"])
    first, second = enqueue_message(account, "first"), enqueue_message(account, "second")
    drain_queue(account)
    refuse = {b"first@": b"550 5.1.1 No such user\r\n"}
    server.script = answering(
        RCPT=lambda peer, line: peer.say(next((r for a, r in refuse.items() if a in line), b"250 ok\r\n"))
    )
    clock.shift(timedelta(minutes=2))
    drain_queue(account)
    assert message(first).status is Status.FAILED
    assert message(second).status is Status.SENT


@pytest.mark.parametrize("what", [*SERVER, "an acceptance put off"])
def test_a_probe_that_meets_passing_trouble_is_not_stranded(app, play, account, clock, what):
    server = play(SETTINGS["a refused log-in"])
    ident = enqueue_message(account, "only")
    drain_queue(account)
    server.script = (SERVER | LATER)[what]
    clock.shift(timedelta(minutes=2))
    drain_queue(account)
    server.script = honest()
    for _ in range(6):
        clock.shift(timedelta(hours=1))
        if due.due_queues(utcnow()):
            drain_queue(account)
    assert message(ident).status is Status.SENT


def test_a_test_email_goes_through_a_held_queue_and_releases_it(app, play, account):
    server = play(SETTINGS["a refused log-in"])
    waiting = enqueue_message(account, "waiting")
    drain_queue(account)
    test = enqueue_message(account, "test", is_test=True)
    drain_queue(account)
    assert message(test).status is Status.FAILED, "a test tells its result at once"
    assert message(waiting).status is Status.HELD
    server.script = honest()
    enqueue_message(account, "test2", is_test=True)
    drain_queue(account)
    assert message(waiting).status is Status.SENT
    assert subjects(server) == ["Welcome, test2", "Welcome, waiting"]


def test_a_mute_server_costs_no_more_than_the_deadline(app, serve, routes, account, clock):
    from time import monotonic

    server = serve(lambda peer: peer.listen())
    routes.send_to(account, server, limits=Limits(deadline=0.5, greeting=0.3, reply=0.3))
    enqueue_message(account, "m")
    started = monotonic()
    drain_queue(account)
    assert monotonic() - started < 1.5
    assert queue(account).paused_until


def test_a_server_that_hangs_up_between_messages_is_dialled_anew(app, play, account):
    seen = []

    def once(peer, _line):
        if seen:
            seen.clear()
            peer.hang_up()
        seen.append(True)
        peer.say(b"250 2.1.0 Ok\r\n")

    server = play(answering(MAIL=once))
    for number in range(4):
        enqueue_message(account, f"m{number}")
    drain_queue(account)
    assert set(statuses(account)) == {Status.SENT}
    assert len(server.messages) == 4
    assert all(len(attempts(ident)) == 1 for ident in range(1, 5))


def test_a_settled_attempt_tells_what_the_server_said(app, server, account):
    ident = enqueue_message(account, "m")
    drain_queue(account)
    (one,) = attempts(ident)
    assert (one.outcome, one.stage, one.reply_code, one.queue_id) == (
        Outcome.ACCEPTED,
        Stage.DATA,
        250,
        "4XyZ1a2b",
    )
    assert one.ended_at
    assert "DATA" in one.transcript
