"""The migration that adds languages and digests keeps every row and trigger; nothing that is sent changes by it."""

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
BEFORE, AFTER = "0028", "0029"
DEFAULTS = {"account": {"language": "en", "confirm_version": 0}, "affiliate": {"email_pace": "at-once"}}


def _rows(connection: sa.Connection) -> dict[str, list[tuple]]:
    found = {}
    for table in _tables(connection):
        columns = [column for column in table.columns if column.name not in DEFAULTS.get(table.name, {})]
        found[table.name] = sorted((tuple(row) for row in connection.execute(sa.select(*columns))), key=repr)
    return found


def test_programmes_of_before_are_english_and_their_affiliates_get_each_email_at_once(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables(BEFORE)
        with db.engine.begin() as connection:
            _fill(connection)
            before, triggers = _rows(connection), _triggers(connection)
        upgrade(directory=FOLDER, revision=AFTER)
        with db.engine.begin() as connection:
            assert (_rows(connection), _triggers(connection)) == (before, triggers)
            for table in (one for one in _tables(connection) if one.name in DEFAULTS):
                expected = DEFAULTS[table.name]
                rows = connection.execute(sa.select(*(table.c[name] for name in expected))).all()
                assert rows
                assert {tuple(row) for row in rows} == {tuple(expected.values())}
        downgrade(directory=FOLDER, revision=BEFORE)
        with db.engine.begin() as connection:
            assert (_rows(connection), _triggers(connection)) == (before, triggers)
        db.engine.dispose()
