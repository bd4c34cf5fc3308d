"""Further mailboxes for the notices to the owner. Each is confirmed by its reader before it gets anything else.

Anybody's address can be entered here, so the email that asks for the confirmation holds no text of the owner, and its
number is limited for each mailbox, over all accounts and spellings, and for each account. The owner of an account that
no operator has approved counts as a stranger.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from flask_babel import gettext as _
from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from .. import audit, rate_limit, recipient_limits
from ..accounts import emails, standing
from ..accounts.models import Account, Owner
from ..accounts.tokens import hash_token, new_token
from ..db import db
from ..outbox.queue import enqueue
from ..smtp.mailbox import MailboxError, parse_mailbox
from ..state import current_config
from .models import NoticeMailbox

LIMIT = 5  # for each account
LINK_LIFETIME = timedelta(days=7)
PER_ACCOUNT = rate_limit.RateLimit("confirmations of further mailboxes", 15, timedelta(days=1))


class MailboxRefused(Exception):
    """The mailbox was not added. The message is one sentence for the owner."""


def find_all(account_id: int) -> list[NoticeMailbox]:
    """Return the mailboxes added to those of the owners, confirmed or not, in the order they were added."""
    query = select(NoticeMailbox).where(NoticeMailbox.account_id == account_id)
    return list(db.session.scalars(query.order_by(NoticeMailbox.id)))


def add(account: Account, entered: str, *, now: datetime) -> NoticeMailbox:
    """Add a mailbox and send it the link that confirms it. Commits. Raises MailboxRefused."""
    try:
        mailbox = str(parse_mailbox(entered))
    except MailboxError as error:
        raise MailboxRefused(str(error)) from None
    # Lock the account, because concurrent requests could otherwise exceed the limit.
    locked = db.session.get_one(Account, account.id, with_for_update=True)
    key = mailbox.casefold()
    if _is_known(account.id, key):
        raise MailboxRefused(_("%(mailbox)s is already on the list.", mailbox=mailbox))
    if _count(account.id) >= LIMIT:
        raise MailboxRefused(_("You have already added %(limit)s mailboxes. Remove one first.", limit=LIMIT))
    row = NoticeMailbox(account_id=account.id, mailbox=mailbox, mailbox_key=key, created_at=now)
    try:
        with db.session.begin_nested():
            db.session.add(row)
    except IntegrityError:
        raise MailboxRefused(_("%(mailbox)s is already on the list.", mailbox=mailbox)) from None
    _send_link(locked, row, now)
    target = audit.AuditTarget("mailbox", row.id, audit.hint_of_mailbox(mailbox))
    audit.record(audit.Activity.FURTHER_MAILBOX_ADDED, account.id, target=target)
    db.session.commit()
    return row


def send_again(account: Account, mailbox_id: int, *, now: datetime) -> NoticeMailbox | None:
    """Send a new link to a mailbox that is not confirmed; earlier links end. None if there is none. Commits.

    Raises MailboxRefused.
    """
    locked = db.session.get_one(Account, account.id, with_for_update=True)
    row = db.session.scalar(
        select(NoticeMailbox).where(
            NoticeMailbox.id == mailbox_id,
            NoticeMailbox.account_id == account.id,
            NoticeMailbox.confirmed_at.is_(None),
        )
    )
    if row is not None:
        row.created_at = now
        _send_link(locked, row, now)
    db.session.commit()
    return row


def remove(account_id: int, mailbox_id: int) -> bool:
    """Remove a further mailbox of this account; return whether there was one. Commits."""
    statement = delete(NoticeMailbox).where(
        NoticeMailbox.id == mailbox_id, NoticeMailbox.account_id == account_id
    )
    removed = db.session.execute(statement.returning(NoticeMailbox.mailbox)).scalar_one_or_none()
    if removed is not None:
        target = audit.AuditTarget("mailbox", mailbox_id, audit.hint_of_mailbox(removed))
        audit.record(audit.Activity.FURTHER_MAILBOX_REMOVED, account_id, target=target)
    db.session.commit()
    return removed is not None


def find_by_token(token: str, *, now: datetime) -> tuple[NoticeMailbox, Account] | None:
    """Return the mailbox of a link with its account, confirmed or not; None if the link is not valid."""
    query = select(NoticeMailbox, Account).join(Account, Account.id == NoticeMailbox.account_id)
    row = db.session.execute(query.where(*_is_valid(token, now))).one_or_none()
    return (row[0], row[1]) if row else None


def confirm(token: str, *, now: datetime) -> bool:
    """Confirm the mailbox of a link; a second time changes nothing. Return whether the link is valid. Commits."""
    statement = update(NoticeMailbox).where(*_is_valid(token, now), NoticeMailbox.confirmed_at.is_(None))
    db.session.execute(statement.values(confirmed_at=now))
    found = db.session.scalar(select(NoticeMailbox.id).where(*_is_valid(token, now))) is not None
    db.session.commit()
    return found


def _send_link(account: Account, row: NoticeMailbox, now: datetime) -> None:
    """Enqueue the email that asks for the confirmation. Raises MailboxRefused, with nothing changed."""
    if standing.state_of(account) is not standing.AccountState.ACTIVE:
        db.session.rollback()
        raise MailboxRefused(
            _("Your account sends no emails at the moment, so it cannot ask for a confirmation.")
        )
    approved = account.approved_at is not None
    limit = recipient_limits.FURTHER_MAILBOX if approved else recipient_limits.BY_STRANGERS
    allowed = recipient_limits.consume(limit, row.mailbox_key, now=now)
    allowed = rate_limit.consume(PER_ACCOUNT, account.id, now=now) and allowed
    if not allowed:
        db.session.rollback()
        raise MailboxRefused(
            _("Too many such emails were sent today, to this address or by your account. Try again tomorrow.")
        )
    token = new_token()
    row.token_hash = hash_token(token)
    config = current_config()
    link = f"{config.base_url}/automated-emails/mailboxes/confirm/{token}"
    programme = account.name if account.approved_at is not None else ""
    mail = emails.confirm_mailbox(row.mailbox, row.token_hash, link, programme)
    # The portal's own mail; without a sender of the portal, the account's server.
    enqueue(None if config.platform.server else account.id, mail, now=now)


def _is_known(account_id: int, key: str) -> bool:
    owners = select(Owner.id).where(
        Account.id == account_id, Owner.id == Account.contact_id, Owner.mailbox_key == key
    )
    further = select(NoticeMailbox.id).where(
        NoticeMailbox.account_id == account_id, NoticeMailbox.mailbox_key == key
    )
    return any(db.session.scalar(query.limit(1)) is not None for query in (owners, further))


def _count(account_id: int) -> int:
    query = select(func.count()).select_from(NoticeMailbox).where(NoticeMailbox.account_id == account_id)
    return db.session.scalar(query) or 0


def _is_valid(token: str, now: datetime) -> tuple[ColumnElement[bool], ...]:
    recent = NoticeMailbox.created_at > now - LINK_LIFETIME
    return (
        NoticeMailbox.token_hash == hash_token(token),
        NoticeMailbox.confirmed_at.is_not(None) | recent,
    )
