"""Retention: texts are removed first, messages later, as the account has chosen."""

from __future__ import annotations

from datetime import timedelta

import pytest

from portal.accounts.models import Account
from portal.clock import utcnow
from portal.db import db
from portal.deliveries import retention, rollup
from portal.deliveries.models import LogRow
from portal.outbox import cancellations
from portal.outbox.cancellations import MessageCancellation
from portal.outbox.models import DeliveryAttempt, OutboxMessage, Status
from tests.outbox.support import count_statements

from .conftest import account_of

pytestmark = pytest.mark.both_databases


def test_texts_to_be_removed_are_found_among_messages_with_one(app):
    if db.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL's plan depends on the number of rows")
    # Of indexes that cost the same SQLite takes the newest, which is this one after the migrations.
    (index,) = (one for one in LogRow.__table__.indexes if one.name == "ix_delivery_log_with_text")
    connection = db.session.connection()
    index.drop(connection)
    index.create(connection)
    query = retention._expired(1, utcnow(), with_text_only=True).compile(db.engine)
    plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", (1, "2026-01-01"))
    assert "ix_delivery_log_with_text (account_id=? AND settled_at<?)" in str(plan.all())


def test_texts_are_removed_before_messages_and_waiting_messages_stay(owner, enqueue, add_attempt):
    now = utcnow()
    recent, without_text, expired = (
        enqueue(
            status=Status.SENT, created_at=now - timedelta(days=days), settled_at=now - timedelta(days=days)
        )
        for days in (10, 91, 401)
    )
    for row in (recent, without_text, expired):
        add_attempt(row, transcript="     1 ms  C: EHLO x")
    waiting = enqueue(created_at=now - timedelta(days=500))
    message_ids = [row.id for row in (recent, without_text, expired, waiting)]
    while retention.prune(utcnow()):
        pass
    db.session.expire_all()
    found = [db.session.get(OutboxMessage, message_id) for message_id in message_ids]
    assert [row and bool(row.text) for row in found] == [True, False, None, True]
    has_transcript = {row.message_id: bool(row.transcript) for row in db.session.query(DeliveryAttempt)}
    assert has_transcript == {message_ids[0]: True, message_ids[1]: False}
    page = owner.get(f"/deliveries/{message_ids[1]}").get_data(as_text=True)
    assert "The text was removed after 91 days" in page
    assert owner.get(f"/deliveries/{message_ids[2]}").status_code == 404
    assert db.session.get(LogRow, message_ids[2]) is None


def test_an_account_sets_its_own_retention(owner, stranger, enqueue):
    message = enqueue(status=Status.SENT, settled_at=utcnow() - timedelta(days=8))
    asked = owner.submit("/deliveries/keep", {"body_days": "7", "row_days": "30"}).get_data(as_text=True)
    assert "Delete older emails?" in asked
    assert 'value="7"' in asked
    assert 'value="90"' in owner.get("/deliveries/keep").get_data(as_text=True)
    response = owner.submit("/deliveries/keep", {"body_days": "7", "row_days": "30", "confirmed": "1"})
    assert response.status_code == 303
    assert 'value="7"' in owner.get("/deliveries/keep").get_data(as_text=True)
    assert 'value="90"' in stranger.get("/deliveries/keep").get_data(as_text=True)
    assert retention.prune(utcnow()) == 1
    db.session.expire_all()
    assert message.text == ""


@pytest.mark.parametrize(
    ("body_days", "row_days", "error"),
    [
        ("0", "30", "whole number of days"),
        ("x", "30", "whole number of days"),
        ("", "30", "whole number of days"),
        ("90", "9999999999999999999999", "whole number of days"),
        ("90", "30", "at least as long"),
    ],
)
def test_invalid_retention_is_refused(owner, body_days, row_days, error):
    response = owner.submit("/deliveries/keep", {"body_days": body_days, "row_days": row_days})
    assert response.status_code == 422
    assert error in response.get_data(as_text=True)


def test_the_reason_of_a_cancellation_is_removed_with_its_message(owner, enqueue):
    now = utcnow()
    expired, recent = (
        enqueue(status=Status.CANCELLED, settled_at=now - timedelta(days=days)).id for days in (20, 2)
    )
    cancellations.record_reason([expired, recent], "You discarded it.", now=now)
    retention.save(account_of().id, retention.Retention(1, 7))
    while retention.prune(now):
        pass
    assert db.session.scalars(db.select(MessageCancellation.message_id)).all() == [recent]


def count_statements_of_maintenance():
    """Return how many statements the hourly rollup and a look for expired messages take."""
    with count_statements() as found:
        assert retention.prune(utcnow()) == 0
        rollup._roll_hours(utcnow() - timedelta(days=1), utcnow())
    db.session.commit()
    return len(found)


def test_quiet_accounts_cost_no_statement_of_their_own(app, owner, enqueue):
    enqueue(status=Status.SENT, settled_at=utcnow() - timedelta(days=80))
    of_one = count_statements_of_maintenance()
    for number in range(5):
        account = Account(slug=f"quiet-{number}", name=f"Quiet {number}", created_at=utcnow())
        db.session.add(account)
        db.session.flush()
        if number < 2:
            retention.save(account.id, retention.Retention(7, 30))
    db.session.commit()
    assert count_statements_of_maintenance() <= of_one + 1, "one more for the accounts that chose otherwise"
