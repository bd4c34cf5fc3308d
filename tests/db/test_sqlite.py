"""The database under many processes: readers never wait, writers wait their turn, and trouble loses nothing."""

import fcntl
import os
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import event, text

from portal.accounts.models import Owner
from portal.affiliates.models import Affiliate
from portal.db import UTCDateTime, db, read_only, read_write
from portal.outbox.models import OutboxMessage

PAGES = (
    "/settings/email-preferences",
    "/deliveries",
    "/affiliates",
    "/join/brightleaf",
    "/account",
)
JOIN = "/join/brightleaf"


def lock(config):
    """Take the write lock, as another process would."""
    other = sqlite3.connect(config.instance / "portal.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return other


def count(table):
    db.session.rollback()
    found = db.session.scalar(db.select(db.func.count()).select_from(table))
    db.session.rollback()
    return found


class TestWithAShortWait:
    @pytest.fixture
    def config(self, config):
        return replace(config, database_wait=0.3)

    @pytest.mark.parametrize("page", PAGES)
    def test_a_page_that_is_only_looked_at_never_takes_the_write_lock(self, owner, config, page):
        other = lock(config)
        assert owner.get(page).status_code in (200, 404)
        other.close()

    def test_a_database_that_stays_locked_is_told_on_a_page_and_nothing_is_lost(self, owner, client, config):
        form = {"name": "Bob Berg", "mailbox": "bob@example.net", "consent": "y"}
        client.get(JOIN)
        other = lock(config)
        answer = client.submit(JOIN, form, page=JOIN)
        html = answer.get_data(as_text=True)
        other.close()
        assert answer.status_code == 503
        assert "The portal is busy" in html
        assert "Bob Berg" in html, "what was typed is offered again"
        assert count(Affiliate) == 0
        assert client.submit(JOIN, form, page=JOIN).status_code == 303
        assert (count(Affiliate), count(OutboxMessage)) == (1, 1)

    def test_the_page_of_trouble_shows_even_to_those_who_are_logged_in(self, owner, config):
        other = lock(config)
        path = "/settings/email-preferences/test"
        answer = owner.submit(path, {}, page="/settings/email-preferences")
        other.close()
        assert answer.status_code == 503
        assert "The portal is busy" in answer.get_data(as_text=True)

    def test_a_password_is_not_among_what_is_offered_again(self, owner, config):
        other = lock(config)
        form = {"host": "smtp.example.com", "username": "ada@brightleaf.example", "password": "canary"}
        answer = owner.submit("/settings/email-preferences", form)
        other.close()
        assert answer.status_code == 503
        assert "canary" not in answer.get_data(as_text=True)


def test_who_writes_waits_for_another_writer_instead_of_failing(owner, client, config):
    path = config.instance / "portal.sqlite"
    code = (
        "import sqlite3, time\n"
        f"c = sqlite3.connect({str(path)!r}, isolation_level=None)\n"
        "c.execute('BEGIN IMMEDIATE'); print('locked', flush=True); time.sleep(1); c.execute('COMMIT')\n"
    )
    token_page = client.get(JOIN)
    assert token_page.status_code == 200
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "locked\n"
    started = time.monotonic()
    answer = client.submit(JOIN, {"name": "Bob", "mailbox": "bob@example.net", "consent": "y"}, page=JOIN)
    assert answer.status_code == 303
    assert time.monotonic() - started > 0.5
    other.communicate()


def test_a_full_disk_is_told_on_a_page_and_nothing_is_half_done(app, owner, client):
    def no_more(connection, _record):
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 4}")

    db.session.remove()
    db.engine.dispose()
    event.listen(db.engine, "connect", no_more)
    statuses = []
    for number in range(40):
        form = {"name": "B" * 60, "mailbox": f"b{number}@example{number}.net", "consent": "y"}
        answer = client.submit(JOIN, form, page=JOIN, environ_base={"REMOTE_ADDR": f"10.0.{number}.1"})
        statuses.append(answer.status_code)
        if answer.status_code == 503:
            break
    event.remove(db.engine, "connect", no_more)
    assert set(statuses) == {303, 503}
    assert count(Affiliate) == count(OutboxMessage) == statuses.count(303)
    db.session.remove()
    db.engine.dispose()
    form = {"name": "Bob", "mailbox": "bob@example.net", "consent": "y"}
    assert client.submit(JOIN, form, page=JOIN).status_code == 303, "it recovers by itself"


def test_a_transaction_that_reads_cannot_write(app):
    with read_only(), pytest.raises(Exception, match="readonly"):
        db.session.execute(text("DELETE FROM owner"))
    db.session.rollback()
    with read_only(), read_write():
        db.session.execute(text("DELETE FROM owner"))
    db.session.rollback()


def test_the_database_is_set_up_to_survive_a_power_cut(app):
    ask = lambda name: db.session.execute(text(f"PRAGMA {name}")).scalar()  # noqa: E731
    assert ask("journal_mode") == "wal"
    assert ask("synchronous") == 2, "FULL"
    assert ask("foreign_keys") == 1
    assert ask("wal_autocheckpoint") == 8_000, "a page waits for no checkpoint: a worker comes first"
    with read_only():
        db.session.rollback()
        assert ask("busy_timeout") == 15_000, "a writer looks for its turn by itself"


def test_a_moment_is_stored_in_utc_and_one_without_a_zone_is_refused(app):
    kind = UTCDateTime()
    there = datetime(2026, 3, 2, 12, tzinfo=timezone(timedelta(hours=5)))
    stored = kind.process_bind_param(there, db.engine.dialect)
    assert stored.tzinfo is UTC
    assert stored.hour == 7
    with pytest.raises(ValueError, match="time zone"):
        kind.process_bind_param(datetime(2026, 3, 2), db.engine.dialect)


def test_a_failing_statement_tells_no_values(app, owner):
    double = Owner(account_id=1, name="x", mailbox="canary@example.net", mailbox_key="ada@brightleaf.example")
    double.password_hash, double.created_at = "canary", datetime.now(UTC)
    db.session.add(double)
    with pytest.raises(Exception, match="UNIQUE") as failure:
        db.session.flush()
    db.session.rollback()
    assert "canary" not in str(failure.value)


def test_a_writer_who_writes_without_end_lets_others_have_their_turn(app, config, tmp_path):
    """A worker commits a thousand times a second; whoever waits stands in the turnstile before its next one."""
    script = tmp_path / "busy.py"
    script.write_text(
        "import sys, time\n"
        "from pathlib import Path\n"
        "from portal import create_app\n"
        "from portal.db import db\n"
        "from portal.db.sqlite import use_relaxed_durability\n"
        "from tests.conftest import make_config\n"
        "app = create_app(make_config(Path(sys.argv[1])))\n"
        "with app.app_context():\n"
        "    use_relaxed_durability(db.engine)\n"
        "    print('busy', flush=True)\n"
        "    while True:\n"
        "        db.session.connection()\n"
        "        end = time.monotonic() + 0.004\n"
        "        while time.monotonic() < end:\n"
        "            pass\n"
        "        db.session.commit()\n"
    )
    command = [sys.executable, str(script), str(config.instance)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(Path.cwd())}
    ) as busy:
        try:
            assert busy.stdout.readline().strip() == "busy"
            waits = []
            for _ in range(50):
                began = time.monotonic()
                db.session.connection()
                waits.append(time.monotonic() - began)
                db.session.rollback()
        finally:
            busy.kill()
    assert sorted(waits)[40] < 0.1  # four of five within a few of its turns, also on a busy machine


def test_a_process_that_was_stopped_at_the_head_of_the_write_queue_is_passed_by(app, config):
    folder = os.open(config.instance, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)  # and never let go
    began = time.monotonic()
    db.session.connection()
    assert time.monotonic() - began < 2
    db.session.rollback()
    os.close(folder)
