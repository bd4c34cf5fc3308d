"""Migrations 0024 and 0025 add the table of test emails and the scope of tokens, and change no row and no trigger."""

from __future__ import annotations

from pathlib import Path

import pytest

from portal import create_app
from portal.db import db
from portal.db.migrate import downgrade, upgrade
from tests.conftest import make_config
from tests.migrations import make_tables
from tests.test_account_states_migration import FOLDER, _fill, _rows, _triggers

pytestmark = [pytest.mark.both_databases, pytest.mark.empty_database]
BEFORE, AFTER = "0023", "0025"


def test_a_filled_database_keeps_its_rows_in_both_directions(tmp_path: Path) -> None:
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables(BEFORE)
        with db.engine.begin() as connection:
            _fill(connection)
            rows, triggers = _rows(connection, without="scope"), _triggers(connection)
        upgrade(directory=FOLDER, revision=AFTER)
        with db.engine.begin() as connection:
            assert _rows(connection, without="scope") == {**rows, "test_email": []}
            assert _triggers(connection) == triggers
            scopes = connection.exec_driver_sql("SELECT DISTINCT scope FROM api_token").scalars().all()
            assert scopes == ["events"], "tokens of before may do what they could"
        downgrade(directory=FOLDER, revision=BEFORE)
        with db.engine.begin() as connection:
            assert _rows(connection, without="scope") == rows
            assert _triggers(connection) == triggers
        db.engine.dispose()
