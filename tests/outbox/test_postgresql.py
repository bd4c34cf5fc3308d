"""PostgreSQL: concurrent writers, which SQLite does not have, and a database server that is restarted."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from dataclasses import replace

import pytest
from sqlalchemy.exc import OperationalError

from portal.accounts.models import Owner
from portal.bootstrap import check_keys
from portal.clock import utcnow
from portal.db import db, read_only
from portal.db.transaction import db_now
from portal.outbox.models import Queue, Status
from portal.outbox.queue import NewMessage, enqueue_row, get_queue, hold, release
from portal.outbox.sending.drain import Drain, drain_queue
from portal.outbox.store import acceptance_log, due
from portal.outbox.store.sql import get_store
from portal.tuning import Tuning
from tests.conftest import make_config
from tests.databases import lock_against_writers, plain_connection
from tests.outbox.support import (
    LEASE_S,
    LIMITS,
    PATIENCE_S,
    answering,
    attempts,
    count_leases,
    enqueue_message,
    expire_leases,
    in_context,
    join,
    message,
    queue,
    run_together,
    start_drain,
    start_worker,
    statuses,
    wait_for,
)

pytestmark = pytest.mark.only_postgresql
DIAGNOSIS = {"code": "auth-refused", "cause": "The password was refused."}


@pytest.fixture
def config(tmp_path):
    return make_config(tmp_path / "instance", lease=LEASE_S, limits=LIMITS, database_wait=1.0)


def new_message(key):
    return NewMessage("new-sign-up", key, "bob@example.net", "Welcome", "Hello")


def test_no_connection_of_the_portal_compiles_statements(app):
    setting = "SELECT setting, source FROM pg_settings WHERE name = 'jit'"
    for engine in db.engines.values():
        with engine.connect() as connection:
            assert tuple(connection.exec_driver_sql(setting).one()) == ("off", "session")


def test_concurrent_workers_create_one_queue(app, account):
    def create(number):
        get_queue(account)
        db.session.commit()

    assert run_together(app, 6, create) == [None] * 6
    assert db.session.scalar(db.select(db.func.count()).select_from(Queue)) == 1


def test_concurrent_transactions_enqueue_one_message_with_the_same_key(app, account):
    def enqueue(number):
        row = enqueue_row(account, new_message("once"), now=utcnow())
        db.session.commit()
        return row is not None

    assert sorted(run_together(app, 6, enqueue)) == [False] * 5 + [True]


def test_concurrent_drains_do_not_exceed_the_connections_of_an_account(app, account):
    for number in range(40):
        enqueue_message(account, f"m{number}")

    def start(_number):
        return Drain(account).start()

    started = run_together(app, 8, start)
    assert sum(started) == count_leases(account) == Tuning().connections_per_account


def test_a_message_that_is_held_while_its_queue_is_released_is_sent(app, server, account):
    enqueue_message(account, "first")
    hold(account, DIAGNOSIS, now=utcnow())
    db.session.commit()
    late = enqueue_row(account, new_message("late"), now=utcnow())
    assert late.status is Status.HELD
    with app.app_context():  # another process, meanwhile
        release(account)
        db.session.commit()
    db.session.commit()
    assert due.due_queues(utcnow()) == [account]
    drain_queue(account)
    assert statuses(account) == [Status.SENT, Status.SENT]


def test_a_message_that_is_enqueued_while_its_queue_is_being_held_waits_for_the_release(app, server, account):
    enqueue_message(account, "first")
    late = enqueue_row(account, new_message("late"), now=utcnow())
    assert late.status is Status.QUEUED
    with app.app_context():
        hold(account, DIAGNOSIS, now=utcnow())
        db.session.commit()
    db.session.commit()
    assert drain_queue(account) == 0, "no message is sent while the queue is held"
    release(account)
    db.session.commit()
    drain_queue(account)
    assert statuses(account) == [Status.SENT, Status.SENT]


def test_a_hold_after_a_concurrent_release_is_complete(app, server, account):
    enqueue_message(account, "m")
    hold(account, DIAGNOSIS, now=utcnow())
    db.session.commit()
    assert get_queue(account).held_at is not None  # the worker has read it ...
    with app.app_context():  # ... when the owner's new settings go live
        release(account)
        db.session.commit()
    hold(account, DIAGNOSIS, now=utcnow())
    db.session.commit()
    assert queue(account).held_at is not None, "the queue is held, not only its messages"


def test_a_drain_skips_a_message_that_another_transaction_has_locked(app, server, account, config):
    first, second = enqueue_message(account, "first"), enqueue_message(account, "second")
    with closing(lock_row(config, first)):
        assert start_drain(account).current.message.id == second


def lock_row(config, id_):
    other = plain_connection(config)
    other.execute("BEGIN")
    other.execute("SELECT 1 FROM outbox_message WHERE id = %s FOR UPDATE", [id_])
    return other


def test_a_lasting_lock_leads_to_an_error_page_and_the_request_can_be_repeated(owner, client, config):
    path = "/settings/email-preferences/test"
    assert owner.get("/settings/email-preferences").status_code == 200
    with closing(lock_against_writers(config)):
        assert owner.get("/deliveries").status_code == 200, "readers do not wait"
        answer = owner.submit(path, {}, page="/settings/email-preferences")
    assert answer.status_code == 503
    assert "The portal is busy" in answer.get_data(as_text=True)
    assert owner.submit(path, {}, page="/settings/email-preferences").status_code == 303


def test_a_read_only_transaction_cannot_write(app):
    with read_only(), pytest.raises(Exception, match="read-only"):
        db.session.execute(db.text("DELETE FROM owner"))
    db.session.rollback()


def test_the_portal_recovers_when_the_database_is_restarted(owner, client, cluster):
    assert owner.get("/deliveries").status_code == 200
    cluster.stop("QUIT")  # at once, as after a crash
    try:
        answer = owner.get("/deliveries")
        assert answer.status_code == 503
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
    finally:
        cluster.start()
    assert owner.get("/deliveries").status_code == 200


def test_the_worker_recovers_when_the_database_is_restarted(app, config, serve, account, cluster):
    server = serve()
    worker = start_worker(config, {account: server.port}, threads=2)
    try:
        enqueue_message(account, "before")
        wait_for(lambda: len(server.messages) == 1 and count_leases(account) == 0)
        cluster.stop("QUIT")  # at once, as after a crash
        time.sleep(0.5)
        cluster.start()
        enqueue_message(account, "after")
        wait_for(lambda: len(server.messages) == 2)
        worker.terminate()
        assert worker.wait() == 0
    finally:
        worker.kill()
    assert statuses(account) == [Status.SENT, Status.SENT]


def test_a_message_that_was_accepted_while_the_database_was_away_is_sent_once(
    app, serve, routes, account, cluster
):
    away = threading.Event()

    def stop_database_and_accept(peer, _line):
        cluster.stop("QUIT")  # at once, as after a crash
        peer.send(b"250 2.0.0 Ok: queued as 1\r\n")
        away.set()

    server = serve(answering(DOT=stop_database_and_accept))
    routes.send_to(account, server)
    id_ = enqueue_message(account, "m")
    worker = threading.Thread(target=in_context(app, drain_queue, account))
    worker.start()
    assert away.wait(PATIENCE_S)
    time.sleep(0.5)
    cluster.start()
    join(worker)
    assert message(id_).status is Status.SENT
    assert len(server.messages) == len(attempts(id_)) == 1


def test_a_pushed_job_starts_a_drain_without_a_sweep(app, config, serve, account):
    config = replace(config, tuning=Tuning(idle_s=0.0))  # no idle drain polls for messages
    server = serve()
    worker = start_worker(config, {account: server.port}, sweep=3600.0)
    try:
        for number in range(5):
            enqueue_message(account, f"m{number}")
            wait_for(lambda count=number + 1: len(server.messages) == count and not count_leases(account))
    finally:
        worker.kill()


def test_portals_that_start_at_once_agree_on_one_key_check_value(app):
    assert run_together(app, 4, lambda _: check_keys(app)) == [None] * 4


def test_a_database_error_contains_no_values(app, owner):
    duplicate = Owner(
        account_id=1, name="x", mailbox="canary@example.net", mailbox_key="ada@brightleaf.example"
    )
    duplicate.password_hash, duplicate.created_at = "canary", utcnow()
    db.session.add(duplicate)
    with pytest.raises(Exception, match="uq_owner_mailbox_key") as failure:
        db.session.flush()
    db.session.rollback()
    text = f"{failure.value} {failure.value.orig} {failure.value.__cause__}"
    assert "canary" not in text
    assert "ada@" not in text


def test_an_id_beyond_the_range_of_a_column_is_not_found(owner):
    for path in ("/deliveries/99999999999", "/account/devices/99999999999"):
        assert owner.get(path).status_code in (404, 405)


def test_a_claim_waits_for_no_message_that_another_worker_is_recording(app, server, account, config):
    """It holds the lock of the queue, for which that worker may wait: a deadlock."""
    ids = [enqueue_message(account, f"m{number}") for number in range(3)]
    for claim in start_drain(account).claims:
        acceptance_log.current_log().log_start(claim)
    expire_leases(account)
    store = get_store()
    with closing(plain_connection(config)) as other:
        other.execute("BEGIN")
        other.execute("SELECT 1 FROM outbox_message WHERE id = %s FOR UPDATE", [ids[1]])
        found = store.claim_batch(store.lock_queue(account), "another", None, limit=10, now=db_now())
        db.session.rollback()
    assert [claim.message.id for claim in found] == [ids[0], ids[2]]


def test_a_new_lease_waits_for_none_that_its_worker_renews(app, server, account, config):
    """The worker may wait for the queue, which is locked here: a deadlock."""
    enqueue_message(account, "m")
    drain = start_drain(account)
    expire_leases(account)
    store, now = get_store(), db_now()
    with closing(plain_connection(config)) as other:
        other.execute("BEGIN")
        other.execute("SELECT 1 FROM connection_lease WHERE token = %s FOR UPDATE", [drain.token])
        assert store.acquire_lease(store.lock_queue(account), "another", limit=4, now=now)
        db.session.commit()
        # Closing a connection releases its locks only when the server has noticed it.
        other.execute("ROLLBACK")
    assert count_leases(account) == 2
    assert store.acquire_lease(store.lock_queue(account), "a third", limit=4, now=now)
    db.session.commit()
    assert count_leases(account) == 2, "the expired one is gone"


def test_a_renewal_that_waits_for_a_claim_holds_no_lease_that_the_other_worker_deletes(
    app, server, account, config
):
    id_ = enqueue_message(account, "m")
    drain = start_drain(account)
    failed = []

    def renew():
        try:
            get_store().renew_lease(account, drain.token, now=db_now())
        except OperationalError as error:
            failed.append(str(error))
        db.session.rollback()

    with closing(plain_connection(config)) as other, closing(plain_connection(config)) as watching:
        other.execute("BEGIN")
        other.execute("SELECT 1 FROM outbox_message WHERE id = %s FOR UPDATE", [id_])
        renewal = threading.Thread(target=in_context(app, renew))
        renewal.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        wait_for(lambda: watching.execute(waiting).fetchone()[0] or failed)
        watching.execute("SELECT 1 FROM connection_lease WHERE token = %s FOR UPDATE NOWAIT", [drain.token])
        join(renewal)
    assert len(failed) == 1, "it waited for the message"
