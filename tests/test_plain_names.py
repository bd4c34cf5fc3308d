"""Migration 0011 renames tables and columns; it keeps every row, and the triggers still work."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from runpy import run_path

import pytest
import sqlalchemy as sa

from portal import create_app
from portal.db import db, readiness
from portal.db.migrate import upgrade
from tests.conftest import make_config
from tests.migrations import make_tables, reflect

pytestmark = [pytest.mark.both_databases, pytest.mark.empty_database]
MIGRATION = Path(readiness.MIGRATIONS) / "versions" / "0011_plain_names.py"
THEN = datetime(2026, 3, 2, 9, tzinfo=UTC)
OWN = (
    "alembic_version",
    "jobs",
    "delivery_words",
    "delivery_subjects",
    "sqlite",
)  # tables that are not in the models


@pytest.fixture(autouse=True)
def a_worker():
    """Replace the fixture of the same name: these tests need no worker."""


def _tables(connection: sa.Connection) -> list[sa.Table]:
    return [table for table in reflect(connection) if not table.name.startswith(OWN)]


def _value(column: sa.Column, number: int) -> object:
    """Return a value that differs by column and row and fits the column's type."""
    if column.foreign_keys:
        return number
    if column.name == "happening":
        return ("detour", "detour-ended")[number - 1]
    kind = column.type
    if isinstance(kind, sa.DateTime):
        return THEN + timedelta(days=number, minutes=len(column.name))
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
    length = getattr(kind, "length", None) or 60
    return f"{column.name[: length - 2]}{number}"


def _fill(connection: sa.Connection) -> dict[str, list[tuple]]:
    tables = _tables(connection)
    for table in tables:
        if table.name == "delivery_line":
            continue  # the triggers fill it
        for number in (1, 2):
            row = {column.name: _value(column, number) for column in table.columns}
            connection.execute(
                sa.delete(table).where(*[table.c[k.name] == row[k.name] for k in table.primary_key])
            )
            connection.execute(sa.insert(table).values(row))
    return {table.name: _rows(connection, table) for table in tables}


def _rows(connection: sa.Connection, table: sa.Table) -> list[tuple]:
    return sorted((tuple(row) for row in connection.execute(sa.select(table))), key=repr)


def test_every_row_of_a_filled_database_is_kept_and_the_triggers_work(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    renamed = run_path(str(MIGRATION))["_TABLES"]
    with app.app_context():
        make_tables("0010")
        with db.engine.begin() as connection:
            before = _fill(connection)
    assert set(renamed) <= set(before)
    with app.app_context():
        upgrade(directory=str(readiness.MIGRATIONS), revision="0011")
        with db.engine.begin() as connection:
            tables = {table.name: table for table in _tables(connection)}
            assert set(tables) == {renamed.get(name, name) for name in before}
            for name, rows in before.items():
                after = _rows(connection, tables[renamed.get(name, name)])
                if name == "incident_event":
                    rows = [
                        tuple(
                            {"detour": "failover", "detour-ended": "failback"}.get(v, v)
                            if isinstance(v, str)
                            else v
                            for v in row
                        )
                        for row in rows
                    ]
                assert after == rows, name
            if connection.dialect.name == "sqlite":
                assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
            _the_triggers_work(connection, tables)
        db.engine.dispose()


def _the_triggers_work(connection: sa.Connection, tables: dict[str, sa.Table]) -> None:
    message, attempt, log = (tables[name] for name in ("outbox_message", "delivery_attempt", "delivery_log"))
    row = {column.name: _value(column, 1) for column in message.columns}
    row |= {
        "id": 70,
        "key": "k70",
        "status": "queued",
        "subject": "Quarterly zebra",
        "recipient": "Ada@Example.ORG",
    }
    connection.execute(sa.insert(message).values(row))
    tried = {column.name: _value(column, 1) for column in attempt.columns}
    tried |= {
        "id": 70,
        "message_id": 70,
        "number": 3,
        "outcome": "accepted",
        "reply_code": 250,
        "queue_id": "Q7",
    }
    connection.execute(sa.insert(attempt).values(tried))
    connection.execute(sa.update(message).where(message.c.id == 70).values(status="sent"))
    logged = connection.execute(sa.select(log).where(log.c.message_id == 70)).mappings().one()
    assert (logged["status"], logged["domain"], logged["attempt"]) == ("sent", "example.org", 3)
    assert (logged["code"], logged["queue_id"]) == (250, "Q7")
    if connection.dialect.name == "sqlite":
        found = "SELECT rowid FROM delivery_subjects WHERE delivery_subjects MATCH 'zebra'"
        assert [row[0] for row in connection.exec_driver_sql(found)] == [70]
        found = "SELECT count(*) FROM delivery_subjects WHERE delivery_subjects MATCH 'subject1'"
        assert connection.exec_driver_sql(found).scalar() >= 1, "the subjects of before are found, too"
    connection.execute(sa.delete(attempt).where(attempt.c.message_id == 70))
    connection.execute(sa.delete(message).where(message.c.id == 70))
    assert connection.execute(sa.select(log).where(log.c.message_id == 70)).first() is None
