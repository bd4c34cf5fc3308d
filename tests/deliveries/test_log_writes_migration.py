"""The migration to fewer writes of the log keeps every row and trigger, and words find the messages of before."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from portal import create_app
from portal.db import db, readiness
from portal.db.migrate import downgrade, upgrade
from portal.deliveries import search
from portal.deliveries.filters import Filters
from portal.deliveries.query_plan import make_plan
from portal.outbox.models import OutboxMessage
from tests.conftest import make_config
from tests.migrations import make_tables
from tests.test_account_states_migration import _fill, _rows, _triggers

pytestmark = [pytest.mark.both_databases, pytest.mark.empty_database]
FOLDER = str(readiness.MIGRATIONS)
BEFORE, AFTER = "0054", "0055"


@pytest.fixture(autouse=True)
def running_worker():
    """Replace the fixture of the same name: this test needs no worker."""


@pytest.fixture(autouse=True)
def a_worker():
    """Replace the fixture of the same name: this test needs no worker."""


def test_rows_of_before_stay_and_are_found(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables(BEFORE)
        with db.engine.begin() as connection:
            _fill(connection)
            before, triggers = _rows(connection, without="") | {"alembic_version": []}, _triggers(connection)
        for change, revision in ((upgrade, AFTER), (downgrade, BEFORE), (upgrade, AFTER)):
            change(directory=FOLDER, revision=revision)
            with db.engine.begin() as connection:
                found = _rows(connection, without="") | {"alembic_version": []}
                assert (found, _triggers(connection)) == (before, triggers)
                subject = connection.scalar(
                    sa.select(OutboxMessage.subject).where(OutboxMessage.account_id == 1).limit(1)
                )
            plan = make_plan(1, Filters.read({"q": subject, "by": "subject"}))
            assert search.find(plan, size=5).message_ids, revision
            db.session.remove()
        db.engine.dispose()
