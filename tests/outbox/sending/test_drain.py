"""The table follows the journal: a fast server is not waited for by it, and nothing is lost or repeated for that."""

import threading
from datetime import timedelta

import pytest

from portal.clock import utcnow
from portal.db import db
from portal.outbox.models import DeliveryAttempt, OutboxMessage, Outcome, Status
from portal.outbox.sending import deliver
from portal.outbox.sending.drain import drain_queue
from portal.outbox.store import acceptance_log, claims, settle
from portal.outbox.store.sql import get_store
from portal.smtp.protocol.envelope import Acceptance
from portal.smtp.protocol.reply import Reply
from portal.state import get_state
from portal.tuning import Tuning
from tests.conftest import make_config
from tests.outbox.support import (
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
)

OK = b"250 2.0.0 Ok: queued as 1\r\n"
ACCEPTED, INTERRUPTED = Outcome.ACCEPTED, Outcome.INTERRUPTED


# The table may lag far behind the log, so that nothing that a test does is overtaken by a settlement.
lagging = pytest.mark.tuning(settle_lag_s=600.0)


@pytest.fixture
def by_journal(database):
    """Where machines share a database, the journal of one is not record enough."""
    if database == "postgresql":
        pytest.skip("it is told of each message before the next")


def taken(claim, name="Q1"):
    assert acceptance_log.current_log().log_accepted(claim, Acceptance(Reply(250, ("Ok",)), name))


def begun(drain, number):
    """Begin a message of a drain's batch by the journal alone."""
    claim = drain.claims[number]
    claims.mark_started(claim, drain.route, now=utcnow())
    assert acceptance_log.current_log().log_start(claim)
    return claim


@pytest.mark.usefixtures("by_journal")
@lagging
def test_many_messages_are_recorded_by_one_transaction(app, server, account):
    for number in range(4):
        enqueue_message(account, f"m{number}")
    commits = []
    db.event.listen(db.engine, "commit", lambda _: commits.append(len(server.messages)))
    assert drain_queue(account) == 4
    assert [at for at in commits if 0 < at < 3] == [], "three messages left between two commits"
    assert statuses(account) == [Status.SENT] * 4
    for ident in range(1, 5):
        (one,) = attempts(ident)
        assert (one.outcome, one.number, one.version_number, one.stage) == (ACCEPTED, 1, None, "data")
        assert one.server.startswith("localhost:") and one.sender.endswith("<info@brightleaf.example>")
        assert one.started_at <= one.ended_at and "MAIL FROM" in one.transcript


@lagging
def test_where_machines_share_a_database_it_is_told_of_each_message_before_the_next(
    app, server, account, database
):
    if database == "sqlite":
        pytest.skip("there the journal is record enough for a moment")
    for number in range(3):
        enqueue_message(account, f"m{number}")
    commits = []
    db.event.listen(db.engine, "commit", lambda _: commits.append(len(server.messages)))
    drain_queue(account)
    assert {1, 2, 3} <= set(commits)


def test_of_those_settled_together_one_that_was_lost_is_left_alone(app, server, account):
    """Another worker has one message by now, and one was being sent before the journal was record enough."""
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
    taken = [(claim, acceptance, f"of {claim.message.id}") for claim in batch]
    assert settle.settle_accepted(taken, now=utcnow()) == [True, True, False, True]
    db.session.commit()
    assert statuses(account) == [Status.SENT, Status.SENT, Status.SENDING, Status.SENT]
    for ident in (1, 2, 4):
        (one,) = attempts(ident)
        assert (one.outcome, one.number, one.transcript) == (ACCEPTED, 1, f"of {ident}")
        assert one.id == batch[ident - 1].attempt_id
        assert (message(ident).attempts, message(ident).lease_token) == (1, None)
    assert attempts(3) == []


@pytest.mark.usefixtures("by_journal")
@lagging
def test_the_table_catches_up_while_a_server_takes_its_time(app, serve, routes, account):
    go_on = threading.Event()

    def slow_at_the_third(peer, _line):
        if len(server.messages) == 3:
            go_on.wait(PATIENCE_S)
        peer.say(OK)

    server = serve(answering(DOT=slow_at_the_third))
    routes.send_to(account, server)
    for number in range(4):
        enqueue_message(account, f"m{number}")
    sender = threading.Thread(target=in_context(app, drain_queue, account))
    sender.start()
    try:
        wait_for(lambda: statuses(account)[:2] == [Status.SENT] * 2)
        wait_for(lambda: attempts(3))
        assert [one.outcome for one in attempts(3)] == [Outcome.STARTED], "the log shows what is under way"
    finally:
        go_on.set()
        join(sender)
    assert statuses(account) == [Status.SENT] * 4
    assert [len(attempts(ident)) for ident in range(1, 5)] == [1] * 4


@pytest.mark.usefixtures("by_journal")
@pytest.mark.tuning(lease_renew_fraction=0.0)
def test_what_a_frozen_worker_wrote_down_is_not_sent_again(app, server, account):
    for number in range(4):
        enqueue_message(account, f"m{number}")
    frozen = start_drain(account)
    taken(frozen.current, "Q1")
    taken(begun(frozen, 1), "Q2")
    begun(frozen, 2)
    expire_leases(account)
    run_in_thread(app, drain_queue, account)
    assert subjects(server) == ["Welcome, m2", "Welcome, m3"]
    assert [[(one.outcome, one.queue_id) for one in attempts(ident)] for ident in range(1, 5)] == [
        [(ACCEPTED, "Q1")],
        [(ACCEPTED, "Q2")],
        [(INTERRUPTED, ""), (ACCEPTED, "4XyZ1a2b")],
        [(ACCEPTED, "4XyZ1a2b")],
    ]
    assert [one.ambiguous for one in attempts(3)] == [True, False]
    frozen.run_claimed()
    assert len(server.messages) == 2, "and when it wakes it sends nothing"


@pytest.mark.usefixtures("by_journal")
@lagging
def test_a_drain_that_breaks_off_gives_back_only_what_it_had_not_begun(app, server, account, monkeypatch):
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


@pytest.mark.usefixtures("by_journal")
def test_a_message_taken_over_meanwhile_ends_the_drain_without_a_word_in_the_table(
    app, serve, routes, account
):
    def lose_it(peer, _line):
        if len(server.messages) == 2:
            run_in_thread(app, _take_over, account)
            peer.pause(0.2)  # in which the table is told, and says no
        peer.say(OK)

    server = serve(answering(DOT=lose_it))
    routes.send_to(account, server)
    for number in range(4):
        enqueue_message(account, f"m{number}")
    drain_queue(account)
    assert len(server.messages) == 2, "it claims and sends nothing more"
    assert Status.SENT in statuses(account)[:1], (
        "what it wrote down itself had counted when it was taken over"
    )
    rows = db.session.scalars(db.select(DeliveryAttempt).where(DeliveryAttempt.message_id > 2)).all()
    assert rows == []
    db.session.rollback()


def _take_over(account):
    expire_leases(account)
    start_drain(account)


@pytest.mark.usefixtures("by_journal")
@lagging
def test_with_a_full_disk_under_the_journal_each_is_recorded_before_the_next(
    app, server, account, monkeypatch
):
    monkeypatch.setattr(acceptance_log.AcceptanceLog, "_append", lambda *_: False)
    for number in range(3):
        enqueue_message(account, f"m{number}")
    commits = []
    db.event.listen(db.engine, "commit", lambda _: commits.append(len(server.messages)))
    drain_queue(account)
    assert {1, 2, 3} <= set(commits)


def test_the_dead_give_their_slot_and_what_they_had_not_begun_back_at_once(app, server, account, database):
    for number in range(3):
        enqueue_message(account, f"m{number}")
    dead = start_drain(account)
    acceptance_log.current_log().log_start(dead.current)
    acceptance_log.current_log().close()
    get_state(app).discard(acceptance_log.AcceptanceLog)
    run_in_thread(app, drain_queue, account)
    assert statuses(account) == [Status.SENDING, Status.SENT, Status.SENT], (
        "what was begun waits for its lease"
    )
    expire_leases(account)
    run_in_thread(app, drain_queue, account)
    assert [one.outcome for one in attempts(1)] == [INTERRUPTED, ACCEPTED]


BY_LINE = {
    "before it connects": (1, [INTERRUPTED, ACCEPTED]),
    "after the reply, before the log": (2, [INTERRUPTED, ACCEPTED]),
    "after the log, before the commit": (1, [ACCEPTED]),
    "after the commit": (1, [ACCEPTED]),
}


@pytest.mark.thorough
@pytest.mark.parametrize("line", BY_LINE)
def test_a_worker_killed_while_the_table_is_behind_repeats_one_message_at_most(tmp_path, request, line):
    config = make_config(tmp_path / "instance", lease=1.0)
    request.getfixturevalue("app")
    account = request.getfixturevalue("account")
    server = request.getfixturevalue("serve")(honest())
    copies, outcomes = BY_LINE[line]
    idents = [enqueue_message(account, f"m{number}") for number in range(9)]
    worker = start_worker(config, {account: server.port}, kill_point=line, killed_with=idents[6])
    try:
        wait_for(lambda: set(statuses(account)) == {Status.SENT})
    finally:
        worker.kill()
    assert (config.instance / f"killed-{idents[6]}").exists()
    said = message_ids(server)
    assert said.count(message(idents[6]).message_id) == copies
    assert [one.outcome for one in attempts(idents[6])] == outcomes
    others = [ident for ident in idents if ident != idents[6]]
    doubtful = [ident for ident in others if attempts(ident)[0].outcome is INTERRUPTED]
    assert len(doubtful) <= Tuning().connections_per_account - 1, (
        "one of each other connection it held, at most"
    )
    for ident in others:
        assert said.count(message(ident).message_id) <= len(attempts(ident)) == 1 + (ident in doubtful)
    wait_for(lambda: count_leases(account) == 0)


@pytest.mark.tuning(settle_lag_s=600.0, lease_renew_fraction=0.0)
def test_a_lease_is_renewed_while_the_table_is_behind(app, server, account, monkeypatch):
    for number in range(3):
        enqueue_message(account, f"m{number}")
    renewed = []
    monkeypatch.setattr(get_store(), "renew_lease", lambda *_, **__: renewed.append(utcnow()) or True)
    drain_queue(account)
    assert len(renewed) >= 2
    assert statuses(account) == [Status.SENT] * 3
    assert timedelta() < utcnow() - renewed[0]
