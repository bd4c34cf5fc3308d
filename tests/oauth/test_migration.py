"""Migration 0016 adds the grants and changes no row."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from flask_migrate import downgrade, upgrade

from portal import create_app
from portal.db import db
from tests.conftest import make_config
from tests.test_account_states_migration import FOLDER, _fill, _triggers
from tests.test_plain_names import _tables

pytestmark = [pytest.mark.both_databases, pytest.mark.empty_database]


def _rows(connection: sa.Connection) -> dict[str, list[tuple[object, ...]]]:
    return {
        table.name: sorted(
            (
                tuple(row)
                for row in connection.execute(sa.select(*(c for c in table.c if c.name != "grant_id")))
            ),
            key=repr,
        )
        for table in _tables(connection)
        if table.name != "oauth_grant"
    }


def test_a_filled_database_keeps_its_rows_in_both_directions(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        upgrade(directory=FOLDER, revision="0015")
        with db.engine.begin() as connection:
            _fill(connection)
            before, triggers = _rows(connection), _triggers(connection)
        upgrade(directory=FOLDER, revision="0016")
        with db.engine.begin() as connection:
            assert _rows(connection) == before
            assert _triggers(connection) == triggers
            assert set(connection.execute(sa.text("SELECT grant_id FROM smtp_settings")).scalars()) == {None}
        downgrade(directory=FOLDER, revision="0015")
        with db.engine.begin() as connection:
            assert _rows(connection) == before
            assert _triggers(connection) == triggers
        db.engine.dispose()
