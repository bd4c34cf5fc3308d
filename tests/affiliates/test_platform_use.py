"""What an account has sent through the platform's sender is found by indexes, however many messages it has."""

from __future__ import annotations

from sqlalchemy import event

from portal.affiliates import platform_use
from portal.clock import utcnow
from portal.db import db
from tests.outbox.support import new_account


def test_neither_mail_that_waits_nor_mail_of_before_is_read(app):
    account_id, statements = new_account(), []
    listen = lambda *values: statements.append((values[2], values[3]))  # noqa: E731
    event.listen(db.engine, "before_cursor_execute", listen)
    try:
        assert platform_use.by_recipient(account_id, utcnow()) == {}
    finally:
        event.remove(db.engine, "before_cursor_execute", listen)
    ((statement, values),) = statements
    plan = db.session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
    steps = [row[3] for row in plan]
    assert not [step for step in steps if step.startswith("SCAN")]
    assert [step for step in steps if "outbox_message USING" in step and "rowid" not in step] == [
        "SEARCH outbox_message USING COVERING INDEX ix_outbox_message_due (account_id=? AND status=?)"
    ]
    assert [step for step in steps if "ix_delivery_log_settled (account_id=? AND settled_at>?)" in step]
