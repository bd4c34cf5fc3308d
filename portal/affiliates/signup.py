"""Signing up as an affiliate: the person and the email owed to them are committed together."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select

from .. import budgets
from ..accounts.models import Account
from ..config import Config
from ..db import db
from ..notices import rendering, switches
from ..notices.catalogue import NEW_SIGN_UP
from ..outbox.queue import NewMessage, enqueue
from .models import Affiliate

# A stranger's address may be typed by anybody, so it is protected across the whole portal.
PER_MAILBOX = budgets.Budget("sign-up-mailbox", 3, timedelta(days=1))
PER_NETWORK = budgets.Budget("sign-up-network", 20, timedelta(hours=1))
_CODE_LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # without those that look alike


class TooManySignUps(Exception):
    """This network has signed up too many people in the last hour."""


@dataclass(frozen=True)
class SignUp:
    """What the visitor entered, checked for shape."""

    name: str
    mailbox: str
    network: str


def find_account(slug: str) -> Account | None:
    """Return the programme behind a public address."""
    return db.session.scalar(select(Account).where(Account.slug == slug.lower()))


def sign_up(account: Account, entered: SignUp, *, config: Config, now: datetime) -> None:
    """Take an affiliate in and owe the New Sign-up email; one commit. Signing up twice changes nothing.

    Raises TooManySignUps, having kept the count.
    """
    if not budgets.spend(PER_NETWORK, account.id, entered.network, now=now):
        db.session.commit()
        raise TooManySignUps
    key = entered.mailbox.casefold()
    known = db.session.scalar(
        select(Affiliate.id).where(Affiliate.account_id == account.id, Affiliate.mailbox_key == key)
    )
    if known is None and budgets.spend(PER_MAILBOX, _unfolded(key), now=now):
        _take_in(account, entered, key, config, now)
    db.session.commit()


def by_dashboard_key(key: str) -> tuple[Affiliate, Account] | None:
    """Return the affiliate whose private address this is."""
    row = db.session.execute(
        select(Affiliate, Account)
        .join(Account, Account.id == Affiliate.account_id)
        .where(Affiliate.dashboard_key == key)
    ).first()
    return (row[0], row[1]) if row else None


def link_of(affiliate: Affiliate, account: Account, config: Config) -> str:
    """Return the affiliate's public link."""
    return f"{config.base_url}/join/{account.slug}?ref={affiliate.code}"


def _take_in(account: Account, entered: SignUp, key: str, config: Config, now: datetime) -> None:
    affiliate = Affiliate(
        account_id=account.id,
        name=entered.name,
        mailbox=entered.mailbox,
        mailbox_key=key,
        code="".join(secrets.choice(_CODE_LETTERS) for _ in range(8)),
        dashboard_key=secrets.token_urlsafe(24),
        consented_at=now,
        created_at=now,
    )
    db.session.add(affiliate)
    db.session.flush()
    if switches.is_on(account.id, NEW_SIGN_UP):
        enqueue(account.id, _new_sign_up(affiliate, account, config), now=now)


def _new_sign_up(affiliate: Affiliate, account: Account, config: Config) -> NewMessage:
    values = {
        "programme": account.name,
        "first_name": affiliate.name.split()[0],
        "link": link_of(affiliate, account, config),
        "dashboard": f"{config.base_url}/affiliate/{affiliate.dashboard_key}",
    }
    mail = rendering.render(NEW_SIGN_UP, values)
    return NewMessage(
        kind=NEW_SIGN_UP.kind,
        key=f"{NEW_SIGN_UP.kind}:{affiliate.id}",
        recipient=affiliate.mailbox,
        recipient_name=affiliate.name,
        subject=mail.subject,
        text=mail.text,
        html=mail.html,
    )


def _unfolded(mailbox: str) -> str:
    """Reduce the spellings of one mailbox to one, for the budget only: ``a.d.a+x@`` is ``ada@``."""
    local, _, domain = mailbox.partition("@")
    return f"{local.partition('+')[0].replace('.', '')}@{domain}"
