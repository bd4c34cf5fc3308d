"""Change of the mailbox that a person logs in with: a link to the new mailbox, and one to the former that undoes it.

Both links are random, stored as a hash and used once. The new mailbox is proved by its link, and the person by the log-in
in which the link is opened. Whether a mailbox belongs to another log-in is not revealed to who enters it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from flask_babel import gettext as _
from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlalchemy.exc import IntegrityError

from ... import audit, rate_limit, recipient_limits
from ...db import db
from ...outbox.queue import enqueue_row
from ...rate_limit import RateLimit
from ...security_log import SecurityEvent, record
from ...smtp.mailbox import MailboxError
from ...web.translations import speaking_to
from .. import emails, password_reset, sessions
from ..factors import challenges
from ..factors.changing import delete_all
from ..factors.state import lock
from ..identifiers import login_mailbox, mailbox_key
from ..models import MailboxChange, Owner, OwnerSession, PasswordReset, PendingRegistration
from ..passwords import hasher
from ..team.programmes import account_of
from ..tokens import InvalidLink, hash_token, new_token
from .made_since import Ended, end_made_since

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..sessions import LoggedIn

LINK_LIFETIME = timedelta(hours=24)
UNDO_LIFETIME = timedelta(days=7)
# How long before a change factors, tokens and invitations count as those of who made it.
_MADE_BEFORE = timedelta(days=1)
RETENTION = timedelta(days=30)
PER_PERSON = RateLimit("changes of the mailbox by person", 5, timedelta(days=1))


class CannotChange(ValueError):
    """The change cannot be asked for. The message is one sentence with the reason, for the field of the mailbox."""


class TooManyMailboxChanges(CannotChange):
    """The person has asked for too many changes today."""


@dataclass(frozen=True)
class OfferedMailbox:
    """What the reader of a link may know before it is used."""

    new: str
    former: str


@dataclass(frozen=True)
class Undone:
    """The token of a link for a new password, and what ended with the undone change."""

    reset: str
    ended: Ended


def can_change() -> bool:
    """Return whether the portal can email the links: without them, nothing would prove the new mailbox."""
    return password_reset.can_send_mail()


def request_change(user: LoggedIn, mailbox: str, *, link: Callable[[str], str], now: datetime) -> str:
    """Email a link to the new mailbox; return the mailbox. An earlier link of the person no longer works. Commits.

    A mailbox of another log-in gets an email about the attempt, and the answer is the same. A mailbox that got enough emails
    today gets none.

    Raises:
        CannotChange: the mailbox is not valid, or the present one; TooManyMailboxChanges after five requests in a day.
    """
    try:
        new = login_mailbox(mailbox)
    except MailboxError as error:
        raise CannotChange(str(error)) from None
    key = mailbox_key(new)
    owner = db.session.get_one(Owner, user.id)
    if new == owner.mailbox:
        db.session.rollback()
        raise CannotChange(_("You already log in with this address."))
    if rate_limit.consume_or_wait(PER_PERSON, user.id, now=now):
        db.session.rollback()
        raise TooManyMailboxChanges(_("You have asked for five changes today. Try again tomorrow."))
    lock(user.id)  # before the links, as their use does
    _end_requests(user.id, now)
    token = new_token()
    if recipient_limits.consume(recipient_limits.FURTHER_MAILBOX, key, now=now):
        other = db.session.scalar(select(Owner.language).where(Owner.mailbox_key == key, Owner.id != user.id))
        if other is not None:
            with speaking_to(other):
                mail = emails.mailbox_in_use(new, hash_token(token))
            enqueue_row(None, mail, now=now)
        else:
            db.session.add(
                MailboxChange(owner_id=user.id, new_mailbox=new, token_hash=hash_token(token), asked_at=now)
            )
            enqueue_row(None, emails.confirm_new_mailbox(new, hash_token(token), link(token)), now=now)
    audit.record(
        audit.Activity.MAILBOX_CHANGE_ASKED, user.account_id, after={"mailbox": audit.hint_of_mailbox(new)}
    )
    db.session.commit()
    record(SecurityEvent.MAILBOX_CHANGE_ASKED)
    return new


def find(token: str, user: LoggedIn, *, now: datetime) -> OfferedMailbox:
    """Return the change behind a link to the new mailbox. Raises InvalidLink, also where another person asked for it."""
    row = db.session.scalar(select(MailboxChange).where(*_is_open(token, user, now)))
    if row is None:
        raise InvalidLink
    return OfferedMailbox(row.new_mailbox, user.mailbox)


def confirm(token: str, user: LoggedIn, *, undo_link: Callable[[str], str], now: datetime) -> str:
    """Let the person log in with the new mailbox from now on; return it. Commits.

    All other sessions end, and links for a new password no longer work. The former mailbox gets a link that undoes it.

    Raises:
        InvalidLink: the link is invalid, or another log-in has the mailbox by now.
    """
    undo = new_token()
    owner = db.session.get_one(Owner, user.id, with_for_update={"of": Owner})
    row = db.session.scalar(select(MailboxChange).where(*_is_open(token, user, now)))
    statement = update(MailboxChange).where(*_is_open(token, user, now))
    values = {"used_at": now, "former_mailbox": owner.mailbox, "undo_hash": hash_token(undo)}
    if row is None or _count(statement.values(values)) != 1:
        db.session.rollback()
        raise InvalidLink
    former = owner.mailbox
    _move(owner, row.new_mailbox, now)
    owner.confirmed_at = now
    db.session.execute(
        delete(PendingRegistration).where(PendingRegistration.mailbox_key == owner.mailbox_key)
    )
    sessions.revoke(OwnerSession.owner_id == user.id, OwnerSession.id != user.session_id, now=now)
    enqueue_row(None, emails.mailbox_changed(former, hash_token(undo), undo_link(undo)), now=now)
    new = owner.mailbox
    _record(audit.Activity.MAILBOX_CHANGED, user.account_id, former, new)
    db.session.commit()
    record(SecurityEvent.MAILBOX_CHANGED)
    return new


def find_undo(token: str, *, now: datetime) -> OfferedMailbox:
    """Return the change that a link to the former mailbox undoes. Raises InvalidLink."""
    row = db.session.scalar(select(MailboxChange).where(*_can_undo(token, now)))
    if row is None:
        raise InvalidLink
    return OfferedMailbox(row.new_mailbox, row.former_mailbox)


def undo(token: str, *, now: datetime) -> Undone:
    """Restore the former mailbox. Commits.

    All sessions end, and neither the password of before nor second factors that were added since open anything any more:
    who changed the mailbox knew and added them. API tokens and open invitations that were made since then end, too.
    Links of later changes no longer work, because they went to mailboxes of the same stranger; those of earlier ones
    still do.

    Raises:
        InvalidLink: the link is invalid, or another log-in has the mailbox by now.
    """
    unusable = hasher().hash(new_token())
    row = db.session.scalar(select(MailboxChange).where(*_can_undo(token, now)))
    if row is None:
        raise InvalidLink
    owner = db.session.get_one(Owner, row.owner_id, with_for_update={"of": Owner})
    if _count(update(MailboxChange).where(*_can_undo(token, now)).values(undone_at=now)) != 1:
        db.session.rollback()
        raise InvalidLink
    _move(owner, row.former_mailbox, now)
    _end_requests(owner.id, now)
    later = (MailboxChange.owner_id == owner.id, MailboxChange.id > row.id, MailboxChange.undone_at.is_(None))
    db.session.execute(update(MailboxChange).where(*later).values(undone_at=now))
    since = (row.used_at or now) - _MADE_BEFORE
    delete_all(owner.id, since=since)  # second factors of the stranger
    owner.password_hash = unusable
    sessions.revoke(OwnerSession.owner_id == owner.id, now=now)
    concerned = {"account": owner.account_id, "owner": owner.id}
    reset = password_reset.add_reset(owner, now)
    audit.act_as(owner.id, owner.name)
    ended = end_made_since(owner.id, since, now=now)
    _record(audit.Activity.MAILBOX_RESTORED, account_of(owner.id), row.new_mailbox, row.former_mailbox)
    db.session.commit()
    record(SecurityEvent.MAILBOX_RESTORED, **concerned)
    return Undone(reset, ended)


def delete_old(now: datetime) -> None:
    """Delete what was asked for, or changed, 30 days ago: it holds mailboxes. Commits."""
    old = or_(
        MailboxChange.used_at < now - RETENTION,
        MailboxChange.used_at.is_(None) & (MailboxChange.asked_at < now - RETENTION),
    )
    db.session.execute(delete(MailboxChange).where(old))
    db.session.commit()


def _record(action: audit.Activity, account_id: int | None, before: str, after: str) -> None:
    """Record another mailbox, of which rows hold only a part."""
    former, new = audit.hint_of_mailbox(before), audit.hint_of_mailbox(after)
    audit.record(action, account_id, before={"mailbox": former}, after={"mailbox": new})


def _move(owner: Owner, mailbox: str, now: datetime) -> None:
    """Give the person another mailbox, and end pending log-ins and the links to the one of before. The caller commits.

    Raises InvalidLink where another log-in has the mailbox by now.
    """
    owner.mailbox, owner.mailbox_key = mailbox, mailbox_key(mailbox)
    try:
        db.session.flush()
    except IntegrityError:
        db.session.rollback()
        raise InvalidLink from None
    challenges.end_all(owner.id)
    unused = (PasswordReset.owner_id == owner.id, PasswordReset.used_at.is_(None))
    db.session.execute(update(PasswordReset).where(*unused).values(used_at=now))


def _end_requests(owner_id: int, now: datetime) -> None:
    """End the person's links to new mailboxes that were not used."""
    unused = (MailboxChange.owner_id == owner_id, MailboxChange.used_at.is_(None))
    db.session.execute(
        update(MailboxChange).where(*unused, MailboxChange.ended_at.is_(None)).values(ended_at=now)
    )


def _is_open(token: str, user: LoggedIn, now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        MailboxChange.token_hash == hash_token(token),
        MailboxChange.owner_id == user.id,
        MailboxChange.used_at.is_(None),
        MailboxChange.ended_at.is_(None),
        MailboxChange.asked_at > now - LINK_LIFETIME,
    )


def _can_undo(token: str, now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        MailboxChange.undo_hash == hash_token(token),
        MailboxChange.undone_at.is_(None),
        MailboxChange.used_at > now - UNDO_LIFETIME,
    )


def _count(statement: Any) -> int:
    result = db.session.execute(statement.execution_options(synchronize_session=False))
    return int(result.rowcount)  # type: ignore[attr-defined]
