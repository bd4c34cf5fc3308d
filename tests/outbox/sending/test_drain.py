"""A drain settles in batches, behind the acceptance log, and a crash still loses no message and repeats one at most."""

import threading
from datetime import timedelta

import pytest

from portal.clock import utcnow
from portal.db import db
from portal.outbox.models import DeliveryAttempt, OutboxMessage, Outcome, Status
from portal.outbox.sending import deliver
from portal.outbox.sending.drain import Drain, drain_queue
from portal.outbox.store import acceptance_log, claims, settle
from portal.outbox.store.sql import get_store
from portal.smtp.protocol.envelope import Acceptance
from portal.smtp.protocol.reply import Reply
from portal.state import get_state
from portal.tuning import Tuning
from tests.conftest import make_config
from tests.outbox.support import (
    LIMITS,
    PATIENCE_S,
    answering,
    attempts,
    count_leases,
    enqueue_message,
    expire_leases,
    honest,
    in_context,
    join,
    message,
    message_ids,
    run_in_thread,
    start_drain,
    start_worker,
    statuses,
    subjects,
    wait_for,
    watch_commits,
)

OK = b"250 2.0.0 Ok: queued as 1\r\n"
ACCEPTED, INTERRUPTED = Outcome.ACCEPTED, Outcome.INTERRUPTED


# The table may lag far behind the log, so that no settlement happens in the middle of a test.
lagging = pytest.mark.tuning(settle_lag_s=600.0)


@pytest.fixture
def log_suffices(database):
    """Skip the test on PostgreSQL: where machines share a database, the local log is not a sufficient record."""
    if database == "postgresql":
        pytest.skip("each message is recorded in the table before the next one starts")


def log_acceptance(claim, queue_id="Q1"):
    assert acceptance_log.current_log().log_accepted(claim, Acceptance(Reply(250, ("Ok",)), queue_id))


def start_by_log(drain, number):
    """Start a message of a drain's batch with the acceptance log as its only record; return its claim."""
    claim = drain.claims[number]
    claims.mark_started(claim, drain.route, now=utcnow())
    assert acceptance_log.current_log().log_start(claim)
    return claim


@pytest.mark.usefixtures("log_suffices")
@lagging
def test_several_messages_are_recorded_in_one_transaction(app, server, account):
    for number in range(4):
        enqueue_message(account, f"m{number}")
    commits = []
    db.event.listen(db.engine, "commit", lambda _: commits.append(len(server.messages)))
    assert drain_queue(account) == 4
    assert [at for at in commits if 0 < at < 3] == [], "three messages were submitted between two commits"
    assert statuses(account) == [Status.SENT] * 4
    for id_ in range(1, 5):
        (one,) = attempts(id_)
        assert (one.outcome, one.number, one.version_number, one.stage) == (ACCEPTED, 1, None, "data")
        assert one.server.startswith("localhost:") and one.sender.endswith("<info@brightleaf.example>")
        assert one.started_at <= one.ended_at and "MAIL FROM" in one.transcript


@pytest.mark.usefixtures("log_suffices")
@pytest.mark.tuning(settle_lag_s=600.0, settle_early_fraction=0.0)
def test_results_are_settled_while_the_server_reads_the_next_message(app, server, account):
    for number in range(4):
        enqueue_message(account, f"m{number}")
    commits = watch_commits(server)
    drain = Drain(account)
    drain._connection._on_wait = None  # which settles as well, where the server takes longer
    drain.run()
    assert [at for at in commits if 0 < at < 3], "not only before the first message and from the third on"
    assert statuses(account) == [Status.SENT] * 4
    assert [one.outcome for id_ in range(1, 5) for one in attempts(id_)] == [ACCEPTED] * 4


@lagging
def test_where_machines_share_a_database_each_message_is_recorded_before_the_next_one(
    app, server, account, database
):
    if database == "sqlite":
        pytest.skip("the acceptance log is a sufficient record there")
    for number in range(3):
        enqueue_message(account, f"m{number}")
    commits = watch_commits(server)
    drain_queue(account)
    assert {1, 2, 3} <= set(commits)


def test_a_message_with_a_lost_claim_is_left_out_of_a_batch_settlement(app, server, account):
    """Another worker has claimed the third message; the start of the first is recorded in the table, too."""
    for number in range(4):
        enqueue_message(account, f"m{number}")
    drain = start_drain(account)
    batch = drain.claims
    db.session.execute(
        db.update(OutboxMessage).where(OutboxMessage.id == 3).values(lease_token="another worker")
    )
    acceptance = Acceptance(Reply(250, ("Ok",)), "Q")
    for claim in batch[1:]:
        claims.mark_started(claim, drain.route, now=utcnow())
    accepted = [(claim, acceptance, f"of {claim.message.id}") for claim in batch]
    assert settle.settle_accepted(accepted, now=utcnow()) == [True, True, False, True]
    db.session.commit()
    assert statuses(account) == [Status.SENT, Status.SENT, Status.SENDING, Status.SENT]
    for id_ in (1, 2, 4):
        (one,) = attempts(id_)
        assert (one.outcome, one.number, one.transcript) == (ACCEPTED, 1, f"of {id_}")
        assert one.id == batch[id_ - 1].attempt_id
        assert (message(id_).attempts, message(id_).lease_token) == (1, None)
    assert attempts(3) == []


@pytest.mark.usefixtures("log_suffices")
@lagging
def test_results_are_settled_while_a_server_is_slow_to_reply(app, serve, routes, account):
    may_reply = threading.Event()

    def slow_at_the_third(peer, _line):
        if len(server.messages) == 3:
            may_reply.wait(PATIENCE_S)
        peer.send(OK)

    server = serve(answering(DOT=slow_at_the_third))
    routes.send_to(account, server)
    for number in range(4):
        enqueue_message(account, f"m{number}")
    sender = threading.Thread(target=in_context(app, drain_queue, account))
    sender.start()
    try:
        wait_for(lambda: statuses(account)[:2] == [Status.SENT] * 2)
        wait_for(lambda: attempts(3))
        assert [one.outcome for one in attempts(3)] == [Outcome.STARTED], (
            "the delivery log shows it in progress"
        )
    finally:
        may_reply.set()
        join(sender)
    assert statuses(account) == [Status.SENT] * 4
    assert [len(attempts(id_)) for id_ in range(1, 5)] == [1] * 4


@pytest.mark.usefixtures("log_suffices")
@pytest.mark.tuning(lease_renew_fraction=0.0)
def test_messages_that_a_frozen_worker_logged_as_accepted_are_not_sent_again(app, server, account):
    for number in range(4):
        enqueue_message(account, f"m{number}")
    frozen = start_drain(account)
    log_acceptance(frozen.current, "Q1")
    log_acceptance(start_by_log(frozen, 1), "Q2")
    start_by_log(frozen, 2)
    expire_leases(account)
    run_in_thread(app, drain_queue, account)
    assert subjects(server) == ["Welcome, m2", "Welcome, m3"], "the others are settled by the log"
    assert [[(one.outcome, one.queue_id) for one in attempts(id_)] for id_ in range(1, 5)] == [
        [(ACCEPTED, "Q1")],
        [(ACCEPTED, "Q2")],
        [(INTERRUPTED, ""), (ACCEPTED, "4XyZ1a2b")],
        [(ACCEPTED, "4XyZ1a2b")],
    ]
    assert [one.ambiguous for one in attempts(3)] == [True, False]
    frozen.run_claimed()
    assert len(server.messages) == 2, "the frozen worker sends nothing when it resumes"


@pytest.mark.usefixtures("log_suffices")
@lagging
def test_a_drain_that_fails_releases_only_the_claims_it_had_not_started(app, server, account, monkeypatch):
    for number in range(4):
        enqueue_message(account, f"m{number}")
    submit = deliver.submit

    def fails_at_the_third(claim, *more, **named):
        if claim.message.id == 3:
            raise MemoryError
        return submit(claim, *more, **named)

    monkeypatch.setattr(deliver, "submit", fails_at_the_third)
    with pytest.raises(MemoryError):
        drain_queue(account)
    assert statuses(account) == [Status.SENT, Status.SENT, Status.SENDING, Status.QUEUED]
    assert count_leases(account) == 0
    monkeypatch.undo()
    expire_leases(account)
    drain_queue(account)
    assert len(server.messages) == 4
    assert [one.outcome for one in attempts(3)] == [INTERRUPTED, ACCEPTED]


@pytest.mark.usefixtures("log_suffices")
def test_a_drain_that_lost_its_claims_ends_and_records_nothing(app, serve, routes, account):
    def lose_claims(peer, _line):
        if len(server.messages) == 2:
            run_in_thread(app, _take_over, account)
            peer.pause(2 * Tuning().settle_lag_s)  # then the drain must settle before the next message
        peer.send(OK)

    server = serve(answering(DOT=lose_claims))
    routes.send_to(account, server)
    for number in range(4):
        enqueue_message(account, f"m{number}")
    drain_queue(account)
    assert len(server.messages) == 2, "it claims and sends nothing more"
    assert statuses(account)[0] is Status.SENT, "the logged acceptance counted when the other drain took over"
    rows = db.session.scalars(db.select(DeliveryAttempt).where(DeliveryAttempt.message_id > 2)).all()
    assert rows == []
    db.session.rollback()


def _take_over(account):
    expire_leases(account)
    start_drain(account)


@pytest.mark.usefixtures("log_suffices")
@lagging
def test_if_the_acceptance_log_cannot_be_written_each_message_is_recorded_before_the_next_one(
    app, server, account, monkeypatch
):
    monkeypatch.setattr(acceptance_log.AcceptanceLog, "_append", lambda *_: False)
    for number in range(3):
        enqueue_message(account, f"m{number}")
    commits = watch_commits(server)
    drain_queue(account)
    assert {1, 2, 3} <= set(commits)


def test_the_lease_and_the_unstarted_claims_of_a_crashed_worker_are_released_at_once(
    app, server, account, database
):
    for number in range(3):
        enqueue_message(account, f"m{number}")
    crashed = start_drain(account)
    acceptance_log.current_log().log_start(crashed.current)
    acceptance_log.current_log().close()
    get_state(app).discard(acceptance_log.AcceptanceLog)
    run_in_thread(app, drain_queue, account)
    assert statuses(account) == [Status.SENDING, Status.SENT, Status.SENT], (
        "the started message waits until its lease is over"
    )
    expire_leases(account)
    run_in_thread(app, drain_queue, account)
    assert [one.outcome for one in attempts(1)] == [INTERRUPTED, ACCEPTED]


# Kill point -> (how often the message is received, the outcomes of its attempts)
KILLS = {
    "before it connects": (1, [INTERRUPTED, ACCEPTED]),
    "after the reply, before the log": (2, [INTERRUPTED, ACCEPTED]),
    "after the log, before the commit": (1, [ACCEPTED]),
    "after the commit": (1, [ACCEPTED]),
}


@pytest.mark.thorough
@pytest.mark.parametrize("kill_point", KILLS)
def test_a_worker_killed_within_a_batch_repeats_one_message_at_most(tmp_path, request, kill_point):
    # The leases of the killed worker end by themselves; no message of this test takes as long as that.
    config = make_config(tmp_path / "instance", lease=15.0, limits=LIMITS)
    request.getfixturevalue("app")
    account = request.getfixturevalue("account")
    server = request.getfixturevalue("serve")(honest())
    copies, outcomes = KILLS[kill_point]
    ids = [enqueue_message(account, f"m{number}") for number in range(9)]
    worker = start_worker(config, {account: server.port}, kill_point=kill_point, killed_with=ids[6])
    try:
        wait_for(lambda: set(statuses(account)) == {Status.SENT})
        worker.terminate()  # it releases its leases
        worker.wait()
    finally:
        worker.kill()
    assert (config.instance / f"killed-{ids[6]}").exists()
    received = message_ids(server)
    assert received.count(message(ids[6]).message_id) == copies
    assert [one.outcome for one in attempts(ids[6])] == outcomes
    others = [id_ for id_ in ids if id_ != ids[6]]
    interrupted = [id_ for id_ in others if attempts(id_)[0].outcome is INTERRUPTED]
    assert len(interrupted) <= Tuning().connections_per_account - 1, (
        "at most one for each other connection of the worker"
    )
    for id_ in others:
        assert received.count(message(id_).message_id) <= len(attempts(id_)) == 1 + (id_ in interrupted)
    wait_for(lambda: count_leases(account) == 0)


@pytest.mark.tuning(settle_lag_s=600.0, lease_renew_fraction=0.0)
def test_a_lease_is_renewed_within_a_batch_that_is_not_settled(app, server, account, monkeypatch):
    for number in range(3):
        enqueue_message(account, f"m{number}")
    renewed = []
    monkeypatch.setattr(get_store(), "renew_lease", lambda *_, **__: renewed.append(utcnow()) or True)
    drain_queue(account)
    assert len(renewed) >= 2
    assert statuses(account) == [Status.SENT] * 3
    assert timedelta() < utcnow() - renewed[0]
