"""Helpers of the enrolment tests: Brightleaf, its newest affiliate, and the emails in the outbox."""

from __future__ import annotations

import re

from sqlalchemy import select

from portal.accounts.models import Account
from portal.affiliates.models import Affiliate
from portal.db import db
from portal.outbox.models import OutboxMessage

GRACE = {"name": "Grace Hopper", "mailbox": "grace@example.org", "consent": "y"}


def account_of(slug="brightleaf"):
    return db.session.scalar(select(Account).where(Account.slug == slug))


def newest_affiliate():
    db.session.rollback()
    return db.session.scalars(select(Affiliate).order_by(Affiliate.id.desc())).first()


def messages(kind):
    db.session.rollback()
    query = select(OutboxMessage).where(OutboxMessage.kind == kind)
    return list(db.session.scalars(query.order_by(OutboxMessage.id)))


def path_in(kind, prefix):
    """Return the path of the link in the newest email of this kind."""
    text = messages(kind)[-1].text
    return re.search(rf"http://127\.0\.0\.1(/{prefix}/\S+)", text).group(1)


def sign_up(client, **changes):
    """Send the sign-up form as a browser would, with some fields changed."""
    assert client.submit("/join/brightleaf", GRACE | changes).status_code == 303
