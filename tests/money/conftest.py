"""Fixtures: a programme with an affiliate, and a function that records events about money as the API does."""

from __future__ import annotations

from itertools import count

import pytest

from portal.affiliates.models import AffiliateState
from portal.clock import utcnow
from portal.db import db
from portal.enrolment import signup
from portal.events import event_log
from portal.events.types import EventType, Source
from portal.money import recording
from portal.money.orders import Reported
from tests.conftest import make_config
from tests.enrolment.support import account_of

BOUGHT = {"order": "A-1", "amount": "100.00", "currency": "EUR", "commission": "12.00", "product": ""}


def new_affiliate(account, name="Grace Hopper", mailbox="grace@example.org"):
    """Add an active affiliate. Commits."""
    row = signup.new_affiliate(account, name, mailbox, utcnow())
    row.state = AffiliateState.ACTIVE
    row.confirmed_at = utcnow()
    db.session.add(row)
    db.session.commit()
    return row


@pytest.fixture
def config(tmp_path, tuning):
    """A configuration with which no email waits for a digest."""
    return make_config(tmp_path / "instance", tuning=tuning, env={"SIGNET_EVENT_EMAILS_PER_HOUR": "1000"})


@pytest.fixture
def account(owner):
    """Brightleaf, whose owner is logged in."""
    return account_of()


@pytest.fixture
def affiliate(account):
    """Grace, an active affiliate."""
    return new_affiliate(account)


@pytest.fixture
def record(account, affiliate):
    """Return a function that records an event, by default about Grace, and returns the decisions about its emails by kind.

    A purchase has the values of ``BOUGHT`` where none are given.
    """
    keys = count()

    def record(type_=EventType.PURCHASE, *, about=None, at=None, notify=False, source=Source.API, **values):
        defaults = BOUGHT if type_ is EventType.PURCHASE else {"currency": "EUR"}
        if type_ in (EventType.REFUND, EventType.COMMISSION_APPROVED, EventType.COMMISSION_DECLINED):
            outcome = "refunded" if type_ is EventType.REFUND else "declined"
            defaults = {
                "order": "A-1",
                "commission": "12.00",
                "currency": "EUR",
                "outcome": outcome,
                "reason": "",
            }
        key = values.pop("key", None) or f"key-{next(keys)}"
        reported = Reported(type_, defaults | values, at or utcnow(), notify)
        cause = recording.Cause(source, utcnow(), key)
        recorded = recording.record(account, about or affiliate, reported, cause)
        db.session.commit()
        emails = event_log.emails_by_event([recorded.event_id])[recorded.event_id]
        return {email.kind: email.decision for email in emails}

    return record
