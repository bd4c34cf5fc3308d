"""``flask outbox``: the state of the outbox in plain words, and the operator's orders about messages."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..operations import report
from ..outbox import admin
from ..outbox.admin import AdminResult, MessageSelection, ReleasedQueue, StatusChange
from ..outbox.models import Outcome, Status
from ..smtp.protocol.reply import plain_text
from ..web.filters import ago, format_time

if TYPE_CHECKING:
    from datetime import datetime

    from ..jobs.models import WorkerHeartbeat
    from ..operations.report import Facts
    from ..outbox.overview import MessageLease, QueueDepth, StoppedQueue

DONE, NOT_DONE = 0, 1
Say = Callable[[str], None]
Order = Callable[..., AdminResult]

_DID = {admin.retry: "to be tried again", admin.cancel: "cancelled"}


def status(as_json: bool, *, now: datetime, say: Say) -> int:
    """Tell the state of the outbox; return 1 if there is something for the operator to see to, else 0."""
    told = report.gather(now)
    if as_json:
        say(json.dumps(told.as_dict()))
    else:
        _tell(told, say)
    return NOT_DONE if told.attention else DONE


def order(deed: Order, which: MessageSelection, *, dry_run: bool, now: datetime, say: Say) -> int:
    """Carry out ``orders.retry`` or ``orders.cancel``, or only say what it would do.

    Return 0 when something was done, 1 when nothing matched or a message named by its id is left alone.
    """
    done = deed(which, now=now, dry_run=dry_run)
    names = report.gather(now)
    if dry_run:
        for one in done.changed:
            say(_line(one, names))
    for ident, why in done.refused.items():
        say(f"{ident} {why}; left as it is.")
    say(_summary(done.changed, _DID[deed], dry_run))
    return DONE if done.changed and not done.refused else NOT_DONE


def release(which: MessageSelection, *, dry_run: bool, now: datetime, say: Say) -> int:
    """Let stopped queues move again, or only say which; return 1 when none was meant."""
    done = admin.release_queues(which, now=now, dry_run=dry_run)
    names = report.gather(now)
    for one in done:
        say(_release_line(one, names, dry_run))
    if not done:
        say("No such queue is held or paused.")
    elif dry_run:
        say("Nothing was changed.")
    return DONE if done else NOT_DONE


def _line(one: StatusChange, names: Facts) -> str:
    to = plain_text(one.recipient)
    return f"{one.message_id}  {names.name(one.account_id)}  {to}  {one.old.value} -> {one.new.value}"


def _summary(moved: Sequence[StatusChange], did: str, dry_run: bool) -> str:
    if not moved:
        return "No message matches. Nothing was changed."
    would = "would be " if dry_run else ""
    held = sum(one.new is Status.HELD for one in moved)
    wait = f" {held} of them on hold, for so is their queue." if held else ""
    return f"{_many(len(moved))} {would}{did}.{wait}{' Nothing was changed.' if dry_run else ''}"


def _release_line(one: ReleasedQueue, names: Facts, dry_run: bool) -> str:
    why = f"held since {format_time(one.held_at)}: {plain_text(one.code)}" if one.held_at else "paused"
    what = "would be released" if dry_run else "released"
    return f"{names.name(one.account_id)} ({why}) {what}, with {_many(one.waiting)}."


def _many(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"


def _tell(told: Facts, say: Say) -> None:
    seen = told.overview
    for sentence in told.attention:
        say(f"! {sentence}")
    since = (
        f", the oldest since {format_time(seen.oldest)} ({ago(seen.oldest, seen.at)})" if seen.oldest else ""
    )
    say(f"{_many(seen.depth)} owed{since}.")
    _section("Accounts", [_account_line(told, one) for one in seen.accounts], say)
    _section("Stopped queues", [_stopped_line(told, one) for one in seen.stopped], say)
    _section("Workers", [_worker_line(told, one) for one in seen.workers], say)
    _section("Being sent", [_lease_line(told, one) for one in seen.leases], say)
    hour = [
        f"{seen.attempts_last_hour[one]} {one.value}" for one in Outcome if seen.attempts_last_hour.get(one)
    ]
    _section("Attempts in the last hour", [", ".join(hour)] if hour else [], say)
    minute = [
        f"{seen.attempts_last_minute[one]} {one.value}"
        for one in Outcome
        if seen.attempts_last_minute.get(one)
    ]
    _section("Attempts in the last minute", [", ".join(minute)] if minute else [], say)
    _section("Faults of the portal", _fault_lines(told), say)


def _fault_lines(told: Facts) -> list[str]:
    lines = []
    for one in told.overview.internal_errors:
        lines.append(f"message {one.message_id} of {told.name(one.account_id)} at {format_time(one.at)}:")
        lines += [f"  {plain_text(line)}" for line in one.traceback.splitlines()]
    return lines


def _section(title: str, lines: list[str], say: Say) -> None:
    say(f"\n{title}")
    for line in lines or ["none"]:
        say(f"  {line}")


def _account_line(told: Facts, one: QueueDepth) -> str:
    counts = Counter({state.value: one.counts.get(state, 0) for state in Status})
    said = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return f"{told.name(one.account_id)}: {said}"


def _stopped_line(told: Facts, one: StoppedQueue) -> str:
    name = told.name(one.account_id)
    if one.held_at is None:
        return f"{name}: paused until {format_time(one.until)}, {one.waiting} wait"
    again = f" (one is tried at {format_time(one.until)})" if one.until else ""
    return f"{name}: held since {format_time(one.held_at)}, {one.waiting} wait{again}: {report.cause(one)}"


def _worker_line(told: Facts, one: WorkerHeartbeat) -> str:
    missing = "" if one in told.overview.at_work else "MISSING, "
    about = f"version {one.version}, {one.threads} threads"
    return f"{one.host} pid {one.pid}: {about}, {missing}last seen {ago(one.seen_at, told.overview.at)}"


def _lease_line(told: Facts, one: MessageLease) -> str:
    end = "its worker died; it is taken up again" if one.lapsed else f"until {format_time(one.until)}"
    to = f" to {one.server}" if one.server else ""
    return f"{one.message_id} of {told.name(one.account_id)}{to}, {end}"
