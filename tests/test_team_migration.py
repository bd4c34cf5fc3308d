"""The migration to teams: every owner of before is an owner and can log in; nothing else changes, and there is a way back."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from portal import create_app
from portal.accounts.passwords import hasher
from portal.db import db, readiness
from portal.db.migrate import downgrade, upgrade
from tests.conftest import PASSWORD, make_config
from tests.migrations import make_tables
from tests.pages import LintingClient
from tests.test_account_states_migration import _fill, _triggers
from tests.test_plain_names import _tables

pytestmark = [pytest.mark.both_databases, pytest.mark.empty_database]
FOLDER = str(readiness.MIGRATIONS)
BEFORE, AFTER = "0042", "0043"
NEW_TABLES = {"membership", "team_invitation"}
ADDED = {"account": {"contact_id"}, "owner_session": {"account_id"}, "notice_draft": {"account_id"}}


def _rows(connection: sa.Connection) -> dict[str, list[tuple]]:
    found = {}
    for table in _tables(connection):
        if table.name not in NEW_TABLES:
            columns = [one for one in table.columns if one.name not in ADDED.get(table.name, ())]
            columns.sort(key=lambda column: column.name)
            rows = connection.execute(sa.select(*columns))
            found[table.name] = sorted((tuple(row) for row in rows), key=repr)
    return found


def _execute(statement: str, **values: object) -> list[tuple]:
    with db.engine.begin() as connection:
        result = connection.execute(sa.text(statement), values)
        return [tuple(row) for row in result] if result.returns_rows else []


def test_every_owner_of_before_owns_the_account_and_logs_in(tmp_path):
    # Without a sender of its own, the portal adds no email about the log-in to the rows that are compared.
    env = {"MAIL_SERVER": "", "MAIL_DEFAULT_SENDER": ""}
    app = create_app(make_config(tmp_path / "instance", env=env))
    app.test_client_class = LintingClient
    with app.app_context():
        make_tables(BEFORE)
        with db.engine.begin() as connection:
            _fill(connection)
        _execute("UPDATE owner SET mailbox = 'ada@x.example', mailbox_key = 'ada@x.example' WHERE id = 1")
        _execute("UPDATE account SET link_form = 'short'")
        _execute("UPDATE owner SET password_hash = :hash", hash=hasher().hash(PASSWORD))
        with db.engine.begin() as connection:
            before, triggers = _rows(connection), _triggers(connection)
        upgrade(directory=FOLDER, revision=AFTER)
        with db.engine.begin() as connection:
            assert (_rows(connection), _triggers(connection)) == (before, triggers)
        owners = _execute("SELECT id, account_id FROM owner ORDER BY id")
        assert len(owners) == 2
        found = _execute("SELECT owner_id, account_id, role, invited_by FROM membership ORDER BY owner_id")
        assert found == [(*one, "owner", "") for one in owners]
        assert _execute("SELECT id, contact_id FROM account ORDER BY id") == [(1, 1), (2, 2)]
        for table in ("owner_session", "notice_draft"):
            query = f"SELECT DISTINCT owner_id, account_id FROM {table} ORDER BY owner_id"
            assert _execute(query) == owners, table
        upgrade(directory=FOLDER)
        browser = app.test_client()
        answer = browser.submit("/log-in", {"mailbox": "ada@x.example", "password": PASSWORD})
        assert answer.status_code == 303
        assert _execute("SELECT owner_id, account_id FROM owner_session WHERE revoked_at IS NULL") == [(1, 1)]
        db.session.remove()
        downgrade(directory=FOLDER, revision=AFTER)
        _execute("DELETE FROM owner_session WHERE revoked_at IS NULL")
        downgrade(directory=FOLDER, revision=BEFORE)
        with db.engine.begin() as connection:
            after = _rows(connection)
            assert _triggers(connection) == triggers
        for table in (
            "rate_limit_counter",
            "owner_session",
            "owner",
        ):  # the log-in counts, cleans up, and hashes again
            after.pop(table), before.pop(table)
        assert after == before
        db.engine.dispose()


def test_people_who_own_nothing_gain_nothing_by_the_way_back(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables(AFTER)
        now = datetime(2026, 11, 29, tzinfo=UTC)
        with db.engine.begin() as connection:
            _fill(connection)
            tables = {table.name: table for table in _tables(connection)}
            connection.execute(sa.delete(tables["membership"]))
            for owner_id, account_id, role in ((1, 1, "owner"), (2, 1, "viewer")):
                row = {"owner_id": owner_id, "account_id": account_id, "role": role, "joined_at": now}
                connection.execute(sa.insert(tables["membership"]).values(**row, invited_by=""))
        downgrade(directory=FOLDER, revision=BEFORE)
        assert _execute("SELECT id, account_id FROM owner") == [(1, 1)]
        assert _execute("SELECT DISTINCT owner_id FROM owner_session") == [(1,)]
        db.engine.dispose()
