"""The migration that adds the programme settings keeps every row and trigger; accounts of before have no shop address."""

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
BEFORE, AFTER = "0025", "0026"
DEFAULTS = {"shop_url": "", "link_form": "short", "link_pattern": "", "visit_days": 30, "commission": "",
            "description": "", "picture": "", "terms_url": "", "privacy_url": "", "script_seen_at": None}  # fmt: skip


def _rows(connection: sa.Connection) -> dict[str, list[tuple]]:
    found = {}
    for table in _tables(connection):
        if table.name == "visit_count":
            continue
        columns = [
            column for column in table.columns if table.name != "account" or column.name not in DEFAULTS
        ]
        found[table.name] = sorted((tuple(row) for row in connection.execute(sa.select(*columns))), key=repr)
    return found


def test_programmes_of_before_have_no_shop_address_and_nothing_else_changes(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables(BEFORE)
        with db.engine.begin() as connection:
            _fill(connection)
            before, triggers = _rows(connection), _triggers(connection)
        upgrade(directory=FOLDER, revision=AFTER)
        with db.engine.begin() as connection:
            assert (_rows(connection), _triggers(connection)) == (before, triggers)
            [account] = [table for table in _tables(connection) if table.name == "account"]
            rows = connection.execute(sa.select(*(account.c[name] for name in DEFAULTS))).all()
            assert [tuple(row) for row in rows] == [tuple(DEFAULTS.values())] * 2
        downgrade(directory=FOLDER, revision=BEFORE)
        with db.engine.begin() as connection:
            assert (_rows(connection), _triggers(connection)) == (before, triggers)
        db.engine.dispose()
