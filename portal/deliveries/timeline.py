"""A message's way, moment by moment: what caused it, when it was owed, tried, accepted, and what is gone. No HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..events import presenter
from ..events.types import EVENT_LABELS
from ..outbox import cancellations
from ..outbox.models import DeliveryAttempt, OutboxMessage, Outcome, Status
from ..smtp.protocol.reply import plain_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ..events.models import Event
    from .models import DeliveryLine

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
class Moment:
    """One thing that happened. ``icon`` is a name of components/icon.html; ``anchor`` leads further down."""

    at: datetime
    icon: str
    title: str
    text: str = ""
    anchor: str = ""


def tell(
    message: OutboxMessage,
    attempts: Sequence[DeliveryAttempt],
    event: Event | None,
    line: DeliveryLine | None,
) -> list[Moment]:
    """Put everything into the order in which it happened."""
    found = []
    if event is not None:
        source = presenter.source_labels([event])[event.id]
        found.append(Moment(event.created_at, "info", EVENT_LABELS[event.type], source))
    what = "Another copy was written and queued" if message.copy_of_id else "It was written and queued"
    found.append(Moment(message.created_at, "envelope", what, message.subject))
    found += [_attempt(attempt) for attempt in attempts]
    if message.retries_reset_at is not None:
        found.append(Moment(message.retries_reset_at, "info", "It was given a new start"))
    if message.status in _CALLED_OFF and message.settled_at is not None:
        title, why = _CALLED_OFF[message.status], cancellations.find_reason(message.id)
        found.append(Moment(message.settled_at, "skipped", title, why))
    if line is not None and line.wiped_at is not None:
        days = (line.wiped_at - (line.settled_at or line.created_at)).days
        text = f"The text was removed after {days} day{'' if days == 1 else 's'}"
        found.append(Moment(line.wiped_at, "skipped", text))
    return sorted(found, key=lambda moment: moment.at)


def _attempt(attempt: DeliveryAttempt) -> Moment:
    icon, ending = _ENDINGS[attempt.outcome]
    said = (
        f"by {attempt.server}" if attempt.server and attempt.outcome is Outcome.ACCEPTED else attempt.server
    )
    queue_id = plain_text(attempt.queue_id)
    text = ", ".join(part for part in (said, f"queue id {queue_id}" if queue_id else "") if part)
    title = f"Attempt {attempt.number} {ending}"
    return Moment(
        attempt.ended_at or attempt.started_at, icon, title, text, f"attempt-{attempt.number}-title"
    )
