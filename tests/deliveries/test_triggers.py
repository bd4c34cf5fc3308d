"""The triggers of the delivery log exist after every migration, and are those of tables created without one."""

from __future__ import annotations

import pytest

from portal import bootstrap, create_app
from portal.db import db
from tests.conftest import make_config

pytestmark = [pytest.mark.both_databases, pytest.mark.empty_database]
_SQLITE = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'delivery%' ORDER BY name"
_POSTGRESQL = (
    "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND starts_with(tgname, 'delivery') ORDER BY tgname"
)
OWN = [
    "delivery_attempt_insert",
    "delivery_attempt_update",
    "delivery_log_delete",
    "delivery_log_insert",
    "delivery_log_recipient",
    "delivery_log_update",
]


@pytest.fixture(autouse=True)
def running_worker():
    """Override the fixture that adds a heartbeat: the database has no tables yet."""


def test_migrations_keep_every_trigger(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    bootstrap.migrate(app)
    with app.app_context(), db.engine.connect() as connection:
        sqlite = connection.dialect.name == "sqlite"
        found = [row[0] for row in connection.exec_driver_sql(_SQLITE if sqlite else _POSTGRESQL)]
    assert found == (
        sorted([*OWN, "delivery_subjects_insert", "delivery_subjects_delete"]) if sqlite else OWN
    )


_DEFINITIONS = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' OR name = 'delivery_subjects'",
    "postgresql": (
        "SELECT tgname, pg_get_triggerdef(t.oid) || pg_get_functiondef(tgfoid) FROM pg_trigger t"
        " WHERE NOT tgisinternal AND starts_with(tgname, 'delivery')"
    ),
}


def _definitions():
    with db.engine.connect() as connection:
        found = connection.exec_driver_sql(_DEFINITIONS[connection.dialect.name]).all()
    return {name: " ".join(text.split()) for name, text in found}


def test_tables_created_without_migrations_have_the_same_triggers(tmp_path):
    """Most tests use tables of ``create_all``, so their triggers must be those of an upgrade."""
    migrated = create_app(make_config(tmp_path / "migrated"))
    bootstrap.migrate(migrated)
    with migrated.app_context():
        expected = _definitions()
        if db.engine.dialect.name == "postgresql":  # both apps share one database
            with db.engine.begin() as connection:
                connection.exec_driver_sql("DROP SCHEMA public CASCADE")
                connection.exec_driver_sql("CREATE SCHEMA public")
    (tmp_path / "created").mkdir()
    with create_app(make_config(tmp_path / "created")).app_context():
        db.create_all(bind_key=None)
        assert _definitions() == expected
        assert len(expected) >= len(OWN)
