"""Keys of affiliates' pages: no table holds one, emails carry them, and old links keep working after the migration."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from portal import create_app
from portal.affiliates import directory, page_keys
from portal.affiliates.models import Affiliate
from portal.db import db, readiness
from portal.db.migrate import downgrade, upgrade
from portal.db.readiness import check_keys
from portal.enrolment import signup_rules
from portal.env import ConfigError
from portal.operations.reseal import KINDS
from portal.state import get_state
from portal.vault import Vault, new_key
from tests.conftest import make_config
from tests.enrolment.support import account_of, messages, newest_affiliate, sign_up
from tests.migrations import make_tables
from tests.test_account_states_migration import FOLDER, _fill

pytestmark = pytest.mark.both_databases

THEN = "2026-03-02 09:00:00+00:00"
_FIRST = (
    600  # rows of affiliates beyond the two of each table, so that the migration needs more than one batch
)


def test_the_emails_carry_the_keys_and_the_table_of_affiliates_holds_none(app, owner, client):
    signup_rules.save_rules(account_of().id, signup_rules.Rules(confirm=False))
    sign_up(client)
    keys = page_keys.open_keys(newest_affiliate())
    (welcome,) = messages("new-sign-up")
    assert f"/affiliate/{keys.dashboard}" in welcome.text
    assert f"/preferences/{keys.preferences}" in welcome.text
    stored = repr(tuple(db.session.execute(sa.select(Affiliate.__table__)).one()))
    assert keys.dashboard not in stored
    assert keys.preferences not in stored
    assert keys.dashboard not in repr(keys)
    for path in (f"/affiliate/{keys.dashboard}", f"/preferences/{keys.preferences}"):
        assert client.get(path).status_code == 200
    for path in (f"/affiliate/{keys.preferences}", f"/preferences/{keys.dashboard}"):
        assert client.get(path).status_code == 404
    hashes = (newest_affiliate().dashboard_key_hash, newest_affiliate().preferences_key_hash)
    assert client.get(f"/affiliate/{hashes[0]}").status_code == 404
    assert client.get(f"/preferences/{hashes[1]}").status_code == 404


def test_the_dashboard_links_to_the_preferences(app, owner, client):
    signup_rules.save_rules(account_of().id, signup_rules.Rules(confirm=False))
    sign_up(client)
    keys = page_keys.open_keys(newest_affiliate())
    page = client.get(f"/affiliate/{keys.dashboard}").get_data(as_text=True)
    assert re.search(rf'href="/preferences/{keys.preferences}"', page)


def test_a_rotation_of_the_keyring_reseals_the_keys():
    assert "sealed_page_keys" in {column for kind in KINDS for column in kind.columns}


@pytest.mark.empty_database
def test_links_of_before_the_migration_keep_working_and_the_keys_leave_the_table(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables("0016")
        with db.engine.begin() as connection:
            _fill(connection)
            connection.execute(sa.text("DELETE FROM key_check"))
            connection.execute(sa.text("UPDATE affiliate SET state = 'active'"))
            table = sa.Table("affiliate", sa.MetaData(), autoload_with=connection)
            row = dict(connection.execute(sa.select(table).where(table.c.id == 1)).one()._mapping)
            unique = ("mailbox_key", "code", "dashboard_key", "preferences_key")
            connection.execute(
                table.insert(),
                [row | {"id": n} | {name: f"{name[:4]}{n}" for name in unique} for n in range(3, _FIRST)],
            )
            before = connection.execute(
                sa.select(table.c.id, table.c.dashboard_key, table.c.preferences_key).order_by(table.c.id)
            ).all()
        check_keys(get_state(app).vault, tmp_path)
        upgrade(directory=FOLDER)  # to the tables that the models of today read
        assert len(before) > 500
        for id_, dashboard, preferences in (before[0], before[-1]):
            found = db.session.get_one(Affiliate, id_)
            assert page_keys.open_keys(found) == page_keys.PageKeys(dashboard, preferences)
            assert found.dashboard_key_hash == page_keys.hash_key(dashboard)
            account = directory.find_by_preferences_key(preferences)
            assert account is not None
            assert account[0].id == id_
        db.session.rollback()
        with db.engine.begin() as connection:
            stored = repr(connection.execute(sa.text("SELECT * FROM affiliate")).all())
            assert not [key for _, *keys in before for key in keys if f"'{key}'" in stored]
        downgrade(directory=FOLDER, revision="0016")
        with db.engine.begin() as connection:
            columns = [table.c.id, table.c.dashboard_key, table.c.preferences_key]
            assert connection.execute(sa.select(*columns).order_by(table.c.id)).all() == before
        db.engine.dispose()


@pytest.mark.empty_database
def test_the_migration_changes_nothing_with_the_keyring_of_another_database(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables("0016")
        check_keys(get_state(app).vault, tmp_path)
        with db.engine.begin() as connection:
            _fill_affiliate(connection)
        get_state(app).vault = Vault(new_key())
        with pytest.raises(ConfigError, match="keyring does not fit"):
            upgrade(directory=FOLDER, revision="0017")
        with db.engine.begin() as connection:
            assert connection.execute(sa.text("SELECT dashboard_key FROM affiliate")).scalar() == "d7"
        assert not readiness.is_current()
        db.engine.dispose()


def _fill_affiliate(connection: sa.Connection) -> None:
    for statement in (
        "INSERT INTO account (id, slug, name, time_zone, created_at)"
        " VALUES (1, 'brightleaf', 'Brightleaf', 'UTC', :then)",
        "INSERT INTO affiliate (id, account_id, name, mailbox, mailbox_key, code, dashboard_key, preferences_key,"
        " state, search_text, created_at) VALUES (7, 1, 'Grace', 'g@example.org', 'g@example.org', 'GRACE42K', 'd7',"
        " 'p7', 'active', '', :then)",
    ):
        connection.execute(sa.text(statement), {"then": THEN})
