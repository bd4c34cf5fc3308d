"""Migration 0012 approves every account of before, confirms its mailboxes, and keeps every row and trigger."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from portal import create_app
from portal.db import db, readiness
from portal.db.migrate import downgrade, upgrade
from tests.conftest import make_config
from tests.migrations import make_tables
from tests.test_plain_names import THEN, _tables

pytestmark = [pytest.mark.both_databases, pytest.mark.empty_database]
FOLDER = str(readiness.MIGRATIONS)
ADDED = {
    "account": ("approved_at", "is_waiting", "suspended_at", "suspension_reason"),
    "owner": ("confirmed_at",),
    "notice_mailbox": ("confirmed_at", "token_hash"),
    "outbox_message": ("is_custom",),
}


@pytest.fixture(autouse=True)
def a_worker():
    """Replace the fixture of the same name: these tests need no worker."""


def _value(column: sa.Column, number: int) -> object:
    """Return a value that differs by column and row and fits the column's type."""
    if column.foreign_keys:
        return number
    kind = column.type
    if column.name == "status":
        return "queued"
    if isinstance(kind, sa.DateTime):
        return THEN + timedelta(days=number, minutes=len(column.name))
    if isinstance(kind, sa.Date):
        return (THEN + timedelta(days=number)).date()
    if isinstance(kind, sa.Boolean):
        return number == 1
    if isinstance(kind, sa.JSON):
        return {"of": column.name, "row": number}
    if isinstance(kind, sa.Integer):
        return number
    if isinstance(kind, sa.Float):
        return number / 2
    if isinstance(kind, sa.LargeBinary):
        return f"{column.name} {number}".encode()
    return f"{column.name[: (getattr(kind, 'length', None) or 60) - 2]}{number}"


def _fill(connection: sa.Connection) -> None:
    for table in _tables(connection):
        if table.name == "delivery_log":
            continue  # the triggers fill it
        for number in (1, 2):
            row = {column.name: _value(column, number) for column in table.columns}
            connection.execute(
                sa.delete(table).where(*[table.c[k.name] == row[k.name] for k in table.primary_key])
            )
            connection.execute(sa.insert(table).values(row))


def _without_added(connection: sa.Connection) -> dict[str, list[tuple]]:
    found = {}
    for table in _tables(connection):
        if table.name == "registration_invitation":
            continue
        columns = [column for column in table.columns if column.name not in ADDED.get(table.name, ())]
        found[table.name] = sorted((tuple(row) for row in connection.execute(sa.select(*columns))), key=repr)
    return found


def _rows(connection: sa.Connection, *, without: str) -> dict[str, list[tuple]]:
    """Return the rows of each table, sorted, without the columns of one name."""
    found = {}
    for table in _tables(connection):
        columns = [column for column in table.columns if column.name != without]
        found[table.name] = sorted((tuple(row) for row in connection.execute(sa.select(*columns))), key=repr)
    return found


def _triggers(connection: sa.Connection) -> set[str]:
    catalogue = "pg_trigger WHERE NOT tgisinternal" if connection.dialect.name == "postgresql" else ""
    query = (
        f"SELECT tgname FROM {catalogue}"
        if catalogue
        else "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    )
    return set(connection.exec_driver_sql(query).scalars())


def test_accounts_of_before_are_approved_and_nothing_else_changes(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables("0011")
        with db.engine.begin() as connection:
            _fill(connection)
            before, triggers_before = _without_added(connection), _triggers(connection)
        upgrade(directory=FOLDER, revision="0012")
        with db.engine.begin() as connection:
            assert _without_added(connection) == before
            assert _triggers(connection) == triggers_before
            tables = {table.name: table for table in _tables(connection)}
            for name, column in (
                ("account", "approved_at"),
                ("owner", "confirmed_at"),
                ("notice_mailbox", "confirmed_at"),
            ):
                rows = connection.execute(sa.select(tables[name].c[column], tables[name].c.created_at)).all()
                assert len(rows) == 2
                assert all(filled == created for filled, created in rows), name
            account = tables["account"].c
            rows = connection.execute(
                sa.select(account.is_waiting, account.suspended_at, account.suspension_reason)
            ).all()
            assert [(bool(waits), at, why) for waits, at, why in rows] == [(False, None, "")] * 2
            custom = connection.execute(sa.select(tables["outbox_message"].c.is_custom)).scalars()
            assert [bool(one) for one in custom] == [False, False]
        downgrade(directory=FOLDER, revision="0011")
        with db.engine.begin() as connection:
            assert _without_added(connection) == before
            assert _triggers(connection) == triggers_before
        db.engine.dispose()
