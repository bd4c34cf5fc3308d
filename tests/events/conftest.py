"""A programme, an affiliate of it, and something that happens to them."""

from __future__ import annotations

from itertools import count

import pytest
from sqlalchemy import select

from portal.accounts.models import Account
from portal.affiliates.models import AffiliateState
from portal.clock import utcnow
from portal.db import db
from portal.enrolment import signup
from portal.events import event_log
from portal.events.dispatch import NewEvent, record_event
from portal.events.types import EventType, Source
from tests.enrolment.support import account_of

BOUGHT = {"order": "A-1", "amount": "10.00", "currency": "EUR", "commission": "1.00", "product": ""}


@pytest.fixture
def account(owner):
    """Brightleaf, whose owner is logged in."""
    return account_of()


@pytest.fixture
def affiliate(account):
    """Grace, who takes part."""
    row = signup.new_affiliate(account, "Grace Hopper", "grace@example.org", utcnow())
    row.state = AffiliateState.ACTIVE
    db.session.add(row)
    db.session.commit()
    return row


@pytest.fixture
def happen(account, affiliate):
    """Let something happen; return its event and its emails by kind."""
    keys = count()

    def happen(type_=EventType.PURCHASE, values=BOUGHT, *, key="", source=Source.API, **more):
        key = key or f"key-{next(keys)}"
        new = NewEvent(account, type_, affiliate, values, **more)
        done = record_event(new, key=key, source=source, now=utcnow())
        db.session.commit()
        return done, {mail.kind: mail for mail in event_log.emails_by_event([done.event.id])[done.event.id]}

    return happen


def copperpot():
    return db.session.scalars(select(Account).where(Account.slug == "copperpot")).one()
