"""Queries for affiliates and their programmes. Nothing in this module writes."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, select

from ..accounts.models import Account
from ..db import db, new_row
from ..db.prepared import PreparedStatement
from . import page_keys
from .models import ActionToken, Affiliate, AffiliateState, FormerCode, TokenPurpose
from .search_text import fold_query

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import BindParameter, ColumnElement


_AFFILIATE = Affiliate.__table__.c
_FORMER = FormerCode.__table__.c
_AFFILIATE_COLUMNS = tuple(column.key for column in _AFFILIATE)
ACCOUNT_COLUMNS = tuple(Account.__table__.c.keys())
_PROGRAMME = PreparedStatement(
    select(*Account.__table__.c).where(Account.__table__.c.slug == bindparam("slug"))
)
_TAKING_PART = (
    select(*Account.__table__.c, *_AFFILIATE)
    .join_from(Affiliate.__table__, Account.__table__, Account.__table__.c.id == _AFFILIATE.account_id)
    .where(_AFFILIATE.account_id == bindparam("account_id"))
    .with_for_update(read=True, key_share=True, of=Affiliate.__table__)
)
_SPELLINGS: list[BindParameter[str]] = [bindparam("text"), bindparam("upper")]
_BY_CODE = PreparedStatement(_TAKING_PART.where(_AFFILIATE.code.in_(_SPELLINGS)))
_BY_FORMER_CODE = PreparedStatement(
    _TAKING_PART.join(FormerCode.__table__, _FORMER.affiliate_id == _AFFILIATE.id)
    .where(_FORMER.code.in_(_SPELLINGS), _FORMER.account_id == _AFFILIATE.account_id)
    .limit(1)
)
_BY_EXTERNAL_ID = PreparedStatement(_TAKING_PART.where(_AFFILIATE.external_id == bindparam("text")))
_BY_MAILBOX = PreparedStatement(_TAKING_PART.where(_AFFILIATE.mailbox_key == bindparam("text")))


class Participant(NamedTuple):
    """An affiliate and the programme, as they were read: both belong to no session. Do not change the account."""

    account: Account
    affiliate: Affiliate


def find_programme(slug: str) -> Account | None:
    """Return the programme with this slug. The account is detached from every session, and shared: do not change it."""
    if not can_be_looked_up(slug):
        return None
    row = _PROGRAMME.first(slug=slug.lower())
    return account_of(row) if row else None


@lru_cache(maxsize=256)
def account_of(row: tuple[Any, ...], columns: tuple[str, ...] = ACCOUNT_COLUMNS) -> Account:
    """Return the account of a row with these columns. Equal rows give one object, which is not to be changed.

    Making an object of the ORM takes longer than reading the row.
    """
    return Account(**dict(zip(columns, row, strict=True)))


def find_affiliate(account_id: int, affiliate_id: int) -> Affiliate | None:
    """Return an affiliate of this account, or None if there is none with this id."""
    query = select(Affiliate).where(Affiliate.id == affiliate_id, Affiliate.account_id == account_id)
    return db.session.scalar(query)


def find_by_code(account_id: int, code: str) -> Affiliate | None:
    """Return the affiliate of this account with this link code, or who had it before.

    Upper and lower case are told apart only if there are codes in both.
    """
    if not can_be_looked_up(code):
        return None
    spellings = {code, code.upper()}
    query = select(Affiliate).where(Affiliate.code.in_(spellings), Affiliate.account_id == account_id)
    found = min(db.session.scalars(query), key=lambda row: row.code != code, default=None)
    if found is not None:
        return found
    former = select(FormerCode.affiliate_id).where(
        FormerCode.code.in_(spellings), FormerCode.account_id == account_id
    )
    return db.session.scalar(select(Affiliate).where(Affiliate.id.in_(former)).limit(1))


def find_by_external_id(account_id: int, external_id: str) -> Affiliate | None:
    """Return the affiliate with this external id."""
    query = select(Affiliate).where(Affiliate.account_id == account_id, Affiliate.external_id == external_id)
    return db.session.scalar(query)


def find_by_mailbox(account_id: int, mailbox_key: str) -> Affiliate | None:
    """Return the affiliate with this mailbox, given in the form for look-ups."""
    query = select(Affiliate).where(Affiliate.account_id == account_id, Affiliate.mailbox_key == mailbox_key)
    return db.session.scalar(query)


def lock_by_code(account_id: int, code: str) -> Participant | None:
    """Return the affiliate that ``find_by_code`` finds, locked as by ``keep``; None if that one is erased."""
    if not can_be_looked_up(code):
        return None
    spelt = {"account_id": account_id, "text": code, "upper": code.upper()}
    found = [_participant(row) for row in _BY_CODE.all(**spelt) or _BY_FORMER_CODE.all(**spelt)]
    return _kept(sorted(found, key=lambda one: one.affiliate.code != code))


def lock_by_external_id(account_id: int, external_id: str) -> Participant | None:
    """Return the affiliate that ``find_by_external_id`` finds, locked as by ``keep``; None if that one is erased."""
    return _kept([_participant(row) for row in _BY_EXTERNAL_ID.all(account_id=account_id, text=external_id)])


def lock_by_mailbox(account_id: int, mailbox_key: str) -> Participant | None:
    """Return the affiliate that ``find_by_mailbox`` finds, locked as by ``keep``; None if that one is erased."""
    return _kept([_participant(row) for row in _BY_MAILBOX.all(account_id=account_id, text=mailbox_key)])


def _participant(row: tuple[Any, ...]) -> Participant:
    account, values = row[: len(ACCOUNT_COLUMNS)], row[len(ACCOUNT_COLUMNS) :]
    affiliate = new_row(Affiliate, dict(zip(_AFFILIATE_COLUMNS, values, strict=True)))
    return Participant(account_of(account), affiliate)


def _kept(found: Sequence[Participant]) -> Participant | None:
    return found[0] if found and found[0].affiliate.state is not AffiliateState.ERASED else None


def keep(affiliates: Sequence[Affiliate]) -> list[Affiliate]:
    """Lock affiliates until the commit, so that no erasure begins before it; return those who are not erased by then.

    In SQLite a transaction that read before an erasure can write nothing after it, so nothing is locked.
    """
    if db.engine.dialect.name == "postgresql" and affiliates:
        query = (
            select(Affiliate).where(Affiliate.id.in_([one.id for one in affiliates])).order_by(Affiliate.id)
        )
        query = query.with_for_update(read=True, key_share=True)
        affiliates = db.session.scalars(query.execution_options(populate_existing=True)).all()
    return [one for one in affiliates if one.state is not AffiliateState.ERASED]


def matches(query: str) -> ColumnElement[bool]:
    """Return the condition that an affiliate's name, address, code or external id contains what was typed."""
    return Affiliate.search_text.contains(fold_query(query), autoescape=True)


def find_by_dashboard_key(key: str) -> tuple[Affiliate, Account] | None:
    """Return the affiliate with this dashboard key, and None until the mailbox is confirmed."""
    hidden = (AffiliateState.UNCONFIRMED, AffiliateState.INVITED, AffiliateState.ERASED)
    confirmed = Affiliate.state.not_in(hidden)
    return _with_account(Affiliate.dashboard_key_hash == page_keys.hash_key(key), confirmed)


def find_by_preferences_key(key: str) -> tuple[Affiliate, Account] | None:
    """Return the affiliate with this preferences key."""
    matches = Affiliate.preferences_key_hash == page_keys.hash_key(key)
    return _with_account(matches, Affiliate.state != AffiliateState.ERASED)


def joined_by_invitation(affiliate_ids: Iterable[int]) -> set[int]:
    """Return those of these affiliates who accepted an invitation; the others used the sign-up page."""
    query = select(ActionToken.affiliate_id).where(
        ActionToken.affiliate_id.in_(list(affiliate_ids)),
        ActionToken.purpose == TokenPurpose.JOIN,
        ActionToken.used_at.is_not(None),
    )
    return set(db.session.scalars(query))


def _with_account(*conditions: ColumnElement[bool]) -> tuple[Affiliate, Account] | None:
    query = select(Affiliate, Account).join(Account, Account.id == Affiliate.account_id)
    row = db.session.execute(query.where(*conditions)).first()
    return (row[0], row[1]) if row else None


def can_be_looked_up(text: str) -> bool:
    """Return whether a part of an address may go into a query: PostgreSQL raises at a NUL character."""
    return text.isascii() and text.isprintable()
