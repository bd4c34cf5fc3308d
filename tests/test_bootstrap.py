"""An instance is set up once; it does not start with missing tables or under another key."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import bindparam, text

from portal import bootstrap, create_app
from portal.about import ROOT
from portal.clock import utcnow
from portal.config import ConfigError
from portal.db import Base, UTCDateTime, db
from portal.deliveries.triggers import SUBJECT_INDEX
from portal.jobs.backend import TABLE_PREFIX
from portal.rate_limit import RateLimit, _key, consume, remaining
from portal.vault import new_key
from tests.conftest import make_config
from tests.migrations import make_tables

pytestmark = [pytest.mark.both_databases, pytest.mark.empty_database]


def test_the_migrations_create_exactly_the_tables_of_the_models(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    bootstrap.migrate(app)
    with app.app_context(), db.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": False, "include_name": _is_ours}
        )
        assert compare_metadata(context, Base.metadata) == []


def _is_ours(name, kind, _parents):
    return kind not in ("table", "index") or not name.startswith((TABLE_PREFIX, SUBJECT_INDEX))


def test_an_upgrade_keeps_the_counters_of_rate_limits(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    limit, now = RateLimit("log-in", 3, timedelta(hours=1)), utcnow()
    with app.app_context():
        make_tables("0009")
        values = {"key": _key(limit, ("ada",)), "start": now.replace(minute=0, second=0, microsecond=0)}
        with db.engine.begin() as connection:
            insert = "INSERT INTO budget_count (key, window_start, spent) VALUES (:key, :start, 2)"
            connection.execute(text(insert).bindparams(bindparam("start", type_=UTCDateTime)), values)
    bootstrap.migrate(app)
    with app.app_context():
        assert remaining(limit, "ada", now=now) == 1
        assert [consume(limit, "ada", now=now) for _ in range(2)] == [True, False]
        db.session.remove()
        db.engine.dispose()


def test_an_instance_that_is_not_set_up_does_not_start(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with pytest.raises(ConfigError, match=r"portal\.bootstrap"):
        bootstrap.require_ready(app)
    bootstrap.migrate(app)
    bootstrap.require_ready(app)
    bootstrap.migrate(app)  # a second time changes nothing
    bootstrap.require_ready(app)


def test_set_up_names_the_variable_of_a_database_that_cannot_be_opened(tmp_path):
    url = f"sqlite:///{tmp_path / 'missing' / 'portal.sqlite'}"
    app = create_app(replace(make_config(tmp_path / "instance"), database_url=url))
    for set_up in (bootstrap.migrate, bootstrap.require_ready):
        with pytest.raises(ConfigError, match="DATABASE_URL"):
            set_up(app)


def test_a_keyring_that_does_not_open_the_database_is_rejected_by_name(tmp_path):
    bootstrap.migrate(create_app(make_config(tmp_path / "instance")))
    other = create_app(make_config(tmp_path / "instance", env={"SIGNET_KEYS": new_key()}))
    with pytest.raises(ConfigError, match="SIGNET_KEYS"):
        bootstrap.require_ready(other)


def test_secrets_are_created_once_and_readable_only_by_their_owner(tmp_path):
    instance = tmp_path / "instance"
    created = bootstrap.make_secrets(instance)
    assert {path.name for path in created} == {"secret_key", "keys"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in created)
    before = [path.read_text() for path in created]
    assert bootstrap.make_secrets(instance) == []
    assert [path.read_text() for path in created] == before


def test_an_instance_is_set_up_by_the_command_that_pages_and_documents_name(tmp_path):
    env = os.environ | {"SIGNET_INSTANCE": str(tmp_path / "instance"), "SIGNET_REHEARSAL": "1"}
    command = [sys.executable, "-m", "portal.bootstrap"]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "Signet is set up" in done.stdout
