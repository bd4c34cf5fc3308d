"""Registering: a new account with its first owner, at once or after a link in a mail was followed."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from .. import rate_limit
from ..db import db
from ..outbox.queue import enqueue_row
from ..rate_limit import RateLimit
from ..smtp.mailbox import MailboxError, parse_mailbox
from ..state import current_config
from . import emails
from .identifiers import mailbox_key, unique_slug
from .login import BY_NETWORK, TooManyAttempts
from .models import Account, Owner, PendingRegistration
from .passwords import check_password, hasher
from .tokens import hash_token, new_token

if TYPE_CHECKING:
    from collections.abc import Callable

PER_NETWORK = RateLimit("registrations by network", 20, timedelta(hours=1))
MAILS = RateLimit("registration mails", 3, timedelta(hours=1))
LINK_LIFETIME = timedelta(hours=24)


class RegistrationRefused(ValueError):
    """The registration cannot be completed; the message says why in one sentence."""


class MailboxTaken(RegistrationRefused):
    """The mailbox belongs to an owner already. Not to be told to strangers."""


class LinkExpired(Exception):
    """The link was never given out, is too old, or was used."""


class WrongPassword(Exception):
    """Not the password that was chosen when registering."""


@dataclass(frozen=True)
class _ValidRegistration:
    """A registration whose parts have been judged."""

    programme: str
    name: str
    mailbox: str
    password_hash: str

    @property
    def key(self) -> str:
        return mailbox_key(self.mailbox)


def needs_confirmation() -> bool:
    """Return whether a newcomer proves the mailbox first, which takes a server of the portal's own.

    A fresh installation has none. Asking for a confirmation there would lock everybody out, the operator
    included, so its registrations are completed at once; a mailbox that is taken can then be inferred
    from the refusal, which is why it says little and is throttled.
    """
    config = current_config()
    return bool(config.platform.server)


def create_owner(
    programme: str, name: str, mailbox: str, password: str, *, now: datetime, operator: bool = False
) -> Owner:
    """Make an account and its first owner. Nothing of the caller's may be pending in the session.

    Raises RegistrationRefused (MailboxTaken, when it is) or PasswordRefused.
    """
    wish = _validate(programme, name, mailbox, password)
    return _create(wish, now, operator=operator)


def register(programme: str, name: str, mailbox: str, password: str, *, network: str, now: datetime) -> Owner:
    """Register at once: ``create_owner`` within the network's budget. Raises TooManyAttempts too."""
    _spend(network, now)
    return create_owner(programme, name, mailbox, password, now=now)


def request_confirmation(
    programme: str,
    name: str,
    mailbox: str,
    password: str,
    *,
    network: str,
    confirm_link: Callable[[str], str],
    reset_link: str,
    now: datetime,
) -> str:
    """Keep a registration until its mailbox is proved, and mail the link; an owner is told so instead.

    Returns a secret for the browser that asked, whether or not the mailbox was free: whoever looks at the
    answer cannot tell. Raises RegistrationRefused, PasswordRefused or TooManyAttempts.
    """
    _spend(network, now)
    wish = _validate(programme, name, mailbox, password)
    token, browser = new_token(), new_token()
    db.session.execute(
        delete(PendingRegistration).where(PendingRegistration.created_at <= now - LINK_LIFETIME)
    )
    allowed = rate_limit.consume(MAILS, wish.key, now=now)
    if allowed and _taken(wish.key):
        enqueue_row(None, emails.already_registered(wish.mailbox, hash_token(token), reset_link), now=now)
    elif allowed:
        db.session.add(_pending(wish, token, browser, now))
        mail = emails.confirm_registration(wish.mailbox, hash_token(token), confirm_link(token))
        enqueue_row(None, mail, now=now)
    db.session.commit()
    return browser


def find_pending(token: str, *, now: datetime) -> PendingRegistration:
    """Return the registration this link belongs to. Raises LinkExpired."""
    row = db.session.scalar(
        select(PendingRegistration).where(
            PendingRegistration.token_hash == hash_token(token),
            PendingRegistration.created_at > now - LINK_LIFETIME,
        )
    )
    if row is None:
        raise LinkExpired
    return row


def is_same_browser(pending: PendingRegistration, browser: str) -> bool:
    """Return whether this browser is the one that filled in the form."""
    return hmac.compare_digest(pending.browser_hash, hash_token(browser))


def confirm(token: str, *, browser: str, password: str, network: str, now: datetime) -> Owner:
    """Make the account of a registration whose link was followed.

    Another browser than the one that registered has to know the password. Otherwise somebody could
    register a stranger's mailbox, wait until the stranger presses the button, and share the account.
    Raises LinkExpired, WrongPassword, MailboxTaken or TooManyAttempts.
    """
    pending = find_pending(token, now=now)
    wish = _ValidRegistration(pending.programme, pending.name, pending.mailbox, pending.password_hash)
    known = is_same_browser(pending, browser)
    allowed = known or rate_limit.consume(BY_NETWORK, network, now=now)
    db.session.commit()
    if not allowed:
        raise TooManyAttempts(BY_NETWORK, now)
    if not known and not hasher().verify(wish.password_hash, password):
        raise WrongPassword
    return _create(wish, now)


def _spend(network: str, now: datetime) -> None:
    allowed = rate_limit.consume(PER_NETWORK, network, now=now)
    db.session.commit()
    if not allowed:
        raise TooManyAttempts(PER_NETWORK, now)


def _validate(programme: str, name: str, mailbox: str, password: str) -> _ValidRegistration:
    """Check every part, and hash the password while no transaction is open."""
    programme, name = programme.strip(), name.strip()
    if not 0 < len(programme) <= 100 or not 0 < len(name) <= 100:
        raise RegistrationRefused("The programme and its owner need names of 1 to 100 characters.")
    try:
        parsed = parse_mailbox(mailbox)
    except MailboxError as error:
        raise RegistrationRefused(str(error)) from None
    if not parsed.is_ascii:
        raise RegistrationRefused(
            "Before its @, the email address may have only plain letters (a–z) and digits."
        )
    check_password(password, programme, name, str(parsed))
    db.session.rollback()  # ends what the caller read
    return _ValidRegistration(programme, name, str(parsed), hasher().hash(password))


def _create(wish: _ValidRegistration, now: datetime, *, operator: bool = False) -> Owner:
    for _ in range(3):
        if _taken(wish.key):
            db.session.rollback()
            raise MailboxTaken("An owner with this email address is registered already.")
        account = Account(slug=unique_slug(wish.programme), name=wish.programme, created_at=now)
        owner = Owner(
            account=account,
            name=wish.name,
            mailbox=wish.mailbox,
            mailbox_key=wish.key,
            password_hash=wish.password_hash,
            created_at=now,
            is_operator=operator,
        )
        db.session.add(owner)
        db.session.execute(delete(PendingRegistration).where(PendingRegistration.mailbox_key == wish.key))
        try:
            db.session.commit()
        except IntegrityError:
            # Where transactions run side by side, another one took the mailbox or the slug.
            db.session.rollback()
            continue
        return owner
    raise RegistrationRefused("The registration collided with others. Try again.")


def _pending(wish: _ValidRegistration, token: str, browser: str, now: datetime) -> PendingRegistration:
    return PendingRegistration(
        token_hash=hash_token(token),
        browser_hash=hash_token(browser),
        programme=wish.programme,
        name=wish.name,
        mailbox=wish.mailbox,
        mailbox_key=wish.key,
        password_hash=wish.password_hash,
        created_at=now,
    )


def _taken(key: str) -> bool:
    return db.session.scalar(select(Owner.id).where(Owner.mailbox_key == key)) is not None
