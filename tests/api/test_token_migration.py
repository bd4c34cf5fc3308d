"""The migrations to end dates of tokens and to drafts of the API keep every row and trigger, and there is a way back."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from portal import create_app
from portal.db import db, readiness
from portal.db.migrate import downgrade, upgrade
from tests.conftest import make_config
from tests.migrations import make_tables
from tests.test_account_states_migration import _fill, _triggers
from tests.test_plain_names import _tables

pytestmark = [pytest.mark.both_databases, pytest.mark.empty_database]
FOLDER = str(readiness.MIGRATIONS)
BEFORE, AFTER = "0045", "0047"
NEW = {"api_token": {"created_by_id", "expires_at"}, "smtp_settings": {"waits_for_person"}}


def _rows(connection):
    found = {}
    for table in _tables(connection):
        columns = [one for one in table.columns if one.name not in NEW.get(table.name, ())]
        columns.sort(key=lambda column: column.name)
        rows = connection.execute(sa.select(*columns))
        found[table.name] = sorted((tuple(row) for row in rows), key=repr)
    return found


def test_tokens_have_no_end_and_no_version_waits_and_the_way_back_is_safe(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables(BEFORE)
        with db.engine.begin() as connection:
            _fill(connection)
            for sql in (
                "UPDATE api_token SET revoked_at = NULL, scope = 'events'",
                "UPDATE smtp_settings SET state = 'draft'",
                "UPDATE settings_check SET state = 'waiting'",
            ):
                connection.exec_driver_sql(sql)
            before, triggers = _rows(connection), _triggers(connection)
        upgrade(directory=FOLDER, revision=AFTER)
        with db.engine.begin() as connection:
            assert (_rows(connection), _triggers(connection)) == (before, triggers)
            new = connection.exec_driver_sql("SELECT created_by_id, expires_at FROM api_token").all()
            assert [tuple(row) for row in new] == [(None, None)] * 2
            waits = connection.exec_driver_sql("SELECT waits_for_person FROM smtp_settings").scalars().all()
            assert [bool(one) for one in waits] == [False] * 2
            for sql in (
                "UPDATE api_token SET expires_at = created_at WHERE id = 1",
                "UPDATE api_token SET scope = 'settings' WHERE id = 2",
                "UPDATE smtp_settings SET waits_for_person = TRUE WHERE id = 1",
            ):
                connection.exec_driver_sql(sql)
        downgrade(directory=FOLDER, revision=BEFORE)
        with db.engine.begin() as connection:
            tokens = connection.exec_driver_sql("SELECT scope, revoked_at FROM api_token ORDER BY id").all()
            assert [(scope, at is not None) for scope, at in tokens] == [("events", True), ("sending", True)]
            versions = connection.exec_driver_sql(
                "SELECT state, sealed_password FROM smtp_settings ORDER BY id"
            ).all()
            assert [(state, bytes(sealed)) == ("discarded", b"") for state, sealed in versions] == [
                True,
                False,
            ]
            checks = connection.exec_driver_sql("SELECT version_id FROM settings_check").scalars().all()
            assert checks == [2]
            assert _triggers(connection) == triggers
        db.engine.dispose()
