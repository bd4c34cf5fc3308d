"""A lease belongs to one worker until it lapses; a worker that lost it finds out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from portal.db import db, lease
from portal.incidents.models import WebhookDelivery, WebhookState

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def row(app, owner) -> WebhookDelivery:
    made = WebhookDelivery(
        account_id=1,
        key="k",
        event="test",
        body="{}",
        state=WebhookState.WAITING,
        attempts=0,
        problem="",
        created_at=NOON,
        next_at=NOON,
    )
    db.session.add(made)
    db.session.commit()
    return made


def _found(condition) -> bool:
    return db.session.scalar(select(WebhookDelivery.id).where(condition)) is not None


def test_a_row_is_free_until_it_is_taken_and_again_when_the_lease_has_lapsed(row):
    assert _found(lease.is_free(WebhookDelivery, NOON))
    assert not _found(lease.lapsed(WebhookDelivery, NOON)), "it was never leased"
    assert not lease.has_lapsed(row, NOON)
    lease.take(row, MINUTE, now=NOON)
    db.session.commit()
    assert not _found(lease.is_free(WebhookDelivery, NOON))
    assert _found(lease.lapsed(WebhookDelivery, NOON + MINUTE))
    assert _found(lease.is_free(WebhookDelivery, NOON + MINUTE))
    assert lease.has_lapsed(row, NOON + MINUTE)


def test_a_lease_that_another_worker_took_is_no_longer_mine(row):
    first = lease.take(row, MINUTE, now=NOON)
    db.session.commit()
    assert first.still_mine() is row
    second = lease.take(row, MINUTE, now=NOON + 2 * MINUTE)
    db.session.commit()
    assert first.still_mine() is None
    assert second.still_mine() is row


def test_a_renewed_lease_lasts_longer_and_stays_mine(row):
    held = lease.take(row, MINUTE, now=NOON)
    held.renew(row, MINUTE, now=NOON + MINUTE)
    db.session.commit()
    assert not lease.has_lapsed(row, NOON + MINUTE)
    assert held.still_mine() is row


def test_a_released_row_is_free(row):
    held = lease.take(row, MINUTE, now=NOON)
    row.lease_until = None
    db.session.commit()
    assert held.still_mine() is None
    assert _found(lease.is_free(WebhookDelivery, NOON))
