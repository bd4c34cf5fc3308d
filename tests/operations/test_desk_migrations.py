"""The migrations of the operator's pages keep every row and trigger, and there is a way back."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from portal import create_app
from portal.db import db, readiness
from portal.db.migrate import downgrade, upgrade
from tests.conftest import make_config
from tests.test_account_states_migration import _fill, _triggers
from tests.test_plain_names import _tables

pytestmark = [pytest.mark.both_databases, pytest.mark.empty_database]
FOLDER = str(readiness.MIGRATIONS)
# before, after, the table that gets a column, the column, its value in the rows of before
CASES = [
    ("0049", "0050", "account", "platform_per_day", None),
    ("0050", "0051", "worker_heartbeat", "queues", ""),
]
NEW_TABLES = {"refused_job"}


def _rows(connection: sa.Connection, new: tuple[str, str]) -> dict[str, list[tuple]]:
    found = {}
    for table in _tables(connection):
        if table.name not in NEW_TABLES:
            columns = [one for one in table.columns if (table.name, one.name) != new]
            columns.sort(key=lambda column: column.name)
            rows = connection.execute(sa.select(*columns))
            found[table.name] = sorted((tuple(row) for row in rows), key=repr)
    return found


@pytest.mark.parametrize(("before", "after", "table", "column", "value"), CASES)
def test_nothing_else_changes_and_there_is_a_way_back(
    tmp_path: Path, before: str, after: str, table: str, column: str, value: object
) -> None:
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        upgrade(directory=FOLDER, revision=before)
        with db.engine.begin() as connection:
            _fill(connection)
            rows, triggers = _rows(connection, (table, column)), _triggers(connection)
        upgrade(directory=FOLDER, revision=after)
        with db.engine.begin() as connection:
            assert (_rows(connection, (table, column)), _triggers(connection)) == (rows, triggers)
            found = connection.exec_driver_sql(f"SELECT {column} FROM {table}").scalars().all()
            assert found == [value] * 2
        downgrade(directory=FOLDER, revision=before)
        with db.engine.begin() as connection:
            assert (_rows(connection, (table, column)), _triggers(connection)) == (rows, triggers)
        db.engine.dispose()
