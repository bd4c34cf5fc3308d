"""The migration with which the log follows a new recipient adds a trigger and changes no row, in both directions."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from portal import create_app
from portal.db import db, readiness
from portal.db.migrate import downgrade, upgrade
from tests.conftest import make_config
from tests.migrations import make_tables
from tests.test_account_states_migration import _fill, _rows, _triggers
from tests.test_plain_names import _tables

pytestmark = [pytest.mark.both_databases, pytest.mark.empty_database]
FOLDER = str(readiness.MIGRATIONS)
BEFORE, AFTER = "0041", "0042"


@pytest.fixture(autouse=True)
def a_worker():
    """Replace the fixture of the same name: this test needs no worker."""


def test_the_log_follows_a_new_recipient_and_nothing_else_changes(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables(BEFORE)
        with db.engine.begin() as connection:
            _fill(connection)
            before, triggers = _rows(connection, without="-"), _triggers(connection)
        upgrade(directory=FOLDER, revision=AFTER)
        with db.engine.begin() as connection:
            assert _rows(connection, without="-") | {"alembic_version": []} == before | {
                "alembic_version": []
            }
            assert _triggers(connection) == triggers | {"delivery_log_recipient"}
            message, log = (
                next(table for table in _tables(connection) if table.name == name)
                for name in ("outbox_message", "delivery_log")
            )
            [kept] = connection.execute(sa.select(message.c.recipient).where(message.c.id == 1)).scalars()
            for recipient in ("New@Else.example", kept):
                connection.execute(sa.update(message).where(message.c.id == 1).values(recipient=recipient))
                row = connection.execute(sa.select(log).where(log.c.message_id == 1)).mappings().one()
                assert (row["recipient"], row["domain"]) == (
                    recipient.lower(),
                    recipient.lower().rpartition("@")[2],
                )
            link = next(table for table in _tables(connection) if table.name == "affiliate_link")
            [row] = connection.execute(sa.select(link).where(link.c.id == 1)).mappings()
            for id_, purpose in ((98, "former"), (99, "withdrawn")):
                own = {"id": id_, "token_hash": purpose, "purpose": purpose}
                connection.execute(sa.insert(link).values(dict(row) | own))
        downgrade(directory=FOLDER, revision=BEFORE)
        with db.engine.begin() as connection:
            assert (_rows(connection, without="-"), _triggers(connection)) == (before, triggers)
        db.engine.dispose()
