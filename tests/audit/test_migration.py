"""The migration to the audit trail: every row of before stays, the triggers hold, and there is a way back."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from portal import audit, create_app
from portal.audit import Activity
from portal.db import db, readiness
from portal.db.migrate import downgrade, upgrade
from tests.audit.support import rows
from tests.conftest import make_config
from tests.test_account_states_migration import _fill, _rows, _triggers

pytestmark = [pytest.mark.both_databases, pytest.mark.empty_database]
FOLDER = str(readiness.MIGRATIONS)
BEFORE, AFTER = "0047", "0048"


def test_the_trail_comes_and_goes_without_touching_a_row(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        upgrade(directory=FOLDER, revision=BEFORE)
        with db.engine.begin() as connection:
            _fill(connection)
        with db.engine.begin() as connection:
            before, triggers = _rows(connection, without="-"), _triggers(connection)
        upgrade(directory=FOLDER, revision=AFTER)
        with db.engine.begin() as connection:
            after = _rows(connection, without="-")
            assert after.pop("audit_entry") == []
            assert after == before
        audit.record(Activity.LOGGED_IN, 1)
        db.session.commit()
        assert len(rows()) == 1
        for statement in ("UPDATE audit_entry SET way = 'api'", "DELETE FROM audit_entry"):
            with pytest.raises(DBAPIError, match="audit entries cannot be"), db.engine.begin() as connection:
                connection.execute(sa.text(statement))
        db.session.remove()
        downgrade(directory=FOLDER, revision=BEFORE)
        with db.engine.begin() as connection:
            assert (_rows(connection, without="-"), _triggers(connection)) == (before, triggers)
        db.engine.dispose()
