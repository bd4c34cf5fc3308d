"""How often the log row of a message is written on PostgreSQL, and the words of messages that are being sent."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from portal.db import db
from portal.deliveries import search
from portal.deliveries.filters import Filters
from portal.deliveries.models import LogRow
from portal.deliveries.query_plan import make_plan
from portal.outbox.models import Status
from tests.deliveries.conftest import account_of

_SETTLE = """
WITH settled AS (
    UPDATE outbox_message SET status = 'sent', settled_at = now(), attempts = 1 WHERE id = :id RETURNING id
)
INSERT INTO delivery_attempt (message_id, number, version_number, server, sender, started_at, ended_at, outcome, ambiguous,
    stage, reply_code, enhanced_code, reply_text, queue_id, transcript, traceback)
SELECT id, :number, 3, '', '', now(), now(), 'accepted', false, '', 250, '', '', :queue_id, '', '' FROM settled
"""
_WRITES = "SELECT n_tup_upd FROM pg_stat_xact_user_tables WHERE relname = 'delivery_log'"


def _words(words: str) -> list[int]:
    return search.find(
        make_plan(account_of().id, Filters.read({"q": words, "by": "subject"})), size=5
    ).message_ids


def _log_row(message_id: int) -> tuple:
    columns = (LogRow.status, LogRow.attempt, LogRow.version, LogRow.code, LogRow.queue_id)
    return tuple(db.session.execute(sa.select(*columns).where(LogRow.message_id == message_id)).one())


@pytest.mark.only_postgresql
def test_a_message_and_its_attempt_settled_together_are_one_write_of_the_log(owner, enqueue):
    message_id = enqueue().id
    db.session.execute(sa.text(_SETTLE), {"id": message_id, "number": 1, "queue_id": "Q1"})
    assert db.session.scalar(sa.text(_WRITES)) == 1
    assert _log_row(message_id) == (Status.SENT, 1, 3, 250, "Q1")
    db.session.execute(sa.text(_SETTLE), {"id": message_id, "number": 2, "queue_id": ""})
    assert _log_row(message_id) == (Status.SENT, 2, 3, 250, "Q1"), (
        "an attempt without a queue id keeps the one before"
    )


@pytest.mark.only_postgresql
def test_a_message_settled_before_its_attempt_ends_gets_both(owner, enqueue, add_attempt):
    message = enqueue()
    message.status = Status.SENT
    db.session.commit()
    assert _log_row(message.id)[:4] == (Status.SENT, 0, None, None)
    add_attempt(message, reply_code=250, queue_id="Q2")
    assert _log_row(message.id)[3:] == (250, "Q2")


@pytest.mark.both_databases
def test_words_find_a_message_that_is_being_sent_behind_many_newer_ones(owner, enqueue, monkeypatch):
    monkeypatch.setattr(search, "WINDOW_ROWS", 5)
    message = enqueue(subject="A zebra for you")
    newer = [enqueue(subject="Another one") for _ in range(10)]
    for status in (Status.SENDING, Status.SENT):
        message.status = newer[0].status = status
        db.session.commit()
        assert _words("zebra") == [message.id], status
