"""Migration 0035 moves former addresses of hooks to a table, adds two columns to suppressions, and keeps every row."""

from __future__ import annotations

from typing import Any

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
BEFORE, AFTER = "0034", "0035"
CHANGED = {
    "bounce_hook": {"former_hash", "former_until"},
    "suppression": {"message_id", "was_unsubscribed"},
}


def _rows(connection: sa.Connection, *, changed: bool = True) -> dict[str, list[str]]:
    found = {}
    for table in _tables(connection):
        if table.name in {"bounce_hook_former", "alembic_version"}:
            continue
        hidden = CHANGED.get(table.name, set()) if changed else set()
        columns = sorted((one for one in table.columns if one.name not in hidden), key=lambda one: one.name)
        found[table.name] = sorted(map(repr, connection.execute(sa.select(*columns)).all()))
    return found


def _former(connection: sa.Connection, query: str) -> list[Any]:
    return sorted(connection.execute(sa.text(query)).all(), key=repr)


def test_a_filled_database_keeps_its_rows_in_both_directions(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables(BEFORE)
        with db.engine.begin() as connection:
            _fill(connection)
            before, all_before = _rows(connection), _rows(connection, changed=False)
            former = _former(connection, "SELECT former_hash, id, former_until FROM bounce_hook")
        assert len(former) == 2
        upgrade(directory=FOLDER, revision=AFTER)
        with db.engine.begin() as connection:
            assert _rows(connection) == before
            moved = "SELECT secret_hash, hook_id, works_until FROM bounce_hook_former"
            assert _former(connection, moved) == former
            earlier = "SELECT 'earlier', hook_id, '2020-01-01 00:00:00+00:00' FROM bounce_hook_former WHERE hook_id = 1"
            connection.execute(sa.text(f"INSERT INTO bounce_hook_former {earlier}"))
            new = connection.execute(sa.text("SELECT message_id, was_unsubscribed FROM suppression")).all()
            assert {(message_id, bool(was)) for message_id, was in new} == {(None, False)}
        downgrade(directory=FOLDER, revision=BEFORE)
        with db.engine.begin() as connection:
            assert _rows(connection, changed=False) == all_before
        db.engine.dispose()
