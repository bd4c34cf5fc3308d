"""The check finds a violation of each guarantee in falsified records; otherwise its results would prove nothing."""

from dataclasses import replace

import pytest

from tests.storm.guarantees import (
    Guarantee,
    MessageRow,
    ReceivedMessage,
    RunRecord,
    ServerLog,
    Undone,
    find_violations,
)
from tests.storm.records import read_log

KILLED_AT = 100.0


def received(key, at, *, connection=1, worker="w1-1.storm.example", message_id=None, replied=True, to="ada"):
    replied_at = at + 0.001 if replied else None
    return ReceivedMessage(
        key, message_id or f"<{key}@account.example>", f"{to}@x.example", connection, worker, at, replied_at
    )


def row(id_, status="sent", *, ambiguous=0, reason="", to="ada"):
    return MessageRow(id_, f"m{id_}", f"{to}@x.example", 1, status, f"<m{id_}@a.example>", ambiguous, reason)


def record(rows, messages, *, refused=(), closed=None, kills=None, enqueued=None):
    log = ServerLog(messages, frozenset(refused), closed or {})
    return RunRecord(enqueued or [one.key for one in rows], rows, log, kills or {})


def violated(one):
    return [violation.guarantee for violation in find_violations(one)]


CORRECT = record([row(1), row(2)], [received("m1", 1), received("m2", 2)])
DUPLICATE = record(
    [row(1, ambiguous=1)],
    [
        received("m1", KILLED_AT - 1),
        received("m1", KILLED_AT + 9, connection=2, worker="w2-1.storm.example"),
    ],
    closed={1: "reset", 2: "eof"},
    kills={"w1-1": KILLED_AT},
)


def changed(one, **log):
    return replace(one, log=replace(one.log, **log))


def test_a_correct_record_has_no_violation():
    assert find_violations(CORRECT) == []


def test_a_marked_duplicate_of_a_killed_worker_with_an_unread_reply_is_permitted():
    assert find_violations(DUPLICATE) == []


def test_a_message_that_is_in_no_table_is_lost():
    assert violated(replace(CORRECT, enqueued=["m1", "m2", "m3"])) == [Guarantee.LOST]


@pytest.mark.parametrize("status", ["queued", "sending", "held"])
def test_a_message_that_waits_at_the_end_is_unsettled(status):
    assert violated(record([row(1, status)], [])) == [Guarantee.UNSETTLED]


@pytest.mark.parametrize("status", ["cancelled", "suppressed"])
def test_a_message_that_is_neither_sent_nor_failed_is_lost(status):
    assert violated(record([row(1, status)], [])) == [Guarantee.LOST]


def test_sent_is_false_for_a_message_that_no_server_received():
    assert violated(changed(CORRECT, received=[received("m1", 1)])) == [Guarantee.FALSELY_SENT]


def test_sent_is_false_without_a_250():
    without_reply = [received("m1", 1, replied=False), received("m2", 2)]
    assert violated(changed(CORRECT, received=without_reply)) == [Guarantee.FALSELY_SENT]


def test_failed_needs_a_refusal_and_a_reason():
    refused = row(1, "failed", reason="There is no such mailbox.", to="gone")
    assert violated(record([refused], [], refused=["gone@x.example"])) == []
    assert violated(record([refused], [])) == [Guarantee.FALSELY_FAILED]
    without_reason = replace(refused, reason="")
    assert violated(record([without_reason], [], refused=["gone@x.example"])) == [Guarantee.FALSELY_FAILED]


def test_a_duplicate_without_an_ambiguous_attempt_is_a_violation():
    assert violated(replace(DUPLICATE, rows=[row(1, ambiguous=0)])) == [Guarantee.UNMARKED]


def test_a_duplicate_with_another_message_id_is_a_violation():
    first, second = DUPLICATE.log.received
    other = changed(DUPLICATE, received=[first, replace(second, message_id="<new@a.example>")])
    assert violated(other) == [Guarantee.OTHER_MESSAGE_ID]


def test_a_duplicate_of_a_worker_that_was_not_killed_is_a_violation():
    assert violated(replace(DUPLICATE, kills={})) == [Guarantee.NO_CAUSE]
    assert violated(replace(DUPLICATE, kills={"w1-2": KILLED_AT})) == [Guarantee.NO_CAUSE]


def test_a_server_that_sent_no_250_permits_a_duplicate():
    first, second = DUPLICATE.log.received
    unanswered = changed(DUPLICATE, received=[replace(first, replied_at=None), second])
    assert violated(replace(unanswered, kills={})) == []


def test_a_duplicate_of_a_recorded_acceptance_is_a_violation():
    later = received("m2", KILLED_AT - 0.5)
    rows = [row(1, ambiguous=1), row(2)]
    one = changed(
        replace(DUPLICATE, rows=rows, enqueued=["m1", "m2"]), received=[*DUPLICATE.log.received, later]
    )
    assert violated(replace(one, rows=[rows[0], replace(rows[1], recipient="bo@x.example")])) == [
        Guarantee.AVOIDABLE
    ]


def test_a_worker_that_was_killed_between_reading_and_recording_the_250_is_permitted_a_duplicate():
    read = changed(DUPLICATE, closed={1: "eof"})
    assert violated(read) == []
    assert read.reply_was_read(read.repeated[0])


def test_a_250_that_was_sent_after_the_kill_was_not_read():
    first, second = DUPLICATE.log.received
    late = changed(
        DUPLICATE, closed={1: "eof"}, received=[replace(first, replied_at=KILLED_AT + 0.001), second]
    )
    assert violated(late) == []
    assert not late.reply_was_read(late.repeated[0])


def test_two_duplicates_of_one_connection_are_a_violation():
    rows = [row(1, ambiguous=1), row(2, ambiguous=1)]
    more = [received("m2", KILLED_AT - 0.5), received("m2", KILLED_AT + 9.5, connection=2)]
    two = changed(
        replace(DUPLICATE, rows=rows, enqueued=["m1", "m2"]), received=[*DUPLICATE.log.received, *more]
    )
    assert violated(two) == [Guarantee.AVOIDABLE, Guarantee.TOO_MANY]


def test_a_message_before_an_earlier_one_to_its_recipient_is_a_violation():
    assert violated(changed(CORRECT, received=[received("m1", 2), received("m2", 1)])) == [Guarantee.ORDER]


def test_a_message_that_is_sent_while_an_earlier_one_waits_for_a_retry_is_a_violation():
    messages = [received("m1", 1, replied=False), received("m2", 2), received("m1", 3, connection=2)]
    assert violated(record([row(1, ambiguous=1), row(2)], messages)) == [Guarantee.ORDER]


def test_the_order_holds_for_each_recipient_and_ignores_failed_messages():
    swapped = [received("m1", 2), received("m2", 1)]
    assert violated(record([row(1), row(2, to="bo")], swapped)) == []
    failed = row(1, "failed", reason="There is no such mailbox.")
    assert violated(record([failed, row(2)], [received("m2", 1)], refused=["ada@x.example"])) == []


def test_a_message_that_was_never_enqueued_is_a_violation():
    unknown = changed(CORRECT, received=[*CORRECT.log.received, received("m9", 3)])
    assert violated(unknown) == [Guarantee.NOT_ENQUEUED]


def test_a_log_is_read_up_to_its_last_complete_line(tmp_path):
    path = tmp_path / "log"
    path.write_text(
        '{"event": "refused", "at": 1, "recipient": "gone@x.example"}\n'
        '{"event": "closed", "at": 2, "connection": 7, "worker": "w1-1.storm.example", "how": "reset"}\n'
        '{"event": "received", "at": 3, "ke'
    )
    assert read_log(path) == ServerLog([], frozenset({"gone@x.example"}), {7: "reset"})


# -- a machine that was lost with its acceptance log, SIGNET_RECORD=log


def lost(*times, repeated):
    """Return a record of a lost machine that sent messages over one connection; the last ``repeated`` left again."""
    messages = [received(f"m{number}", at) for number, at in enumerate(times, 1)]
    again = messages[len(messages) - repeated :]
    messages += [received(one.key, KILLED_AT + 9, connection=2, worker="w2-1.storm.example") for one in again]
    rows = [
        row(number, ambiguous=number > len(times) - repeated, to=f"to-{number}")
        for number in range(1, 1 + len(times))
    ]
    one = record(rows, messages, closed={1: "reset", 2: "eof"}, kills={"w1-1": KILLED_AT})
    return replace(one, lost_logs=frozenset({"w1-1"}))


def test_what_a_lost_machine_accepted_within_100_ms_may_leave_again():
    times = [KILLED_AT - 0.13, KILLED_AT - 0.10, KILLED_AT - 0.05, KILLED_AT - 0.02]
    assert violated(lost(*times, repeated=4)) == []
    assert violated(replace(lost(*times, repeated=4), lost_logs=frozenset())) == [
        *[Guarantee.AVOIDABLE] * 3,
        Guarantee.TOO_MANY,
    ]


def test_what_a_lost_machine_had_100_ms_to_record_must_not_leave_again():
    times = [KILLED_AT - 0.30, KILLED_AT - 0.25, KILLED_AT - 0.05, KILLED_AT - 0.02]
    assert violated(lost(*times, repeated=4)) == [Guarantee.BEHIND]


def test_a_duplicate_of_a_lost_machine_is_marked_as_well():
    one = lost(KILLED_AT - 0.10, KILLED_AT - 0.05, repeated=2)
    assert violated(replace(one, rows=[replace(one.rows[0], ambiguous_attempts=0), one.rows[1]])) == [
        Guarantee.UNMARKED
    ]


# -- a standby that lagged behind the lost database


FAILOVER = Undone(since=KILLED_AT, lost_at=KILLED_AT + 1, until=KILLED_AT + 1.5)


def failed_over(*messages, rows, **changes):
    return replace(record(rows, messages), undone=FAILOVER, **changes)


def test_what_was_enqueued_after_the_last_commit_of_the_standby_may_be_lost():
    one = failed_over(rows=[], enqueued=["m1"], enqueued_at={"m1": KILLED_AT + 0.5})
    assert violated(one) == []
    assert violated(replace(one, enqueued_at={"m1": KILLED_AT - 0.001})) == [Guarantee.LOST]
    assert violated(replace(one, undone=None)) == [Guarantee.LOST]


def test_what_was_recorded_after_the_last_commit_of_the_standby_may_leave_again_unmarked():
    again = received("m1", KILLED_AT + 9, connection=2, message_id="<other@account.example>")
    one = failed_over(received("m1", KILLED_AT + 0.5), again, rows=[row(1)])
    assert violated(one) == []
    assert violated(replace(one, undone=None)) == [
        Guarantee.UNMARKED,
        Guarantee.OTHER_MESSAGE_ID,
        Guarantee.NO_CAUSE,
    ]


def test_what_was_recorded_before_the_last_commit_of_the_standby_must_not_leave_again():
    later = received("m2", KILLED_AT - 0.1, to="bo")
    again = received("m1", KILLED_AT + 9, connection=2)
    one = failed_over(received("m1", KILLED_AT - 0.2), later, again, rows=[row(1), row(2, to="bo")])
    assert violated(one) == [Guarantee.UNMARKED, Guarantee.NO_CAUSE]


def test_what_was_in_progress_when_the_database_was_lost_may_leave_again():
    first = received("m1", KILLED_AT + 1.2)
    again = received("m1", KILLED_AT + 9, connection=2)
    assert violated(failed_over(first, again, rows=[row(1)])) == []
    later = [received("m2", KILLED_AT + 1.3, to="bo"), received("m2", KILLED_AT + 9.1, connection=2, to="bo")]
    one = failed_over(first, again, *later, rows=[row(1), row(2, to="bo")])
    assert violated(one) == [Guarantee.UNMARKED, Guarantee.NO_CAUSE]


def test_what_left_twice_after_the_failover_needs_a_cause():
    again = received("m1", KILLED_AT + 9, connection=2)
    one = failed_over(received("m1", KILLED_AT + 2), again, rows=[row(1, ambiguous=1)])
    assert violated(one) == [Guarantee.NO_CAUSE]
