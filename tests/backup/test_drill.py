"""The drill: a fresh machine that has only the files of a backup sends the mail that waited, once."""

from __future__ import annotations

import re
import signal
import sqlite3
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import Result
from flask import Flask

from portal.about import ROOT
from portal.outbox.models import Status
from portal.outbox.sending.drain import drain_queue
from portal.outbox.store import acceptance_log, claims
from portal.smtp.protocol.envelope import Acceptance
from portal.smtp.protocol.reply import Reply
from tests.backup.conftest import Files
from tests.outbox.support import PATIENCE_S, enqueue_message, message, start_drain, subjects, wait_for
from tests.smtp.badserver import BadServer

pytestmark = pytest.mark.both_databases


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "flask", "--app", str(ROOT / "wsgi.py"), *words]


def run(environ: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), env=environ, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S
    )


def rows(environ: dict[str, str], query: str) -> list[Any]:
    """Read the database of the fresh machine as another program does."""
    if "DATABASE_URL" in environ:
        with closing(psycopg.connect(environ["DATABASE_URL"])) as connection:
            return connection.execute(query).fetchall()
    path = Path(environ["SIGNET_INSTANCE"]) / "portal.sqlite"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()


def leave_in_every_state(account: int) -> dict[str, int]:
    """Leave messages as a busy machine has them: sent, accepted by the log alone, in progress, claimed, waiting."""
    sent = enqueue_message(account, "sent")
    drain_queue(account)
    assert message(sent).status is Status.SENT
    found = {"sent": sent}
    found |= {key: enqueue_message(account, key) for key in ("accepted", "in-progress", "claimed")}
    drain = start_drain(account)
    first, second, third = drain.claims
    assert [one.message.id for one in (first, second, third)] == list(found.values())[1:]
    claims.mark_started(second, drain.route, now=first.started_at)
    reply = Acceptance(Reply(250, ("2.0.0 Ok: queued as 1",)), "1")
    assert acceptance_log.current_log().log_accepted(first, reply, second)
    return found | {"waiting": enqueue_message(account, "waiting")}


def test_a_fresh_machine_sends_the_mail_that_waited_once(
    app: Flask,
    account: int,
    server: BadServer,
    back_up: Callable[[], Result],
    files: Files,
    fresh_machine: dict[str, str],
) -> None:
    ids = leave_in_every_state(account)
    header = message(ids["in-progress"]).message_id
    made = back_up()
    assert made.exit_code == 0, made.output
    assert {stat.S_IMODE(path.stat().st_mode) for path in (files.database, files.keys)} == {0o600}

    words = (str(files.database), "--passphrase-file", str(files.passphrase))
    restored = run(fresh_machine, "restore", *words)
    assert restored.returncode == 0, restored.stderr
    assert "4 emails wait, of which 3 may have left already." in restored.stdout
    instance = Path(fresh_machine["SIGNET_INSTANCE"])
    for name in ("keys", "secret_key"):
        assert stat.S_IMODE((instance / name).stat().st_mode) == 0o600
    again = run(fresh_machine, "restore", *words)
    assert again.returncode == 1
    assert "a backup never replaces a database" in again.stderr

    worker = subprocess.Popen(command("worker"), env=fresh_machine, cwd=ROOT)
    try:
        wait_for(
            lambda: (
                rows(fresh_machine, "SELECT count(*) FROM outbox_message WHERE status <> 'sent'") == [(0,)]
            )
        )
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(PATIENCE_S)
    expected = {"sent", "in-progress", "claimed", "waiting"}  # the server has "accepted" by the log
    assert Counter(subjects(server)) == {f"Welcome, {key}": 1 for key in expected}
    assert header in [
        re.search(rb"^Message-ID:\s*(\S+)", raw, re.M | re.I)[1].decode() for raw in server.messages
    ]
    found = rows(
        fresh_machine,
        "SELECT m.key, a.outcome, a.ambiguous FROM delivery_attempt a JOIN outbox_message m ON m.id = a.message_id "
        "ORDER BY m.id, a.number",
    )
    assert [(key, outcome, bool(ambiguous)) for key, outcome, ambiguous in found] == [
        ("sent", "accepted", False),
        ("accepted", "accepted", False),
        ("in-progress", "interrupted", True),
        ("in-progress", "accepted", False),
        ("claimed", "accepted", False),
        ("waiting", "accepted", False),
    ]
    assert not list((instance / "accepted").iterdir()), "the log of the old machine was applied and deleted"
