"""Settlement: a result is recorded only while the claim is current."""

import pytest

from portal.clock import utcnow
from portal.db import db
from portal.outbox.models import OutboxMessage, Outcome, Status
from portal.outbox.store.sql import get_store
from portal.smtp.protocol.envelope import Acceptance
from portal.smtp.protocol.reply import Reply
from tests.outbox.support import attempts, enqueue_message, message, start_drain

pytestmark = pytest.mark.both_databases


def lose_claim(claim):
    """Let another worker claim the message."""
    row = db.update(OutboxMessage).where(OutboxMessage.id == claim.message.id)
    db.session.execute(row.values(lease_token="another worker"))


def is_unchanged(claim):
    row = message(claim.message.id)
    return (row.status, row.lease_token) == (Status.SENDING, "another worker")


def test_a_rejection_with_a_lost_claim_changes_nothing(app, server, account):
    id_ = enqueue_message(account, "m")
    claim = start_drain(account).current
    lose_claim(claim)
    attempt = {"outcome": Outcome.REJECTED}
    assert not get_store().settle(claim, now=utcnow(), status=Status.FAILED, attempt=attempt)
    db.session.commit()
    assert is_unchanged(claim)
    assert [one.outcome for one in attempts(id_)] == [Outcome.STARTED]


@pytest.mark.parametrize("position", [0, 1])
def test_an_acceptance_with_a_lost_claim_changes_nothing(app, server, account, position):
    """The start of the first message is in the table already; the second one is settled by the batch statement."""
    for number in range(2):
        enqueue_message(account, f"m{number}")
    drain = start_drain(account)
    claim = drain.claims[position]
    get_store().mark_started(claim, drain.route, now=utcnow())
    lose_claim(claim)
    accepted = [(claim, Acceptance(Reply(250, ("Ok",)), "Q"), "")]
    assert get_store().settle_accepted(accepted, now=utcnow()) == [False]
    db.session.commit()
    assert is_unchanged(claim)
    assert [one.outcome for one in attempts(claim.message.id)] == ([] if position else [Outcome.STARTED])
