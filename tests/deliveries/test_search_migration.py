"""The migration for searches keeps every row and trigger, names Gmail mailboxes of before, and folds subjects of before."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from portal import create_app
from portal.affiliates.models import gmail_name
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
BEFORE, AFTER = "0040", "0041"
MAILBOXES = [
    "a.d.a+shop.x@googlemail.com",
    "ada@gmail.com",
    "+.@gmail.com",
    "ada@gmail.com.example",
    "a+b@x.example",
]


@pytest.fixture(autouse=True)
def running_worker():
    """Replace the fixture of the same name: this test needs no worker."""


@pytest.fixture(autouse=True)
def a_worker():
    """Replace the fixture of the same name: this test needs no worker."""


def _found(connection: sa.Connection) -> dict[str, list[tuple]]:
    return _rows(connection, without="gmail_name") | {"alembic_version": []}


def test_rows_of_before_stay_and_are_found(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables(BEFORE)
        with db.engine.begin() as connection:
            _fill(connection)
            tables = {table.name: table for table in _tables(connection)}
            affiliate, message = tables["affiliate"], tables["outbox_message"]
            [row] = connection.execute(sa.select(affiliate).where(affiliate.c.id == 1)).mappings()
            for number, mailbox in enumerate(MAILBOXES, 10):
                own = {
                    name: f"{name[:8]}{number}"
                    for name in ("code", "dashboard_key_hash", "preferences_key_hash")
                }
                own |= {"id": number, "mailbox": mailbox, "mailbox_key": mailbox, "external_id": None}
                connection.execute(sa.insert(affiliate).values(dict(row) | own))
            [row] = connection.execute(sa.select(message).where(message.c.id == 1)).mappings()
            own = {
                "id": 9,
                "key": "9",
                "message_id": "<9@x.example>",
                "subject": "Für José Müller",
                "account_id": 1,
            }
            connection.execute(sa.insert(message).values(dict(row) | own))
            before, triggers = _found(connection), _triggers(connection)
        upgrade(directory=FOLDER, revision=AFTER)
        with db.engine.begin() as connection:
            assert (_found(connection), _triggers(connection)) == (before, triggers)
            stored = connection.execute(sa.text("SELECT mailbox_key, gmail_name FROM affiliate")).all()
            assert [tuple(one) for one in stored] == [(key, gmail_name(key)) for key, _ in stored]
            assert len([name for _, name in stored if name == "ada"]) == 2
        for words in ("jose muller", "FÜR", "für josé", "müller"):
            plan = make_plan(1, Filters.read({"q": words, "by": "subject"}))
            assert search.find(plan, size=5).message_ids == [9], words
        db.session.remove()
        downgrade(directory=FOLDER, revision=BEFORE)
        with db.engine.begin() as connection:
            assert (_found(connection), _triggers(connection)) == (before, triggers)
        db.engine.dispose()
