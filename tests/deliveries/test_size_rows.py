"""What benchmarks/size_rows.py writes without triggers is what the application writes for the same messages."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import text

from benchmarks.size_accounts import prepare_accounts
from benchmarks.size_items import ROUTE, acceptance
from benchmarks.size_rows import MEDIUM, ROLLUPS, Sizes, fill, fill_rollups
from portal.bounces import processing
from portal.bounces.meaning import Meaning, Report
from portal.bounces.recording import record_event
from portal.clock import utcnow
from portal.db import db
from portal.db.transaction import db_now
from portal.deliveries import retention, rollup
from portal.outbox.models import Outcome, Status
from portal.outbox.queue import NewMessage, cancel_pending, enqueue
from portal.outbox.reference import reference_of
from portal.outbox.store.leases import new_token
from portal.outbox.store.sql import get_store

pytestmark = pytest.mark.only_postgresql

OF_MESSAGE = {
    "outbox_message": "id",
    "delivery_attempt": "message_id",
    "delivery_log": "message_id",
    "bounce_event": "message_id",
    "message_outcome": "message_id",
}


@pytest.fixture
def sizes(app):
    found = Sizes(2000, 10, 12, utcnow().replace(microsecond=0), days=5)
    prepare_accounts(found)
    connect = _connector(app)
    for is_first in (True, False):
        fill(connect, found, is_first=is_first)
    return found


def _connector(app):
    url = app.config["SQLALCHEMY_DATABASE_URI"].replace("+psycopg", "", 1)
    return lambda: psycopg.connect(url, autocommit=True)


def _rows(statement, **values):
    return db.session.execute(text(statement), values).all()


def _differing(table, columns="*"):
    """Return rows of a table that its copy lacks, and the reverse."""
    one, other = f"SELECT {columns} FROM {table}", f"SELECT {columns} FROM kept_{table}"
    return _rows(f"({one} EXCEPT {other}) UNION ALL ({other} EXCEPT {one})")


def _keep(*tables):
    for table in tables:
        db.session.execute(text(f"CREATE TEMP TABLE kept_{table} AS TABLE {table}"))


def test_the_filled_log_is_what_the_triggers_write(app, sizes):
    assert _rows("SELECT count(*) FROM delivery_log") == [(2000,)]
    db.session.rollback()
    connection = db.session.connection()  # temporary tables belong to it
    _keep("delivery_log", "outbox_message", "delivery_attempt")
    connection.execute(text("TRUNCATE outbox_message, delivery_attempt, delivery_log CASCADE"))
    for table, order in (("outbox_message", "id"), ("delivery_attempt", "message_id, number")):
        connection.execute(text(f"INSERT INTO {table} SELECT * FROM kept_{table} ORDER BY {order}"))
    # Outcome and removal of the text are written by the application, by statements of their own.
    columns = ", ".join(
        c.name for c in db.metadata.tables["delivery_log"].columns if c.name not in ("outcome", "wiped_at")
    )
    assert _differing("delivery_log", columns) == []
    db.session.rollback()


def test_the_filled_counts_are_what_the_rollup_writes(app, sizes):
    now = sizes.now
    over = rollup._last_full_hour(now)
    fill_rollups(_connector(app), over)
    _keep(*ROLLUPS)
    db.session.execute(text("TRUNCATE delivery_hour, attempt_total, rollup_cursor"))
    while rollup.roll_up(now):
        pass
    assert _differing("delivery_hour") == []
    assert _rows("SELECT count(*) > 100 FROM delivery_hour") == [(True,)]
    totals = "provider, outcome, stage, step, count, round(seconds::numeric, 2)"
    assert _differing("attempt_total", totals) == []
    cursors = "SELECT name, until FROM {} WHERE name IN ('hours', 'days', 'attempts') ORDER BY name"
    assert _rows(cursors.format("rollup_cursor")) == _rows(cursors.format("kept_rollup_cursor"))


def test_a_filled_message_has_the_columns_of_one_that_the_application_sent_and_pruned(app, sizes):
    filled = {status: _shapes("id IN (SELECT id FROM outbox_message WHERE status = :status)", status=status)
              for status in ("sent", "failed", "cancelled")}  # fmt: skip
    last = max(_rows("SELECT max(id) FROM outbox_message"))[0]
    with closing(_connector(app)()) as connection:
        connection.execute(f"SELECT setval(pg_get_serial_sequence('outbox_message', 'id'), {last})")
    _run_through_the_application()
    for status, shapes in filled.items():
        sent_by_application = _shapes("id IN (SELECT id FROM outbox_message WHERE status = :status AND id > :last)",
                                      status=status, last=last)  # fmt: skip
        for table, found in sent_by_application.items():
            assert found, (status, table)
            assert found <= shapes[table], (status, table, found - shapes[table])


def _shapes(where, **values):
    """Return, by table, which columns of the messages' rows are empty, and the values of those that are flags."""
    found = {}
    for table, key in OF_MESSAGE.items():
        rows = _rows(
            f"SELECT * FROM {table} WHERE {key} IN (SELECT id FROM outbox_message WHERE {where})", **values
        )
        found[table] = {tuple(_shape(name, value) for name, value in row._mapping.items()) for row in rows}
    return {table: shapes for table, shapes in found.items() if shapes}


def _shape(name, value):
    if value is None or value == "":
        return name, value
    return name, value if isinstance(value, bool) else type(value).__name__


def _run_through_the_application():
    """Enqueue, claim, settle, report and prune messages: delivered, refused, deferred and then delivered, cancelled."""
    now, store = utcnow(), get_store()
    ids = {}
    for name in ("delivered", "hard", "refused", "deferred", "cancelled"):
        new = NewMessage("approved", name, f"{name}@mail1.example", "Welcome", "Hello", "<p>Hello</p>")
        ids[name] = enqueue(MEDIUM, new, now=now)
    cancel_pending(MEDIUM, "cancelled@mail1.example", ["approved"], Status.CANCELLED, now=now)
    db.session.commit()
    for _ in range(2):
        claims = store.claim_batch(store.lock_queue(MEDIUM), new_token(), ROUTE, limit=9, now=db_now())
        for claim in claims:
            store.record_start(claim, ROUTE, now=db_now())
            _settle(store, claim, ids)
        db.session.commit()
    for name, meaning, status, code in (
        ("delivered", Meaning.DELIVERED, "", 250),
        ("hard", Meaning.HARD, "5.1.1", 550),
    ):
        reason = "5.1.1 No such user" if status else ""
        report = Report(meaning, name, meaning.value, f"{name}@mail1.example", None, status, code, reason)
        record_event(MEDIUM, "mailgun", _named(report, ids[name]), now=now)
    db.session.commit()
    processing.process(MEDIUM)
    retention.prune(now + timedelta(days=91))


def _named(report, message_id):
    return replace(report, reference=reference_of(message_id))


def _settle(store, claim, ids):
    refusal = {"stage": "rcpt", "diagnosis": {"cause": "There is no such mailbox."}, "transcript": "S: 550"}
    if claim.message.id == ids["refused"]:
        refusal |= {
            "reply_code": 550,
            "enhanced_code": "5.1.1",
            "reply_text": "5.1.1 No such user",
            "outcome": Outcome.REJECTED,
        }
        assert store.settle(claim, now=db_now(), status=Status.FAILED, attempt=refusal)
    elif claim.message.id == ids["deferred"] and not claim.message.attempts:
        refusal |= {
            "reply_code": 451,
            "enhanced_code": "4.7.1",
            "reply_text": "4.7.1 Later",
            "outcome": Outcome.DEFERRED,
        }
        assert store.settle(
            claim, now=db_now(), status=Status.QUEUED, attempt=refusal, next_attempt_at=db_now()
        )
    else:
        assert store.settle_accepted([(claim, acceptance(claim.message.id), "S: 250")], now=db_now()) == [
            True
        ]
