"""Migration 0020: accounts of before go on as they are, with their address or without one, and no row is lost."""

from __future__ import annotations

import pytest

from portal import create_app
from portal.db import db, readiness
from portal.db.migrate import downgrade, upgrade
from tests.conftest import make_config
from tests.migrations import make_tables
from tests.test_account_states_migration import _fill, _rows, _triggers
from tests.test_plain_names import _tables

pytestmark = [pytest.mark.both_databases, pytest.mark.empty_database]
FOLDER = str(readiness.MIGRATIONS)


def test_accounts_of_before_send_on_with_their_address_or_without_one(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables("0019")
        with db.engine.begin() as connection:
            _fill(connection)
            connection.exec_driver_sql("DELETE FROM notice_branding WHERE account_id = 2")
            before, triggers_before = _rows(connection, without="without_address"), _triggers(connection)
        upgrade(directory=FOLDER, revision="0020")
        with db.engine.begin() as connection:
            after = _rows(connection, without="without_address")
            added = [row for row in after.pop("notice_branding") if row not in before["notice_branding"]]
            assert after == {name: rows for name, rows in before.items() if name != "notice_branding"}
            assert len(added) == 1, "a row of the account that had none"
            assert _triggers(connection) == triggers_before
            query = "SELECT account_id, address, without_address FROM notice_branding ORDER BY account_id"
            rows = [
                (id_, address != "", bool(without))
                for id_, address, without in connection.exec_driver_sql(query)
            ]
            assert rows == [(1, True, False), (2, False, True)]
        downgrade(directory=FOLDER, revision="0019")
        with db.engine.begin() as connection:
            assert "without_address" not in {
                column.name
                for table in _tables(connection)
                for column in table.columns
                if table.name == "notice_branding"
            }
        db.engine.dispose()
