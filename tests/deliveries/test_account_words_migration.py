"""The migrations of the log's indexes keep every row and trigger, and subjects of before are found."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from portal import create_app
from portal.db import db, readiness
from portal.db.migrate import downgrade, upgrade
from portal.deliveries import search
from portal.deliveries.filters import Filters
from portal.deliveries.query_plan import make_plan
from tests.conftest import make_config
from tests.migrations import make_tables
from tests.test_account_states_migration import _fill, _rows, _triggers
from tests.test_plain_names import _tables

pytestmark = [pytest.mark.both_databases, pytest.mark.empty_database]
FOLDER = str(readiness.MIGRATIONS)
BEFORE, AFTER = "0055", "0057"


@pytest.fixture(autouse=True)
def running_worker():
    """Replace the fixture of the same name: this test needs no worker."""


def _found(connection: sa.Connection) -> dict[str, list[tuple]]:
    return _rows(connection, without="") | {"alembic_version": []}


def test_subjects_of_before_are_found_within_their_account(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables(BEFORE)
        with db.engine.begin() as connection:
            _fill(connection)
            message = next(table for table in _tables(connection) if table.name == "outbox_message")
            [row] = connection.execute(sa.select(message).where(message.c.id == 1)).mappings()
            own = {"id": 9, "key": "9", "message_id": "<9@x.example>", "account_id": 1}
            connection.execute(sa.insert(message).values(dict(row) | own | {"subject": "For Zoë"}))
            before, triggers = _found(connection), _triggers(connection)
        upgrade(directory=FOLDER, revision=AFTER)
        with db.engine.begin() as connection:
            assert (_found(connection), _triggers(connection)) == (before, triggers)
        for account, ids in ((1, [9]), (2, [])):
            plan = make_plan(account, Filters.read({"q": "for zoe", "by": "subject"}))
            assert search.find(plan, size=5).message_ids == ids
        db.session.remove()
        downgrade(directory=FOLDER, revision=BEFORE)
        with db.engine.begin() as connection:
            assert (_found(connection), _triggers(connection)) == (before, triggers)
        db.engine.dispose()
