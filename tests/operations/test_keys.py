"""`flask keys`: a rotation may be killed, resumed, and run beside a portal at work; nothing is lost by it."""

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


class Hooked(Vault):
    """A real vault that does something more at one of its sealings."""

    def __init__(self, keyring: str, number: int, then: Callable[[], object]) -> None:
        super().__init__(keyring)
        self.countdown, self.then = number, then

    def seal(self, secret: str, binding: Mapping[str, str | int]) -> bytes:
        self.countdown -= 1
        if not self.countdown:
            self.then()
        return super().seal(secret, binding)


def use(app: Flask, *keys: str) -> None:
    """Go on as if the portal had been restarted with this keyring."""
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
def full(app: Flask) -> Flask:
    """Three hundred sealed rows."""
    bootstrap.check_keys(app)
    account = new_account()
    for number in range(1, PASSWORDS + 1):
        save_password(number, account, f"password {number}")
    db.session.commit()
    for number in range(BODIES):
        enqueue_message(None, f"reset:{number}", html=f"<p>{number}</p>" if number % 2 else "")
    return app


def everything() -> list[object]:
    """Every sealed value as it is stored."""
    db.session.rollback()
    passwords = db.session.scalars(select(SmtpSettings.sealed_password).order_by(SmtpSettings.id))
    bodies = db.session.execute(select(OutboxMessage.text, OutboxMessage.html).order_by(OutboxMessage.id))
    found = [*passwords, *map(tuple, bodies), db.session.get_one(readiness.KeyCheck, 1).sealed]
    db.session.rollback()
    return found


def all_open(app: Flask) -> None:
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


def under(keys: list[object]) -> set[str]:
    """The ids of the keys that sealed these values."""
    texts = [part for value in keys if isinstance(value, tuple) for part in value if part]
    return {key_id(value) for value in keys if isinstance(value, bytes)} | {
        key_id(bytes.fromhex(text)) for text in texts
    }


def test_a_rotation_killed_in_the_middle_is_resumed_and_the_old_key_may_go(
    full: Flask, config: Config, flask: Run
) -> None:
    before = everything()
    killed = subprocess.run(
        [sys.executable, "-m", "tests.operations.test_keys", config.database_url, str(config.instance)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    midway = everything()
    changed = sum(one != two for one, two in zip(before, midway, strict=True))
    assert 0 < changed < 300
    assert midway[-1] == before[-1], "the key check is the last, so that the old key is still asked for"
    use(full, NEW, OLD)
    all_open(full)
    status = json.loads(flask("keys", "status", "--json").output)
    assert [sum(one["rows"].values()) for one in status] == [changed, 300 - changed]

    result = flask("keys", "rotate")
    assert result.exit_code == 0, result.output
    assert "Everything is sealed under key k2." in result.output
    assert under(everything()) == {"k2"}
    assert "Key k1 seals nothing any more: it may leave the keyring." in flask("keys", "status").output
    use(full, NEW)
    all_open(full)
    assert flask("keys", "status").exit_code == 0


def test_a_second_rotation_finds_nothing_to_do(full: Flask, flask: Run) -> None:
    use(full, NEW, OLD)
    assert flask("keys", "rotate").exit_code == 0
    done = everything()
    assert flask("keys", "rotate").exit_code == 0
    assert everything() == done


def test_what_somebody_saved_meanwhile_is_not_overwritten(full: Flask) -> None:
    version = db.session.scalars(select(SmtpSettings).where(SmtpSettings.number == 5)).one()
    theirs = Vault(f"{NEW};{OLD}").seal("entered just now", credentials.binding(version))
    wiped = db.session.scalars(select(OutboxMessage.id).limit(1)).one()
    db.session.rollback()

    def save() -> None:
        with read_write(), db.engine.begin() as other:
            other.execute(update(SmtpSettings).where(SmtpSettings.number == 5).values(sealed_password=theirs))
            other.execute(update(OutboxMessage).where(OutboxMessage.id == wiped).values(text="", html=""))

    get_state(full).vault = Hooked(f"{NEW};{OLD}", 7, save)
    said: list[str] = []
    assert key_rotation.rotate(batch=50, leave=False, now=utcnow(), echo=said.append) == 0, said
    version = db.session.scalars(select(SmtpSettings).where(SmtpSettings.number == 5)).one()
    assert version.sealed_password == theirs
    assert db.session.get_one(OutboxMessage, wiped).text == "", "what was settled stays wiped"


def test_what_was_sealed_by_a_portal_nobody_restarted_is_sealed_anew_too(full: Flask) -> None:
    version = db.session.scalars(select(SmtpSettings).where(SmtpSettings.number == 5)).one()
    theirs = Vault(OLD).seal("password 5", credentials.binding(version))
    db.session.rollback()

    def save() -> None:
        with read_write(), db.engine.begin() as other:
            other.execute(update(SmtpSettings).where(SmtpSettings.number == 5).values(sealed_password=theirs))

    get_state(full).vault = Hooked(f"{NEW};{OLD}", 7, save)
    assert key_rotation.rotate(batch=50, leave=False, now=utcnow(), echo=lambda _: None) == 0
    assert under(everything()) == {"k2"}
    all_open(full)


def test_a_missing_key_is_named_and_leaves_everything_as_it_was(full: Flask, flask: Run) -> None:
    before = everything()
    use(full, NEW)
    result = flask("keys", "rotate")
    assert result.exit_code == 1
    assert "300 rows: sealed under key k1, which is not in the keyring." in result.output
    assert "Nothing was changed." in result.output
    assert flask("keys", "status").exit_code == 1
    assert everything() == before


def test_a_wrong_key_of_the_right_id_is_said_and_leaves_everything_as_it_was(full: Flask, flask: Run) -> None:
    before = everything()
    use(full, NEW, "k1:" + base64.b64encode(bytes(32)).decode())
    result = flask("keys", "rotate")
    assert result.exit_code == 1
    assert "the key of that id in the keyring does not open them" in result.output
    assert everything() == before


def test_rows_that_do_not_open_are_left_alone_when_the_operator_says_so(full: Flask, flask: Run) -> None:
    lost = Vault("lost:" + base64.b64encode(bytes(32)).decode()).seal("gone", {"a": 1})
    db.session.execute(update(SmtpSettings).where(SmtpSettings.number == 7).values(sealed_password=lost))
    db.session.commit()
    before = everything()
    use(full, NEW, OLD)
    assert flask("keys", "rotate").exit_code == 1
    assert everything() == before
    result = flask("keys", "rotate", "--leave-shut")
    assert result.exit_code == 1, "something still does not open"
    assert under(everything()) == {"k2", "lost"}
    assert lost in everything()
    use(full, NEW)
    bootstrap.check_keys(full)


def test_a_worker_that_does_not_know_the_new_key_yet_stops_the_rotation(full: Flask, flask: Run) -> None:
    before = everything()
    heartbeat.record_heartbeat(utcnow(), started_at=utcnow(), threads=2)
    use(full, NEW, OLD)
    result = flask("keys", "rotate")
    assert result.exit_code == 1
    assert heartbeat.process_name() in result.output
    assert everything() == before
    heartbeat.record_heartbeat(utcnow(), started_at=utcnow(), threads=2)  # it was restarted
    assert db.session.scalars(select(WorkerHeartbeat.key_ids)).one() == ["k2", "k1"]
    assert flask("keys", "rotate").exit_code == 0


def test_a_portal_without_the_key_names_it_when_it_refuses_to_start(full: Flask, config: Config) -> None:
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


def _rotate_and_die(database_url: str, instance: Path) -> None:
    keyring = f"{NEW};{OLD}"
    app = create_app(make_config(instance, keyring=keyring, database_url=database_url))
    get_state(app).vault = Hooked(keyring, 150, lambda: os.kill(os.getpid(), signal.SIGKILL))
    with app.app_context():
        key_rotation.rotate(batch=20, leave=False, now=utcnow(), echo=lambda _: None)


if __name__ == "__main__":
    _rotate_and_die(sys.argv[1], Path(sys.argv[2]))
