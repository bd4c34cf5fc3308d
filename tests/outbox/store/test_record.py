"""SIGNET_RECORD on PostgreSQL: each acceptance is in the table before the next message, or the log leads the table."""

from __future__ import annotations

import shutil
import threading

import pytest

from portal.config import ConfigError, Record
from portal.db import db
from portal.outbox.models import OutboxMessage, Outcome, Status
from portal.outbox.sending.drain import drain_queue
from tests.conftest import make_config
from tests.databases import lock_against_writers
from tests.outbox.support import (
    LEASE_S,
    LIMITS,
    PATIENCE_S,
    answering,
    attempts,
    enqueue_message,
    expire_leases,
    honest,
    message,
    message_ids,
    start_worker,
    statuses,
    wait_for,
)

pytestmark = [
    pytest.mark.only_postgresql,
    pytest.mark.tuning(settle_lag_s=600.0, connections_per_account=1, batch_first=20),
]
COUNT = 8


@pytest.fixture
def record(request):
    return request.param


def by_both(*, thorough):
    """Parametrise a test over both values; what is in ``thorough`` starts a worker process and repeats another test."""
    marked = [pytest.param(one, marks=[pytest.mark.thorough] * (one in thorough)) for one in Record]
    return pytest.mark.parametrize("record", marked, indirect=True)


@pytest.fixture
def config(tmp_path, tuning, record):
    return make_config(tmp_path / "instance", lease=LEASE_S, limits=LIMITS, tuning=tuning, record=record)


def sent_in_table(app) -> int:
    """Return how many messages are recorded as sent, as another connection sees it."""
    with app.app_context(), db.engine.connect() as other:
        query = db.select(db.func.count()).where(OutboxMessage.status == Status.SENT)
        return other.execute(query).scalar_one()


@by_both(thorough=())
def test_the_table_follows_at_once_or_the_log_leads_it(app, serve, routes, account, record):
    recorded = []

    def accept(peer, _line):
        recorded.append(sent_in_table(app))
        peer.send(b"250 2.0.0 Ok\r\n")

    routes.send_to(account, serve(answering(DOT=accept)))
    for number in range(COUNT):
        enqueue_message(account, f"m{number}")
    drain_queue(account)
    assert statuses(account) == [Status.SENT] * COUNT
    assert [len(attempts(number)) for number in range(1, COUNT + 1)] == [1] * COUNT
    if record is Record.EACH:
        assert recorded == list(range(COUNT))
    else:
        assert recorded != list(range(COUNT)), "several acceptances are recorded in one transaction"


@pytest.fixture
def lose_worker(app, serve, routes, account, tuning, tmp_path, record):
    """Run a worker with an instance folder, kill it as its fourth message arrives, and expire its leases.

    The function returns the server, which accepts everything from then on, and how many were in the table.
    """

    def lose(folder):
        locks, arrived = [], threading.Event()

        def accept(peer, _line):
            if len(peer.server.messages) == 2 and record is Record.LOG:
                locks.append(lock_against_writers(lost))  # what follows is in the log only
            if len(peer.server.messages) == 4 and not arrived.is_set():
                arrived.set()
                peer.read_until_closed()
            peer.send(b"250 2.0.0 Ok\r\n")

        server = serve(answering(DOT=accept))
        for number in range(COUNT):
            enqueue_message(account, f"m{number}")
        # While the table is locked nothing may need it: no renewal of the lease, and a flush gives up soon.
        lost = make_config(
            folder, lease=600.0, limits=LIMITS, tuning=tuning, record=record, database_wait=1.0
        )
        worker = start_worker(lost, {account: server.port})
        assert arrived.wait(PATIENCE_S)
        worker.kill()
        for lock in locks:
            lock.close()
        recorded = sent_in_table(app)
        server.script = honest()
        routes.send_to(account, server)
        expire_leases(account)
        return server, recorded

    return lose


def drain_until_sent(account):
    def is_sent():
        expire_leases(account)
        drain_queue(account)
        return statuses(account) == [Status.SENT] * COUNT

    wait_for(is_sent)


@by_both(thorough=(Record.EACH,))
def test_a_machine_that_is_lost_repeats_what_was_not_recorded_and_marks_it(
    account, lose_worker, tmp_path, record
):
    server, recorded = lose_worker(tmp_path / "lost")
    shutil.rmtree(tmp_path / "lost")
    drain_until_sent(account)
    ids = message_ids(server)
    assert len(set(ids)) == COUNT, "a repeated message has the Message-ID of the first copy"
    repeated = {one for one in set(ids) if ids.count(one) > 1}
    assert recorded == 3 if record is Record.EACH else recorded < 2
    assert len(repeated) == 4 - recorded
    for number in range(1, COUNT + 1):
        made = attempts(number)
        if message(number).message_id in repeated:
            assert [(one.outcome, one.ambiguous) for one in made] == [
                (Outcome.INTERRUPTED, True),
                (Outcome.ACCEPTED, False),
            ]
        assert made[-1].outcome is Outcome.ACCEPTED


@by_both(thorough=(Record.EACH, Record.LOG))
def test_a_worker_that_is_killed_repeats_at_most_the_message_in_progress(account, lose_worker, config):
    server, _ = lose_worker(config.instance)
    drain_until_sent(account)
    assert len(server.messages) <= COUNT + 1
    assert len(set(message_ids(server))) == COUNT
    assert sum(len(attempts(number)) for number in range(1, COUNT + 1)) <= COUNT + 1


def test_another_value_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="SIGNET_RECORD is 'never'; write each or log"):
        make_config(tmp_path / "other", env={"SIGNET_RECORD": "never"})
