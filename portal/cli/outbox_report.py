"""``flask outbox``: prints the state of the outbox and applies the operator's bulk actions to messages."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from .. import audit
from ..operations.orders import record_change
from ..operations.report import build_report, hold_cause
from ..outbox import admin
from ..outbox.admin import AdminResult, MessageSelection, ReleasedQueue, StatusChange
from ..outbox.models import Outcome, Status
from ..smtp.protocol.reply import plain_text
from ..web.filters import ago, format_time

if TYPE_CHECKING:
    from datetime import datetime

    from ..jobs.models import WorkerHeartbeat
    from ..operations.report import OutboxReport
    from ..outbox.overview import MessageLease, QueueDepth, StoppedQueue

DONE, NOT_DONE = 0, 1
Echo = Callable[[str], None]
Action = Callable[..., AdminResult]

_RESULT_LABELS = {admin.retry: "to be tried again", admin.cancel: "cancelled"}


def status(as_json: bool, *, now: datetime, echo: Echo) -> int:
    """Print the state of the outbox; return 1 if something needs the operator's attention, else 0."""
    report = build_report(now, counts_settled=True)
    if as_json:
        echo(json.dumps(report.as_dict()))
    else:
        _print_report(report, echo)
    return NOT_DONE if report.attention else DONE


_RECORDED: Mapping[Action, audit.Activity] = {
    admin.retry: audit.Activity.OUTBOX_RETRIED,
    admin.cancel: audit.Activity.OUTBOX_CANCELLED,
}


def apply(action: Action, selection: MessageSelection, *, dry_run: bool, now: datetime, echo: Echo) -> int:
    """Run ``admin.retry`` or ``admin.cancel``, or with ``dry_run`` only print what it would change.

    Returns 0 if something changed, 1 if nothing matched or a message named by its id was left unchanged.
    """
    result = action(selection, now=now, dry_run=dry_run, on_change=partial(record_change, _RECORDED[action]))
    report = build_report(now)
    if dry_run:
        for one in result.changed:
            echo(_change_line(one, report))
    for id_, why in result.refused.items():
        echo(f"{id_} {why}; left as it is.")
    echo(_summary(result.changed, _RESULT_LABELS[action], dry_run))
    return DONE if result.changed and not result.refused else NOT_DONE


def release(selection: MessageSelection, *, dry_run: bool, now: datetime, echo: Echo) -> int:
    """Release stopped queues, or with ``dry_run`` only print which; return 1 if none matched."""
    released = partial(record_change, audit.Activity.OUTBOX_RELEASED)
    result = admin.release_queues(selection, now=now, dry_run=dry_run, on_change=released)
    report = build_report(now)
    for one in result:
        echo(_release_line(one, report, dry_run))
    if not result:
        echo("No such queue is held or paused.")
    elif dry_run:
        echo("Nothing was changed.")
    return DONE if result else NOT_DONE


def _change_line(one: StatusChange, report: OutboxReport) -> str:
    to = plain_text(one.recipient)
    return f"{one.message_id}  {report.name(one.account_id)}  {to}  {one.old.value} -> {one.new.value}"


def _summary(moved: Sequence[StatusChange], did: str, dry_run: bool) -> str:
    if not moved:
        return "No message matches. Nothing was changed."
    would = "would be " if dry_run else ""
    held = sum(one.new is Status.HELD for one in moved)
    wait = f" {held} of them on hold, for so is their queue." if held else ""
    return f"{_count_messages(len(moved))} {would}{did}.{wait}{' Nothing was changed.' if dry_run else ''}"


def _release_line(one: ReleasedQueue, report: OutboxReport, dry_run: bool) -> str:
    why = f"held since {format_time(one.held_at)}: {plain_text(one.code)}" if one.held_at else "paused"
    what = "would be released" if dry_run else "released"
    return f"{report.name(one.account_id)} ({why}) {what}, with {_count_messages(one.waiting)}."


def _count_messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"


def _print_report(report: OutboxReport, echo: Echo) -> None:
    overview = report.overview
    for sentence in report.attention:
        echo(f"! {sentence}")
    since = (
        f", the oldest since {format_time(overview.oldest)} ({ago(overview.oldest, overview.at)})"
        if overview.oldest
        else ""
    )
    echo(f"{_count_messages(overview.depth)} queued{since}.")
    _section("Accounts", [_account_line(report, one) for one in overview.accounts], echo)
    _section("Stopped queues", [_stopped_line(report, one) for one in overview.stopped], echo)
    _section("Workers", [_worker_line(report, one) for one in overview.workers], echo)
    _section("Being sent", [_lease_line(report, one) for one in overview.leases], echo)
    hour = [
        f"{overview.attempts_last_hour[one]} {one.value}"
        for one in Outcome
        if overview.attempts_last_hour.get(one)
    ]
    _section("Attempts in the last hour", [", ".join(hour)] if hour else [], echo)
    minute = [
        f"{overview.attempts_last_minute[one]} {one.value}"
        for one in Outcome
        if overview.attempts_last_minute.get(one)
    ]
    _section("Attempts in the last minute", [", ".join(minute)] if minute else [], echo)
    _section("Faults of the portal", _error_lines(report), echo)


def _error_lines(report: OutboxReport) -> list[str]:
    lines = []
    for one in report.overview.internal_errors:
        lines.append(f"message {one.message_id} of {report.name(one.account_id)} at {format_time(one.at)}:")
        lines += [f"  {plain_text(line)}" for line in one.traceback.splitlines()]
    return lines


def _section(title: str, lines: list[str], echo: Echo) -> None:
    echo(f"\n{title}")
    for line in lines or ["none"]:
        echo(f"  {line}")


def _account_line(report: OutboxReport, one: QueueDepth) -> str:
    counts = Counter({state.value: one.counts.get(state, 0) for state in Status})
    counts_text = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return f"{report.name(one.account_id)}: {counts_text}"


def _stopped_line(report: OutboxReport, one: StoppedQueue) -> str:
    name = report.name(one.account_id)
    if one.held_at is None:
        return f"{name}: paused until {format_time(one.until)}, {one.waiting} wait"
    again = f" (one is tried at {format_time(one.until)})" if one.until else ""
    return f"{name}: held since {format_time(one.held_at)}, {one.waiting} wait{again}: {hold_cause(one)}"


def _worker_line(report: OutboxReport, one: WorkerHeartbeat) -> str:
    missing = "" if one in report.overview.at_work else "MISSING, "
    about = f"version {one.version}, {one.threads} threads"
    return f"{one.host} pid {one.pid}: {about}, {missing}last seen {ago(one.seen_at, report.overview.at)}"


def _lease_line(report: OutboxReport, one: MessageLease) -> str:
    end = "expired; another worker takes over" if one.lapsed else f"until {format_time(one.until)}"
    to = f" to {one.server}" if one.server else ""
    return f"{one.message_id} of {report.name(one.account_id)}{to}, {end}"
