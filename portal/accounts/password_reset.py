"""Password reset by a link in an email."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from flask import current_app
from sqlalchemy import ColumnElement, delete, select, update

from .. import audit, rate_limit, recipient_limits
from ..audit.retention import PERSON
from ..db import db
from ..outbox.queue import enqueue_row
from ..rate_limit import RateLimit
from ..security_log import SecurityEvent, record
from ..state import current_config
from ..web.translations import speaking_to
from . import emails, sessions
from .factors import challenges
from .factors.state import lock
from .identifiers import mailbox_key
from .login import TooManyAttempts, reset_attempts
from .models import Owner, OwnerSession, PasswordReset
from .passwords import check_password, hasher
from .team.programmes import account_of
from .tokens import InvalidLink, hash_token, new_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from .known_browsers import KnownBrowser

PER_NETWORK = RateLimit("resets by network", 50, timedelta(hours=1))
LINK_LIFETIME = timedelta(hours=1)


@dataclass(frozen=True)
class ResetRequest:
    """Who asks for a new password: the mailbox, the network, and the browser if an owner used it before."""

    mailbox: str
    network: str
    browser: KnownBrowser | None = None


def request_reset(request: ResetRequest, *, link_for: Callable[[str], str], now: datetime) -> None:
    """Email a reset link to the owner of a mailbox, if there is one. Unknown mailboxes are treated alike. Commits.

    A mailbox that reached its limit silently gets no further email. A browser in which this owner has logged in before
    has a limit of its own, which other people cannot use up.

    Raises:
        TooManyAttempts: the network reached its limit.
    """
    key = mailbox_key(request.mailbox)
    owner = db.session.scalar(select(Owner).where(Owner.mailbox_key == key))
    wait = rate_limit.consume_or_wait(PER_NETWORK, request.network, now=now)
    is_known = owner is not None and request.browser is not None and owner.id in request.browser.owner_ids
    limit = recipient_limits.RESETS_BY_OWNER if is_known else recipient_limits.BY_STRANGERS
    allowed = not wait and recipient_limits.consume(limit, key, now=now)
    concerned = {"account": owner.account_id, "owner": owner.id} if owner else {}
    is_emailed = bool(owner and allowed and can_send_mail())
    if owner and is_emailed:
        token = add_reset(owner, now)
        with speaking_to(owner.language):
            mail = emails.reset_password(owner.mailbox, hash_token(token), link_for(token))
        enqueue_row(None, mail, now=now)
        target = audit.AuditTarget(PERSON, owner.id, owner.name)
        audit.record(audit.Activity.RESET_REQUESTED, account_of(owner.id), target=target)
    db.session.commit()
    record(
        SecurityEvent.RESET_REQUESTED,
        **concerned,
        result="limited" if wait else "emailed" if is_emailed else "nothing",
    )
    if wait:
        raise TooManyAttempts(wait)


def create_reset_token(mailbox: str, *, now: datetime) -> str | None:
    """Return a reset token for a mailbox, for use where no email can be sent; None if it is unknown. Commits."""
    owner = db.session.scalar(select(Owner).where(Owner.mailbox_key == mailbox_key(mailbox)))
    if owner is None:
        db.session.rollback()
        return None
    token, concerned = add_reset(owner, now), {"account": owner.account_id, "owner": owner.id}
    target = audit.AuditTarget(PERSON, owner.id, owner.name)
    audit.record(audit.Activity.RESET_REQUESTED, account_of(owner.id), target=target)
    db.session.commit()
    record(SecurityEvent.RESET_LINK_MADE, **concerned)
    return token


def create_reset_link(mailbox: str, *, now: datetime) -> str | None:
    """Return the full address of a reset link for the operator to hand over; None for an unknown mailbox. Commits."""
    token = create_reset_token(mailbox, now=now)
    config = current_config()
    paths = current_app.url_map.bind(config.host_name)
    return config.base_url + paths.build("accounts.reset", {"token": token}) if token else None


def can_send_mail() -> bool:
    """Return whether the portal has a server for emails of its own; without one, none are enqueued."""
    config = current_config()
    return bool(config.platform.server)


def is_valid_link(token: str, *, now: datetime) -> bool:
    """Return whether this link can still be used."""
    return _find_owner(token, now) is not None


def set_password(token: str, password: str, *, reset_link: str, now: datetime) -> int:
    """Set the password of the owner whom the link was sent to, and log out all devices; return the owner's id. Commits.

    Raises:
        InvalidLink: the link is invalid.
        PasswordRefused: the password is not accepted; the link stays valid.
    """
    owner = _find_owner(token, now)
    if owner is None:
        db.session.rollback()
        raise InvalidLink
    check_password(password, owner.account.name, owner.name, owner.mailbox)
    owner_id = owner.id
    db.session.rollback()
    hashed = hasher().hash(password)
    lock(owner_id)  # before the link, as other changes of the password and of the mailbox do
    if not _use_link(token, now):
        db.session.rollback()
        raise InvalidLink
    replace_password(owner, hashed, reset_link=reset_link, now=now)
    owner.confirmed_at = (
        owner.confirmed_at or now
    )  # the link was in the mailbox, or an operator handed it over
    sessions.revoke(OwnerSession.owner_id == owner.id, now=now)
    reset_attempts(owner.mailbox_key, now=now)
    account_id = owner.account_id
    audit.act_as(owner_id, owner.name)
    audit.record(audit.Activity.PASSWORD_RESET, account_of(owner_id))
    db.session.commit()
    record(SecurityEvent.PASSWORD_RESET, account=account_id, owner=owner_id)
    return owner_id


def replace_password(owner: Owner, hashed: str, *, reset_link: str, now: datetime) -> None:
    """Store a new hash, end open reset links and pending log-ins, and inform the owner by email. The caller commits."""
    owner.password_hash = hashed
    challenges.end_all(owner.id)
    db.session.execute(
        update(PasswordReset)
        .where(PasswordReset.owner_id == owner.id, PasswordReset.used_at.is_(None))
        .values(used_at=now)
    )
    if can_send_mail():
        with speaking_to(owner.language):
            email = emails.password_changed(owner.mailbox, hash_token(new_token()), reset_link)
        enqueue_row(None, email, now=now)


def add_reset(owner: Owner, now: datetime) -> str:
    """Insert a reset and return the token of its link. The caller commits."""
    db.session.execute(delete(PasswordReset).where(PasswordReset.created_at < now - timedelta(days=1)))
    token = new_token()
    db.session.add(PasswordReset(token_hash=hash_token(token), owner_id=owner.id, created_at=now))
    return token


def _find_owner(token: str, now: datetime) -> Owner | None:
    return db.session.scalar(
        select(Owner).join(PasswordReset, PasswordReset.owner_id == Owner.id).where(*_is_valid(token, now))
    )


def _use_link(token: str, now: datetime) -> bool:
    """Mark the link as used; return False if it was invalid. One statement, so of two requests only one succeeds."""
    statement = update(PasswordReset).where(*_is_valid(token, now)).values(used_at=now)
    return int(db.session.execute(statement).rowcount) == 1  # type: ignore[attr-defined]


def _is_valid(token: str, now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        PasswordReset.token_hash == hash_token(token),
        PasswordReset.used_at.is_(None),
        PasswordReset.created_at > now - LINK_LIFETIME,
    )
