"""Settlement and the next start in one statement, on PostgreSQL."""

from datetime import timedelta

import pytest

from portal.clock import utcnow
from portal.config import Record
from portal.db import db
from portal.db.urls import AUTOCOMMIT_BIND
from portal.outbox import callbacks
from portal.outbox.models import DeliveryAttempt, OutboxMessage, Outcome, Queue, Status
from portal.outbox.sending.drain import drain_queue
from portal.outbox.store import claims as claims_of
from portal.outbox.store.sql import get_store
from portal.smtp.protocol.envelope import Acceptance
from portal.smtp.protocol.reply import Reply
from tests.conftest import make_config
from tests.outbox.support import (
    LEASE_S,
    LIMITS,
    answering,
    attempts,
    count_statements,
    enqueue_message,
    message,
    queue,
    start_drain,
    statuses,
)

pytestmark = [
    pytest.mark.only_postgresql,
    pytest.mark.tuning(connections_per_account=1, batch_first=50, settle_lag_s=600.0),
]
COUNT = 12
ACCEPTANCE = Acceptance(Reply(250, ("2.0.0", "Ok")), "4XyZ1")


def enqueue_many(account):
    return [enqueue_message(account, f"m{number}") for number in range(COUNT)]


@pytest.fixture
def record(request):
    return getattr(request, "param", Record.EACH)


@pytest.fixture
def config(tmp_path, tuning, record):
    return make_config(tmp_path / "instance", lease=LEASE_S, limits=LIMITS, tuning=tuning, record=record)


def end_connections():
    """End the connections whose statements commit themselves, as a restart of the server does."""
    found = db.engines[AUTOCOMMIT_BIND].raw_connection()
    pid = found.driver_connection.info.backend_pid
    found.close()
    db.session.execute(db.select(db.func.pg_terminate_backend(pid)))
    db.session.rollback()


def columns(id_):
    """Return an attempt's columns, without ids and times."""
    (row,) = attempts(id_)
    hidden = {"id", "message_id", "started_at", "ended_at", "transcript"}
    assert row.started_at <= row.ended_at
    return {one.key: getattr(row, one.key) for one in DeliveryAttempt.__table__.c if one.key not in hidden}


def test_a_message_within_a_batch_needs_no_transaction_and_is_recorded_alike(app, server, account):
    ids = enqueue_many(account)
    drain_queue(account)  # the first batch records that the server is healthy
    more = [enqueue_message(account, f"further{number}") for number in range(COUNT)]
    with count_statements() as found:
        drain_queue(account)
    assert statuses(account) == [Status.SENT] * 2 * COUNT
    settlements = [one for one in found if "UPDATE outbox_message" in one and "settled_at" in one]
    assert len(settlements) <= 2, "only where a batch is refilled, and at its end"
    made = [columns(id_) for id_ in [*ids, *more]]
    expected = {**made[-1], "queue_id": None, "reply_text": None}  # the last one was settled by a transaction
    assert all({**one, "queue_id": None, "reply_text": None} == expected for one in made)
    assert {message(id_).attempts for id_ in more} == {1}
    assert all(message(id_).settled_at and message(id_).lease_token is None for id_ in more)


@pytest.fixture
def claims(app, server, account):
    """A drain with two claims, the first one started."""
    for number in range(2):
        enqueue_message(account, f"m{number}")
    return start_drain(account)


def settle_and_start(drain, *, generation=None):
    claim, following = drain.claims
    current = queue(claim.message.account_id).generation if generation is None else generation
    return get_store().settle_and_start(
        [(claim, ACCEPTANCE, "<< 250")], following, drain.route, generation=current
    )


def is_unchanged(drain):
    claim, following = drain.claims
    started = [one.outcome for one in attempts(claim.message.id)]
    return (started, attempts(following.message.id), message(claim.message.id).status) == (
        [Outcome.STARTED],
        [],
        Status.SENDING,
    )


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (OutboxMessage, {"lease_token": "another worker"}),
        (Queue, {"generation": Queue.generation + 1, "healthy": True}),
        (Queue, {"healthy": False}),
        (Queue, {"healthy": True, "ramp_limit": 0}),
        (Queue, {"healthy": True, "consecutive_failures": 2}),
        (Queue, {"healthy": True, "paused_until": db.func.now()}),
        (Queue, {"healthy": True, "held_at": db.func.now()}),
    ],
    ids=["lost", "held-since", "unproven", "ramping", "failing", "paused", "held"],
)
def test_nothing_is_changed_where_a_transaction_must_decide(claims, table, values):
    generation = queue(claims.account_id).generation
    db.session.execute(db.update(table).values(values))
    db.session.commit()
    assert settle_and_start(claims, generation=generation) is None
    assert is_unchanged(claims)


def test_a_lost_connection_leaves_the_message_to_a_transaction(claims, account):
    db.session.execute(db.update(Queue).values(healthy=True))
    db.session.commit()
    end_connections()
    assert settle_and_start(claims) is None
    assert is_unchanged(claims)
    assert settle_and_start(claims) is not None, "the next statement has a new connection"
    first, second = claims.claims
    assert message(first.message.id).status is Status.SENT
    assert [one.outcome for one in attempts(first.message.id)] == [Outcome.ACCEPTED]
    assert [one.id for one in attempts(second.message.id)] == [second.started_attempt_id]


def test_a_listener_whom_an_acceptance_concerns_is_called_in_its_transaction(app, serve, routes, account):
    called = []

    def listen(_account_id, claim, _outcome, _diagnosis, _server):
        assert db.session().in_transaction()
        called.append(claim.message.id)

    ids = enqueue_many(account)
    callbacks.add_listener(app, listen, on_acceptance=lambda _account_id, claim: claim.message.id == ids[5])
    routes.send_to(account, serve(answering()))
    drain_queue(account)
    assert ids[5] in called
    assert len(called) < COUNT
    assert statuses(account) == [Status.SENT] * COUNT


@pytest.fixture
def by_log(app, server, account):
    """A drain with SIGNET_RECORD=log that has submitted three messages of five, of which the table has one start."""
    for number in range(5):
        enqueue_message(account, f"m{number}")
    drain = start_drain(account)
    db.session.execute(db.update(Queue).values(healthy=True))
    db.session.commit()
    for claim in drain.claims[1:3]:
        claims_of.mark_started(claim, drain.route, now=utcnow())
    return drain


def settle_three(drain):
    accepted = [
        (one, Acceptance(Reply(250, ("2.0.0", f"Ok {one.message.id}")), f"4XyZ{one.message.id}"), "<< 250\0")
        for one in drain.claims[:3]
    ]
    generation = queue(drain.account_id).generation
    return get_store().settle_and_start(accepted, drain.claims[3], drain.route, generation=generation)


def test_several_messages_are_recorded_as_by_a_transaction(by_log, account):
    first, *_, following, _last = by_log.claims
    now = settle_three(by_log)
    assert now == following.started_at
    assert statuses(account) == [Status.SENT] * 3 + [Status.SENDING] * 2
    ids = [one.message.id for one in by_log.claims[:3]]
    assert [columns(id_)["queue_id"] for id_ in ids] == [f"4XyZ{id_}" for id_ in ids]
    assert [attempts(id_)[0].transcript for id_ in ids] == ["<< 250\ufffd"] * 3
    assert [attempts(id_)[0].id for id_ in ids[:1]] == [first.started_attempt_id]
    own = {"queue_id": None, "reply_text": None}
    assert len({str({**columns(id_), **own}) for id_ in ids}) == 1
    assert {message(id_).attempts for id_ in ids} == {1}
    assert [one.id for one in attempts(following.message.id)] == [following.started_attempt_id]


def test_a_lost_claim_among_several_starts_nothing(by_log):
    lost = by_log.claims[1].message.id
    db.session.execute(db.update(OutboxMessage).where(OutboxMessage.id == lost).values(lease_token="another"))
    db.session.commit()
    assert settle_three(by_log) is None
    assert message(lost).status is Status.SENDING
    assert attempts(lost) == attempts(by_log.claims[3].message.id) == []


def test_a_start_that_only_the_log_contains_is_recorded_with_its_time(by_log):
    following = by_log.claims[3]
    started_at = utcnow() - timedelta(seconds=2)
    claims_of.mark_started(following, by_log.route, now=started_at)
    assert settle_three(by_log) is not None
    assert following.started_at == attempts(following.message.id)[0].started_at == started_at


def test_the_start_of_a_message_that_another_worker_has_is_not_recorded(by_log):
    following = by_log.claims[3].message.id
    db.session.execute(db.update(OutboxMessage).where(OutboxMessage.id == following).values(lease_token="x"))
    db.session.commit()
    assert settle_three(by_log) is None
    assert attempts(following) == []


@pytest.mark.parametrize("record", [Record.LOG], indirect=True)
@pytest.mark.tuning(connections_per_account=1, batch_first=50, settle_lag_s=600.0, settle_early_fraction=0.0)
def test_what_is_settled_while_the_server_reads_needs_no_transaction(app, server, account, record):
    enqueue_message(account, "first")
    drain_queue(account)  # which records that the server is healthy
    ids = enqueue_many(account)
    with count_statements() as found:
        drain_queue(account)
    assert statuses(account) == [Status.SENT] * (COUNT + 1)
    settlements = [one for one in found if "UPDATE outbox_message" in one and "settled_at" in one]
    assert len(settlements) <= 2, "only where a batch is refilled, and at its end"
    assert [one.outcome for id_ in ids for one in attempts(id_)] == [Outcome.ACCEPTED] * COUNT


@pytest.mark.parametrize("record", list(Record), indirect=True)
@pytest.mark.tuning(connections_per_account=1, batch_first=50, settle_lag_s=0.0)
def test_a_batch_of_many_messages_needs_two_transactions(app, server, account, record):
    enqueue_message(account, "first")
    drain_queue(account)  # which records that the server is healthy
    for number in range(COUNT):
        enqueue_message(account, f"m{number}")
    with count_statements() as found:
        drain_queue(account)
    assert statuses(account) == [Status.SENT] * (COUNT + 1)
    assert len([one for one in found if "clock_timestamp" in one]) <= 4
    assert len(found) < 60, "most of them of the claim and of the end of the batch"
    claimed = [one for one in found if "SET status = 'sending'" in one]
    assert len(claimed) == 1, "one statement claims all"
