"""Registration of a new account with its first owner: by a command, an invitation, at once, or confirmed by email."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from flask_babel import gettext
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from .. import audit, rate_limit, recipient_limits
from ..audit.retention import PERSON
from ..config import Registration
from ..db import db
from ..outbox.queue import enqueue_row
from ..rate_limit import RateLimit
from ..security_log import SecurityEvent, record
from ..smtp.mailbox import MailboxError
from ..state import current_config
from ..web.translations import speaking_to
from . import emails, names
from .identifiers import login_mailbox, mailbox_key, unique_slug
from .login import LOGINS_PER_NETWORK, TooManyAttempts
from .models import Account, Membership, Owner, PendingRegistration
from .passwords import check_password, hasher
from .team.rights import Role
from .tokens import InvalidLink, hash_token, new_token

if TYPE_CHECKING:
    from collections.abc import Callable

PER_NETWORK = RateLimit("registrations by network", 20, timedelta(hours=1))
LINK_LIFETIME = timedelta(hours=24)


class RegistrationRefused(ValueError):
    """The registration cannot be completed. The message is one sentence with the reason."""


class NameRefused(RegistrationRefused):
    """A name is not accepted. ``field`` is programme or name."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class RegistrationClosed(Exception):
    """Visitors cannot register at present."""


class MailboxTaken(RegistrationRefused):
    """The mailbox belongs to an owner already. Must not be revealed to visitors."""


class WrongPassword(Exception):
    """The password is not the one chosen at registration."""


@dataclass(frozen=True)
class RegistrationInput:
    """What a visitor entered to register."""

    programme: str
    name: str
    mailbox: str
    password: str


@dataclass(frozen=True)
class _ValidRegistration:
    """A validated registration with the password hashed."""

    programme: str
    name: str
    mailbox: str
    password_hash: str

    @property
    def key(self) -> str:
        return mailbox_key(self.mailbox)


@dataclass(frozen=True)
class Vouched:
    """What is known of a new account's person, at the time of its creation."""

    is_approved: bool = False  # by the operator who runs the command or has invited
    is_confirmed: bool = False  # reads the mailbox
    is_operator: bool = False


_BY_OPERATOR = Vouched(is_approved=True, is_confirmed=True)


def is_open() -> bool:
    """Return whether visitors may register, whether or not an operator approves them later."""
    return current_config().registration in (Registration.APPROVE, Registration.OPEN)


def needs_confirmation() -> bool:
    """Return whether a new owner confirms the mailbox first, which needs a mail server of the portal's own.

    A fresh installation has none. Requiring a confirmation there would lock everyone out, the operator included,
    so registrations are completed at once. A registered mailbox can then be inferred from the error, which is
    therefore vague and rate-limited.
    """
    config = current_config()
    return bool(config.platform.server)


def create_owner(programme: str, name: str, mailbox: str, password: str, *, now: datetime) -> Owner:
    """Create an account and its first owner. Commits; the caller's session must have no pending changes.

    Raises:
        RegistrationRefused: a value is invalid; MailboxTaken if the mailbox is registered already.
        PasswordRefused: the password is not accepted.
    """
    return _create(_validate(RegistrationInput(programme, name, mailbox, password)), now, _BY_OPERATOR)


def create_invited(
    wanted: RegistrationInput, *, use: Callable[[], None], is_operator: bool, now: datetime
) -> Owner:
    """Create the account of an invited person. ``use`` marks the invitation as used, in the same transaction. Commits.

    Raises as ``create_owner``, and what ``use`` raises; then nothing is changed.
    """
    valid = _validate(wanted)
    vouched = Vouched(is_approved=True, is_confirmed=True, is_operator=is_operator)
    return _create(valid, now, vouched, use=use)


def register(entered: RegistrationInput, *, network: str, now: datetime) -> Owner:
    """Register at once, within the network's rate limit. Commits.

    Raises as ``create_owner``, RegistrationClosed and TooManyAttempts.
    """
    _count_registration(network, now)
    return _create(_validate(entered), now, Vouched())


def request_confirmation(
    entered: RegistrationInput,
    *,
    network: str,
    confirm_link: Callable[[str], str],
    reset_link: str,
    now: datetime,
) -> str:
    """Store a registration and email the confirmation link; an owner gets another email instead. Commits.

    Returns a secret for the browser's session cookie, whether or not the mailbox was free, so that the answer
    does not reveal it. A mailbox to which strangers caused enough emails today silently gets no further one.

    Raises:
        RegistrationRefused: a value is invalid.
        PasswordRefused: the password is not accepted.
        RegistrationClosed: visitors cannot register.
        TooManyAttempts: the network reached its rate limit.
    """
    _count_registration(network, now)
    valid = _validate(entered)
    token, browser = new_token(), new_token()
    db.session.execute(
        delete(PendingRegistration).where(PendingRegistration.created_at <= now - LINK_LIFETIME)
    )
    allowed = recipient_limits.consume(recipient_limits.BY_STRANGERS, valid.key, now=now)
    language = db.session.scalar(select(Owner.language).where(Owner.mailbox_key == valid.key))
    if allowed and language is not None:
        with speaking_to(language):
            mail = emails.already_registered(valid.mailbox, hash_token(token), reset_link)
        enqueue_row(None, mail, now=now)
    elif allowed:
        db.session.add(_pending(valid, token, browser, now))
        mail = emails.confirm_registration(valid.mailbox, hash_token(token), confirm_link(token))
        enqueue_row(None, mail, now=now)
    db.session.commit()
    return browser


def find_pending(token: str, *, now: datetime) -> PendingRegistration:
    """Return the registration of this confirmation link. Raises InvalidLink."""
    row = db.session.scalar(
        select(PendingRegistration).where(
            PendingRegistration.token_hash == hash_token(token),
            PendingRegistration.created_at > now - LINK_LIFETIME,
        )
    )
    if row is None:
        raise InvalidLink
    return row


def is_same_browser(pending: PendingRegistration, browser: str) -> bool:
    """Return whether the secret is that of the browser that sent the form."""
    return hmac.compare_digest(pending.browser_hash, hash_token(browser))


def confirm(token: str, *, browser: str, password: str, network: str, now: datetime) -> Owner:
    """Create the account of a registration whose link was opened. Commits.

    In another browser than the one that registered, the password is required. Otherwise an attacker could
    register someone else's mailbox, wait until that person presses the button, and share the account.

    Raises:
        InvalidLink: the link is invalid.
        WrongPassword: the password is required and wrong.
        MailboxTaken: the mailbox was registered meanwhile.
        RegistrationClosed: registration was closed meanwhile.
        TooManyAttempts: the network guessed passwords too often.
    """
    _require_open()
    pending = find_pending(token, now=now)
    valid = _ValidRegistration(pending.programme, pending.name, pending.mailbox, pending.password_hash)
    known = is_same_browser(pending, browser)
    wait = timedelta() if known else rate_limit.consume_or_wait(LOGINS_PER_NETWORK, network, now=now)
    db.session.commit()
    if wait:
        raise TooManyAttempts(wait)
    if not known and not hasher().verify(valid.password_hash, password):
        raise WrongPassword
    return _create(valid, now, Vouched(is_confirmed=True))


def _require_open() -> None:
    if not is_open():
        raise RegistrationClosed


def _count_registration(network: str, now: datetime) -> None:
    _require_open()
    wait = rate_limit.consume_or_wait(PER_NETWORK, network, now=now)
    db.session.commit()
    if wait:
        raise TooManyAttempts(wait)


def _validate(entered: RegistrationInput) -> _ValidRegistration:
    """Check all values, and hash the password while no transaction is open."""
    programme, name = entered.programme.strip(), entered.name.strip()
    for field, value in (("programme", programme), ("name", name)):
        if why := names.why_refused(value):
            raise NameRefused(field, why)
    try:
        mailbox = login_mailbox(entered.mailbox)
    except MailboxError as error:
        raise RegistrationRefused(str(error)) from None
    check_password(entered.password, programme, name, mailbox)
    db.session.rollback()  # ends the transaction of what the caller read
    return _ValidRegistration(programme, name, mailbox, hasher().hash(entered.password))


def _create(
    valid: _ValidRegistration, now: datetime, vouched: Vouched, *, use: Callable[[], None] | None = None
) -> Owner:
    """Insert account and owner. ``use`` is called in the same transaction, also when it is repeated."""

    def add_owner(account: Account) -> Owner:
        if _is_taken(valid.key):
            db.session.rollback()
            raise MailboxTaken(gettext("An owner with this email address is already registered."))
        if use is not None:
            use()
        owner = Owner(
            account=account,
            name=valid.name,
            mailbox=valid.mailbox,
            mailbox_key=valid.key,
            password_hash=valid.password_hash,
            created_at=now,
            confirmed_at=now if vouched.is_confirmed else None,
            is_operator=vouched.is_operator,
        )
        db.session.add(owner)
        db.session.execute(delete(PendingRegistration).where(PendingRegistration.mailbox_key == valid.key))
        return owner

    return create_account(valid.programme, vouched, add_owner, now=now)


def create_account(
    name: str, vouched: Vouched, add_owner: Callable[[Account], Owner], *, now: datetime
) -> Owner:
    """Insert an account, and return its first owner, who is the contact. Commits.

    ``add_owner`` adds the account to the session and returns the owner. It is called again when the transaction is repeated
    because a concurrent one took the mailbox or the slug, which happens on PostgreSQL. Raises RegistrationRefused.
    """
    for _ in range(3):
        account = Account(slug=unique_slug(name), name=name, created_at=now)
        account.approved_at = now if vouched.is_approved else None
        account.is_waiting = not vouched.is_approved and current_config().registration is Registration.APPROVE
        try:
            owner = add_owner(account)
            db.session.flush()
            db.session.add(
                Membership(owner_id=owner.id, account_id=account.id, role=Role.OWNER, joined_at=now)
            )
            account.contact_id = owner.id
            concerned = {"account": account.id, "owner": owner.id}
            target = audit.AuditTarget(PERSON, owner.id, owner.name)
            audit.record(audit.Activity.REGISTERED, account.id, target=target, after={"name": account.name})
            db.session.commit()
        except IntegrityError:
            db.session.rollback()
            continue
        approved = "yes" if vouched.is_approved else "no"
        record(SecurityEvent.REGISTERED, **concerned, approved=approved)
        return owner
    raise RegistrationRefused(gettext("The registration could not be saved. Try again."))


def _pending(valid: _ValidRegistration, token: str, browser: str, now: datetime) -> PendingRegistration:
    return PendingRegistration(
        token_hash=hash_token(token),
        browser_hash=hash_token(browser),
        programme=valid.programme,
        name=valid.name,
        mailbox=valid.mailbox,
        mailbox_key=valid.key,
        password_hash=valid.password_hash,
        created_at=now,
    )


def _is_taken(key: str) -> bool:
    return db.session.scalar(select(Owner.id).where(Owner.mailbox_key == key)) is not None
