"""The page of one message: its status and the reason, its timeline, and the details of each attempt. No HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask_babel import gettext as _
from flask_babel import lazy_gettext, ngettext

from ..bounces import labels
from ..events import presenter
from ..events.types import EVENT_LABELS
from ..notices.catalogue import CATALOGUE
from ..outbox import cancellations
from ..outbox.models import DeliveryAttempt, OutboxMessage, Outcome, Queue, Status
from ..outbox.retry import give_up_after
from ..smtp.diagnosis.diagnose import RetryClass
from ..smtp.protocol.reply import plain_text
from ..web.filters import format_time
from ..web.labels import (
    OUTCOME_TAGS,
    STAGE_PROGRESS_LABELS,
    STATUS_LABELS,
    DiagnosisView,
    diagnosis_view,
    reply_line,
    transcript_lines,
)
from ..web.translations import translated

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ..bounces.models import BounceEvent, MessageOutcome
    from ..events.models import Event
    from .models import LogRow

_RETRIED_CLASSES = {
    RetryClass.LATER,
    RetryClass.SERVER,
    RetryClass.RATE,
}  # their messages fail when time runs out
_AMBIGUOUS = lazy_gettext(
    "Signet sent the whole message, but the connection ended before the server replied. The server may "
    "already have the message. If Signet tries again, the email has the same Message-ID, a number by "
    "which most mailboxes recognise a duplicate."
)
_INTERRUPTED = lazy_gettext(
    "Signet was interrupted during this attempt. The server may already have the message. The next "
    "attempt has the same Message-ID, a number by which most mailboxes recognise a duplicate."
)


@dataclass(frozen=True)
class AttemptDetail:
    """One delivery attempt, ready to be shown."""

    number: int
    started_at: datetime
    ended_at: datetime | None
    through: str
    server: str
    sender: str
    tone: str
    outcome: str
    stage: str
    reply: str
    code: str
    enhanced: str
    queue_id: str
    note: str
    was_retried: bool
    diagnosis: DiagnosisView | None
    transcript: list[tuple[str, str, str]]


@dataclass(frozen=True)
class MessageDetail:
    """A message with its attempts, newest first, ready to be shown."""

    message: OutboxMessage
    title: str
    purpose: str
    status: str
    sentence: str
    outcome: MessageOutcome | None  # what was reported after the acceptance
    attempts: list[AttemptDetail]
    diagnosis: DiagnosisView | None
    live: bool
    next_at: datetime | None

    @property
    def last(self) -> AttemptDetail | None:
        return self.attempts[0] if self.attempts else None


def describe(
    message: OutboxMessage,
    attempts: list[DeliveryAttempt],
    queue: Queue | None,
    outcome: MessageOutcome | None = None,
) -> MessageDetail:
    """Return the details of a message. ``attempts`` are oldest first; ``queue`` is the account's, if there is one."""
    details = [_attempt_detail(attempt) for attempt in reversed(attempts)]
    last = details[0] if details else None
    waits = message.status is Status.QUEUED
    return MessageDetail(
        message=message,
        title=kind_name(message),
        purpose=purpose(message),
        status=STATUS_LABELS[message.status],
        sentence=_sentence(message, last, queue) if outcome is None else f"{labels.title(outcome)}.",
        outcome=outcome,
        attempts=details,
        diagnosis=_diagnosis(message, last, queue),
        live=message.status is Status.SENDING or (waits and not attempts),
        next_at=_next_at(message, queue) if waits and attempts else None,
    )


def kind_name(message: OutboxMessage) -> str:
    """Return the catalogue's name of the message's kind."""
    return name_of_kind(message.kind)


def name_of_kind(kind: str) -> str:
    """Return the catalogue's name of a kind of message; an unknown kind unchanged."""
    notice = CATALOGUE.get(kind)
    return _(notice.name) if notice else kind


def purpose(message: OutboxMessage) -> str:
    """Return what the message is if not an ordinary email: a test, or the check of a settings version."""
    if message.forced_version_id is not None:
        return _("Check email")
    return _("Test email") if message.is_test else ""


def problem(attempt: DeliveryAttempt | None) -> str:
    """Return why the last attempt was not accepted, in one line: the server's reply, else the cause of the failure."""
    if attempt is None or attempt.outcome is Outcome.ACCEPTED:
        return ""
    reply = reply_line(attempt.reply_code, attempt.enhanced_code, attempt.reply_text)
    if reply or attempt.outcome is Outcome.STARTED:
        return reply
    return str((attempt.diagnosis or {}).get("cause", "")) or OUTCOME_TAGS[attempt.outcome][1]


def _attempt_detail(attempt: DeliveryAttempt) -> AttemptDetail:
    tone, label = OUTCOME_TAGS[attempt.outcome]
    if attempt.ambiguous and attempt.outcome is not Outcome.ACCEPTED:
        tone, label = "ambiguous", _("Possibly sent")
    accepted = attempt.outcome is Outcome.ACCEPTED
    return AttemptDetail(
        number=attempt.number,
        started_at=attempt.started_at,
        ended_at=attempt.ended_at,
        through=_through(attempt),
        server=attempt.server,
        sender=attempt.sender,
        tone=tone,
        outcome=label,
        stage=STAGE_PROGRESS_LABELS.get(attempt.stage, attempt.stage),
        reply=reply_line(None, "", attempt.reply_text),
        code=str(attempt.reply_code or ""),
        enhanced=plain_text(attempt.enhanced_code),
        queue_id=plain_text(attempt.queue_id),
        note=_note(attempt),
        was_retried=(attempt.diagnosis or {}).get("retry_class") in _RETRIED_CLASSES,
        diagnosis=None if accepted else diagnosis_view(attempt.diagnosis),
        transcript=transcript_lines(attempt.transcript),
    )


def _through(attempt: DeliveryAttempt) -> str:
    if attempt.version_number is not None:
        return _("Version %(number)s of your settings", number=attempt.version_number)
    return _("The platform’s sender") if attempt.server else ""


def _note(attempt: DeliveryAttempt) -> str:
    if attempt.outcome is Outcome.INTERRUPTED:
        return _INTERRUPTED
    return _AMBIGUOUS if attempt.ambiguous and attempt.outcome is not Outcome.ACCEPTED else ""


def _sentence(message: OutboxMessage, last: AttemptDetail | None, queue: Queue | None) -> str:
    """Return the state of the message in one sentence."""
    match message.status:
        case Status.SENT:
            by = last.server if last else _("The server")
            return _("%(server)s accepted this email and is responsible for its delivery.", server=by)
        case Status.SENDING:
            return _("Signet is sending this email to the server now.")
        case Status.FAILED:
            return _failed(message, last)
        case Status.HELD:
            return _("This email waits until your settings work again. Then Signet sends it automatically.")
        case Status.QUEUED:
            return _queued(message, last, queue)
    return _(
        "Signet will not send this email. %(reason)s",
        reason=translated(cancellations.find_reason(message.id)),
    ).strip()


def _failed(message: OutboxMessage, last: AttemptDetail | None) -> str:
    if message.forced_version_id is not None or message.is_test:
        return _("The server did not accept this email. Signet sends a test only once.")
    if last is not None and last.tone == "ambiguous":
        return _("Signet stopped trying without a clear reply. The server may still have the message.")
    if last is not None and last.was_retried:
        hours = int(give_up_after().total_seconds() // 3600)
        return _(
            "No server accepted this email within %(hours)s hours, so Signet does not try again.", hours=hours
        )
    return _("The server refused this email permanently, so Signet does not try again.")


def _queued(message: OutboxMessage, last: AttemptDetail | None, queue: Queue | None) -> str:
    if last is None:
        return _("Signet sends this email shortly, normally within seconds.")
    again = _next_at(message, queue)
    return _(
        "The last attempt failed. Signet tries again at %(time)s.",
        time=format_time(again),
    )


def _next_at(message: OutboxMessage, queue: Queue | None) -> datetime:
    """Return when the next attempt is due: not before the queue's pause ends."""
    pause = queue.paused_until if queue is not None else None
    return max(message.next_attempt_at, pause) if pause else message.next_attempt_at


def _diagnosis(
    message: OutboxMessage, last: AttemptDetail | None, queue: Queue | None
) -> DiagnosisView | None:
    """Return why the message waits or failed: the queue's diagnosis while on hold, else that of the last attempt."""
    if message.status is Status.HELD:
        held = diagnosis_view(queue.hold_diagnosis) if queue is not None else None
        return held or (last.diagnosis if last else None)
    if message.status in (Status.FAILED, Status.QUEUED):
        return last.diagnosis if last else None
    return None


_OUTCOME_TITLES = {
    Outcome.STARTED: ("running", lazy_gettext("is in progress")),
    Outcome.ACCEPTED: ("passed", lazy_gettext("was accepted")),
    Outcome.DEFERRED: ("warning", lazy_gettext("was postponed by the server")),
    Outcome.REJECTED: ("failed", lazy_gettext("was refused")),
    Outcome.HELD: ("warning", lazy_gettext("was stopped by the settings")),
    Outcome.INTERRUPTED: ("warning", lazy_gettext("was interrupted")),
}
_CANCELLED_TITLES = {
    Status.CANCELLED: lazy_gettext("Cancelled"),
    Status.SUPPRESSED: lazy_gettext("Not sent: this recipient does not get this email"),
}


@dataclass(frozen=True)
class MessageTimelineEntry:
    """One entry of a message's timeline. ``icon`` is a name of components/icon.html; ``anchor`` an id on the page."""

    at: datetime
    icon: str
    title: str
    text: str = ""
    anchor: str = ""


def timeline(
    message: OutboxMessage,
    attempts: Sequence[DeliveryAttempt],
    event: Event | None,
    row: LogRow | None,
    reports: Sequence[BounceEvent] = (),
) -> list[MessageTimelineEntry]:
    """Return what happened to a message, oldest first, from the event that caused it to the removal of its text."""
    found = []
    if event is not None:
        source = presenter.source_labels([event])[event.id]
        found.append(MessageTimelineEntry(event.created_at, "info", str(EVENT_LABELS[event.type]), source))
    title = _("Copy queued") if message.copy_of_id else _("Queued")
    found.append(MessageTimelineEntry(message.created_at, "envelope", title, message.subject))
    found += [_attempt_entry(attempt) for attempt in attempts]
    found += [
        MessageTimelineEntry(
            report.occurred_at, labels.icon(report.meaning), labels.title(report), labels.details(report)
        )
        for report in reports
    ]
    if message.retries_reset_at is not None:
        found.append(MessageTimelineEntry(message.retries_reset_at, "info", _("Retried")))
    if message.status in _CANCELLED_TITLES and message.settled_at is not None:
        title = _CANCELLED_TITLES[message.status]
        reason = translated(cancellations.find_reason(message.id))
        found.append(MessageTimelineEntry(message.settled_at, "skipped", title, reason))
    if row is not None and row.wiped_at is not None:
        days = (row.wiped_at - (row.settled_at or row.created_at)).days
        text = ngettext(
            "The text was removed after %(num)s day", "The text was removed after %(num)s days", days
        )
        found.append(MessageTimelineEntry(row.wiped_at, "skipped", text))
    return sorted(found, key=lambda entry: entry.at)


def _attempt_entry(attempt: DeliveryAttempt) -> MessageTimelineEntry:
    icon, ending = _OUTCOME_TITLES[attempt.outcome]
    server = (
        _("by %(server)s", server=attempt.server)
        if attempt.server and attempt.outcome is Outcome.ACCEPTED
        else attempt.server
    )
    queue_id = plain_text(attempt.queue_id)
    text = ", ".join(
        part for part in (server, _("queue ID %(queue_id)s", queue_id=queue_id) if queue_id else "") if part
    )
    title = _("Attempt %(number)s %(ending)s", number=attempt.number, ending=ending)
    return MessageTimelineEntry(
        attempt.ended_at or attempt.started_at, icon, title, text, f"attempt-{attempt.number}-title"
    )
