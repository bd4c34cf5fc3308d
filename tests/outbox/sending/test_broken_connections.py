"""A limit of one connection costs a new connection, and a server that breaks off at one message stops no other."""

from datetime import timedelta

import pytest
import time_machine

from portal.clock import utcnow
from portal.db import db
from portal.outbox.models import Outcome, Status
from portal.outbox.sending.drain import drain_queue
from portal.smtp.diagnosis.diagnose import RetryClass
from tests.outbox.support import answering, attempts, enqueue_message, honest, message, queue, statuses
from tests.smtp.badserver import OFFER, BadServer, Peer, disconnect, receive_message

START = "2026-05-04 10:00:00+00:00"
LIMITS_PER_CONNECTION = {
    "451 after the message": (
        "DOT",
        b"451-Requested action aborted\r\n451 Mails per session limit exceeded\r\n",
    ),
    "452 at the recipient": ("RCPT", b"452 4.5.3 Too many messages in this session\r\n"),
    "421 at the sender": ("MAIL", b"421 4.7.0 Message limit for one connection reached\r\n"),
    "421 at the recipient, in other words": ("RCPT", b"421 4.7.0 Bye\r\n"),
    "550 in Chinese": ("DOT", "550 当前连接发送的邮件数量超出限制\r\n".encode()),
    "450 in German": (
        "MAIL",
        "450 4.7.1 Höchstzahl der Nachrichten pro Verbindung: Limit überschritten\r\n".encode(),
    ),
}


@pytest.fixture(autouse=True)
def clock():
    """A clock that stands still unless a test moves it, so that delays are exact."""
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller


@pytest.fixture
def serve_script(serve, routes, account):
    """Return a function that starts a server with a script and routes the account's mail to it."""

    def start(script) -> BadServer:
        server = serve(script)
        routes.send_to(account, server)
        return server

    return start


def limited(verb: str, refusal: bytes, limit: int, offers: tuple[bytes, ...] = OFFER):
    """Return the script of a server that takes ``limit`` messages over one connection."""

    def script(peer: Peer) -> None:
        accepted = []

        def count(peer: Peer, _line: bytes) -> None:
            if verb == "DOT" and len(accepted) >= limit:
                peer.send(refusal)
                return
            accepted.append(1)
            peer.send(b"250 2.0.0 Ok\r\n")

        def refuse_late(peer: Peer, _line: bytes) -> None:
            peer.send(refusal if len(accepted) >= limit else b"250 2.1.0 Ok\r\n")

        answers = {"DOT": count} if verb == "DOT" else {"DOT": count, verb: refuse_late}
        honest(answers=answers, offers=offers)(peer)

    return script


@pytest.mark.parametrize("offers", [OFFER, (*OFFER, b"PIPELINING")], ids=["one by one", "pipelined"])
@pytest.mark.parametrize("name", LIMITS_PER_CONNECTION)
def test_a_limit_of_one_connection_costs_a_connection_and_no_time(app, serve_script, account, name, offers):
    server = serve_script(limited(*LIMITS_PER_CONNECTION[name], 3, offers))
    for number in range(8):
        enqueue_message(account, f"m{number}")
    drain_queue(account)
    assert statuses(account) == [Status.SENT] * 8
    assert all(message(one).attempts == 1 for one in range(1, 9)), "no message was deferred"
    assert queue(account).paused_until is None
    assert queue(account).consecutive_failures == 0
    assert server.connections <= 5


def test_the_limit_is_learnt_so_that_only_one_message_is_refused(app, serve_script, account):
    server = serve_script(limited("DOT", b"451 Mails per session limit exceeded\r\n", 2))
    for number in range(8):
        enqueue_message(account, f"m{number}")
    drain_queue(account)
    assert server.connections == 4
    assert len(server.messages) == 9, "the third message was transmitted twice, the others once"


def test_a_limit_in_the_reply_to_the_first_message_of_a_connection_pauses_the_queue(
    app, serve_script, account
):
    serve_script(answering(RCPT=b"452 4.5.3 Too many messages in this session\r\n"))
    enqueue_message(account, "m")
    drain_queue(account)
    assert statuses(account) == [Status.QUEUED]
    assert queue(account).paused_until is not None


def dropping(*keys: str, how=disconnect):
    """Return the script of a server that breaks off at the recipients whose address holds one of ``keys``."""

    def rcpt(peer: Peer, line: bytes) -> None:
        if any(key.encode() in line for key in keys):
            how(peer, line)
        peer.send(b"250 2.1.5 Ok\r\n")

    return answering(RCPT=rcpt)


def say_421(peer: Peer, _line: bytes) -> None:
    peer.send(b"421 4.4.2 mx.example.net: closing\r\n")
    peer.disconnect()


@pytest.mark.parametrize("how", [disconnect, say_421], ids=["without a word", "with 421"])
def test_a_server_that_breaks_off_at_one_recipient_stops_no_other_message(
    app, serve_script, account, clock, how
):
    serve_script(dropping("poison", how=how))
    for key in ("a", "poison", "b", "c"):
        enqueue_message(account, key)
    drain_queue(account)
    assert statuses(account) == [Status.SENT, Status.QUEUED, Status.SENT, Status.SENT]
    assert queue(account).paused_until is None
    (one,) = attempts(2)
    assert one.outcome is Outcome.DEFERRED
    assert one.diagnosis["retry_class"] == RetryClass.LATER
    for number in range(3):  # neither do its later attempts, whatever was sent between
        clock.move_to(message(2).next_attempt_at + timedelta(seconds=1))
        db.session.rollback()
        drain_queue(account)
        assert queue(account).paused_until is None
        enqueue_message(account, f"later{number}")
        drain_queue(account)
    assert statuses(account)[4:] == [Status.SENT] * 3


def test_a_server_that_breaks_off_at_every_message_pauses_the_queue(app, serve_script, account, clock):
    server = serve_script(dropping("@"))
    for number in range(5):
        enqueue_message(account, f"m{number}")
    drain_queue(account)
    assert server.connections == 2, "the second message in a row shows that the server is failing"
    paused = queue(account).paused_until
    assert paused is not None
    assert timedelta(0) < paused - utcnow() <= timedelta(seconds=72)
    assert attempts(2)[0].diagnosis["retry_class"] == RetryClass.SERVER
    clock.move_to(paused + timedelta(seconds=1))
    db.session.rollback()
    drain_queue(account)
    assert queue(account).paused_until > paused, "after a pause one message is enough"
    server.script = honest()
    clock.move_to(queue(account).paused_until + timedelta(hours=1))
    db.session.rollback()
    drain_queue(account)
    assert statuses(account) == [Status.SENT] * 5
    assert queue(account).consecutive_failures == 0


def test_the_retries_of_messages_that_break_off_do_not_pause_the_queue_again(
    app, serve_script, account, clock
):
    serve_script(dropping("poison"))
    for number in range(2):
        enqueue_message(account, f"poison{number}")
    drain_queue(account)
    paused = queue(account).paused_until
    assert paused is not None, "two in a row, and no acceptance"
    for number in range(3):
        due = max(paused, message(1).next_attempt_at, message(2).next_attempt_at)  # each with its own jitter
        clock.move_to(due + timedelta(seconds=1))
        db.session.rollback()
        drain_queue(account)
        assert queue(account).paused_until in (paused, None)
        enqueue_message(account, f"later{number}")
        drain_queue(account)
    assert statuses(account) == [Status.QUEUED] * 2 + [Status.SENT] * 3


def test_a_connection_that_breaks_after_the_message_was_sent_is_retried_late_and_alone(
    app, serve_script, account
):
    def drop_one(peer: Peer, line: bytes) -> None:
        receive_message(peer, line)
        if b"poison" in peer.server.messages[-1]:
            peer.disconnect()
        peer.send(b"250 2.0.0 Ok\r\n")

    serve_script(answering(DATA=drop_one))
    for key in ("a", "poison", "b"):
        enqueue_message(account, key)
    drain_queue(account)
    assert statuses(account) == [Status.SENT, Status.QUEUED, Status.SENT]
    assert attempts(2)[0].ambiguous
    assert message(2).next_attempt_at - utcnow() >= timedelta(minutes=10)
