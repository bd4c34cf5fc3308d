"""Fixtures: a programme, one of its affiliates, and a function that records events."""

from __future__ import annotations

from itertools import count

import pytest

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
    """Grace, an active affiliate."""
    row = signup.new_affiliate(account, "Grace Hopper", "grace@example.org", utcnow())
    row.state = AffiliateState.ACTIVE
    db.session.add(row)
    db.session.commit()
    return row


@pytest.fixture
def record(account, affiliate):
    """Return a function that records an event, by default about Grace, and returns it with its emails by kind."""
    keys = count()

    def record(type_=EventType.PURCHASE, values=BOUGHT, *, key="", source=Source.API, about=None, **more):
        key = key or f"key-{next(keys)}"
        new = NewEvent(account, type_, about or affiliate, values, **more)
        recorded = record_event(new, key=key, source=source, now=utcnow())
        db.session.commit()
        emails = event_log.emails_by_event([recorded.event_id])[recorded.event_id]
        return recorded, {email.kind: email for email in emails}

    return record
