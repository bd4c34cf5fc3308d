"""The queue: a message is enqueued with its transaction, once per key, and claimed by one drain at a time."""

import sqlite3
import subprocess
import sys
from email import message_from_bytes

import pytest

from portal.accounts.models import Account
from portal.clock import utcnow
from portal.db import db, read_only
from portal.enrolment import signup
from portal.jobs.notify import Debouncer, Notifier
from portal.outbox.models import OutboxMessage, Status
from portal.outbox.queue import NewMessage, enqueue_row
from portal.outbox.sending import deliver
from portal.outbox.sending.drain import drain_queue
from portal.outbox.store import claims, due
from portal.outbox.store.sql import get_store
from portal.state import get_state
from tests.databases import assert_no_open_transaction
from tests.outbox.support import (
    ROOT,
    answering,
    count_leases,
    enqueue_message,
    expire_leases,
    message,
    run_together,
    start_drain,
    statuses,
    subjects,
    wait_for,
)

NEW = NewMessage(kind="new-sign-up", key="one", recipient="bob@example.net", subject="Hi", text="Hello")


def count() -> int:
    db.session.rollback()
    return db.session.scalar(db.select(db.func.count()).select_from(OutboxMessage))


def test_a_rollback_removes_an_enqueued_message(app, account):
    enqueue_row(account, NEW, now=utcnow())
    db.session.rollback()
    assert count() == 0


def test_a_rollback_pushes_no_job(app, account):
    pushed = []
    get_state(app).part(Notifier).push = lambda *job: pushed.append(job)
    enqueue_row(account, NEW, now=utcnow())
    db.session.rollback()
    db.session.execute(db.text("SELECT 1"))
    db.session.commit()
    assert pushed == []


def test_the_job_is_pushed_at_the_commit_and_not_at_a_savepoint(app, account):
    pushed = []
    get_state(app).part(Notifier).push = lambda *job: pushed.append(job)
    enqueue_row(account, NEW, now=utcnow())
    with db.session.begin_nested():
        db.session.execute(db.text("SELECT 1"))
    assert pushed == []
    db.session.commit()
    assert pushed == [("drain", account)]


def test_a_failed_push_does_not_fail_the_commit(app, account):
    def fail(job, id_):
        raise sqlite3.OperationalError("database or disk is full")

    get_state(app).part(Notifier).push = fail
    enqueue_row(account, NEW, now=utcnow())
    db.session.commit()
    assert count() == 1


def test_a_second_message_with_the_same_key_is_not_enqueued(app, account):
    assert enqueue_row(account, NEW, now=utcnow()) is not None
    assert enqueue_row(account, NEW, now=utcnow()) is None
    db.session.commit()
    assert enqueue_row(account, NEW, now=utcnow()) is None
    assert count() == 1


def test_concurrent_threads_enqueue_one_message_with_the_same_key(app, account):
    def enqueue(_number):
        row = enqueue_row(account, NEW, now=utcnow())
        db.session.commit()
        return row is not None

    assert sorted(run_together(app, 6, enqueue)) == [False] * 5 + [True]
    assert count() == 1


def test_concurrent_processes_enqueue_one_message_with_the_same_key(app, config, account):
    code = f"""
from pathlib import Path
from portal import create_app
from portal.clock import utcnow
from portal.db import db
from portal.outbox.queue import enqueue
from tests.conftest import make_config
from tests.outbox.test_queue import NEW
with create_app(make_config(Path({str(config.instance)!r}))).app_context():
    print(enqueue({account}, NEW, now=utcnow()) is not None)
    db.session.commit()
"""
    ran = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=-1, text=True) for _ in range(2)]
    assert sorted(process.communicate()[0].strip() for process in ran) == ["False", "True"]
    assert count() == 1


def test_concurrent_drains_send_each_message_once(app, server, account):
    for number in range(12):
        enqueue_message(account, f"m{number}")
    assert not [
        one for one in run_together(app, 4, lambda _: drain_queue(account)) if isinstance(one, Exception)
    ]
    assert sorted(subjects(server)) == sorted(f"Welcome, m{number}" for number in range(12))
    assert set(statuses(account)) == {Status.SENT}


def test_a_claimed_message_is_free_for_other_drains_only_after_its_lease(app, server, account):
    enqueue_message(account, "m")
    start_drain(account)
    assert drain_queue(account) == 0
    expire_leases(account)
    assert drain_queue(account) == 1


def test_a_drain_without_due_messages_keeps_no_lease(app, server, account):
    assert drain_queue(account) == 0
    enqueue_message(account, "m")
    drain_queue(account)
    assert count_leases(account) == 0


def test_a_drain_of_many_messages_logs_in_once(app, server, account):
    for number in range(6):
        enqueue_message(account, f"m{number}")
    assert drain_queue(account) == 6
    assert server.connections == 1


@pytest.mark.tuning(connection_max_messages=2)
def test_a_connection_is_replaced_after_its_maximum_of_messages(app, server, account):
    for number in range(5):
        enqueue_message(account, f"m{number}")
    drain_queue(account)
    assert server.connections == 3
    assert len(server.messages) == 5


@pytest.mark.tuning(connection_turn_s=0.0)
@pytest.mark.parametrize(("others", "sent"), [(0, 6), (1, 4)])
def test_a_long_queue_yields_its_connection_to_waiting_accounts_and_pushes_its_job(
    app, server, account, monkeypatch, others, sent
):
    monkeypatch.setattr(get_store(), "is_portal_limit_reached", lambda: bool(others))
    for number in range(6):
        enqueue_message(account, f"m{number}")
    pushed, notifier = [], get_state(app).part(Notifier)
    notifier.push, notifier.debouncer = lambda *job: pushed.append(job), Debouncer()
    assert drain_queue(account) == sent
    wait_for(lambda: pushed or not others)
    assert statuses(account) == [Status.SENT] * sent + [Status.QUEUED] * (6 - sent)


def test_a_test_email_is_sent_before_waiting_messages(app, server, account):
    enqueue_message(account, "first")
    enqueue_message(account, "test", is_test=True)
    drain_queue(account)
    assert subjects(server) == ["Welcome, test", "Welcome, first"]


def test_the_sweep_finds_messages_whose_job_was_not_pushed(app, server, account):
    enqueue_message(account, "m")
    with read_only():
        assert due.due_queues(utcnow()) == [account]
        db.session.rollback()
    drain_queue(account)
    assert due.due_queues(utcnow()) == []


def test_no_transaction_is_open_during_an_smtp_session(app, serve, routes, account, config):
    seen = []

    def check(peer, _line):
        assert_no_open_transaction(config)
        seen.append(session.in_transaction())
        peer.send(b"250 2.1.0 Ok\r\n")

    server = serve(answering(MAIL=check, RCPT=check, DOT=check))
    routes.send_to(account, server)
    id_ = enqueue_message(account, "m")
    session = db.session()
    drain_queue(account)
    assert message(id_).status is Status.SENT, "with an open transaction the server would not have replied"
    assert seen == [False] * 3


def test_a_sign_up_and_its_email_are_committed_together(app, account):
    entered = signup.SignUp("Bob", "bob@example.net", "127.0.0.1")
    signup.sign_up(db.session.get_one(Account, account).slug, entered, now=utcnow())
    assert count() == 1


@pytest.mark.parametrize("is_settled", [True, False])
def test_a_claimed_or_settled_message_cannot_be_claimed_by_its_id(app, server, account, is_settled):
    id_ = enqueue_message(account, "m", forced_version_id=1)
    first = claims.claim_one(id_)
    assert first
    if is_settled:
        deliver.attempt(first)
    assert claims.claim_one(id_) is None


def test_a_message_with_an_unsubscribe_url_has_the_headers_of_one_click_unsubscription(app, server, account):
    url = "https://portal.brightleaf.example/unsubscribe/abc"
    enqueue_message(account, "summary", unsubscribe_url=url)
    enqueue_message(account, "welcome")
    drain_queue(account)
    summary, welcome = (message_from_bytes(raw.lstrip()) for raw in server.messages)
    assert summary["List-Unsubscribe"] == f"<{url}>"
    assert summary["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert welcome["List-Unsubscribe"] is None
