"""Fixtures of the backup: a portal with live settings, its mail server, and the place of a fresh machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask

from portal import bootstrap
from portal.clock import utcnow
from portal.config import Config
from portal.db import db
from portal.settings import credentials
from portal.settings.models import SmtpSettings, VersionState
from tests import databases
from tests.cli.conftest import flask as flask
from tests.conftest import make_config
from tests.migrations import mark_as_newest
from tests.outbox.support import LIMITS, honest, new_account
from tests.smtp import badserver
from tests.smtp.badserver import BadServer

PASSPHRASE = "a passphrase that is long enough, Ü"
LEASE_S = 3.0  # short: what was being submitted is sent again after it


@pytest.fixture
def server() -> Iterator[BadServer]:
    with BadServer(honest()) as found:
        yield found


def environ_of(server: BadServer) -> dict[str, str]:
    """Return the configuration that permits the account's server."""
    return {
        "SIGNET_SMTP_PORTS": str(server.port),
        "SIGNET_SMTP_PRIVATE": f"127.0.0.0/8:{server.port} ::1/128:{server.port}",
        "SIGNET_SMTP_CA_FILE": badserver.ca_file(),
        "SIGNET_LEASE_SECONDS": str(LEASE_S),
    }


@pytest.fixture
def config(tmp_path: Path, server: BadServer) -> Config:
    return make_config(tmp_path / "instance", env=environ_of(server), limits=LIMITS)


@pytest.fixture
def account(app: Flask, server: BadServer) -> int:
    """An account whose live settings lead to the server."""
    mark_as_newest()
    bootstrap.check_keys(app)
    account_id = new_account()
    row = SmtpSettings(account_id=account_id, number=1, host="localhost", port=server.port)
    row.security, row.mechanism, row.username = "implicit", "automatic", badserver.USERNAME
    row.domain, row.wrapped_user = "brightleaf.example", "info"
    row.password_saved_at = row.created_at = row.live_since = utcnow()
    row.state = VersionState.LIVE
    credentials.seal(row, badserver.PASSWORD)
    db.session.add(row)
    db.session.commit()
    return account_id


@dataclass(frozen=True)
class Files:
    """The files of a backup."""

    database: Path
    keys: Path
    passphrase: Path


@pytest.fixture
def files(tmp_path: Path) -> Files:
    passphrase = tmp_path / "passphrase"
    passphrase.write_text(PASSPHRASE + "\n", encoding="utf-8")
    return Files(tmp_path / "signet.backup", tmp_path / "signet.backup.keys", passphrase)


@pytest.fixture
def back_up(flask: Callable[..., Result], files: Files) -> Callable[[], Result]:
    def run() -> Result:
        return flask("backup", str(files.database), "--passphrase-file", str(files.passphrase))

    return run


@pytest.fixture
def fresh_machine(
    request: pytest.FixtureRequest, tmp_path: Path, server: BadServer, database: str
) -> Iterator[dict[str, str]]:
    """The environment of a machine with neither keys nor database, for processes of its own."""
    environ = {name: value for name, value in os.environ.items() if name != databases.URL}
    environ |= environ_of(server) | {
        "SIGNET_INSTANCE": str(tmp_path / "fresh"),
        "SIGNET_BASE_URL": "http://127.0.0.1",
        "SIGNET_REHEARSAL": "1",
        "SIGNET_SWEEP_SECONDS": "0.2",
    }
    if database == "sqlite":
        yield environ
        return
    cluster: databases.Cluster = request.getfixturevalue("cluster")
    with closing(cluster.connect()) as connection:
        connection.execute("DROP DATABASE IF EXISTS restored WITH (FORCE)")
        connection.execute("CREATE DATABASE restored")
    yield environ | {"DATABASE_URL": cluster.url("restored")}
    with closing(cluster.connect()) as connection:
        connection.execute("DROP DATABASE IF EXISTS restored WITH (FORCE)")
