"""Migration 0040: suppressions of before hold for international domains, and open breakers can undo theirs. 0039 keeps rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from portal import create_app
from portal.db import db
from portal.db.migrate import downgrade, upgrade
from tests.conftest import make_config
from tests.migrations import make_tables
from tests.test_account_states_migration import FOLDER, _fill
from tests.test_plain_names import _tables

pytestmark = [pytest.mark.both_databases, pytest.mark.empty_database]
OPENED = datetime(2026, 3, 2, 9, tzinfo=UTC)
ACCOUNT = 1


@pytest.fixture(autouse=True)
def a_worker():
    """Replace the fixture of the same name: this test needs no worker."""


def _add(connection: sa.Connection, name: str, **values: object) -> None:
    table = next(one for one in _tables(connection) if one.name == name)
    connection.execute(sa.insert(table).values(**values))


def _suppress(connection: sa.Connection, mailbox: str, reason: str, **more: object) -> None:
    values = {
        "account_id": ACCOUNT,
        "mailbox_key": mailbox,
        "reason": reason,
        "note": "",
        "created_at": OPENED,
    }
    _add(connection, "suppression", **values | {"was_unsubscribed": False} | more)


def _report(connection: sa.Connection, message_id: int, mailbox: str, **more: object) -> None:
    values = {
        "message_id": message_id,
        "account_id": ACCOUNT,
        "mailbox_key": mailbox,
        "domain": mailbox.partition("@")[2],
        "meaning": "hard",
        "source": "mailgun",
        "event_key": str(message_id),
        "occurred_at": OPENED,
        "noted_at": OPENED - timedelta(minutes=30),
        "status": "5.1.1",
        "reason": "no such user",
        "is_listed": False,
        "sent_at": OPENED,
        "effect": "suppressed",
    }
    _add(connection, "message_outcome", **values | more)


def test_old_rows_become_effective_and_open_breakers_can_be_decided(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables("0038")
        with db.engine.begin() as connection:
            _fill(connection)
            for table in ("suppression", "message_outcome", "bounce_breaker", "suppression_lift"):
                connection.execute(sa.text(f"DELETE FROM {table}"))
            _suppress(connection, "ada@müller.example", "by-owner")
            _suppress(connection, "zoë@receiver.example", "by-owner")
            _suppress(connection, "bo@bücher.example", "by-owner", note="asked me")
            _suppress(connection, "bo@xn--bcher-kva.example", "bounced")
            _suppress(connection, "cy@bücher.example", "unsubscribed")
            _suppress(connection, "cy@xn--bcher-kva.example", "complained")
            _suppress(connection, "dee@no_name_ü.example", "by-owner")
            _suppress(connection, "eve@bücher.example", "unsubscribed")
            _suppress(connection, "eve@xn--bcher-kva.example", "bounced")
            long = f"{'f' * 64}@{'ü.' * 30}example"  # longer than the column in A-labels
            _suppress(connection, long, "by-owner")
            said = "mailgun: no such user"
            for number, (mailbox, note, at) in enumerate(
                (
                    ("r1@crowd.example", said, OPENED),
                    ("r2@crowd.example", "mx.crowd.example:25 said: 550 5.1.1 no", OPENED),
                    ("r3@crowd.example", said, OPENED - timedelta(days=1)),
                    ("r4@calm.example", said, OPENED),
                ),
                1,
            ):
                _suppress(connection, mailbox, "bounced", note=note, created_at=at)
                _report(connection, number, mailbox)
            _add(
                connection,
                "bounce_breaker",
                account_id=ACCOUNT,
                domain="crowd.example",
                opened_at=OPENED,
                last_seen_at=OPENED,
                decision="",
            )
        upgrade(directory=FOLDER, revision="0040")
        with db.engine.begin() as connection:
            query = "SELECT mailbox_key, reason, message_id FROM suppression"
            rows = {
                row.mailbox_key: (row.reason, row.message_id) for row in connection.execute(sa.text(query))
            }
            unsubscribed = sa.text(
                "SELECT mailbox_key FROM suppression WHERE was_unsubscribed ORDER BY mailbox_key"
            )
            assert connection.execute(unsubscribed).scalars().all() == [
                "cy@xn--bcher-kva.example",
                "eve@xn--bcher-kva.example",
            ]
            mailboxes = sa.text("SELECT skipped, uid_failures, failing_uid FROM bounce_mailbox")
            assert set(connection.execute(mailboxes).all()) == {(0, 0, None)}
        assert rows == {
            "ada@xn--mller-kva.example": ("by-owner", None),
            "zoë@receiver.example": ("by-owner", None),
            "bo@xn--bcher-kva.example": ("by-owner", None),
            "cy@xn--bcher-kva.example": ("complained", None),
            "dee@no_name_ü.example": ("by-owner", None),
            "eve@xn--bcher-kva.example": ("bounced", None),
            long: ("by-owner", None),
            "r1@crowd.example": ("bounced", 1),
            "r2@crowd.example": ("bounced", None),
            "r3@crowd.example": ("bounced", None),
            "r4@calm.example": ("bounced", None),
        }
        with db.engine.begin() as connection:
            connection.execute(sa.text("UPDATE incident SET kind = 'mailbox', ended = 'readable'"))
        downgrade(directory=FOLDER, revision="0038")
        with db.engine.begin() as connection:
            kinds = connection.execute(sa.text("SELECT kind, ended FROM incident")).all()
            assert set(kinds) == {("bounces", "over")}
        db.engine.dispose()
