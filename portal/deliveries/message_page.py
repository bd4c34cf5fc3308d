"""One message's story in plain words: where it stands, why, and what each attempt came to. No HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ..events.models import Event
    from .models import DeliveryLine

_REPEATABLE = {RetryClass.LATER, RetryClass.SERVER, RetryClass.RATE}  # refused in the end for want of time
_AMBIGUOUS = (
    "The message was handed over completely, but the connection ended before the server’s answer was read. "
    "So it may hold the message already. A further attempt carries the same Message-ID, by which most "
    "mailboxes recognise a twin."
)
_INTERRUPTED = (
    "The worker stopped in the middle of this attempt. The server may or may not hold the message; the next "
    "attempt carries the same Message-ID, by which most mailboxes recognise a twin."
)


@dataclass(frozen=True)
class Try:
    """One attempt, ready to be shown."""

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
    remark: str
    repeatable: bool
    trouble: DiagnosisView | None
    transcript: list[tuple[str, str, str]]


@dataclass(frozen=True)
class Story:
    """A message and every attempt at it, the newest first."""

    message: OutboxMessage
    title: str
    purpose: str
    status: str
    sentence: str
    tries: list[Try]
    trouble: DiagnosisView | None
    live: bool
    next_at: datetime | None

    @property
    def last(self) -> Try | None:
        return self.tries[0] if self.tries else None


def describe(message: OutboxMessage, attempts: list[DeliveryAttempt], queue: Queue | None) -> Story:
    """Put a message, its attempts (the first one first) and the state of the queue into words."""
    tries = [_try(attempt) for attempt in reversed(attempts)]
    last = tries[0] if tries else None
    waits = message.status is Status.QUEUED
    return Story(
        message=message,
        title=name_of(message),
        purpose=purpose_of(message),
        status=STATUS_LABELS[message.status],
        sentence=_sentence(message, last, queue),
        tries=tries,
        trouble=_why(message, last, queue),
        live=message.status is Status.SENDING or (waits and not attempts),
        next_at=_next_at(message, queue) if waits and attempts else None,
    )


def name_of(message: OutboxMessage) -> str:
    """Return the name of the kind of email, as the catalogue has it."""
    notice = CATALOGUE.get(message.kind)
    return notice.name if notice else message.kind


def purpose_of(message: OutboxMessage) -> str:
    """Return what else an email is than one to an affiliate: a test, or the check of a version."""
    if message.forced_version_id is not None:
        return "Check email"
    return "Test email" if message.is_test else ""


def last_reply(attempt: DeliveryAttempt | None) -> str:
    """Return in one line how the last attempt ended: the server's reply, or our own words without one."""
    if attempt is None:
        return ""
    said = reply_line(attempt.reply_code, attempt.enhanced_code, attempt.reply_text)
    if said or attempt.outcome is Outcome.STARTED:
        return said
    return str((attempt.diagnosis or {}).get("cause", "")) or OUTCOME_TAGS[attempt.outcome][1]


def _try(attempt: DeliveryAttempt) -> Try:
    tone, words = OUTCOME_TAGS[attempt.outcome]
    if attempt.ambiguous and attempt.outcome is not Outcome.ACCEPTED:
        tone, words = "ambiguous", "Perhaps sent"
    accepted = attempt.outcome is Outcome.ACCEPTED
    return Try(
        number=attempt.number,
        started_at=attempt.started_at,
        ended_at=attempt.ended_at,
        through=_through(attempt),
        server=attempt.server,
        sender=attempt.sender,
        tone=tone,
        outcome=words,
        stage=STAGE_PROGRESS_LABELS.get(attempt.stage, attempt.stage),
        reply=reply_line(None, "", attempt.reply_text),
        code=str(attempt.reply_code or ""),
        enhanced=plain_text(attempt.enhanced_code),
        queue_id=plain_text(attempt.queue_id),
        remark=_remark(attempt),
        repeatable=(attempt.diagnosis or {}).get("retry_class") in _REPEATABLE,
        trouble=None if accepted else diagnosis_view(attempt.diagnosis),
        transcript=transcript_lines(attempt.transcript),
    )


def _through(attempt: DeliveryAttempt) -> str:
    if attempt.version_number is not None:
        return f"Version {attempt.version_number} of your settings"
    return "The platform’s sender" if attempt.server else ""


def _remark(attempt: DeliveryAttempt) -> str:
    if attempt.outcome is Outcome.INTERRUPTED:
        return _INTERRUPTED
    return _AMBIGUOUS if attempt.ambiguous and attempt.outcome is not Outcome.ACCEPTED else ""


def _sentence(message: OutboxMessage, last: Try | None, queue: Queue | None) -> str:
    """Say where the message stands, in one sentence."""
    match message.status:
        case Status.SENT:
            by = last.server if last else "the server"
            return f"Accepted by {by}. From here on, that server delivers it."
        case Status.SENDING:
            return "It is being handed to the server at this moment."
        case Status.FAILED:
            return _failed(message, last)
        case Status.HELD:
            return "It waits until your settings work again. Nothing is lost: then it leaves by itself."
        case Status.QUEUED:
            return _queued(message, last, queue)
    return f"It will not be sent. {cancellations.find_reason(message.id)}".strip()


def _failed(message: OutboxMessage, last: Try | None) -> str:
    if message.forced_version_id is not None or message.is_test:
        return "It was not accepted. A test is tried once only; it is not repeated."
    if last is not None and last.tone == "ambiguous":
        return "It was given up without a clear answer: the server may hold the message all the same."
    if last is not None and last.repeatable:
        hours = int(give_up_after().total_seconds() // 3600)
        return f"It was not accepted within {hours} hours, so it is not tried again."
    return "It was refused for good, so it is not tried again."


def _queued(message: OutboxMessage, last: Try | None, queue: Queue | None) -> str:
    if last is None:
        return "It leaves as soon as a worker is free, normally within seconds."
    again = _next_at(message, queue)
    return f"The last attempt did not succeed; the next one follows at {format_time(again)}."


def _next_at(message: OutboxMessage, queue: Queue | None) -> datetime:
    """When the next attempt is due: a server in trouble is left alone, whatever the message says."""
    pause = queue.paused_until if queue is not None else None
    return max(message.next_attempt_at, pause) if pause else message.next_attempt_at


def _why(message: OutboxMessage, last: Try | None, queue: Queue | None) -> DiagnosisView | None:
    """Return what keeps the message: the trouble of its queue while on hold, else of its last attempt."""
    if message.status is Status.HELD:
        held = diagnosis_view(queue.hold_diagnosis) if queue is not None else None
        return held or (last.trouble if last else None)
    if message.status in (Status.FAILED, Status.QUEUED):
        return last.trouble if last else None
    return None


_ENDINGS = {
    Outcome.STARTED: ("running", "is under way"),
    Outcome.ACCEPTED: ("passed", "was accepted"),
    Outcome.DEFERRED: ("warning", "was put off by the server"),
    Outcome.REJECTED: ("failed", "was refused"),
    Outcome.HELD: ("warning", "was stopped by the settings"),
    Outcome.INTERRUPTED: ("warning", "was interrupted"),
}
_CALLED_OFF = {Status.CANCELLED: "It was cancelled", Status.SUPPRESSED: "It was suppressed"}


@dataclass(frozen=True)
class TimelineEntry:
    """One thing that happened. ``icon`` is a name of components/icon.html; ``anchor`` leads further down."""

    at: datetime
    icon: str
    title: str
    text: str = ""
    anchor: str = ""


def timeline(
    message: OutboxMessage,
    attempts: Sequence[DeliveryAttempt],
    event: Event | None,
    line: DeliveryLine | None,
) -> list[TimelineEntry]:
    """Put everything into the order in which it happened."""
    found = []
    if event is not None:
        source = presenter.source_labels([event])[event.id]
        found.append(TimelineEntry(event.created_at, "info", EVENT_LABELS[event.type], source))
    what = "Another copy was written and queued" if message.copy_of_id else "It was written and queued"
    found.append(TimelineEntry(message.created_at, "envelope", what, message.subject))
    found += [_timeline_attempt(attempt) for attempt in attempts]
    if message.retries_reset_at is not None:
        found.append(TimelineEntry(message.retries_reset_at, "info", "It was given a new start"))
    if message.status in _CALLED_OFF and message.settled_at is not None:
        title, why = _CALLED_OFF[message.status], cancellations.find_reason(message.id)
        found.append(TimelineEntry(message.settled_at, "skipped", title, why))
    if line is not None and line.wiped_at is not None:
        days = (line.wiped_at - (line.settled_at or line.created_at)).days
        text = f"The text was removed after {days} day{'' if days == 1 else 's'}"
        found.append(TimelineEntry(line.wiped_at, "skipped", text))
    return sorted(found, key=lambda moment: moment.at)


def _timeline_attempt(attempt: DeliveryAttempt) -> TimelineEntry:
    icon, ending = _ENDINGS[attempt.outcome]
    said = (
        f"by {attempt.server}" if attempt.server and attempt.outcome is Outcome.ACCEPTED else attempt.server
    )
    queue_id = plain_text(attempt.queue_id)
    text = ", ".join(part for part in (said, f"queue id {queue_id}" if queue_id else "") if part)
    title = f"Attempt {attempt.number} {ending}"
    return TimelineEntry(
        attempt.ended_at or attempt.started_at, icon, title, text, f"attempt-{attempt.number}-title"
    )
