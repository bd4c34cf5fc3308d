"""The migration to second factors: everyone logs in as before, nothing else changes, and there is a way back."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from portal import create_app
from portal.accounts.factors.models import Totp
from portal.accounts.passwords import hasher
from portal.clock import utcnow
from portal.db import db, readiness
from portal.db.migrate import downgrade, upgrade
from tests.accounts import apps
from tests.conftest import PASSWORD, make_config
from tests.pages import LintingClient
from tests.test_account_states_migration import _fill, _triggers
from tests.test_plain_names import _tables

pytestmark = [pytest.mark.both_databases, pytest.mark.empty_database]
FOLDER = str(readiness.MIGRATIONS)
FILLED, BEFORE, AFTER = "0042", "0048", "0049"
_OF_LOG_INS = {
    "rate_limit_counter",
    "owner_session",
    "owner",
    "audit_entry",
}  # counted, stored, hashed again, recorded
NEW_TABLES = {"totp", "recovery_code", "passkey", "login_challenge"}


def _rows(connection: sa.Connection) -> dict[str, list[tuple]]:
    found = {}
    for table in _tables(connection):
        if table.name not in NEW_TABLES:
            columns = [one for one in table.columns if one.name != "demands_factor"]
            columns.sort(key=lambda column: column.name)
            rows = connection.execute(sa.select(*columns))
            found[table.name] = sorted((tuple(row) for row in rows), key=repr)
    return found


def _execute(statement: str, **values: object) -> list[tuple]:
    with db.engine.begin() as connection:
        result = connection.execute(sa.text(statement), values)
        return [tuple(row) for row in result] if result.returns_rows else []


def test_every_owner_of_before_logs_in_and_can_add_a_second_factor(tmp_path):
    env = {"MAIL_SERVER": "", "MAIL_DEFAULT_SENDER": ""}  # so that the log-in mails nothing
    app = create_app(make_config(tmp_path / "instance", env=env))
    app.test_client_class = LintingClient
    with app.app_context():
        upgrade(directory=FOLDER, revision=FILLED)
        with db.engine.begin() as connection:
            _fill(connection)
        upgrade(directory=FOLDER, revision=BEFORE)
        _execute("UPDATE owner SET mailbox = 'ada@x.example', mailbox_key = 'ada@x.example' WHERE id = 1")
        _execute("UPDATE account SET link_form = 'short'")
        _execute("UPDATE owner SET password_hash = :hash", hash=hasher().hash(PASSWORD))
        with db.engine.begin() as connection:
            before, triggers = _rows(connection), _triggers(connection)
        upgrade(directory=FOLDER, revision=AFTER)
        with db.engine.begin() as connection:
            assert (_rows(connection), _triggers(connection)) == (before, triggers)
        assert _execute("SELECT COUNT(*) FROM account WHERE demands_factor") == [(0,)]
        upgrade(directory=FOLDER)
        assert apps.first_step(app.test_client(), "ada@x.example") == "/"
        db.session.add(Totp(owner_id=1, sealed_secret=b"x", last_step=0, created_at=utcnow()))
        db.session.commit()
        assert apps.first_step(app.test_client(), "ada@x.example") == apps.STEP
        db.session.remove()
        downgrade(directory=FOLDER, revision=BEFORE)
        with db.engine.begin() as connection:
            after = _rows(connection)
            assert _triggers(connection) == triggers
        for table in _OF_LOG_INS & before.keys():
            after.pop(table), before.pop(table)
        assert after == before
        db.engine.dispose()
