"""Migrations 0028 and 0032 add the mailboxes that are read for bounces, and their grants, and change no row."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from portal import create_app
from portal.db import db
from portal.db.migrate import downgrade, upgrade
from tests.conftest import make_config
from tests.migrations import make_tables
from tests.test_account_states_migration import FOLDER, _fill
from tests.test_plain_names import _tables

pytestmark = [pytest.mark.both_databases, pytest.mark.empty_database]
BEFORE, AFTER = "0027", "0028"


def _rows(connection: sa.Connection) -> dict[str, list[str]]:
    return {
        table.name: sorted(map(repr, connection.execute(sa.select(table)).all()))
        for table in _tables(connection)
        if table.name not in {"bounce_mailbox", "alembic_version"}
    }


def test_a_filled_database_keeps_its_rows_in_both_directions(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables(BEFORE)
        with db.engine.begin() as connection:
            _fill(connection)
            before = _rows(connection)
        assert before["account"]
        upgrade(directory=FOLDER, revision=AFTER)
        with db.engine.begin() as connection:
            assert _rows(connection) == before
            assert "bounce_mailbox" in sa.inspect(connection).get_table_names()
        downgrade(directory=FOLDER, revision=BEFORE)
        with db.engine.begin() as connection:
            assert _rows(connection) == before
            assert "bounce_mailbox" not in sa.inspect(connection).get_table_names()
        db.engine.dispose()


def _kept(connection: sa.Connection) -> list[list[str]]:
    """Return the rows of both tables, without the columns that 0032 adds."""
    tables = {table.name: table for table in _tables(connection)}
    added = {"oauth_grant": "purpose", "bounce_mailbox": "grant_id"}
    return [
        sorted(
            map(repr, connection.execute(sa.select(*(c for c in tables[name].c if c.name != column))).all())
        )
        for name, column in added.items()
    ]


def test_saved_mailboxes_and_grants_stay_and_later_ones_leave_with_their_column(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables("0031")
        with db.engine.begin() as connection:
            _fill(connection)
            before = _kept(connection)
            assert all(before)
        upgrade(directory=FOLDER, revision="0032")
        with db.engine.begin() as connection:
            assert _kept(connection) == before
            purposes = connection.execute(sa.text("SELECT purpose FROM oauth_grant")).scalars().all()
            assert set(purposes) == {"send"}
        downgrade(directory=FOLDER, revision="0031")
        with db.engine.begin() as connection:
            assert _kept(connection) == before
        upgrade(directory=FOLDER, revision="0032")
        with db.engine.begin() as connection:
            connection.execute(
                sa.text("UPDATE bounce_mailbox SET grant_id = (SELECT min(id) FROM oauth_grant)")
            )
        downgrade(directory=FOLDER, revision="0031")
        with db.engine.begin() as connection:
            assert connection.execute(sa.text("SELECT id FROM bounce_mailbox")).all() == []
        db.engine.dispose()
