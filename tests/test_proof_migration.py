"""The migrations to proofs of person and changes of mailboxes: sessions of before go on, and there is a way back."""

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
BEFORE, AFTER, CHANGES = "0043", "0044", "0045"
ADDED = {"network": "", "proved_at": None, "proved_by": None, "former_hash": None, "kept_form": ""}


def _rows(connection: sa.Connection) -> dict[str, list[tuple]]:
    found = {}
    for table in _tables(connection):
        columns = [one for one in table.columns if table.name != "owner_session" or one.name not in ADDED]
        found[table.name] = sorted((tuple(row) for row in connection.execute(sa.select(*columns))), key=repr)
    return found


def test_sessions_of_before_stay_and_have_proved_nothing(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables(BEFORE)
        with db.engine.begin() as connection:
            _fill(connection)
            before, triggers = _rows(connection), _triggers(connection)
        upgrade(directory=FOLDER, revision=AFTER)
        with db.engine.begin() as connection:
            assert (_rows(connection), _triggers(connection)) == (before, triggers)
            query = f"SELECT {', '.join(ADDED)} FROM owner_session"
            found = [tuple(row) for row in connection.execute(sa.text(query))]
            assert set(found) == {tuple(ADDED.values())}
        upgrade(directory=FOLDER, revision=CHANGES)
        with db.engine.begin() as connection:
            assert connection.execute(sa.text("SELECT count(*) FROM mailbox_change")).scalar() == 0
        downgrade(directory=FOLDER, revision=BEFORE)
        with db.engine.begin() as connection:
            assert (_rows(connection), _triggers(connection)) == (before, triggers)
        db.engine.dispose()
