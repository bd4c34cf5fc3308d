"""The migration that names who saved a version keeps every row and trigger, and leaves older versions without a name."""

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
BEFORE, AFTER = "0013", "0014"


def test_versions_of_before_have_no_name_and_nothing_else_changes(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables(BEFORE)
        with db.engine.begin() as connection:
            _fill(connection)
            before, triggers = _rows(connection, without="saved_by"), _triggers(connection)
        upgrade(directory=FOLDER, revision=AFTER)
        with db.engine.begin() as connection:
            assert (_rows(connection, without="saved_by"), _triggers(connection)) == (before, triggers)
            names = connection.exec_driver_sql("SELECT saved_by FROM smtp_settings").scalars().all()
            assert names == ["", ""]
        downgrade(directory=FOLDER, revision=BEFORE)
        with db.engine.begin() as connection:
            assert (_rows(connection, without="saved_by"), _triggers(connection)) == (before, triggers)
        db.engine.dispose()
