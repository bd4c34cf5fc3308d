"""Test emails: a notice with sample values, sent to the owner through the live settings."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from .. import rate_limit
from ..accounts.standing import is_limited
from ..arrival import proofs
from ..db import db
from ..outbox.models import DeliveryAttempt, OutboxMessage
from ..outbox.queue import enqueue_row, own_server_key
from ..state import current_config
from . import rendering
from .catalogue import NEW_SIGN_UP, Notice

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..accounts.models import Owner


class OwnTextWaits(Exception):
    """The text or the look is the owner's own, and the account is not approved yet."""


class TooManyTests(Exception):
    """The account's limit of test emails for this hour is reached."""


def send(
    owner: Owner,
    *,
    now: datetime,
    notice: Notice = NEW_SIGN_UP,
    render: Callable[[str], rendering.RenderedEmail] | None = None,
    recipient: str = "",
) -> OutboxMessage:
    """Enqueue a test email, ahead of all waiting messages. Commits. Raises OwnTextWaits and TooManyTests.

    Args:
        owner: whose account sends it.
        now: the present time.
        notice: the email that is sent.
        render: returns the email with the address of its link *It arrived*; without it, the account's current text is rendered
            with sample values.
        recipient: another mailbox than the owner's. The caller allows it only while the account's own server sends.
    """
    link = proofs.new_link()
    mail = render(link.url) if render else None
    if mail is not None and mail.is_custom and is_limited(owner.account):
        raise OwnTextWaits
    limit = rate_limit.RateLimit("test-email", current_config().tests_per_hour, timedelta(hours=1))
    if not rate_limit.consume(limit, owner.account_id, now=now):
        db.session.rollback()
        raise TooManyTests
    first_name = (owner.name.split() or [""])[0]
    mail = mail or rendering.render_sample(notice, owner.account, first_name=first_name, arrival_url=link.url)
    key = f"test:{secrets.token_hex(8)}"
    is_own = recipient in ("", owner.mailbox)
    if not is_own:
        key = own_server_key(key)  # the account may go back to the platform's sender before it is claimed
    name = owner.name if is_own else ""
    new = mail.to(recipient or owner.mailbox, name, kind=notice.kind, key=key, is_test=True)
    message = enqueue_row(owner.account_id, new, now=now)
    if message is None:
        raise AssertionError("a random message key exists already")
    proofs.add(link, message, now=now)
    db.session.commit()
    return message


def find_test(owner: Owner, message_id: int | None) -> tuple[OutboxMessage, DeliveryAttempt | None] | None:
    """Return one of the account's test emails with its last delivery attempt."""
    if message_id is None:
        return None
    message = db.session.scalar(
        select(OutboxMessage).where(
            OutboxMessage.id == message_id,
            OutboxMessage.account_id == owner.account_id,
            OutboxMessage.is_test,
        )
    )
    if message is None:
        return None
    attempts = select(DeliveryAttempt).where(DeliveryAttempt.message_id == message.id)
    return message, db.session.scalar(attempts.order_by(DeliveryAttempt.number.desc()).limit(1))
