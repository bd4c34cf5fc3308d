"""Promises: what is owed from which moment, once, and to whom it may be given."""

import sqlite3
import subprocess
import sys
import threading
import time
from email import message_from_bytes

import pytest

from portal.clock import utcnow
from portal.db import db, read_only
from portal.enrolment import signup
from portal.jobs.notify import Notifier
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
    count_leases,
    enqueue_message,
    expire_leases,
    message,
    start_drain,
    statuses,
    subjects,
    wait_for,
)

NEW = NewMessage(kind="new-sign-up", key="one", recipient="bob@example.net", subject="Hi", text="Hello")


def count() -> int:
    db.session.rollback()
    return db.session.scalar(db.select(db.func.count()).select_from(OutboxMessage))


def test_what_is_rolled_back_was_never_owed(app, account):
    enqueue_row(account, NEW, now=utcnow())
    db.session.rollback()
    assert count() == 0


def test_a_rolled_back_promise_wakes_nobody(app, account):
    woken = []
    get_state(app).part(Notifier).push = lambda *wish: woken.append(wish)
    enqueue_row(account, NEW, now=utcnow())
    db.session.rollback()
    db.session.execute(db.text("SELECT 1"))
    db.session.commit()
    assert woken == []


def test_the_worker_is_woken_by_the_commit_and_not_by_a_savepoint(app, account):
    woken = []
    get_state(app).part(Notifier).push = lambda *wish: woken.append(wish)
    enqueue_row(account, NEW, now=utcnow())
    with db.session.begin_nested():
        db.session.execute(db.text("SELECT 1"))
    assert woken == []
    db.session.commit()
    assert woken == [("drain", account)]


def test_a_failing_announcement_does_not_fail_the_promise(app, account):
    def broken(job, id_):
        raise sqlite3.OperationalError("database or disk is full")

    get_state(app).part(Notifier).push = broken
    enqueue_row(account, NEW, now=utcnow())
    db.session.commit()
    assert count() == 1


def test_the_same_key_is_owed_once(app, account):
    assert enqueue_row(account, NEW, now=utcnow()) is not None
    assert enqueue_row(account, NEW, now=utcnow()) is None
    db.session.commit()
    assert enqueue_row(account, NEW, now=utcnow()) is None
    assert count() == 1


def test_the_same_key_is_owed_once_when_many_threads_promise_it(app, account):
    outcomes, start = [], threading.Barrier(6)

    def promise():
        with app.app_context():
            start.wait()
            outcomes.append(enqueue_row(account, NEW, now=utcnow()) is not None)
            db.session.commit()

    run_all([promise] * 6)
    assert sorted(outcomes) == [False] * 5 + [True]
    assert count() == 1


def test_the_same_key_is_owed_once_when_two_processes_promise_it(app, config, account):
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


def test_a_message_is_claimed_by_one_of_many_drains(app, server, account):
    for number in range(12):
        enqueue_message(account, f"m{number}")

    def drain():
        with app.app_context():
            drain_queue(account)

    run_all([drain] * 4)
    assert sorted(subjects(server)) == sorted(f"Welcome, m{number}" for number in range(12))
    assert set(statuses(account)) == {Status.SENT}


def test_what_one_drain_has_claimed_the_next_finds_taken(app, server, account):
    enqueue_message(account, "m")
    start_drain(account)
    assert drain_queue(account) == 0
    expire_leases(account)
    assert drain_queue(account) == 1, "what a dead worker held is free again"


def test_a_queue_with_nothing_due_keeps_no_slot(app, server, account):
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
def test_a_connection_is_given_up_before_a_server_counts_too_many(app, server, account):
    for number in range(5):
        enqueue_message(account, f"m{number}")
    drain_queue(account)
    assert server.connections == 3
    assert len(server.messages) == 5


@pytest.mark.tuning(connection_turn_s=0.0)
@pytest.mark.parametrize(("others", "sent"), [(0, 6), (1, 4)])
def test_a_long_queue_leaves_its_connection_to_others_that_wait_for_one_and_asks_for_another_turn(
    app, server, account, monkeypatch, others, sent
):
    monkeypatch.setattr(get_store(), "is_portal_limit_reached", lambda: bool(others))
    woken = []
    get_state(app).part(Notifier).push = lambda *wish: woken.append(wish)
    for number in range(6):
        enqueue_message(account, f"m{number}")
    time.sleep(0.15)  # for the wishes that announce them
    woken.clear()
    assert drain_queue(account) == sent
    wait_for(lambda: woken or not others)
    assert statuses(account) == [Status.SENT] * sent + [Status.QUEUED] * (6 - sent)


def test_a_test_email_overtakes_what_waits(app, server, account):
    enqueue_message(account, "first")
    enqueue_message(account, "test", is_test=True)
    drain_queue(account)
    assert subjects(server) == ["Welcome, test", "Welcome, first"]


def test_the_sweep_finds_what_nobody_announced(app, server, account):
    enqueue_message(account, "m")
    with read_only():
        assert due.due_queues(utcnow()) == [account]
        db.session.rollback()
    drain_queue(account)
    assert due.due_queues(utcnow()) == []


def test_no_transaction_is_open_while_smtp_is_spoken(app, serve, routes, account, config):
    seen = []

    def look(peer, _line):
        assert_no_open_transaction(config)
        seen.append(session.in_transaction())
        peer.send(b"250 2.1.0 Ok\r\n")

    from tests.outbox.support import answering

    server = serve(answering(MAIL=look, RCPT=look, DOT=look))
    routes.send_to(account, server)
    id_ = enqueue_message(account, "m")
    session = db.session()
    drain_queue(account)
    assert message(id_).status is Status.SENT, "a locked database would have failed the conversation"
    assert seen == [False] * 3


def test_a_sign_up_and_its_email_are_committed_together(app, account):
    from portal.accounts.models import Account

    entered = signup.SignUp("Bob", "bob@example.net", "127.0.0.1")
    signup.sign_up(db.session.get_one(Account, account).slug, entered, now=utcnow())
    assert count() == 1


@pytest.mark.parametrize("how", ["settled", "taken"])
def test_one_message_alone_is_claimed_only_while_it_is_free(app, server, account, how):
    id_ = enqueue_message(account, "m", forced_version_id=1)
    first = claims.claim_one(id_)
    assert first
    if how == "settled":
        deliver.attempt(first)
    assert claims.claim_one(id_) is None


def run_all(jobs):
    failures = []

    def guarded(job):
        try:
            job()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not failures, failures
    wait_for(lambda: not any(thread.is_alive() for thread in threads))


def test_a_message_that_can_be_unsubscribed_from_says_how_with_one_click(app, server, account):
    url = "https://portal.brightleaf.example/unsubscribe/abc"
    enqueue_message(account, "summary", unsubscribe_url=url)
    enqueue_message(account, "welcome")
    drain_queue(account)
    summary, welcome = (message_from_bytes(raw.lstrip()) for raw in server.messages)
    assert summary["List-Unsubscribe"] == f"<{url}>"
    assert summary["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert welcome["List-Unsubscribe"] is None
