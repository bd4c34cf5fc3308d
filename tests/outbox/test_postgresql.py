"""PostgreSQL lets writers work side by side: what SQLite's single writer hides, and a database that goes away."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import pytest

from portal.bootstrap import check_keys
from portal.clock import utcnow
from portal.db import db
from portal.outbox.models import Queue, Status
from portal.outbox.queue import NewMessage, enqueue_row, get_queue, hold, release
from portal.outbox.sending.drain import Drain, drain_queue
from portal.outbox.store import due
from portal.tuning import Tuning
from tests.conftest import make_config
from tests.databases import lock_against_writers, plain_connection
from tests.outbox.support import (
    LIMITS,
    PATIENCE_S,
    answering,
    attempts,
    count_leases,
    enqueue_message,
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
BECAUSE = {"code": "auth-refused", "cause": "The password was refused."}


@pytest.fixture
def config(tmp_path):
    return make_config(tmp_path / "instance", lease=20.0, limits=LIMITS, database_wait=1.0)


def a_message(key):
    return NewMessage("new-sign-up", key, "bob@example.net", "Welcome", "Hello")


def test_two_workers_make_the_same_queue_once(app, account):
    def make(number):
        get_queue(account)
        db.session.commit()

    assert run_together(app, 6, make) == [None] * 6
    assert db.session.scalar(db.select(db.func.count()).select_from(Queue)) == 1


def test_the_same_key_is_owed_once_by_whoever_comes_first(app, account):
    def promise(number):
        row = enqueue_row(account, a_message("once"), now=utcnow())
        db.session.commit()
        return row is not None

    assert sorted(run_together(app, 6, promise)) == [False] * 5 + [True]


def test_slots_are_never_more_than_the_account_may_have(app, account):
    for number in range(40):
        enqueue_message(account, f"m{number}")

    def take(_number):
        return Drain(account).start()

    taken = run_together(app, 8, take)
    assert sum(taken) == count_leases(account) == Tuning().connections_per_account


def test_a_message_held_while_its_queue_is_let_go_is_not_left_behind(app, server, account):
    enqueue_message(account, "first")
    hold(account, BECAUSE, now=utcnow())
    db.session.commit()
    late = enqueue_row(account, a_message("late"), now=utcnow())
    assert late.status is Status.HELD
    with app.app_context():  # another process, meanwhile
        release(account)
        db.session.commit()
    db.session.commit()
    assert due.due_queues(utcnow()) == [account]
    drain_queue(account)
    assert statuses(account) == [Status.SENT, Status.SENT]


def test_a_message_owed_while_its_queue_is_being_held_waits_and_leaves_when_it_is_released(
    app, server, account
):
    enqueue_message(account, "first")
    late = enqueue_row(account, a_message("late"), now=utcnow())
    assert late.status is Status.QUEUED
    with app.app_context():
        hold(account, BECAUSE, now=utcnow())
        db.session.commit()
    db.session.commit()
    assert drain_queue(account) == 0, "nothing leaves while the queue is held"
    release(account)
    db.session.commit()
    drain_queue(account)
    assert statuses(account) == [Status.SENT, Status.SENT]


def test_a_worker_that_holds_and_an_owner_who_releases_leave_nothing_half_done(app, server, account):
    enqueue_message(account, "m")
    hold(account, BECAUSE, now=utcnow())
    db.session.commit()
    assert get_queue(account).held_at is not None  # the worker has read it ...
    with app.app_context():  # ... when the owner's new settings go live
        release(account)
        db.session.commit()
    hold(account, BECAUSE, now=utcnow())
    db.session.commit()
    assert queue(account).held_at is not None, "held in full: with its moment, not with messages alone"


def test_a_message_somebody_settles_at_this_moment_is_not_waited_for(app, server, account, config):
    first, second = enqueue_message(account, "first"), enqueue_message(account, "second")
    with closing(lock_row(config, first)):
        assert start_drain(account).current.message.id == second


def lock_row(config, id_):
    other = plain_connection(config)
    other.execute("BEGIN")
    other.execute("SELECT 1 FROM outbox_message WHERE id = %s FOR UPDATE", [id_])
    return other


def test_a_lock_that_stays_becomes_a_page_and_nothing_is_lost(owner, client, config):
    path = "/settings/email-preferences/test"
    assert owner.get("/settings/email-preferences").status_code == 200
    with closing(lock_against_writers(config)):
        assert owner.get("/deliveries").status_code == 200, "readers never wait"
        started = time.monotonic()
        answer = owner.submit(path, {}, page="/settings/email-preferences")
        assert time.monotonic() - started < 5
    assert answer.status_code == 503
    assert "The portal is busy" in answer.get_data(as_text=True)
    assert owner.submit(path, {}, page="/settings/email-preferences").status_code == 303


def test_a_page_that_is_only_looked_at_cannot_write(app):
    from portal.db import read_only

    with read_only(), pytest.raises(Exception, match="read-only"):
        db.session.execute(db.text("DELETE FROM owner"))
    db.session.rollback()


def test_the_portal_survives_a_database_that_is_killed_and_comes_back(owner, client, cluster):
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


def test_the_worker_survives_a_database_that_is_killed_and_comes_back(app, config, serve, account, cluster):
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


def test_what_a_server_accepted_while_the_database_was_away_leaves_once(app, serve, routes, account, cluster):
    away = threading.Event()

    def take_and_cut_the_power(peer, _line):
        cluster.stop("QUIT")  # at once, as after a crash
        peer.send(b"250 2.0.0 Ok: queued as 1\r\n")
        away.set()

    server = serve(answering(DOT=take_and_cut_the_power))
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


def test_a_worker_picks_up_at_once_what_is_announced(app, config, serve, account):
    server = serve()
    worker = start_worker(config, {account: server.port}, sweep=60.0)
    try:
        enqueue_message(account, "m0")
        wait_for(lambda: len(server.messages) == 1)
        for number in range(1, 5):
            started = time.monotonic()
            enqueue_message(account, f"m{number}")
            wait_for(lambda number=number: len(server.messages) == number + 1)
            assert time.monotonic() - started < 1.0, "told, not found by a sweep"
    finally:
        worker.kill()


def test_two_portals_set_up_at_once_agree_on_one_proof_of_the_key(app):
    assert run_together(app, 4, lambda _: check_keys(app)) == [None] * 4


def test_an_error_of_the_database_tells_no_values(app, owner):
    from portal.accounts.models import Owner

    double = Owner(account_id=1, name="x", mailbox="canary@example.net", mailbox_key="ada@brightleaf.example")
    double.password_hash, double.created_at = "canary", utcnow()
    db.session.add(double)
    with pytest.raises(Exception, match="uq_owner_mailbox_key") as failure:
        db.session.flush()
    db.session.rollback()
    told = f"{failure.value} {failure.value.orig} {failure.value.__cause__}"
    assert "canary" not in told
    assert "ada@" not in told


def test_a_number_beyond_all_rows_finds_nothing(owner):
    for path in ("/deliveries/99999999999", "/account/devices/99999999999"):
        assert owner.get(path).status_code in (404, 405)
