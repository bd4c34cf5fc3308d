"""Migration 0015 adds when an email of an event is due in a digest, and keeps every row and trigger."""

from __future__ import annotations

import pytest

from portal import create_app
from portal.db import db, readiness
from portal.db.migrate import downgrade, upgrade
from tests.conftest import make_config
from tests.migrations import make_tables
from tests.test_account_states_migration import _fill, _rows, _triggers

pytestmark = [pytest.mark.both_databases, pytest.mark.empty_database]
FOLDER = str(readiness.MIGRATIONS)


def test_no_email_of_before_waits_for_a_digest_and_nothing_else_changes(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables("0014")
        with db.engine.begin() as connection:
            _fill(connection)
            before, triggers_before = _rows(connection, without="digest_at"), _triggers(connection)
        upgrade(directory=FOLDER, revision="0015")
        with db.engine.begin() as connection:
            assert _rows(connection, without="digest_at") == before
            assert _triggers(connection) == triggers_before
            due = connection.exec_driver_sql("SELECT digest_at FROM event_mail").scalars()
            assert list(due) == [None, None]
        downgrade(directory=FOLDER, revision="0014")
        with db.engine.begin() as connection:
            assert _rows(connection, without="digest_at") == before
            assert _triggers(connection) == triggers_before
        db.engine.dispose()


def test_an_email_that_waits_at_the_upgrade_is_found_by_its_account(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables("0020")
        with db.engine.begin() as connection:
            _fill(connection)
            first = connection.exec_driver_sql("SELECT min(id) FROM event_mail").scalar()
            connection.exec_driver_sql(f"UPDATE event_mail SET digest_at = NULL WHERE id <> {first}")
            before, triggers_before = _rows(connection, without="digest_account_id"), _triggers(connection)
            account = connection.exec_driver_sql(
                f"SELECT account_id FROM event JOIN event_mail m ON m.event_id = event.id WHERE m.id = {first}"
            ).scalar()
        upgrade(directory=FOLDER, revision="0021")
        with db.engine.begin() as connection:
            assert _rows(connection, without="digest_account_id") == before
            assert _triggers(connection) == triggers_before
            found = connection.exec_driver_sql("SELECT digest_account_id FROM event_mail ORDER BY id")
            assert list(found.scalars()) == [account, None]
        downgrade(directory=FOLDER, revision="0020")
        with db.engine.begin() as connection:
            assert _rows(connection, without="digest_account_id") == before
            assert _triggers(connection) == triggers_before
        db.engine.dispose()
