"""Downgrades leave no value that the release before does not know: its pages would fail with an error."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from portal import create_app
from portal.db import db
from portal.db.migrate import downgrade, upgrade
from tests.conftest import make_config
from tests.migrations import make_tables
from tests.test_account_states_migration import FOLDER, _fill

pytestmark = [pytest.mark.both_databases, pytest.mark.empty_database]
LONG_CODE = "C" * 32
NEW_VALUES = [
    ("affiliate", "state", "erased", "suspended"),
    ("affiliate_link", "purpose", "mailbox", None),
    ("commission", "state", "unmatched", "dismissed"),
    ("event", "source", "import", "portal"),
    ("suppression", "reason", "erased", None),
]


@pytest.fixture(autouse=True)
def a_worker():
    """Replace the fixture of the same name: this test needs no worker."""


def test_new_values_become_values_of_before(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables()
        with db.engine.begin() as connection:
            _fill(connection)
            for table, column, new, _old in NEW_VALUES:
                connection.execute(sa.text(f"UPDATE {table} SET {column} = '{new}'"))
            connection.execute(sa.text("UPDATE affiliate SET code = :code WHERE id = 1"), {"code": LONG_CODE})
        downgrade(directory=FOLDER, revision="0029")
        with db.engine.begin() as connection:
            for table, column, _new, old in NEW_VALUES:
                found = set(connection.scalars(sa.text(f"SELECT {column} FROM {table}")))
                assert found == ({old} if old else set()), table
            assert LONG_CODE in connection.scalars(sa.text("SELECT code FROM affiliate")).all()
        upgrade(directory=FOLDER)
        db.engine.dispose()
