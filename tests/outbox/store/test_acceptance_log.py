"""The acceptance log: an accepted message is not sent again, even if the worker crashes or the database is away."""

import json
import os
import threading
from contextlib import closing

import pytest

from portal.db import db
from portal.outbox.models import DeliveryAttempt, Outcome, Status
from portal.outbox.sending.drain import drain_queue
from portal.outbox.store import acceptance_log, leases, recovery
from portal.outbox.worker import OutboxWorker
from portal.smtp.protocol.envelope import Acceptance
from portal.smtp.protocol.reply import Reply
from tests.databases import lock_against_writers
from tests.outbox.support import (
    answering,
    attempts,
    count_leases,
    count_statements,
    enqueue_message,
    expire_leases,
    in_context,
    join,
    message,
    run_in_thread,
    start_drain,
    wait_for,
    watch_commits,
)


def write_orphaned_log(entries):
    """Write an acceptance log as a killed worker leaves it; return its path."""
    folder = acceptance_log.current_log().folder
    folder.mkdir(exist_ok=True)
    path = folder / "4711-orphaned.journal"
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
    return {"message": claim.message.id, "token": claim.token, "reply": reply, **changes}


def test_a_message_that_a_crashed_worker_logged_as_accepted_is_settled_and_not_sent_again(
    app, server, account
):
    id_ = enqueue_message(account, "m")
    path = write_orphaned_log([entry_for(start_drain(account))])
    expire_leases(account)
    drain_queue(account)
    assert server.messages == []
    assert message(id_).status is Status.SENT
    assert (message(id_).attempts, message(id_).lease_token) == (1, None)
    (one,) = attempts(id_)
    assert (one.outcome, one.queue_id) == (Outcome.ACCEPTED, "Q1")
    assert not path.exists()


@pytest.mark.parametrize("changes", [{"token": "another"}, {"message": 999}])
def test_an_entry_of_another_claim_settles_nothing(app, server, account, changes):
    id_ = enqueue_message(account, "m")
    write_orphaned_log([entry_for(start_drain(account), **changes)])
    recovery.sweep()
    assert message(id_).status is Status.SENDING


def test_an_incomplete_line_is_ignored(app, server, account):
    id_ = enqueue_message(account, "m")
    complete = entry_for(start_drain(account))
    path = write_orphaned_log([complete])
    path.write_text(path.read_text() + json.dumps(complete)[:20])
    assert recovery.recover_orphaned() == 1
    assert message(id_).status is Status.SENT


def test_entries_of_settled_messages_need_no_statement_each(app, server, account):
    id_ = enqueue_message(account, "m")
    own = entry_for(start_drain(account))
    settled = [{**own, "message": number} for number in range(1_000, 2_200)]
    path = write_orphaned_log([*settled, own])
    with count_statements() as found:
        assert recovery.recover_orphaned() == 1
    assert message(id_).status is Status.SENT
    assert not path.exists()
    assert len(found) < 20


def test_a_worker_recovers_the_log_of_the_crashed_one_before_its_first_heartbeat(app, server, account):
    id_ = enqueue_message(account, "m")
    path = write_orphaned_log([entry_for(start_drain(account))])
    worker = OutboxWorker()
    worker.start(app, 1)
    try:
        assert message(id_).status is Status.SENT
        assert not path.exists()
        assert count_leases(account) == 0
    finally:
        worker.finish()


def test_the_log_of_a_running_process_is_not_recovered(app, server, account):
    id_ = enqueue_message(account, "m")
    drain = start_drain(account)
    log = acceptance_log.current_log()
    log.log_accepted(drain.current, Acceptance(Reply(250, ("2.0.0 Ok",)), "Q1"))
    assert recovery.recover_orphaned() == 0
    assert message(id_).status is Status.SENDING
    drain.abandon()
    recovery.sweep()
    assert message(id_).status is Status.SENT
    assert count_leases(account) == 0


def test_a_file_that_another_process_deleted_before_it_was_locked_is_not_written_to(
    app, server, account, monkeypatch
):
    enqueue_message(account, "m")
    claim = start_drain(account).current
    lock, deleted = acceptance_log.fcntl.flock, []

    def flock(file, operation):
        if operation == acceptance_log.fcntl.LOCK_EX and not deleted:
            deleted.append(file)
            assert list(acceptance_log.orphaned_entries()) == [[]], (
                "the new file is taken for that of an ended process"
            )
        lock(file, operation)

    monkeypatch.setattr(acceptance_log.fcntl, "flock", flock)
    assert acceptance_log.current_log().log_start(claim)
    assert deleted
    assert [one["message"] for one in acceptance_log.entries_for({claim.token})] == [claim.message.id]


def test_the_log_contains_no_bodies_secrets_or_addresses(app, server, account):
    enqueue_message(account, "m", recipient="bob@example.net", text="canary text", html="<p>canary html</p>")
    drain_queue(account)
    (path,) = acceptance_log.current_log().folder.iterdir()
    content = path.read_text()
    assert '"message": 1' in content
    for secret in ("canary", "bob@", "correct horse", "Welcome"):
        assert secret not in content
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.tuning(acceptance_log_max_bytes=500)
def test_a_large_log_is_rotated_and_open_entries_move_to_the_new_file(app, server, account):
    for number in range(12):
        enqueue_message(account, f"m{number}")
    other = enqueue_message(account, "other")
    drain, log = start_drain(account), acceptance_log.current_log()
    log.log_start(drain.current)
    run_in_thread(app, drain_queue, account)
    (path,) = log.folder.iterdir()
    assert path.stat().st_size <= 2000
    assert drain.token in path.read_text(), "the open entry is in the new file"
    assert message(other).status is Status.SENT
    drain.run_claimed()
    log.close()
    assert not path.exists()


@pytest.mark.tuning(acceptance_log_max_bytes=500)
def test_a_log_that_cannot_be_rotated_continues_in_the_old_file(app, server, account, monkeypatch):
    real_open, opened = os.open, []

    def fail_after_the_first(path, *more):
        if str(path).endswith(".journal") and opened:
            raise OSError(28, "No space left on device")
        opened.append(path)
        return real_open(path, *more)

    monkeypatch.setattr(os, "open", fail_after_the_first)
    ids = [enqueue_message(account, f"m{number}") for number in range(12)]
    drain_queue(account)
    assert {message(id_).status for id_ in ids} == {Status.SENT}
    (path,) = acceptance_log.current_log().folder.iterdir()
    assert path.stat().st_size > 500


def test_messages_are_sent_while_the_log_cannot_be_written(app, server, account, monkeypatch, caplog):
    def fail(*_):
        raise OSError(28, "No space left on device")

    id_ = enqueue_message(account, "m")
    monkeypatch.setattr(os, "write", fail)
    drain_queue(account)
    monkeypatch.undo()
    assert message(id_).status is Status.SENT
    assert "No space left" in caplog.text


def test_a_partly_written_line_does_not_count_as_a_record(app, server, account, monkeypatch, caplog):
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real_write(file, data[: len(data) // 2]))
    ids = [enqueue_message(account, f"m{number}") for number in range(3)]
    commits = watch_commits(server)
    drain_queue(account)
    monkeypatch.undo()
    assert {1, 2, 3} <= set(commits), "each message is recorded in the table before the next one"
    assert {message(id_).status for id_ in ids} == {Status.SENT}
    assert "only part of a line was written" in caplog.text


@pytest.mark.parametrize("database_wait", [1.0])
@pytest.mark.parametrize(
    "is_lagging",
    [
        pytest.param(False, marks=pytest.mark.tuning(settle_lag_s=-1.0)),
        pytest.param(True, marks=pytest.mark.tuning(settle_lag_s=600.0)),
    ],
)
def test_a_drain_waits_for_a_locked_database_and_repeats_no_message(
    app, serve, routes, account, config, caplog, is_lagging, database
):
    locks = []

    def lock_once(peer, _line):
        if not locks:
            locks.append(lock_against_writers(config))
        peer.send(b"250 2.0.0 Ok: queued as 1\r\n")

    server = serve(answering(DOT=lock_once))
    routes.send_to(account, server)
    first, second, third = (enqueue_message(account, key) for key in ("first", "second", "third"))
    worker = threading.Thread(target=in_context(app, drain_queue, account))
    worker.start()
    wait_for(lambda: "database unavailable" in caplog.text)
    with closing(locks[0]):
        expected = 3 if is_lagging and database == "sqlite" else 1
        assert len(server.messages) == expected, "no message is sent before the previous one is recorded"
    join(worker)
    assert [len(attempts(id_)) for id_ in (first, second, third)] == [1, 1, 1]
    assert message(third).status is Status.SENT
    assert count_leases(account) == 0


def test_a_lease_whose_release_failed_is_released_by_the_next_sweep(app, server, account):
    for number in range(3):
        enqueue_message(account, f"m{number}")
    drain = start_drain(account)
    leases.defer_release(account, drain.token)
    recovery.sweep()
    assert count_leases(account) == 0
    assert [message(id_).status for id_ in (2, 3)] == [Status.QUEUED] * 2
    db.session.rollback()


def test_a_message_that_was_claimed_before_a_power_cut_counts_as_possibly_delivered(
    app, server, account, database, monkeypatch
):
    if database == "postgresql":
        pytest.skip("PostgreSQL loses no committed transaction")
    id_ = enqueue_message(account, "m")
    start_drain(account)
    db.session.execute(db.delete(DeliveryAttempt))  # SQLite lost these commits in the power cut
    db.session.commit()
    expire_leases(account)
    monkeypatch.setattr(leases, "_boot_name", ["newboot0"])
    drain_queue(account)
    assert [(one.outcome, one.ambiguous) for one in attempts(id_)] == [
        (Outcome.INTERRUPTED, True),
        (Outcome.ACCEPTED, False),
    ]


def test_a_folder_in_the_place_of_a_lost_one_has_another_name(tmp_path):
    """Else a worker would take the claims of the lost one for its own, and their messages for not submitted."""
    folder = tmp_path / "accepted"
    names = []
    for _ in range(2):
        log, other = (acceptance_log.AcceptanceLog(folder, 1000) for _ in range(2))
        assert log.folder_name == other.folder_name
        names.append(log.folder_name)
        for path in folder.iterdir():  # the inode stays, which a new folder is often given at once
            path.unlink()
    assert len(set(names)) == 2
