"""`flask keys`: a rotation can be killed, resumed and run beside a working portal without losing a secret."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import select, update

from portal import bootstrap, create_app
from portal.cli import key_rotation
from portal.clock import utcnow
from portal.config import Config, ConfigError
from portal.db import db, read_write, readiness
from portal.jobs import heartbeat
from portal.jobs.models import WorkerHeartbeat
from portal.outbox.models import OutboxMessage
from portal.outbox.queue import open_body
from portal.settings import credentials
from portal.settings.models import SmtpSettings
from portal.state import get_state
from portal.vault import DecryptionError, Vault, key_id
from tests.conftest import KEYRING, make_config
from tests.outbox.support import enqueue_message, new_account

pytestmark = pytest.mark.both_databases
ROOT = Path(__file__).parents[2]
OLD, NEW = KEYRING, "k2:" + base64.b64encode(bytes(range(100, 132))).decode()
PASSWORDS, BODIES = 249, 50  # and the key check: three hundred rows
Run = Callable[..., Result]


class HookedVault(Vault):
    """A vault that calls a function at its n-th call of ``seal``."""

    def __init__(self, keyring: str, calls: int, then: Callable[[], object]) -> None:
        super().__init__(keyring)
        self.calls_left, self.then = calls, then

    def seal(self, secret: str, binding: Mapping[str, str | int]) -> bytes:
        self.calls_left -= 1
        if not self.calls_left:
            self.then()
        return super().seal(secret, binding)


def set_keyring(app: Flask, *keys: str) -> None:
    """Replace the vault, as a restart with this keyring would."""
    db.session.rollback()
    get_state(app).vault = Vault(";".join(keys))


def save_password(number: int, account: int, password: str) -> None:
    row = SmtpSettings(account_id=account, number=number, host="smtp.example.com", port=587)
    row.security, row.mechanism, row.username = "starttls", "auto", "ada"
    row.domain, row.wrapped_user = "brightleaf.example", "info"
    row.password_saved_at = row.created_at = utcnow()
    credentials.seal(row, password)
    db.session.add(row)


@pytest.fixture
def sealed_rows(app: Flask) -> Flask:
    """Three hundred sealed rows."""
    bootstrap.check_keys(app)
    account = new_account()
    for number in range(1, PASSWORDS + 1):
        save_password(number, account, f"password {number}")
    db.session.commit()
    for number in range(BODIES):
        enqueue_message(None, f"reset:{number}", html=f"<p>{number}</p>" if number % 2 else "")
    return app


def stored_values() -> list[object]:
    """Return every sealed value as stored."""
    db.session.rollback()
    passwords = db.session.scalars(select(SmtpSettings.sealed_password).order_by(SmtpSettings.id))
    bodies = db.session.execute(select(OutboxMessage.text, OutboxMessage.html).order_by(OutboxMessage.id))
    found = [*passwords, *map(tuple, bodies), db.session.get_one(readiness.KeyCheck, 1).sealed]
    db.session.rollback()
    return found


def assert_all_open(app: Flask) -> None:
    """Check that every value can be decrypted."""
    versions = db.session.scalars(select(SmtpSettings).order_by(SmtpSettings.number)).all()
    assert [credentials.open_password(one) for one in versions] == [
        f"password {one.number}" for one in versions
    ]
    assert len(versions) == PASSWORDS
    mails = db.session.scalars(select(OutboxMessage)).all()
    assert all("Hello reset:" in open_body(one.text, one.key) for one in mails)
    assert [open_body(one.html, one.key) for one in mails if one.html]
    db.session.rollback()
    bootstrap.check_keys(app)


def sealing_keys(keys: list[object]) -> set[str]:
    """Return the ids of the keys that sealed these values."""
    texts = [part for value in keys if isinstance(value, tuple) for part in value if part]
    return {key_id(value) for value in keys if isinstance(value, bytes)} | {
        key_id(bytes.fromhex(text)) for text in texts
    }


def test_a_killed_rotation_is_resumed_and_the_old_key_can_be_removed(
    sealed_rows: Flask, config: Config, flask: Run
) -> None:
    before = stored_values()
    killed = subprocess.run(
        [sys.executable, "-m", "tests.cli.test_key_rotation", config.database_url, str(config.instance)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    midway = stored_values()
    changed = sum(one != two for one, two in zip(before, midway, strict=True))
    assert 0 < changed < 300
    assert midway[-1] == before[-1], "the key check is resealed last, so that the old key is still required"
    set_keyring(sealed_rows, NEW, OLD)
    assert_all_open(sealed_rows)
    status = json.loads(flask("keys", "status", "--json").output)
    assert [sum(one["rows"].values()) for one in status] == [changed, 300 - changed]

    result = flask("keys", "rotate")
    assert result.exit_code == 0, result.output
    assert "Everything is sealed under key k2." in result.output
    assert sealing_keys(stored_values()) == {"k2"}
    assert "Key k1 seals nothing any more: it may leave the keyring." in flask("keys", "status").output
    set_keyring(sealed_rows, NEW)
    assert_all_open(sealed_rows)
    assert flask("keys", "status").exit_code == 0


def test_a_second_rotation_finds_nothing_to_do(sealed_rows: Flask, flask: Run) -> None:
    set_keyring(sealed_rows, NEW, OLD)
    assert flask("keys", "rotate").exit_code == 0
    done = stored_values()
    assert flask("keys", "rotate").exit_code == 0
    assert stored_values() == done


def test_a_concurrent_change_is_not_overwritten(sealed_rows: Flask) -> None:
    version = db.session.scalars(select(SmtpSettings).where(SmtpSettings.number == 5)).one()
    concurrent = Vault(f"{NEW};{OLD}").seal("entered just now", credentials.binding(version))
    message_id = db.session.scalars(select(OutboxMessage.id).limit(1)).one()
    db.session.rollback()

    def save() -> None:
        with read_write(), db.engine.begin() as other:
            other.execute(
                update(SmtpSettings).where(SmtpSettings.number == 5).values(sealed_password=concurrent)
            )
            other.execute(
                update(OutboxMessage).where(OutboxMessage.id == message_id).values(text="", html="")
            )

    get_state(sealed_rows).vault = HookedVault(f"{NEW};{OLD}", 7, save)
    lines: list[str] = []
    assert key_rotation.rotate(batch=50, leave=False, now=utcnow(), echo=lines.append) == 0, lines
    version = db.session.scalars(select(SmtpSettings).where(SmtpSettings.number == 5)).one()
    assert version.sealed_password == concurrent
    assert db.session.get_one(OutboxMessage, message_id).text == "", (
        "the body of a settled message stays cleared"
    )


def test_a_value_sealed_concurrently_under_the_old_key_is_resealed_too(sealed_rows: Flask) -> None:
    version = db.session.scalars(select(SmtpSettings).where(SmtpSettings.number == 5)).one()
    concurrent = Vault(OLD).seal("password 5", credentials.binding(version))
    db.session.rollback()

    def save() -> None:
        with read_write(), db.engine.begin() as other:
            other.execute(
                update(SmtpSettings).where(SmtpSettings.number == 5).values(sealed_password=concurrent)
            )

    get_state(sealed_rows).vault = HookedVault(f"{NEW};{OLD}", 7, save)
    assert key_rotation.rotate(batch=50, leave=False, now=utcnow(), echo=lambda _: None) == 0
    assert sealing_keys(stored_values()) == {"k2"}
    assert_all_open(sealed_rows)


def test_a_missing_key_is_named_and_nothing_changes(sealed_rows: Flask, flask: Run) -> None:
    before = stored_values()
    set_keyring(sealed_rows, NEW)
    result = flask("keys", "rotate")
    assert result.exit_code == 1
    assert "300 rows: sealed under key k1, which is not in the keyring." in result.output
    assert "Nothing was changed." in result.output
    assert flask("keys", "status").exit_code == 1
    assert stored_values() == before


def test_a_wrong_key_under_the_right_id_is_reported_and_nothing_changes(
    sealed_rows: Flask, flask: Run
) -> None:
    before = stored_values()
    set_keyring(sealed_rows, NEW, "k1:" + base64.b64encode(bytes(32)).decode())
    result = flask("keys", "rotate")
    assert result.exit_code == 1
    assert "the key of that id in the keyring does not open them" in result.output
    assert stored_values() == before


def test_undecryptable_rows_are_skipped_with_the_option(sealed_rows: Flask, flask: Run) -> None:
    lost = Vault("lost:" + base64.b64encode(bytes(32)).decode()).seal("gone", {"a": 1})
    db.session.execute(update(SmtpSettings).where(SmtpSettings.number == 7).values(sealed_password=lost))
    db.session.commit()
    before = stored_values()
    set_keyring(sealed_rows, NEW, OLD)
    assert flask("keys", "rotate").exit_code == 1
    assert stored_values() == before
    result = flask("keys", "rotate", "--leave-shut")
    assert result.exit_code == 1, "a row still cannot be decrypted"
    assert sealing_keys(stored_values()) == {"k2", "lost"}
    assert lost in stored_values()
    set_keyring(sealed_rows, NEW)
    bootstrap.check_keys(sealed_rows)


def test_a_worker_without_the_new_key_stops_the_rotation(sealed_rows: Flask, flask: Run) -> None:
    before = stored_values()
    heartbeat.record_heartbeat(utcnow(), started_at=utcnow(), threads=2)
    set_keyring(sealed_rows, NEW, OLD)
    result = flask("keys", "rotate")
    assert result.exit_code == 1
    assert heartbeat.process_name() in result.output
    assert stored_values() == before
    heartbeat.record_heartbeat(utcnow(), started_at=utcnow(), threads=2)  # it was restarted
    assert db.session.scalars(select(WorkerHeartbeat.key_ids)).one() == ["k2", "k1"]
    assert flask("keys", "rotate").exit_code == 0


def test_a_portal_without_the_key_names_it_at_its_start(sealed_rows: Flask, config: Config) -> None:
    with pytest.raises(ConfigError, match="key k1, which is not in the keyring"):
        bootstrap.check_keys(create_app(replace(config, keyring=NEW)))


def test_a_new_key_is_printed_as_one_line_and_changes_no_file(app: Flask, config: Config, flask: Run) -> None:
    before = sorted((path.name, path.stat().st_mtime_ns) for path in config.instance.iterdir())
    line = flask("keys", "new").output
    assert line.count("\n") == 1
    assert sorted((path.name, path.stat().st_mtime_ns) for path in config.instance.iterdir()) == before
    ring = Vault(line + OLD)  # a line of its own in front, as `cat` puts it
    assert ring.key_ids[1] == "k1"
    with pytest.raises(DecryptionError):
        Vault(OLD).open(ring.seal("x", {}), {})


def _rotate_until_killed(database_url: str, instance: Path) -> None:
    keyring = f"{NEW};{OLD}"
    app = create_app(make_config(instance, keyring=keyring, database_url=database_url))
    get_state(app).vault = HookedVault(keyring, 150, lambda: os.kill(os.getpid(), signal.SIGKILL))
    with app.app_context():
        key_rotation.rotate(batch=20, leave=False, now=utcnow(), echo=lambda _: None)


if __name__ == "__main__":
    _rotate_until_killed(sys.argv[1], Path(sys.argv[2]))
