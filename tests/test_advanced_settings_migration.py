"""Migration 0013 adds columns to the settings and their checks, and keeps every row and trigger."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from portal import create_app
from portal.db import db
from portal.db.migrate import downgrade, upgrade
from tests import test_account_states_migration as before
from tests.conftest import make_config
from tests.migrations import make_tables
from tests.test_plain_names import _tables

pytestmark = [pytest.mark.both_databases, pytest.mark.empty_database]
ADDED = {
    "smtp_settings": ("envelope_sender", "headers", "messages_per_connection", "reply_seconds"),
    "settings_check": ("started_at",),
}


@pytest.fixture(autouse=True)
def a_worker():
    """Replace the fixture of the same name: these tests need no worker."""


def _without_added(connection: sa.Connection) -> dict[str, list[tuple]]:
    found = {}
    for table in _tables(connection):
        columns = [column for column in table.columns if column.name not in ADDED.get(table.name, ())]
        found[table.name] = sorted((tuple(row) for row in connection.execute(sa.select(*columns))), key=repr)
    return found


def test_settings_of_before_have_the_defaults_and_nothing_else_changes(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables("0012")
        with db.engine.begin() as connection:
            before._fill(connection)
            rows, triggers = _without_added(connection), before._triggers(connection)
        upgrade(directory=before.FOLDER, revision="0013")
        with db.engine.begin() as connection:
            assert _without_added(connection) == rows
            assert before._triggers(connection) == triggers
            settings = next(table for table in _tables(connection) if table.name == "smtp_settings").c
            columns = [settings[name] for name in ADDED["smtp_settings"]]
            assert [tuple(row) for row in connection.execute(sa.select(*columns))] == [
                ("", [], None, None)
            ] * 2
        downgrade(directory=before.FOLDER, revision="0012")
        with db.engine.begin() as connection:
            assert _without_added(connection) == rows
            assert before._triggers(connection) == triggers
        db.engine.dispose()
