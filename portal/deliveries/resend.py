"""One message once more: tried again, cancelled, or another copy of it, to its recipient or to the owner.

A copy is a message of its own that names its origin. The key of the form is in its key, so a double click
makes one; budgets keep a button from becoming a way to flood somebody.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from .. import rate_limit
from ..affiliates import links, suppressions
from ..affiliates.models import SuppressionReason
from ..db import db
from ..events import dispatch, event_log
from ..notices.catalogue import CATALOGUE
from ..notices.rendering import RenderedEmail, UnrenderableText
from ..outbox import admin
from ..outbox.admin import MessageSelection
from ..outbox.models import OutboxMessage, Status
from ..outbox.queue import NewMessage, enqueue_row
from ..rate_limit import RateLimit
from .models import Action

if TYPE_CHECKING:
    from ..accounts.models import Owner
    from ..events.models import Event

OF_ACCOUNT = RateLimit("copies-of-account", 60, timedelta(hours=1))
OF_MESSAGE = RateLimit("copies-of-message", 5, timedelta(days=1))
_WHY_SUPPRESSED = {
    SuppressionReason.UNSUBSCRIBED: "has unsubscribed from emails like this one",
    SuppressionReason.BY_OWNER: "is on your list of mailboxes you do not write to",
}
_SETTLED = {
    Status.SENDING: "It is being sent at this moment.",
    Status.SENT: "A server has accepted it. To have it delivered once more, send another copy.",
    Status.HELD: "It is on hold with all others until your settings work, or until you release them.",
    Status.FAILED: "It has failed already.",
    Status.CANCELLED: "It was cancelled already.",
    Status.SUPPRESSED: "It is suppressed: its recipient is not written to.",
    Status.QUEUED: "It leaves as soon as a worker is free anyway.",
}


class Refused(Exception):
    """It cannot be done; the words say why."""


@dataclass(frozen=True)
class Wish:
    """Another copy: to whom, in whose words, and the key of the form that asked."""

    to_me: bool
    anew: bool  # with today's text instead of what was sent
    key: str


def may_retry(message: OutboxMessage, now: datetime) -> bool:
    """Whether a new start would change anything."""
    waits = message.status is Status.QUEUED and message.next_attempt_at > now
    usual = message.forced_version_id is None and not message.is_test and bool(message.text)
    return usual and (waits or message.status in (Status.FAILED, Status.CANCELLED))


def may_cancel(message: OutboxMessage) -> bool:
    return message.status in admin.CANCELLABLE and message.forced_version_id is None


def move(message: OutboxMessage, action: Action, *, now: datetime) -> str:
    """Try a message again or cancel it. Commits. Return why not, or nothing."""
    if action is Action.RETRY and not message.text:
        return "Its text was removed, so there is nothing left to send."
    if message.forced_version_id is not None or (action is Action.RETRY and message.is_test):
        return "It is a test or a check, which is tried once. Send a new one from Email Preferences."
    retry = action is Action.RETRY
    statuses = admin.RETRYABLE if retry else admin.CANCELLABLE
    which = MessageSelection(account_id=message.account_id, message_ids=[message.id], statuses=statuses)
    done = (admin.retry if retry else admin.cancel)(which, now=now)
    return "" if done.changed else _SETTLED[message.status]


def why_no_copy(message: OutboxMessage) -> str:
    """Say why there can be no further copy of a message to anybody, or nothing."""
    if message.is_sealed:
        return "The portal’s own mail is not sent again."
    if message.forced_version_id is not None or message.is_test:
        return "It is a test or a check. Send a new one from Email Preferences."
    return ""


def why_not_anew(message: OutboxMessage) -> str:
    """Say why a message cannot be written with today's text, or nothing."""
    if message.kind not in CATALOGUE:
        return "Emails of this kind exist no more."
    if event_of(message) is None:
        rest = "it can only be sent as it was" if message.text else "it cannot be written anew"
        return f"What caused it is not on record, so {rest}."
    return ""


def why_not_to(message: OutboxMessage) -> str:
    """Say why the recipient is not written to, or nothing."""
    notice = CATALOGUE.get(message.kind)
    found = suppressions.find_suppression(message.account_id or 0, message.recipient)
    if found is None or (
        notice and not suppressions.is_suppressed(found.account_id, message.recipient, notice.category)
    ):
        return ""
    why = _WHY_SUPPRESSED.get(found.reason, "could not be reached before, and is not written to any more")
    return f"{message.recipient} {why}."


def send(message: OutboxMessage, owner: Owner, wish: Wish, *, now: datetime) -> OutboxMessage:
    """Owe another copy of a message. Commits. Raises Refused."""
    why = why_no_copy(message) or (_why_not_to_me(message) if wish.to_me else why_not_to(message))
    if why:
        raise Refused(why)
    new = _written(message, owner, wish)
    found = db.session.scalar(select(OutboxMessage).where(OutboxMessage.key == new.key))
    if found is not None:
        return found
    allowed = rate_limit.consume(OF_ACCOUNT, message.account_id, now=now)
    if not (rate_limit.consume(OF_MESSAGE, message.id, now=now) and allowed):
        db.session.rollback()
        raise Refused(
            "Too many copies were sent in a short time. Wait an hour, or a day for this very email."
        )
    copy = enqueue_row(message.account_id, new, now=now)
    if copy is None:  # the same form, sent twice at the same moment
        db.session.rollback()
        return db.session.scalars(select(OutboxMessage).where(OutboxMessage.key == new.key)).one()
    db.session.commit()
    return copy


def _why_not_to_me(message: OutboxMessage) -> str:
    if not links.holds_token(message.kind):
        return ""
    return "Its link acts in the affiliate’s name, so it goes to the affiliate alone."


def _written(message: OutboxMessage, owner: Owner, wish: Wish) -> NewMessage:
    mail, unsubscribe = _anew(message) if wish.anew else _as_it_was(message)
    recipient, name = message.recipient, message.recipient_name
    if wish.to_me and owner.mailbox != recipient:
        recipient, name = owner.mailbox, owner.name
        unsubscribe = ""  # one click there would end the mail of somebody else
    key = f"again:{message.id}:{wish.key}"
    return mail.to(
        recipient, name, kind=message.kind, key=key, unsubscribe_url=unsubscribe, copy_of_id=message.id
    )


def _as_it_was(message: OutboxMessage) -> tuple[RenderedEmail, str]:
    if not message.text:
        raise Refused("Its text was removed. It can only be sent with today’s text.")
    return RenderedEmail(message.subject, message.text, message.html), message.unsubscribe_url


def _anew(message: OutboxMessage) -> tuple[RenderedEmail, str]:
    event, notice = event_of(message), CATALOGUE.get(message.kind)
    if event is None or notice is None:
        raise Refused(why_not_anew(message))
    try:
        return dispatch.render_again(event, notice, message.recipient, message.recipient_name)
    except UnrenderableText as refused:
        raise Refused(f"Today’s text cannot be used: {refused}") from None
    except KeyError:
        raise Refused("Today’s text asks for more than is known of what caused this email.") from None


def first_of(message: OutboxMessage) -> OutboxMessage:
    """Return the message of which this one is a copy, or a copy of a copy."""
    for _ in range(100):
        origin = origin_of(message)
        if origin is None:
            break
        message = origin
    return message


def event_of(message: OutboxMessage) -> Event | None:
    """Return what caused a message, or the one it is a copy of."""
    event = event_log.find_by_message(first_of(message).id)
    return event if event is not None and event.account_id == message.account_id else None


def origin_of(message: OutboxMessage) -> OutboxMessage | None:
    """Return the message this one is a copy of, if it is still there."""
    origin = db.session.get(OutboxMessage, message.copy_of_id) if message.copy_of_id else None
    return origin if origin is not None and origin.account_id == message.account_id else None
