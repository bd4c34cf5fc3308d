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
from ..notices import rendering, switches
from ..notices.catalogue import NEW_SIGN_UP
from ..notices.greeting import first_name_of
from ..outbox.queue import NewMessage, enqueue
from ..smtp.mailbox import parse_mailbox
from .models import Affiliate

# A stranger's address may be typed by anybody, so it is protected across the whole portal.
PER_MAILBOX = budgets.Budget("sign-up-mailbox", 3, timedelta(days=1))
PER_NETWORK = budgets.Budget("sign-up-network", 20, timedelta(hours=1))
_CODE_LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # without those that look alike


class TooManySignUps(Exception):
    """This network signed up too many people within an hour, or this mailbox was entered too often in a day."""


@dataclass(frozen=True)
class SignUp:
    """What the visitor entered, checked for shape."""

    name: str
    mailbox: str
    network: str


def sign_up(account: Account, entered: SignUp, *, config: Config, now: datetime) -> None:
    """Take an affiliate in and owe the New Sign-up email; one commit. Signing up twice changes nothing.

    Raises TooManySignUps, having kept the count.
    """
    affiliate = _new_affiliate(account, entered, now)
    allowed = budgets.spend(PER_NETWORK, account.id, entered.network, now=now)
    if allowed and not _is_known(affiliate):
        allowed = budgets.spend(PER_MAILBOX, throttle_key(affiliate.mailbox_key), now=now)
        if allowed:
            _take_in(affiliate, account, config, now)
    if not allowed:
        db.session.commit()  # the count stays
        raise TooManySignUps
    db.session.commit()


def link_of(affiliate: Affiliate, account: Account, config: Config) -> str:
    """Return the affiliate's public link."""
    return f"{config.base_url}/join/{account.slug}?ref={affiliate.code}"


def dashboard_of(affiliate: Affiliate, config: Config) -> str:
    """Return the address of the affiliate's private page; whoever knows it may open it."""
    return f"{config.base_url}/affiliate/{affiliate.dashboard_key}"


def key_of_welcome(affiliate_id: int) -> str:
    """Return the key under which an affiliate's New Sign-up email is owed, once."""
    return f"{NEW_SIGN_UP.kind}:{affiliate_id}"


def throttle_key(mailbox_key: str) -> str:
    """Reduce the spellings of one mailbox to one, for the budget only: ``a.d.a+x@`` is ``ada@``."""
    local, _, domain = mailbox_key.rpartition("@")
    folded = local.partition("+")[0].replace(".", "")
    return f"{folded or local}@{'gmail.com' if domain == 'googlemail.com' else domain}"


def _new_affiliate(account: Account, entered: SignUp, now: datetime) -> Affiliate:
    mailbox = str(parse_mailbox(entered.mailbox))  # as the envelope will have it, its domain in A-labels
    return Affiliate(
        account_id=account.id,
        name=entered.name,
        mailbox=mailbox,
        mailbox_key=mailbox.casefold(),
        code="".join(secrets.choice(_CODE_LETTERS) for _ in range(8)),
        dashboard_key=secrets.token_urlsafe(24),
        consented_at=now,
        created_at=now,
    )


def _is_known(new: Affiliate) -> bool:
    query = select(Affiliate.id).where(
        Affiliate.account_id == new.account_id, Affiliate.mailbox_key == new.mailbox_key
    )
    return db.session.scalar(query) is not None


def _take_in(affiliate: Affiliate, account: Account, config: Config, now: datetime) -> None:
    try:
        with db.session.begin_nested():
            db.session.add(affiliate)
    except IntegrityError:
        if _is_known(affiliate):
            return  # the same person signed up at this very moment, and that sign-up owes the email
        raise
    if switches.is_on(account.id, NEW_SIGN_UP):
        enqueue(account.id, _new_sign_up(affiliate, account, config), now=now)


def _new_sign_up(affiliate: Affiliate, account: Account, config: Config) -> NewMessage:
    values = {
        "programme": account.name,
        "first_name": first_name_of(affiliate.name),
        "name": affiliate.name,
        "email": affiliate.mailbox,
        "code": affiliate.code,
        "link": link_of(affiliate, account, config),
        "dashboard": dashboard_of(affiliate, config),
    }
    mail = rendering.render(NEW_SIGN_UP, account, values)
    return NewMessage(
        kind=NEW_SIGN_UP.kind,
        key=key_of_welcome(affiliate.id),
        recipient=affiliate.mailbox,
        recipient_name=affiliate.name,
        subject=mail.subject,
        text=mail.text,
        html=mail.html,
    )
