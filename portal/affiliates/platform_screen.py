"""The screen of what the platform's sender may carry for an account.

It carries no email of an import and no test email to another address than the owner's.

For an account that no operator has approved:

It carries the default texts to mailboxes whose reader has confirmed them, and the fixed email that asks for the
confirmation, which names no programme. It is the last check before a message is submitted, because an email may have
been queued while another route was in use. Elsewhere, such emails are refused earlier, where the owner sees why.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, select

from ..accounts.models import Account, Owner
from ..accounts.standing import platform_limit
from ..accounts.team.contact import member_ids
from ..db import db
from ..notices.catalogue import CONFIRM_SIGN_UP
from ..notices.models import NoticeMailbox
from ..outbox.diagnoses import (
    OWN_SERVER_ONLY,
    OWN_SERVER_ONLY_TEST,
    OWN_TEXT,
    RECIPIENT_LIMIT,
    UNCONFIRMED_RECIPIENT,
)
from ..outbox.models import OutboxMessage
from ..outbox.queue import SYSTEM, is_own_server_only
from ..outbox.store.types import ScreenRefusal
from ..recipient_limits import one_spelling
from ..state import current_config
from . import platform_use
from .models import Affiliate

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from ..outbox.models import Queue
    from ..outbox.store.types import Claim

_OWN_SERVER_WAIT = timedelta(minutes=15)  # until the own server is tried again
_PER_UNCONFIRMED = 3  # emails that ask for a confirmation, in 24 hours


def gate(queue: Queue, now: datetime) -> int | None:
    """Return how many messages of an account the platform's sender may still carry today; None if it has no limit."""
    account = db.session.get(Account, queue.account_id) if queue.account_id != SYSTEM else None
    return left_of(account, now) if account is not None else None


def left_of(account: Account, now: datetime) -> int | None:
    """Return how many emails the platform's sender may still carry for an account within 24 hours; None if it has no limit."""
    limit = platform_limit(account)
    return None if limit is None else max(0, limit - platform_use.count(account.id, now))


def screen(account_id: int, claims: Sequence[Claim], now: datetime) -> None:
    """Set the refusal of each claimed message that the platform's sender may not carry."""
    for claim in claims:
        if is_own_server_only(claim.message.key):
            claim.refusal = (
                ScreenRefusal(OWN_SERVER_ONLY_TEST)
                if claim.message.is_test
                else ScreenRefusal(OWN_SERVER_ONLY, now + _OWN_SERVER_WAIT)
            )
    account = db.session.get(Account, account_id)
    if account is not None and account.approved_at is not None:
        return
    claims = [claim for claim in claims if claim.refusal is None]
    mailboxes = [claim.message.recipient.casefold() for claim in claims]
    confirmed, people = _confirmed(account_id, set(mailboxes)), Counter(map(one_spelling, mailboxes))
    custom = _custom({claim.message.id for claim in claims})
    used = platform_use.by_recipient(account_id, now)
    submitted = {
        person: used[person].count - count for person, count in people.items()
    }  # without these, which count as claimed
    for claim in claims:
        key = claim.message.recipient.casefold()
        person = one_spelling(key)
        if key not in confirmed and claim.message.kind != CONFIRM_SIGN_UP.kind:
            claim.refusal = ScreenRefusal(UNCONFIRMED_RECIPIENT)
        elif claim.message.id in custom:
            claim.refusal = ScreenRefusal(OWN_TEXT)
        elif submitted[person] >= _limit(is_confirmed=key in confirmed):
            claim.refusal = ScreenRefusal(RECIPIENT_LIMIT, (used[person].first_at or now) + platform_use.SPAN)
        else:
            submitted[person] += 1


def _limit(*, is_confirmed: bool) -> int:
    limit = current_config().unapproved_per_recipient
    return limit if is_confirmed else min(limit, _PER_UNCONFIRMED)


def _confirmed(account_id: int, keys: Collection[str]) -> set[str]:
    """Return which of these mailboxes an owner, an affiliate or a further reader of the account has confirmed."""
    tables: tuple[tuple[Any, ColumnElement[bool]], ...] = (
        (Owner, Owner.id.in_(member_ids(account_id))),
        (Affiliate, Affiliate.account_id == account_id),
        (NoticeMailbox, NoticeMailbox.account_id == account_id),
    )
    return {
        key
        for table, of_account in tables
        for key in db.session.scalars(
            select(table.mailbox_key).where(
                of_account, table.mailbox_key.in_(keys), table.confirmed_at.is_not(None)
            )
        )
    }


def _custom(message_ids: Collection[int]) -> set[int]:
    query = select(OutboxMessage.id).where(OutboxMessage.id.in_(message_ids), OutboxMessage.is_custom)
    return set(db.session.scalars(query))
