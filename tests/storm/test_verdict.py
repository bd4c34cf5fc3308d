"""The verdict is worth nothing unless it names what is wrong, so it is shown doctored records of each breach."""

from dataclasses import replace

import pytest

from tests.storm.records import read_log
from tests.storm.verdict import Log, Promise, Row, Storm, Taken, judge

KILLED_AT = 100.0


def taken(key, at, *, connection=1, worker="w1-1.storm.example", message_id=None, replied=True, to="ada"):
    said = at + 0.001 if replied else None
    return Taken(
        key, message_id or f"<{key}@account.example>", f"{to}@x.example", connection, worker, at, said
    )


def row(ident, status="sent", *, admitted=0, reason="", to="ada"):
    return Row(ident, f"m{ident}", f"{to}@x.example", 1, status, f"<m{ident}@a.example>", admitted, reason)


def storm(rows, seen, *, refused=(), ended=None, kills=None, owed=None):
    log = Log(seen, frozenset(refused), ended or {})
    return Storm(owed or [one.key for one in rows], rows, log, kills or {})


def broken(made):
    return [breach.promise for breach in judge(made)]


HONEST = storm([row(1), row(2)], [taken("m1", 1), taken("m2", 2)])
TWIN = storm(
    [row(1, admitted=1)],
    [taken("m1", KILLED_AT - 1), taken("m1", KILLED_AT + 9, connection=2, worker="w2-1.storm.example")],
    ended={1: "reset", 2: "eof"},
    kills={"w1-1": KILLED_AT},
)


def changed(made, **log):
    return replace(made, log=replace(made.log, **log))


def test_an_honest_record_breaks_nothing():
    assert judge(HONEST) == []


def test_a_flagged_twin_of_a_killed_worker_whose_reply_was_unread_is_within_the_promise():
    assert judge(TWIN) == []


def test_a_message_that_is_in_no_table_is_lost():
    assert broken(replace(HONEST, owed=["m1", "m2", "m3"])) == [Promise.LOST]


@pytest.mark.parametrize("status", ["queued", "sending", "held"])
def test_a_message_that_still_waits_at_the_end_is_stuck(status):
    assert broken(storm([row(1, status)], [])) == [Promise.STUCK]


@pytest.mark.parametrize("status", ["cancelled", "suppressed"])
def test_a_message_that_was_silently_set_aside_is_lost(status):
    assert broken(storm([row(1, status)], [])) == [Promise.LOST]


def test_sent_without_any_body_is_falsely_sent():
    assert broken(changed(HONEST, taken=[taken("m1", 1)])) == [Promise.FALSELY_SENT]


def test_sent_without_a_250_is_falsely_sent():
    silent = [taken("m1", 1, replied=False), taken("m2", 2)]
    assert broken(changed(HONEST, taken=silent)) == [Promise.FALSELY_SENT]


def test_failed_needs_a_refusal_and_a_reason():
    refused = row(1, "failed", reason="There is no such mailbox.", to="gone")
    assert broken(storm([refused], [], refused=["gone@x.example"])) == []
    assert broken(storm([refused], [])) == [Promise.FALSELY_FAILED]
    mute = replace(refused, reason="")
    assert broken(storm([mute], [], refused=["gone@x.example"])) == [Promise.FALSELY_FAILED]


def test_a_twin_that_no_attempt_admits_is_named():
    assert broken(replace(TWIN, rows=[row(1, admitted=0)])) == [Promise.UNFLAGGED]


def test_a_twin_with_another_message_id_is_named():
    first, second = TWIN.log.taken
    assert broken(changed(TWIN, taken=[first, replace(second, message_id="<new@a.example>")])) == [
        Promise.OTHER_MESSAGE_ID
    ]


def test_a_twin_of_a_worker_that_nobody_killed_is_named():
    assert broken(replace(TWIN, kills={})) == [Promise.NO_CAUSE]
    assert broken(replace(TWIN, kills={"w1-2": KILLED_AT})) == [Promise.NO_CAUSE]


def test_a_server_that_never_confirmed_excuses_a_twin():
    first, second = TWIN.log.taken
    assert broken(replace(changed(TWIN, taken=[replace(first, replied=None), second]), kills={})) == []


def test_a_twin_whose_250_had_been_read_is_named():
    assert broken(changed(TWIN, ended={1: "eof"})) == [Promise.AVOIDABLE]


def test_a_250_read_in_the_moment_of_the_kill_is_not_held_against_the_worker():
    first, second = TWIN.log.taken
    late = replace(first, replied=KILLED_AT - 0.001)
    assert broken(changed(TWIN, ended={1: "eof"}, taken=[late, second])) == []


def test_a_250_that_reached_a_dead_worker_was_not_read():
    first, second = TWIN.log.taken
    late = changed(TWIN, ended={1: "eof"}, taken=[replace(first, replied=KILLED_AT + 0.001), second])
    assert broken(late) == []
    assert not late.was_read(late.repeated[0])


def test_two_twins_of_one_connection_are_too_many():
    rows = [row(1, admitted=1), row(2, admitted=1)]
    more = [taken("m2", KILLED_AT - 0.5), taken("m2", KILLED_AT + 9.5, connection=2)]
    assert broken(changed(replace(TWIN, rows=rows, owed=["m1", "m2"]), taken=[*TWIN.log.taken, *more])) == [
        Promise.TOO_MANY
    ]


def test_a_broken_order_is_named():
    assert broken(changed(HONEST, taken=[taken("m1", 2), taken("m2", 1)])) == [Promise.ORDER]


def test_a_message_that_left_while_an_earlier_one_waited_for_another_try_broke_the_order():
    again = [taken("m1", 1, replied=False), taken("m2", 2), taken("m1", 3, connection=2)]
    assert broken(storm([row(1, admitted=1), row(2)], again)) == [Promise.ORDER]


def test_the_order_is_kept_for_each_recipient_by_itself_and_over_what_was_given_up():
    swapped = [taken("m1", 2), taken("m2", 1)]
    assert broken(storm([row(1), row(2, to="bo")], swapped)) == []
    given_up = row(1, "failed", reason="There is no such mailbox.")
    assert broken(storm([given_up, row(2)], [taken("m2", 1)], refused=["ada@x.example"])) == []


def test_what_nobody_owed_is_named():
    assert broken(changed(HONEST, taken=[*HONEST.log.taken, taken("m9", 3)])) == [Promise.UNOWED]


def test_a_log_is_read_up_to_its_last_whole_line(tmp_path):
    path = tmp_path / "log"
    path.write_text(
        '{"event": "refused", "at": 1, "recipient": "gone@x.example"}\n'
        '{"event": "ended", "at": 2, "connection": 7, "worker": "w1-1.storm.example", "how": "reset"}\n'
        '{"event": "taken", "at": 3, "ke'
    )
    assert read_log(path) == Log([], frozenset({"gone@x.example"}), {7: "reset"})
