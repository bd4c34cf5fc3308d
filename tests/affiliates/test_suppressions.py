"""A mailbox that does not exist is not written to again, until the owner says otherwise."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from portal.accounts.models import Account
from portal.affiliates import suppressions
from portal.affiliates.models import Affiliate, AffiliateState, Suppression, SuppressionReason
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
from tests.enrolment.support import account_of
from tests.outbox.support import StubRoutes, answering
from tests.smtp.badserver import BadServer

GRACE = "grace@example.org"


@pytest.fixture
def deliver(app, owner):
    """Sign Grace up and hand her welcome to a server that answers RCPT like this."""
    get_state(app).part(Routing).find = routes = StubRoutes()
    account = db.session.scalars(select(Account)).one()
    save_rules(account.id, Rules(confirm=False))

    def deliver(reply, mailbox=GRACE, further=None):
        refuse = lambda peer, line: peer.say(reply if mailbox.encode() in line else b"250 2.1.5 Ok\r\n")  # noqa: E731
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
def test_a_mailbox_that_does_not_exist_is_put_on_the_list_with_the_servers_words(deliver, code):
    listed = deliver(f"550 {code} No such user here\r\n".encode())
    assert list(listed) == [GRACE]
    assert listed[GRACE].reason is SuppressionReason.BOUNCED
    assert f"550 {code} No such user here" in listed[GRACE].note


def test_what_else_waits_for_a_mailbox_that_does_not_exist_is_not_tried(deliver, app):
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
def test_what_may_pass_or_may_mean_something_else_puts_nobody_on_the_list(deliver, reply):
    assert deliver(reply) == {}


def test_the_owners_own_mailbox_is_never_put_on_the_list(deliver):
    assert deliver(b"550 5.1.1 No such user\r\n", "ada@brightleaf.example") == {}


def test_what_the_owner_wrote_on_the_list_stays(deliver, app):
    account = account_of()
    suppressions.suppress(account.id, GRACE, SuppressionReason.BY_OWNER, note="Asked by phone", now=utcnow())
    suppressions.suppress(account.id, GRACE, SuppressionReason.BOUNCED, note="550 5.1.1", now=utcnow())
    db.session.commit()
    row = suppressions.find_suppression(account.id, GRACE)
    assert (row.reason, row.note) == (SuppressionReason.BY_OWNER, "Asked by phone")


def test_the_affiliates_page_says_so_and_lets_the_owner_write_again(deliver, owner, stranger):
    row = deliver(b"550 5.1.1 No such user here\r\n")[GRACE]
    affiliate = db.session.scalars(select(Affiliate)).one()
    assert affiliate.state is AffiliateState.ACTIVE
    page = f"/affiliates/{affiliate.id}"
    text = owner.get(page).get_data(as_text=True)
    assert "There is no such mailbox" in text
    assert "No such user here" in text
    remove = f"/affiliates/not-written-to/{row.id}/remove?back={affiliate.id}"
    assert stranger.submit(remove, {}, page="/affiliates/rules").status_code == 404
    assert owner.submit(remove, {}, page=page).location == page
    assert "Write again" not in owner.get(page).get_data(as_text=True)
