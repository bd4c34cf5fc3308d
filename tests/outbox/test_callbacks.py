"""Listeners are called at settlements, and gates limit what is claimed."""

from portal.db import db
from portal.outbox import callbacks
from portal.outbox.models import Outcome, Status
from portal.outbox.sending.drain import drain_queue
from tests.outbox.support import (
    answering,
    count_leases,
    enqueue_message,
    statuses,
)


def test_listeners_are_called_at_every_settlement_in_its_transaction(app, serve, routes, account):
    calls = []

    def listen(account_id, claim, outcome, diagnosis, server):
        assert db.session().in_transaction()
        code = diagnosis["code"] if diagnosis else None
        calls.append((account_id, claim.message.id, outcome, code is None, server.split(":")[0]))

    def fail(*_):
        raise RuntimeError("an error in a listener")

    callbacks.add_listener(app, fail)
    callbacks.add_listener(app, listen)
    server = serve(
        answering(
            RCPT=lambda peer, line: peer.send(b"550 5.1.1 No\r\n" if b"bad@" in line else b"250 ok\r\n")
        )
    )
    routes.send_to(account, server)
    good, refused = enqueue_message(account, "good"), enqueue_message(account, "bad")
    drain_queue(account)
    assert calls == [
        (account, good, Outcome.ACCEPTED, True, "localhost"),
        (account, refused, Outcome.REJECTED, False, "localhost"),
    ]
    assert statuses(account) == [Status.SENT, Status.FAILED]


def test_a_gate_limits_how_many_messages_are_claimed(app, server, account):
    allowed = [1, 0]
    callbacks.add_gate(app, lambda queue, now: allowed.pop(0) if allowed else 0)
    for number in range(3):
        enqueue_message(account, f"m{number}")
    drain_queue(account)
    assert statuses(account) == [Status.SENT, Status.QUEUED, Status.QUEUED]
    assert count_leases(account) == 0
