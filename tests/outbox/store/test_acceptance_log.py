"""The journal of acceptances: what a server took is not sent again, whatever happens to the worker or the database."""

import json
import os
import threading
from contextlib import closing

import pytest

from portal.db import db
from portal.outbox.models import Outcome, Status
from portal.outbox.sending.drain import drain_queue
from portal.outbox.store import acceptance_log, leases, recovery
from tests.databases import lock_against_writers
from tests.outbox.support import (
    answering,
    attempts,
    count_leases,
    enqueue_message,
    expire_leases,
    in_context,
    join,
    message,
    run_in_thread,
    start_drain,
    wait_for,
)


def left_behind(app, entries):
    """A journal as a worker leaves it that was killed."""
    folder = acceptance_log.current_log().folder
    folder.mkdir(exist_ok=True)
    path = folder / "4711-dead.journal"
    path.write_text("".join(json.dumps(one) + "\n" for one in entries))
    return path


def entry_for(drain, **changes):
    claim = drain.current
    reply = {
        "stage": "data",
        "reply_code": 250,
        "enhanced_code": "2.0.0",
        "reply_text": "Ok",
        "queue_id": "Q1",
    }
    words = {"message": claim.message.id, "token": claim.token, "reply": reply}
    return words | changes


def test_what_a_dead_worker_wrote_down_is_settled_by_the_next_and_not_sent_again(app, server, account):
    ident = enqueue_message(account, "m")
    path = left_behind(app, [entry_for(start_drain(account))])
    expire_leases(account)
    drain_queue(account)
    assert server.messages == []
    assert message(ident).status is Status.SENT
    assert (message(ident).attempts, message(ident).lease_token) == (1, None)
    (one,) = attempts(ident)
    assert (one.outcome, one.queue_id) == (Outcome.ACCEPTED, "Q1")
    assert not path.exists()


@pytest.mark.parametrize("changes", [{"token": "another"}, {"message": 999}])
def test_words_about_another_claim_settle_nothing(app, server, account, changes):
    ident = enqueue_message(account, "m")
    left_behind(app, [entry_for(start_drain(account), **changes)])
    recovery.sweep()
    assert message(ident).status is Status.SENDING


def test_half_a_line_is_no_word(app, server, account):
    ident = enqueue_message(account, "m")
    whole = entry_for(start_drain(account))
    path = left_behind(app, [whole])
    path.write_text(path.read_text() + json.dumps(whole)[:20])
    assert recovery.recover_orphaned() == 1
    assert message(ident).status is Status.SENT


def test_the_journal_of_a_living_process_is_left_alone(app, server, account):
    ident = enqueue_message(account, "m")
    drain = start_drain(account)
    mine = acceptance_log.current_log()
    acceptance = type("A", (), {"reply": _reply(), "queue_id": "Q1"})()
    mine.log_accepted(drain.current, acceptance)
    assert recovery.recover_orphaned() == 0
    assert message(ident).status is Status.SENDING
    drain.abandon()
    recovery.sweep()
    assert message(ident).status is Status.SENT, "what its own drain could not settle, its pulse does"
    assert count_leases(account) == 0


def _reply():
    from portal.smtp.protocol.reply import Reply

    return Reply(250, ("2.0.0 Ok",))


def test_the_journal_holds_neither_bodies_nor_secrets_nor_addresses(app, server, account):
    enqueue_message(account, "m", recipient="bob@example.net", text="canary text", html="<p>canary html</p>")
    drain_queue(account)
    (path,) = acceptance_log.current_log().folder.iterdir()
    said = path.read_text()
    assert '"message": 1' in said
    for secret in ("canary", "bob@", "correct horse", "Welcome"):
        assert secret not in said
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.tuning(acceptance_log_max_bytes=500)
def test_another_file_is_begun_when_one_has_grown_and_it_holds_what_is_open(
    app, server, account, monkeypatch
):
    for number in range(12):
        enqueue_message(account, f"m{number}")
    other = enqueue_message(account, "other")
    drain, mine = start_drain(account), acceptance_log.current_log()
    mine.log_start(drain.current)
    run_in_thread(app, drain_queue, account)
    (path,) = mine.folder.iterdir()
    assert path.stat().st_size <= 2000
    assert drain.token in path.read_text(), "what is open came along"
    assert message(other).status is Status.SENT
    drain.run_claimed()
    mine.close()
    assert not path.exists()


@pytest.mark.tuning(acceptance_log_max_bytes=500)
def test_a_journal_that_cannot_begin_another_file_goes_on_with_the_old(app, server, account, monkeypatch):
    opened, calls = os.open, []

    def full(path, *more):
        if str(path).endswith(".journal") and calls:
            raise OSError(28, "No space left on device")
        calls.append(path)
        return opened(path, *more)

    monkeypatch.setattr(os, "open", full)
    idents = [enqueue_message(account, f"m{number}") for number in range(12)]
    drain_queue(account)
    assert {message(ident).status for ident in idents} == {Status.SENT}
    (path,) = acceptance_log.current_log().folder.iterdir()
    assert path.stat().st_size > 500


def test_a_full_disk_under_the_journal_stops_nothing(app, server, account, monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "No space left on device")

    ident = enqueue_message(account, "m")
    monkeypatch.setattr(os, "write", full)
    drain_queue(account)
    monkeypatch.undo()
    assert message(ident).status is Status.SENT
    assert "No space left" in caplog.text


def test_a_line_that_the_disk_took_half_of_is_no_record(app, server, account, monkeypatch, caplog):
    written = os.write
    monkeypatch.setattr(os, "write", lambda file, data: written(file, data[: len(data) // 2]))
    idents = [enqueue_message(account, f"m{number}") for number in range(3)]
    commits = []
    db.event.listen(db.engine, "commit", lambda _: commits.append(len(server.messages)))
    drain_queue(account)
    monkeypatch.undo()
    assert {1, 2, 3} <= set(commits), "the table is told of each message before the next"
    assert {message(ident).status for ident in idents} == {Status.SENT}
    assert "took a part of a line" in caplog.text


@pytest.mark.parametrize("database_wait", [1.0])
@pytest.mark.parametrize(
    "behind",
    [
        pytest.param(False, marks=pytest.mark.tuning(settle_lag_s=-1.0)),
        pytest.param(True, marks=pytest.mark.tuning(settle_lag_s=600.0)),
    ],
)
def test_a_database_that_is_locked_between_two_messages_is_waited_for_and_no_attempt_is_lost(
    app, serve, routes, account, config, caplog, behind, database
):
    locks = []

    def lock_once(peer, _line):
        if not locks:
            locks.append(lock_against_writers(config))
        peer.say(b"250 2.0.0 Ok: queued as 1\r\n")

    server = serve(answering(DOT=lock_once))
    routes.send_to(account, server)
    first, second, third = (enqueue_message(account, key) for key in ("first", "second", "third"))
    worker = threading.Thread(target=in_context(app, drain_queue, account))
    worker.start()
    wait_for(lambda: "database unavailable" in caplog.text)
    with closing(locks[0]):
        by_journal = behind and database == "sqlite"
        finished = 3 if by_journal else 1
        assert len(server.messages) == finished, "nothing is finished before the one before is recorded"
    join(worker)
    assert [len(attempts(ident)) for ident in (first, second, third)] == [1, 1, 1]
    assert message(third).status is Status.SENT
    assert count_leases(account) == 0


def test_a_slot_that_could_not_be_given_back_is_given_back_by_the_pulse(app, server, account):
    for number in range(3):
        enqueue_message(account, f"m{number}")
    drain = start_drain(account)
    leases.defer_release(account, drain.token)
    recovery.sweep()
    assert count_leases(account) == 0
    assert [message(ident).status for ident in (2, 3)] == [Status.QUEUED] * 2
    db.session.rollback()


def test_what_was_claimed_before_a_power_cut_and_has_no_words_is_looked_upon_as_in_doubt(
    app, server, account, database, monkeypatch
):
    if database == "postgresql":
        pytest.skip("it forgets no commit")
    ident = enqueue_message(account, "m")
    start_drain(account)
    from portal.outbox.models import DeliveryAttempt

    db.session.execute(db.delete(DeliveryAttempt))  # the power cut took them
    db.session.commit()
    expire_leases(account)
    monkeypatch.setattr(leases, "_boot_name", ["restarte"])
    drain_queue(account)
    assert [(one.outcome, one.ambiguous) for one in attempts(ident)] == [
        (Outcome.INTERRUPTED, True),
        (Outcome.ACCEPTED, False),
    ]
