"""SQLite with many processes: readers never wait, writers wait in a queue, and a failure loses no data."""

import fcntl
import os
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import event, text

from portal.accounts.models import Owner
from portal.affiliates.models import Affiliate
from portal.db import UTCDateTime, db, read_only, read_write, sqlite
from portal.outbox.models import OutboxMessage
from tests.outbox.support import join, run_together, wait_for

PAGES = (
    "/settings/email-preferences",
    "/deliveries",
    "/affiliates",
    "/join/brightleaf",
    "/account",
)
JOIN = "/join/brightleaf"


def lock(config):
    """Take the write lock on a connection of its own, as another process does."""
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
    def test_a_get_never_takes_the_write_lock(self, owner, config, page):
        other = lock(config)
        assert owner.get(page).status_code in (200, 404)
        other.close()

    def test_a_database_that_stays_locked_shows_a_page_and_loses_no_input(self, owner, client, config):
        form = {"name": "Bob Berg", "mailbox": "bob@example.net", "consent": "y"}
        client.get(JOIN)
        other = lock(config)
        answer = client.submit(JOIN, form, page=JOIN)
        html = answer.get_data(as_text=True)
        other.close()
        assert answer.status_code == 503
        assert "The portal is busy" in html
        assert "Bob Berg" in html, "the page contains the input"
        assert count(Affiliate) == 0
        assert client.submit(JOIN, form, page=JOIN).status_code == 303
        assert (count(Affiliate), count(OutboxMessage)) == (1, 1)

    def test_the_busy_page_is_shown_to_a_logged_in_owner(self, owner, config):
        other = lock(config)
        path = "/settings/email-preferences/test"
        answer = owner.submit(path, {}, page="/settings/email-preferences")
        other.close()
        assert answer.status_code == 503
        assert "The portal is busy" in answer.get_data(as_text=True)

    def test_the_busy_page_does_not_contain_a_password(self, owner, config):
        other = lock(config)
        form = {"host": "smtp.example.com", "username": "ada@brightleaf.example", "password": "canary"}
        answer = owner.submit("/settings/email-preferences", form)
        other.close()
        assert answer.status_code == 503
        assert "canary" not in answer.get_data(as_text=True)


def test_a_writer_waits_for_another_process_instead_of_failing(app, owner, client, config):
    path = config.instance / "portal.sqlite"
    code = (
        "import sqlite3, sys\n"
        f"c = sqlite3.connect({str(path)!r}, isolation_level=None)\n"
        "c.execute('BEGIN IMMEDIATE'); print('locked', flush=True); sys.stdin.read(); c.execute('COMMIT')\n"
    )
    form = {"name": "Bob", "mailbox": "bob@example.net", "consent": "y"}
    answers = []
    sign_up = threading.Thread(target=lambda: answers.append(client.submit(JOIN, form, page=JOIN)))
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        sign_up.start()
        wait_for(sqlite._next_writer.locked)
        assert not answers
        other.stdin.close()
        join(sign_up)
    assert [answer.status_code for answer in answers] == [303]


def test_a_full_disk_shows_a_page_and_leaves_no_partial_sign_up(app, owner, client):
    db.session.execute(text("UPDATE account SET sign_ups_at_once = 100"))
    db.session.commit()

    def limit_pages(connection, _record):
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 4}")

    db.session.remove()
    db.engine.dispose()
    event.listen(db.engine, "connect", limit_pages)
    statuses = []
    for number in range(40):
        form = {"name": "B" * 60, "mailbox": f"b{number}@example{number}.net", "consent": "y"}
        answer = client.submit(JOIN, form, page=JOIN, environ_base={"REMOTE_ADDR": f"10.0.{number}.1"})
        statuses.append(answer.status_code)
        if answer.status_code == 503:
            break
    event.remove(db.engine, "connect", limit_pages)
    assert set(statuses) == {303, 503}
    assert count(Affiliate) == count(OutboxMessage) == statuses.count(303)
    db.session.remove()
    db.engine.dispose()
    form = {"name": "Bob", "mailbox": "bob@example.net", "consent": "y"}
    assert client.submit(JOIN, form, page=JOIN).status_code == 303, "it recovers by itself"


def test_a_read_only_transaction_cannot_write(app):
    with read_only(), pytest.raises(Exception, match="readonly"):
        db.session.execute(text("DELETE FROM owner"))
    db.session.rollback()
    with read_only(), read_write():
        db.session.execute(text("DELETE FROM owner"))
    db.session.rollback()


def test_the_database_is_set_up_to_survive_a_power_cut(app):
    pragma = lambda name: db.session.execute(text(f"PRAGMA {name}")).scalar()  # noqa: E731
    assert pragma("journal_mode") == "wal"
    assert pragma("synchronous") == 2, "FULL"
    assert pragma("foreign_keys") == 1
    assert pragma("wal_autocheckpoint") == 8_000, (
        "a higher limit than the worker's, so that web requests seldom checkpoint"
    )
    with read_only():
        db.session.rollback()
        assert pragma("busy_timeout") == 15_000, "for readers; a writer polls by itself"


def test_a_time_is_stored_in_utc_and_a_naive_one_is_refused(app):
    kind = UTCDateTime()
    local = datetime(2026, 3, 2, 12, tzinfo=timezone(timedelta(hours=5)))
    stored = kind.process_bind_param(local, db.engine.dialect)
    assert stored.tzinfo is UTC
    assert stored.hour == 7
    with pytest.raises(ValueError, match="time zone"):
        kind.process_bind_param(datetime(2026, 3, 2), db.engine.dialect)  # noqa: DTZ001 - the naive time under test


def test_the_error_of_a_statement_contains_no_values(app, owner):
    duplicate = Owner(
        account_id=1, name="x", mailbox="canary@example.net", mailbox_key="ada@brightleaf.example"
    )
    duplicate.password_hash, duplicate.created_at = "canary", datetime.now(UTC)
    db.session.add(duplicate)
    with pytest.raises(Exception, match="UNIQUE") as failure:
        db.session.flush()
    db.session.rollback()
    assert "canary" not in str(failure.value)


def test_a_writer_that_commits_all_the_time_lets_others_write_in_between(app, config, tmp_path):
    """A worker commits up to a thousand times a second. In the write queue, others are before its next transaction."""
    script, counter = tmp_path / "busy.py", tmp_path / "commits"
    counter.write_bytes(bytes(8))
    script.write_text(
        "import mmap, sys, time\n"
        "from pathlib import Path\n"
        "from portal import create_app\n"
        "from portal.db import db\n"
        "from portal.db.sqlite import use_relaxed_durability\n"
        "from tests.conftest import make_config\n"
        "app = create_app(make_config(Path(sys.argv[1])))\n"
        "file = open(sys.argv[2], 'r+b')\n"
        "commits = mmap.mmap(file.fileno(), 8)\n"
        "with app.app_context():\n"
        "    use_relaxed_durability(db.engine)\n"
        "    print('busy', flush=True)\n"
        "    while True:\n"
        "        db.session.connection()\n"
        "        end = time.monotonic() + 0.004\n"
        "        while time.monotonic() < end:\n"
        "            pass\n"
        "        db.session.commit()\n"
        "        commits[:] = (int.from_bytes(commits[:], 'big') + 1).to_bytes(8, 'big')\n"
    )
    command = [sys.executable, str(script), str(config.instance), str(counter)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(Path.cwd())}
    ) as busy:
        try:
            assert busy.stdout.readline().strip() == "busy"
            waits = []  # commits of the other process during each wait
            for _ in range(50):
                before = int.from_bytes(counter.read_bytes(), "big")
                db.session.connection()
                waits.append(int.from_bytes(counter.read_bytes(), "big") - before)
                db.session.rollback()
        finally:
            busy.kill()
    assert sorted(waits)[40] < 25  # four of five; the test may lose the processor during the others


def test_a_process_that_is_frozen_at_the_head_of_the_write_queue_is_passed(app, config):
    folder = os.open(config.instance, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)

    def write(_number):
        db.session.execute(text("DELETE FROM owner"))
        db.session.rollback()

    assert run_together(app, 1, write) == [None]
    os.close(folder)
