"""Looking affiliates and their programmes up; nothing here writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from ..accounts.models import Account
from ..config import Config
from ..db import db
from ..outbox.models import OutboxMessage
from ..web.pagination import Page, newest_first
from .models import Affiliate
from .signup import key_of_welcome, link_of


@dataclass(frozen=True)
class Entry:
    """One line of the owner's list. ``welcome`` is the New Sign-up email owed to this affiliate, if any."""

    affiliate: Affiliate
    link: str
    welcome: OutboxMessage | None


@dataclass(frozen=True)
class Roll:
    """One page of the owner's list."""

    entries: list[Entry]
    older: int | None
    newer: int | None
    total: int


def find_account(slug: str) -> Account | None:
    """Return the programme behind a public address."""
    if not _plain(slug):
        return None
    return db.session.scalar(select(Account).where(Account.slug == slug.lower()))


def by_dashboard_key(key: str) -> tuple[Affiliate, Account] | None:
    """Return the affiliate whose private address this is."""
    if not _plain(key):
        return None
    row = db.session.execute(
        select(Affiliate, Account)
        .join(Account, Account.id == Affiliate.account_id)
        .where(Affiliate.dashboard_key == key)
    ).first()
    return (row[0], row[1]) if row else None


def roll_of(account: Account, config: Config, *, before: int | None, after: int | None) -> Roll:
    """Return one page of the account's affiliates, newest first."""
    query = select(Affiliate).where(Affiliate.account_id == account.id)
    page: Page[Any] = newest_first(query, Affiliate.id, before=before, after=after)
    welcomes = _welcomes(account.id, page.rows)
    entries = [
        Entry(row, link_of(row, account, config), welcomes.get(key_of_welcome(row.id))) for row in page.rows
    ]
    total = db.session.scalar(select(func.count()).select_from(query.subquery())) or 0
    return Roll(entries, page.older, page.newer, total)


def _welcomes(account_id: int, rows: Iterable[Affiliate]) -> Mapping[str, OutboxMessage]:
    keys = [key_of_welcome(row.id) for row in rows]
    query = select(OutboxMessage).where(OutboxMessage.account_id == account_id, OutboxMessage.key.in_(keys))
    return {message.key: message for message in db.session.scalars(query)}


def _plain(text: str) -> bool:
    """Whether a part of an address may be looked up; some databases raise at a NUL."""
    return text.isascii() and text.isprintable()
