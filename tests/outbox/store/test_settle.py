"""A settlement counts only while its claim is current."""

import pytest

from portal.clock import utcnow
from portal.db import db
from portal.outbox.models import OutboxMessage, Outcome, Status
from portal.outbox.store.sql import get_store
from portal.smtp.protocol.envelope import Acceptance
from portal.smtp.protocol.reply import Reply
from tests.outbox.support import attempts, enqueue_message, message, start_drain

pytestmark = pytest.mark.both_databases


@pytest.mark.parametrize("is_accepted", [True, False])
def test_a_settlement_with_a_lost_claim_changes_nothing(app, server, account, is_accepted):
    id_ = enqueue_message(account, "m")
    claim = start_drain(account).current
    claimed = db.update(OutboxMessage).where(OutboxMessage.id == id_)
    db.session.execute(claimed.values(lease_token="another worker"))
    if is_accepted:
        accepted = [(claim, Acceptance(Reply(250, ("Ok",)), "Q"), "")]
        assert get_store().settle_accepted(accepted, now=utcnow()) == [False]
    else:
        attempt = {"outcome": Outcome.REJECTED}
        assert not get_store().settle(claim, now=utcnow(), status=Status.FAILED, attempt=attempt)
    db.session.commit()
    assert (message(id_).status, message(id_).lease_token) == (Status.SENDING, "another worker")
    assert [one.outcome for one in attempts(id_)] == [Outcome.STARTED]
