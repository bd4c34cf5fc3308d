"""The migrations that add time zone and shortcuts of persons, and the language of affiliates, keep every row and trigger."""

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
BEFORE, AFTER = "0052", "0054"
DEFAULTS = {"owner": {"time_zone": "", "has_shortcuts": True}, "affiliate": {"language": ""}}


def _rows(connection: sa.Connection) -> dict[str, list[tuple]]:
    found = {}
    for table in _tables(connection):
        new = DEFAULTS.get(table.name, {})
        columns = [column for column in table.columns if column.name not in new]
        found[table.name] = sorted((tuple(row) for row in connection.execute(sa.select(*columns))), key=repr)
    return found


def test_people_of_before_see_the_programmes_zone_and_language_and_nothing_else_changes(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables(BEFORE)
        with db.engine.begin() as connection:
            _fill(connection)
            before, triggers = _rows(connection), _triggers(connection)
        upgrade(directory=FOLDER, revision=AFTER)
        with db.engine.begin() as connection:
            assert (_rows(connection), _triggers(connection)) == (before, triggers)
            for table in _tables(connection):
                new = DEFAULTS.get(table.name, {})
                rows = connection.execute(sa.select(*(table.c[name] for name in new))).all() if new else []
                assert {tuple(row) for row in rows} <= {tuple(new.values())}
        downgrade(directory=FOLDER, revision=BEFORE)
        with db.engine.begin() as connection:
            assert (_rows(connection), _triggers(connection)) == (before, triggers)
        db.engine.dispose()
