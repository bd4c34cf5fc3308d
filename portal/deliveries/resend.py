"""Actions on one message: retry it, cancel it, or send a copy of it to its recipient or to the owner.

A copy is a message of its own that names its origin. Its key holds the key of the form, so a double click makes one
copy; rate limits keep a button from flooding a mailbox.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from flask_babel import gettext as _
from flask_babel import lazy_gettext
from sqlalchemy import select

from .. import audit, rate_limit
from ..affiliates import links, suppressions
from ..affiliates.models import SuppressionReason
from ..db import db
from ..events import dispatch, event_log
from ..notices.catalogue import CATALOGUE
from ..notices.rendering import RenderedEmail, UnrenderableText
from ..outbox import admin
from ..outbox.admin import MessageSelection
from ..outbox.models import OutboxMessage, Status
from ..outbox.queue import NewMessage, enqueue_row, is_own_server_only, own_server_key
from ..rate_limit import RateLimit
from ..recipient_limits import one_spelling
from .models import Action

if TYPE_CHECKING:
    from ..accounts.models import Owner
    from ..events.models import Event

ACCOUNT_LIMIT = RateLimit("copies-of-account", 60, timedelta(hours=1))
MESSAGE_LIMIT = RateLimit("copies-of-message", 5, timedelta(days=1))
RECIPIENT_LIMIT = RateLimit("copies to a recipient", 10, timedelta(days=1))
_WHY_SUPPRESSED = {
    SuppressionReason.UNSUBSCRIBED: lazy_gettext("has unsubscribed from emails like this one"),
    SuppressionReason.COMPLAINED: lazy_gettext("reported one of your emails as spam and is blocked"),
    SuppressionReason.BY_OWNER: lazy_gettext("is on your list of addresses that are not written to"),
}
_WHY_NOT = {
    Status.SENDING: lazy_gettext("Signet is sending this email now."),
    Status.SENT: lazy_gettext(
        "A server has accepted this email. To have it delivered once more, send another copy."
    ),
    Status.HELD: lazy_gettext(
        "This email is on hold with all others until your settings work or you release them."
    ),
    Status.FAILED: lazy_gettext("This email has already failed."),
    Status.CANCELLED: lazy_gettext("This email is already cancelled."),
    Status.SUPPRESSED: lazy_gettext("This email is suppressed: its recipient is not written to."),
    Status.QUEUED: lazy_gettext("Signet sends this email shortly."),
}


class ResendRefused(Exception):
    """The copy cannot be sent; the message is a sentence for the page."""


@dataclass(frozen=True)
class ResendRequest:
    """A request for a copy of a message."""

    to_owner: bool  # to the owner who is logged in instead of the message's recipient
    render_again: bool  # with today's text instead of the stored one
    key: str  # of the form: the same one makes one copy


def may_retry(message: OutboxMessage, now: datetime) -> bool:
    """Whether a retry would change anything."""
    waits = message.status is Status.QUEUED and message.next_attempt_at > now
    ordinary = message.forced_version_id is None and not message.is_test and bool(message.text)
    return ordinary and (waits or message.status in (Status.FAILED, Status.CANCELLED))


def may_cancel(message: OutboxMessage) -> bool:
    return message.status in admin.CANCELLABLE and message.forced_version_id is None


def retry_or_cancel(message: OutboxMessage, action: Action, *, now: datetime) -> str:
    """Retry or cancel a message; return why it cannot be done, or an empty text. Commits."""
    if action is Action.RETRY and not message.text:
        return _("The text of this email was deleted, so it can no longer be sent.")
    if message.forced_version_id is not None or (action is Action.RETRY and message.is_test):
        return _(
            "This is a test or a check, which Signet sends only once. Send a new one from Email Preferences."
        )
    retry = action is Action.RETRY
    statuses = admin.RETRYABLE if retry else admin.CANCELLABLE
    selection = MessageSelection(account_id=message.account_id, message_ids=[message.id], statuses=statuses)
    done = audit.Activity.MESSAGE_RETRIED if retry else audit.Activity.MESSAGE_CANCELLED
    account_id, target = message.account_id, audit.AuditTarget("message", message.id)

    def record(_changed: object) -> None:
        audit.record(done, account_id, target=target)

    result = (admin.retry if retry else admin.cancel)(selection, now=now, on_change=record)
    return "" if result.changed else _WHY_NOT[message.status]


def why_no_copy(message: OutboxMessage) -> str:
    """Return why no copy of a message can be sent, or an empty text."""
    if message.is_sealed:
        return _("You cannot resend the portal’s own emails.")
    if message.forced_version_id is not None or message.is_test:
        return _("This is a test or a check. Send a new one from Email Preferences.")
    return ""


def why_not_rendered_again(message: OutboxMessage) -> str:
    """Return why a message cannot be rendered with today's text, or an empty text."""
    if message.kind not in CATALOGUE:
        return _("This kind of email no longer exists.")
    if event_of(message) is None:
        rest = _("you can only send it as it was") if message.text else _("Signet cannot write it again")
        return _("Signet has no record of what caused this email, so %(limit)s.", limit=rest)
    return ""


def why_not_to_recipient(message: OutboxMessage) -> str:
    """Return why the recipient cannot get a copy, or an empty text."""
    notice = CATALOGUE.get(message.kind)
    found = suppressions.find_suppression(message.account_id or 0, message.recipient)
    if found is None or (
        notice and not suppressions.is_suppressed(found.account_id, message.recipient, notice.category)
    ):
        return ""
    why = _WHY_SUPPRESSED.get(found.reason, _("could not be reached before and is no longer written to"))
    return f"{message.recipient} {why}."


def send(message: OutboxMessage, owner: Owner, request: ResendRequest, *, now: datetime) -> OutboxMessage:
    """Enqueue a copy of a message. Commits. Raises ResendRefused."""
    why = why_no_copy(message) or (
        _why_not_to_owner(message) if request.to_owner else why_not_to_recipient(message)
    )
    if why:
        raise ResendRefused(why)
    new = _copy_of(message, owner, request)
    found = db.session.scalar(select(OutboxMessage).where(OutboxMessage.key == new.key))
    if found is not None:
        return found
    person = one_spelling(new.recipient.casefold())
    allowed = rate_limit.consume(ACCOUNT_LIMIT, message.account_id, now=now)
    allowed = rate_limit.consume(RECIPIENT_LIMIT, message.account_id, person, now=now) and allowed
    if not (rate_limit.consume(MESSAGE_LIMIT, message.id, now=now) and allowed):
        db.session.rollback()
        raise ResendRefused(
            _(
                "You sent too many copies in a short time. Wait an hour. For this email or this recipient, wait a day."
            )
        )
    copy = enqueue_row(message.account_id, new, now=now)
    if copy is None:  # another request with the same form was faster
        db.session.rollback()
        return db.session.scalars(select(OutboxMessage).where(OutboxMessage.key == new.key)).one()
    target = audit.AuditTarget("message", message.id)
    after = {"recipient": "owner" if request.to_owner else "same"}
    audit.record(audit.Activity.MESSAGE_COPIED, message.account_id, target=target, after=after)
    db.session.commit()
    return copy


def _why_not_to_owner(message: OutboxMessage) -> str:
    if not links.holds_token(message.kind):
        return ""
    return _("The link in this email acts for the affiliate, so only the affiliate can get a copy.")


def _copy_of(message: OutboxMessage, owner: Owner, request: ResendRequest) -> NewMessage:
    mail, unsubscribe = _rendered_again(message) if request.render_again else _stored_content(message)
    recipient, name = message.recipient, message.recipient_name
    if request.to_owner and owner.mailbox != recipient:
        recipient, name = owner.mailbox, owner.name
        unsubscribe = ""  # it would unsubscribe the affiliate
    key = f"again:{message.id}:{request.key}"
    if (
        is_own_server_only(message.key) and recipient == message.recipient
    ):  # of an import: copies do as the original
        key = own_server_key(key)
    return mail.to(
        recipient, name, kind=message.kind, key=key, unsubscribe_url=unsubscribe, copy_of_id=message.id
    )


def _stored_content(message: OutboxMessage) -> tuple[RenderedEmail, str]:
    if not message.text:
        raise ResendRefused(_("The text of this email was deleted. You can only send it with today’s text."))
    mail = RenderedEmail(message.subject, message.text, message.html, is_custom=message.is_custom)
    return mail, message.unsubscribe_url


def _rendered_again(message: OutboxMessage) -> tuple[RenderedEmail, str]:
    event, notice = event_of(message), CATALOGUE.get(message.kind)
    if event is None or notice is None:
        raise ResendRefused(why_not_rendered_again(message))
    try:
        return dispatch.render_again(event, notice, message.recipient, message.recipient_name)
    except UnrenderableText as refused:
        raise ResendRefused(_("You cannot use today’s text: %(reason)s", reason=refused)) from None
    except KeyError:
        raise ResendRefused(_("Today’s text uses values that Signet does not have for this email.")) from None


def original_of(message: OutboxMessage) -> OutboxMessage:
    """Return the message of which this one is a copy, or a copy of a copy."""
    for _step in range(100):
        origin = origin_of(message)
        if origin is None:
            break
        message = origin
    return message


def event_of(message: OutboxMessage) -> Event | None:
    """Return the event that caused a message, or the message it is a copy of."""
    event = event_log.find_by_message(original_of(message).id)
    return event if event is not None and event.account_id == message.account_id else None


def origin_of(message: OutboxMessage) -> OutboxMessage | None:
    """Return the message this one is a copy of, if it still exists."""
    origin = db.session.get(OutboxMessage, message.copy_of_id) if message.copy_of_id else None
    return origin if origin is not None and origin.account_id == message.account_id else None
