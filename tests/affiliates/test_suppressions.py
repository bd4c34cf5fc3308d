"""A mailbox that bounced is suppressed until the owner removes it from the list."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from portal.accounts.models import Account
from portal.affiliates import suppressions
from portal.affiliates.models import Affiliate, AffiliateState, Suppression, SuppressionReason
from portal.bounces import breaker, outcomes
from portal.bounces.models import BreakerDecision, SuppressionEffect
from portal.clock import utcnow
from portal.db import db
from portal.enrolment import signup
from portal.enrolment.signup_rules import Rules, save_rules
from portal.outbox import cancellations
from portal.outbox.models import OutboxMessage, Status
from portal.outbox.queue import NewMessage, enqueue_row
from portal.outbox.routing import Routing
from portal.outbox.sending.drain import drain_queue
from portal.state import get_state
from tests.bounces.support import add_affiliate, suppressed
from tests.enrolment.support import account_of
from tests.outbox.support import StubRoutes, answering
from tests.smtp.badserver import BadServer

pytestmark = pytest.mark.both_databases

GRACE = "grace@example.org"


@pytest.fixture
def deliver(app, owner):
    """Return a function that signs Grace up and sends her welcome to a server with this reply to RCPT."""
    get_state(app).part(Routing).find = routes = StubRoutes()
    account = db.session.scalars(select(Account)).one()
    save_rules(account.id, Rules(confirm=False))

    def deliver(reply, mailbox=GRACE, further=None):
        refuse = lambda peer, line: peer.send(reply if mailbox.encode() in line else b"250 2.1.5 Ok\r\n")  # noqa: E731
        with BadServer(answering(RCPT=refuse)) as server:
            routes.send_to(account.id, server)
            signup.sign_up(account.slug, signup.SignUp("Grace", GRACE, "192.0.2.1"), now=utcnow())
            if further:
                enqueue_row(account.id, further, now=utcnow())
                db.session.commit()
            drain_queue(account.id)
        db.session.rollback()
        return {row.mailbox_key: row for row in db.session.scalars(select(Suppression))}

    return deliver


@pytest.mark.parametrize("code", ["5.1.1", "5.1.2", "5.1.10"])
def test_a_mailbox_that_does_not_exist_is_suppressed_with_the_servers_reply(deliver, code):
    listed = deliver(f"550 {code} No such user here\r\n".encode())
    assert list(listed) == [GRACE]
    assert listed[GRACE].reason is SuppressionReason.BOUNCED
    assert f"550 {code} No such user here" in listed[GRACE].note


def test_other_queued_emails_to_a_mailbox_that_does_not_exist_are_not_tried(deliver, app):
    new = NewMessage("new-purchase", "later", GRACE, "A subject", "A text")
    deliver(b"550 5.1.1 No such user here\r\n", further=new)
    message = db.session.scalars(select(OutboxMessage).where(OutboxMessage.key == "later")).one()
    assert message.status is Status.SUPPRESSED
    assert "no such mailbox" in cancellations.find_reason(message.id)


@pytest.mark.parametrize(
    "reply",
    [
        b"550 5.7.1 Not from you\r\n",
        b"552 5.2.2 Mailbox full\r\n",
        b"550 No such user\r\n",
        b"450 4.1.1 Later\r\n",
    ],
)
def test_a_temporary_or_ambiguous_failure_suppresses_no_mailbox(deliver, reply):
    assert deliver(reply) == {}


def test_mass_refusals_of_one_domain_wait_and_the_hour_can_be_undone(app, owner):
    get_state(app).part(Routing).find = routes = StubRoutes()
    account_id = db.session.scalars(select(Account.id)).one()
    crowd = [f"m{number}@crowd.example" for number in range(25)]
    for mailbox in (GRACE, *crowd):
        add_affiliate(account_id, mailbox)
        enqueue_row(account_id, NewMessage("new-purchase", mailbox, mailbox, "S", "T"), now=utcnow())
    db.session.commit()
    with BadServer(answering(RCPT=lambda peer, _line: peer.send(b"550 5.1.1 No such user\r\n"))) as server:
        routes.send_to(account_id, server)
        drain_queue(account_id)
    db.session.rollback()
    assert set(db.session.scalars(select(OutboxMessage.status))) == {Status.FAILED}
    assert suppressed(account_id).keys() == {GRACE, *crowd[:20]}
    (row,) = breaker.list_open(account_id)
    assert breaker.count_by_effect(row) == {SuppressionEffect.SUPPRESSED: 20, SuppressionEffect.WAITS: 5}
    message_id = db.session.scalars(select(OutboxMessage.id).where(OutboxMessage.recipient == crowd[0])).one()
    assert outcomes.find(message_id) is None, "nothing was reported after an acceptance"
    assert breaker.decide(breaker.find_open(account_id, row.id), BreakerDecision.KEEP, now=utcnow()) == 25
    assert suppressed(account_id).keys() == {GRACE}


def test_the_owners_own_mailbox_is_never_suppressed(deliver):
    assert deliver(b"550 5.1.1 No such user\r\n", "ada@brightleaf.example") == {}


def test_a_bounce_does_not_replace_the_owners_suppression(deliver, app):
    account = account_of()
    suppressions.suppress(account.id, GRACE, SuppressionReason.BY_OWNER, note="Asked by phone", now=utcnow())
    suppressions.suppress(account.id, GRACE, SuppressionReason.BOUNCED, note="550 5.1.1", now=utcnow())
    db.session.commit()
    row = suppressions.find_suppression(account.id, GRACE)
    assert (row.reason, row.note) == (SuppressionReason.BY_OWNER, "Asked by phone")


def test_the_affiliates_page_shows_the_suppression_and_the_owner_can_remove_it(deliver, owner, stranger):
    row = deliver(b"550 5.1.1 No such user here\r\n")[GRACE]
    affiliate = db.session.scalars(select(Affiliate)).one()
    assert affiliate.state is AffiliateState.ACTIVE
    page = f"/affiliates/{affiliate.id}"
    text = owner.get(page).get_data(as_text=True)
    assert "There is no such mailbox" in text
    assert "No such user here" in text
    remove = f"/affiliates/not-written-to/{row.id}/remove?back={affiliate.id}"
    assert stranger.submit(remove, {"why": "x"}, page="/account").status_code == 404
    assert owner.submit(remove, {"why": "It exists by now"}, page=page).location == page
    text = owner.get(page).get_data(as_text=True)
    assert "Unblock" not in text
    assert "It exists by now" in text
