"""One account for its page: its limits, its people, and when each last logged in, as far as stored log-ins state it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from ..accounts import standing
from ..accounts.models import Account, OwnerSession
from ..accounts.team import members
from ..affiliates import platform_use
from ..db import db, read_only
from ..outbox import rate_limits
from . import accounts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ..accounts.team.members import Member
    from ..outbox.rate_limits import SendingRate
    from .accounts import AccountRow

PAGE_SIZE = 50


@dataclass(frozen=True)
class AccountPerson:
    """A person of the account. ``logged_in_at`` is None where no log-in of the last 90 days is stored."""

    member: Member
    logged_in_at: datetime | None
    seen_at: datetime | None


@dataclass(frozen=True)
class AccountLimits:
    """The limits of an account. ``rate`` are those that its owners set."""

    platform: int | None  # that applies now; None: there is none
    platform_set: int | None  # by an operator; None: the default applies
    platform_used: int
    rate: SendingRate | None
    sign_ups_per_network: int
    sign_ups_at_once: int


@dataclass(frozen=True)
class AccountPage:
    """One account with one page of its people. ``pages`` counts the pages."""

    row: AccountRow
    limits: AccountLimits
    people: Sequence[AccountPerson]
    count: int
    number: int
    pages: int


def build(account_id: int, number: int, *, now: datetime) -> AccountPage | None:
    """Return the page ``number`` of an account's people, from 1 on; None if there is no such account."""
    with read_only():
        account = db.session.get(Account, account_id)
        found = _build(account, number, now) if account is not None else None
        db.session.expunge_all()  # the row of the limits is used after the transaction
        db.session.rollback()
    return found


def _build(account: Account, number: int, now: datetime) -> AccountPage:
    members_found = members.members_of(account.id)
    pages = max(1, -(-len(members_found) // PAGE_SIZE))
    number = min(max(1, number), pages)
    shown = members_found[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]
    log_ins = _log_ins([one.id for one in shown])
    people = [AccountPerson(one, *log_ins.get(one.id, (None, None))) for one in shown]
    (row,) = accounts.rows_of([account], now)
    return AccountPage(row, _limits(account, now), people, len(members_found), number, pages)


def _limits(account: Account, now: datetime) -> AccountLimits:
    return AccountLimits(
        standing.platform_limit(account),
        account.platform_per_day,
        platform_use.count(account.id, now),
        rate_limits.get_limits(account.id),
        account.sign_ups_per_network,
        account.sign_ups_at_once,
    )


def _log_ins(owner_ids: Sequence[int]) -> dict[int, tuple[datetime, datetime]]:
    query = (
        select(OwnerSession.owner_id, func.max(OwnerSession.created_at), func.max(OwnerSession.seen_at))
        .where(OwnerSession.owner_id.in_(owner_ids))
        .group_by(OwnerSession.owner_id)
    )
    return {owner_id: (created, seen) for owner_id, created, seen in db.session.execute(query)}
