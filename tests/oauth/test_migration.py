"""Migrations 0016 and 0019 add grants, refresh tokens and attempts, and change no row."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from portal import create_app
from portal.db import db
from portal.db.migrate import downgrade, upgrade
from tests.conftest import make_config
from tests.migrations import make_tables
from tests.test_account_states_migration import FOLDER, _fill, _triggers
from tests.test_plain_names import _tables

pytestmark = [pytest.mark.both_databases, pytest.mark.empty_database]


ADDED = {
    "0016": ({"oauth_grant"}, {"smtp_settings": {"grant_id"}}),
    "0019": ({"oauth_attempt"}, {"oauth_grant": {"sealed_refresh", "subject"}}),
}


def _rows(connection: sa.Connection, revision: str) -> dict[str, list[tuple[object, ...]]]:
    """Return the rows of all tables, without what a migration adds."""
    tables, columns = ADDED[revision]
    return {
        table.name: sorted(
            (
                tuple(row)
                for row in connection.execute(
                    sa.select(*(c for c in table.c if c.name not in columns.get(table.name, ())))
                )
            ),
            key=repr,
        )
        for table in _tables(connection)
        if table.name not in tables
    }


@pytest.mark.parametrize(("before", "after"), [("0015", "0016"), ("0018", "0019")])
def test_a_filled_database_keeps_its_rows_in_both_directions(tmp_path, before, after):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables(before)
        with db.engine.begin() as connection:
            _fill(connection)
            rows, triggers = _rows(connection, after), _triggers(connection)
        upgrade(directory=FOLDER, revision=after)
        with db.engine.begin() as connection:
            assert _rows(connection, after) == rows
            assert _triggers(connection) == triggers
        downgrade(directory=FOLDER, revision=before)
        with db.engine.begin() as connection:
            assert _rows(connection, after) == rows
            assert _triggers(connection) == triggers
        db.engine.dispose()
