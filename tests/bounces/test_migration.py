"""Migration 0022 adds the tables of bounces and a column to the delivery log, and 0027 indexes; none changes a row."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from portal import create_app
from portal.db import db
from portal.db.migrate import downgrade, upgrade
from tests.conftest import make_config
from tests.migrations import make_tables
from tests.test_account_states_migration import FOLDER, _fill, _triggers
from tests.test_plain_names import _tables

pytestmark = [pytest.mark.both_databases, pytest.mark.empty_database]
ADDED = {
    "bounce_hook",
    "bounce_event",
    "message_outcome",
    "outcome_hour",
    "bounce_breaker",
    "suppression_lift",
}


COLUMNS = {"delivery_log": "outcome", "incident_policy": "message_events"}


def rows(connection: sa.Connection) -> dict[str, list[tuple[object, ...]]]:
    """Return the rows of the tables of before, without the columns that the migration adds."""
    return {
        table.name: sorted(
            (
                tuple(row)
                for row in connection.execute(
                    sa.select(*(c for c in table.c if c.name != COLUMNS.get(table.name)))
                )
            ),
            key=repr,
        )
        for table in _tables(connection)
        if table.name not in ADDED
    }


def test_a_filled_database_keeps_its_rows_in_both_directions(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables("0021")
        with db.engine.begin() as connection:
            _fill(connection)
            before, triggers = rows(connection), _triggers(connection)
        assert before["delivery_log"]
        upgrade(directory=FOLDER, revision="0022")
        with db.engine.begin() as connection:
            assert rows(connection) == before
            assert _triggers(connection) == triggers
            outcomes = connection.exec_driver_sql("SELECT DISTINCT outcome FROM delivery_log").scalars().all()
            assert outcomes == [""]
        downgrade(directory=FOLDER, revision="0021")
        with db.engine.begin() as connection:
            assert rows(connection) == before
            assert _triggers(connection) == triggers
        db.engine.dispose()


def test_the_indexes_of_the_cleanup_replace_another_in_both_directions(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables("0026")
        with db.engine.begin() as connection:
            _fill(connection)
            before, events = _indexes(connection), _events(connection)
        upgrade(directory=FOLDER, revision="0027")
        with db.engine.begin() as connection:
            changed = _indexes(connection) ^ before
            assert _events(connection) == events
        assert changed == {"ix_bounce_event_raw", "ix_bounce_event_unmatched", "ix_bounce_event_received_at"}
        downgrade(directory=FOLDER, revision="0026")
        with db.engine.begin() as connection:
            assert _indexes(connection) == before
        db.engine.dispose()


def _indexes(connection: sa.Connection) -> set[str | None]:
    return {index["name"] for index in sa.inspect(connection).get_indexes("bounce_event")}


def _events(connection: sa.Connection) -> int:
    return connection.exec_driver_sql("SELECT count(*) FROM bounce_event").scalar_one()
