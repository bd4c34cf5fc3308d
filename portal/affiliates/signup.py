"""Signing up as an affiliate: the person and the email owed to them are committed together."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from .. import budgets
from ..accounts.models import Account
from ..config import Config
from ..db import db
from ..events.causing import cause
from ..events.occasions import Occasion, Source
from ..smtp.mailbox import parse_mailbox
from . import letters
from .models import Affiliate, Purpose, State
from .rules import rules_of

# A stranger's address may be typed by anybody, so it is protected across the whole portal. Known or not, each
# sign-up counts: otherwise the budget would tell who is known.
PER_MAILBOX = budgets.Budget("sign-up-mailbox", 3, timedelta(days=1))
PER_NETWORK = budgets.Budget("sign-up-network", 20, timedelta(hours=1))
_CODE_LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # without those that look alike
_MAY_JOIN = (State.UNCONFIRMED, State.INVITED)


class TooManySignUps(Exception):
    """This network signed up too many people within an hour, or this mailbox was entered too often in a day."""


class LinkTooOld(Exception):
    """The link in the email has expired; signing up again brings a new one."""


@dataclass(frozen=True)
class SignUp:
    """What the visitor entered, checked for shape."""

    name: str
    mailbox: str
    network: str


def sign_up(account: Account, entered: SignUp, *, config: Config, now: datetime) -> None:
    """Take an affiliate in and owe the email that follows; one commit. Signing up twice changes nothing.

    Where the account's rules ask for it, the email only asks to confirm. Raises TooManySignUps, having
    kept the count.
    """
    new = new_affiliate(account, entered.name, entered.mailbox, now)
    _spend(account, new.mailbox_key, entered.network, now)
    new.consented_at = now
    known = _known(account.id, new.mailbox_key)
    affiliate = known or _take_in(new)
    if affiliate is not None:
        _go_on(affiliate, account, now)
    db.session.commit()


def send_again(account: Account, mailbox: str, network: str, *, now: datetime) -> None:
    """Send the confirmation once more to whoever waits for it, and nothing to anybody else. Commits.

    Raises TooManySignUps, having kept the count.
    """
    key = str(parse_mailbox(mailbox)).casefold()
    _spend(account, key, network, now)
    affiliate = _known(account.id, key)
    if affiliate is not None and affiliate.state is State.UNCONFIRMED:
        letters.ask_to_confirm(affiliate, account, now=now)
    db.session.commit()


def confirm(token: str, *, now: datetime) -> letters.Found | None:
    """Let an affiliate begin whose mailbox is now proved; a second time changes nothing. Commits.

    Returns None for a link nobody gave out. Raises LinkTooOld.
    """
    return _follow(token, Purpose.CONFIRM, now)


def accept(token: str, *, now: datetime) -> letters.Found | None:
    """Let somebody begin who was invited, and now agrees to be written to; as ``confirm``."""
    return _follow(token, Purpose.JOIN, now)


def throttle_key(mailbox_key: str) -> str:
    """Reduce the spellings of one mailbox to one, for the budget only: ``a.d.a+x@`` is ``ada@``."""
    local, _, domain = mailbox_key.rpartition("@")
    folded = local.partition("+")[0].replace(".", "")
    return f"{folded or local}@{'gmail.com' if domain == 'googlemail.com' else domain}"


def new_affiliate(account: Account, name: str, mailbox: str, now: datetime) -> Affiliate:
    """Return an affiliate who is in no table yet and has agreed to nothing."""
    parsed = str(parse_mailbox(mailbox))  # as the envelope will have it, its domain in A-labels
    return Affiliate(
        account_id=account.id,
        name=name,
        mailbox=parsed,
        mailbox_key=parsed.casefold(),
        code="".join(secrets.choice(_CODE_LETTERS) for _ in range(8)),
        dashboard_key=secrets.token_urlsafe(24),
        state=State.UNCONFIRMED,
        created_at=now,
    )


def _spend(account: Account, mailbox_key: str, network: str, now: datetime) -> None:
    allowed = budgets.spend(PER_NETWORK, account.id, network, now=now)
    allowed = allowed and budgets.spend(PER_MAILBOX, throttle_key(mailbox_key), now=now)
    if not allowed:
        db.session.commit()  # the count stays
        raise TooManySignUps


def _known(account_id: int, mailbox_key: str) -> Affiliate | None:
    query = select(Affiliate).where(Affiliate.account_id == account_id, Affiliate.mailbox_key == mailbox_key)
    return db.session.scalar(query.with_for_update())


def _take_in(affiliate: Affiliate) -> Affiliate | None:
    """Insert a newcomer, or return None if the same person signed up at this very moment."""
    account_id, mailbox_key = affiliate.account_id, affiliate.mailbox_key
    try:
        with db.session.begin_nested():
            db.session.add(affiliate)
    except IntegrityError:
        if _known(account_id, mailbox_key) is None:
            raise
        return None  # that other sign-up owes the email
    return affiliate


def _go_on(affiliate: Affiliate, account: Account, now: datetime) -> None:
    """Ask for the confirmation, or let the affiliate begin; whoever has begun long ago is left alone."""
    if affiliate.state not in _MAY_JOIN:
        return
    rules = rules_of(account.id)
    if rules.confirm:
        letters.ask_to_confirm(affiliate, account, now=now)
    else:
        _begin(affiliate, account, approved=rules.auto_approve, now=now)


def _follow(token: str, purpose: Purpose, now: datetime) -> letters.Found | None:
    found = letters.find(token, purpose, now=now, lock=True)
    if found is None:
        return None
    affiliate = found.affiliate
    if affiliate.state in _MAY_JOIN:
        if found.too_old:
            db.session.rollback()
            raise LinkTooOld
        # Whoever the owner invited need not wait for the owner's word.
        approved = affiliate.state is State.INVITED or rules_of(found.account.id).auto_approve
        affiliate.confirmed_at = found.link.used_at = now
        _begin(affiliate, found.account, approved=approved, now=now)
    db.session.commit()
    return found


def _begin(affiliate: Affiliate, account: Account, *, approved: bool, now: datetime) -> None:
    affiliate.state = State.ACTIVE if approved else State.PENDING
    affiliate.state_since = now
    affiliate.consented_at = affiliate.consented_at or now
    db.session.flush()
    occasion = Occasion.SIGNED_UP if approved else Occasion.APPLIED
    cause(account, occasion, affiliate, {}, key=f"{occasion}:{affiliate.id}", source=Source.PORTAL, now=now)
