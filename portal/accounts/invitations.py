"""Invitations to register: one-time links that an operator hands out, and the link of the first owner.

A link is bound to one mailbox, except that of the first owner, who becomes an operator. The operator who hands it over
vouches for the person, so the account is approved. Links work in every registration mode.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from flask_babel import gettext as _
from sqlalchemy import ColumnElement, delete, select, update

from .. import audit
from ..db import db
from ..security_log import SecurityEvent, record
from ..smtp.mailbox import MailboxError
from ..state import current_config
from ..web.pagination import Page, is_in, newest_first
from . import registration
from .identifiers import login_mailbox, mailbox_key
from .models import Owner, RegistrationInvitation
from .registration import MailboxTaken, RegistrationInput, RegistrationRefused
from .tokens import InvalidLink, hash_token, new_token

if TYPE_CHECKING:
    from collections.abc import Callable

LINK_LIFETIME = timedelta(days=7)


@dataclass(frozen=True)
class OpenInvitation:
    """An invitation that can be used. ``mailbox`` is empty where the person enters one."""

    id: int
    mailbox: str
    makes_operator: bool


def invite(mailbox: str, *, link: Callable[[str], str], now: datetime) -> str:
    """Return a link with which the reader of this mailbox registers. It ends earlier ones for the mailbox. Commits.

    Raises:
        RegistrationRefused: the mailbox is invalid; MailboxTaken if it is registered already.
    """
    try:
        parsed = login_mailbox(mailbox)
    except MailboxError as error:
        raise RegistrationRefused(str(error)) from None
    if db.session.scalar(select(Owner.id).where(Owner.mailbox_key == mailbox_key(parsed))) is not None:
        db.session.rollback()
        raise MailboxTaken(_("An owner with this email address is already registered."))
    return _add(parsed, link, now, makes_operator=False)


def invite_first_owner(*, link: Callable[[str], str], now: datetime) -> str | None:
    """Return a link with which the first owner registers and becomes an operator; None once there is an owner. Commits.

    A later link ends the earlier one.
    """
    if db.session.scalar(select(Owner.id).limit(1)) is not None:
        db.session.rollback()
        return None
    return _add("", link, now, makes_operator=True)


def list_made(*, before: int | None, after: int | None, search: str = "") -> Page[RegistrationInvitation]:
    """Return one page of the invitations that were not used, newest first, without the first owner's.

    ``search`` is part of their addresses.
    """
    query = select(RegistrationInvitation).where(
        RegistrationInvitation.used_at.is_(None), RegistrationInvitation.mailbox != ""
    )
    if search:
        query = query.where(is_in(search, RegistrationInvitation.mailbox))
    return newest_first(query, RegistrationInvitation.id, before=before, after=after)


def mailbox_of(invitation_id: int) -> str | None:
    """Return the mailbox of an invitation that was not used; None if there is no such one."""
    query = select(RegistrationInvitation.mailbox).where(
        RegistrationInvitation.id == invitation_id,
        RegistrationInvitation.used_at.is_(None),
        RegistrationInvitation.mailbox != "",
    )
    return db.session.scalar(query)


def withdraw(invitation_id: int) -> str | None:
    """End an invitation that was not used; return its mailbox, or None if there is no such one. Commits."""
    statement = delete(RegistrationInvitation).where(
        RegistrationInvitation.id == invitation_id,
        RegistrationInvitation.used_at.is_(None),
        RegistrationInvitation.mailbox != "",
    )
    mailbox = db.session.scalar(statement.returning(RegistrationInvitation.mailbox))
    if mailbox:
        target = audit.AuditTarget("invitation", name=audit.hint_of_mailbox(mailbox))
        audit.record(audit.Activity.REGISTRATION_WITHDRAWN, None, target=target)
    db.session.commit()
    return mailbox


def link_to(token: str) -> str:
    """Return the full address of an invitation, for commands, which have no request."""
    return f"{current_config().base_url}/register/invited/{token}"


def find(token: str, *, now: datetime) -> OpenInvitation:
    """Return the invitation of this link. Raises InvalidLink."""
    row = db.session.scalar(select(RegistrationInvitation).where(*_is_valid(token, now)))
    if row is None or (row.makes_operator and _has_owner()):
        raise InvalidLink
    return OpenInvitation(row.id, row.mailbox, row.makes_operator)


def accept(token: str, entered: RegistrationInput, *, now: datetime) -> Owner:
    """Create the account of an invited person. The invitation's mailbox counts, if it has one. Commits.

    Raises:
        InvalidLink: the link was never made, was used, or is too old.
        RegistrationRefused: a value is invalid; MailboxTaken if the mailbox is registered already.
        PasswordRefused: the password is not accepted; the link stays valid.
    """
    invitation = find(token, now=now)
    mailbox = invitation.mailbox or entered.mailbox

    def use() -> None:
        statement = update(RegistrationInvitation).where(*_is_valid(token, now)).values(used_at=now)
        if int(db.session.execute(statement).rowcount) != 1:  # type: ignore[attr-defined]
            raise InvalidLink  # another request was first

    wanted = RegistrationInput(entered.programme, entered.name, mailbox, entered.password)
    return registration.create_invited(wanted, use=use, is_operator=invitation.makes_operator, now=now)


def _add(mailbox: str, link: Callable[[str], str], now: datetime, *, makes_operator: bool) -> str:
    token = new_token()
    same = RegistrationInvitation.mailbox == mailbox
    db.session.execute(delete(RegistrationInvitation).where(same, RegistrationInvitation.used_at.is_(None)))
    db.session.add(
        RegistrationInvitation(
            token_hash=hash_token(token), mailbox=mailbox, makes_operator=makes_operator, created_at=now
        )
    )
    target = audit.AuditTarget("invitation", name=audit.hint_of_mailbox(mailbox) if mailbox else "")
    audit.record(audit.Activity.REGISTRATION_OFFERED, None, target=target)
    db.session.commit()
    record(SecurityEvent.INVITED, as_operator="yes" if makes_operator else "no")
    return link(token)


def _has_owner() -> bool:
    return db.session.scalar(select(Owner.id).limit(1)) is not None


def _is_valid(token: str, now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        RegistrationInvitation.token_hash == hash_token(token),
        RegistrationInvitation.used_at.is_(None),
        RegistrationInvitation.created_at > now - LINK_LIFETIME,
    )
