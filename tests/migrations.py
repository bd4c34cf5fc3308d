"""Tables of earlier versions for the tests of migrations: made once in each process, and copied for each test."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import sqlalchemy as sa

from portal.db import close_connections, db, readiness
from portal.db.migrate import upgrade
from tests import databases

_NEWEST = "head"
_files: dict[str, bytes] = {}  # SQLite databases without rows of tests, by revision
_templates: dict[
    str, set[str]
] = {}  # revisions of which a PostgreSQL server has a database, by the server's folder
_reflected: dict[tuple[str, ...], list[sa.Table]] = {}


def make_tables(revision: str = _NEWEST) -> None:
    """Make the tables of a revision in the empty database of the current app, as the migrations from nothing do.

    The migrations themselves run once in a process: a test gets a copy of what they made, and a later revision begins
    with a copy of an earlier one.
    """
    copies = _Files() if db.engine.dialect.name == "sqlite" else _Templates()
    earlier = [one for one in copies.revisions() if one <= revision]  # "head" is greater than each number
    nearest = max(earlier, default=None)
    if nearest is not None:
        close_connections()
        copies.restore(nearest)
    if nearest != revision:
        upgrade(directory=str(readiness.MIGRATIONS), revision=revision)
        close_connections()
        copies.save(revision)


def mark_as_newest() -> None:
    """Let the tables of a test, which were made without migrations, count as migrated."""
    with db.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"
        )
        connection.exec_driver_sql("DELETE FROM alembic_version")
        newest = {"newest": readiness._newest_migration()}
        connection.execute(sa.text("INSERT INTO alembic_version VALUES (:newest)"), newest)


class _Files:
    def __init__(self) -> None:
        self._path = Path(str(db.engine.url.database))

    def revisions(self) -> list[str]:
        return list(_files)

    def save(self, revision: str) -> None:
        with closing(sqlite3.connect(self._path)) as connection:
            _files[revision] = connection.serialize()

    def restore(self, revision: str) -> None:
        for ending in ("-wal", "-shm"):
            self._path.with_name(self._path.name + ending).unlink(missing_ok=True)
        self._path.write_bytes(_files[revision])


class _Templates:
    def __init__(self) -> None:
        self._name = str(db.engine.url.database)
        self._server = str(db.engine.url.query["host"])
        self._known = _templates.setdefault(self._server, set())

    def revisions(self) -> list[str]:
        return list(self._known)

    def save(self, revision: str) -> None:
        self._copy(self._name, f"tables_{revision}")
        self._known.add(revision)

    def restore(self, revision: str) -> None:
        self._copy(f"tables_{revision}", self._name)

    def _copy(self, name: str, to: str) -> None:
        server = psycopg.connect(host=self._server, user="postgres", dbname="postgres", autocommit=True)
        with closing(server):
            databases.create(server, to, template=name)


def reflect(connection: sa.Connection) -> list[sa.Table]:
    """Return the tables of a database, each after those that it refers to. On SQLite, the same schema is read once."""
    if connection.dialect.name != "sqlite":
        return _reflect(connection)
    schema = connection.exec_driver_sql("SELECT coalesce(sql, name) FROM sqlite_master ORDER BY type, name")
    key = tuple(schema.scalars())
    if key not in _reflected:
        _reflected[key] = _reflect(connection)
    return _reflected[key]


def _reflect(connection: sa.Connection) -> list[sa.Table]:
    found = sa.MetaData()
    found.reflect(connection)
    return found.sorted_tables
