"""Looking affiliates and their programmes up; nothing here writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, select

from ..accounts.models import Account
from ..db import db
from ..db.prepared_query import Question
from ..db.transaction import ahead
from ..enrolment.signup_rules import Rules, rules_of
from ..events.models import Event, EventMail
from ..notices import recipients
from ..notices.catalogue import NEW_SIGN_UP
from ..outbox.models import OutboxMessage, Status
from ..web.pagination import Page, newest_first
from .links import link_of
from .models import Affiliate, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..config import Config

_ACCOUNT = Account.__table__.c
_PROGRAMME = Question(select(*_ACCOUNT).where(_ACCOUNT.slug == bindparam("slug")))
TABS = (State.ACTIVE, State.PENDING, State.UNCONFIRMED, State.INVITED, State.DECLINED, State.SUSPENDED)
STATE_WORDS: Mapping[State, str] = {
    State.ACTIVE: "Active",
    State.PENDING: "Waits for you",
    State.UNCONFIRMED: "Unconfirmed",
    State.INVITED: "Invited",
    State.DECLINED: "Declined",
    State.SUSPENDED: "Suspended",
}
# Whoever waited for the owner's word is welcomed by the second one.
_WELCOMES = (NEW_SIGN_UP.kind, "approved")


@dataclass(frozen=True)
class Door:
    """A programme as whoever wants to join meets it. Its account belongs to no session."""

    account: Account
    rules: Rules
    emails_on: bool


@dataclass(frozen=True)
class Welcome:
    """The email that let an affiliate in: its message in the outbox, if that is still known."""

    mail: EventMail
    status: Status | None


@dataclass(frozen=True)
class Entry:
    """One line of the owner's list."""

    affiliate: Affiliate
    link: str
    welcome: Welcome | None


@dataclass(frozen=True)
class Roll:
    """One page of the owner's list. ``counts`` are those of the whole list, by state."""

    entries: list[Entry]
    older: int | None
    newer: int | None
    counts: Mapping[State, int]

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def door(slug: str) -> Door | None:
    """Return what the public pages show of the programme behind an address."""
    with ahead():
        account = programme(slug)
        if account is None:
            return None
        return Door(account, rules_of(account.id), recipients.is_on(account.id, NEW_SIGN_UP))


def programme(slug: str) -> Account | None:
    """Return the programme behind a public address as it is just now; the row belongs to no session."""
    row = _PROGRAMME.row(slug=slug.lower()) if _plain(slug) else None
    return Account(**dict(zip(_ACCOUNT.keys(), row, strict=True))) if row else None


def find_account(slug: str) -> Account | None:
    """Return the programme behind a public address."""
    if not _plain(slug):
        return None
    return db.session.scalar(select(Account).where(Account.slug == slug.lower()))


def by_dashboard_key(key: str) -> tuple[Affiliate, Account] | None:
    """Return the affiliate whose private address this is; it opens nothing before the mailbox is proved."""
    if not _plain(key):
        return None
    row = db.session.execute(
        select(Affiliate, Account)
        .join(Account, Account.id == Affiliate.account_id)
        .where(Affiliate.dashboard_key == key, Affiliate.state.not_in((State.UNCONFIRMED, State.INVITED)))
    ).first()
    return (row[0], row[1]) if row else None


def affiliate_of(account_id: int, affiliate_id: int) -> Affiliate | None:
    """Return one affiliate of this account; somebody else's is not found."""
    query = select(Affiliate).where(Affiliate.id == affiliate_id, Affiliate.account_id == account_id)
    return db.session.scalar(query)


def by_code(account_id: int, code: str) -> Affiliate | None:
    """Return the affiliate of this account whose link has a code."""
    if not _plain(code):
        return None
    query = select(Affiliate).where(Affiliate.code == code, Affiliate.account_id == account_id)
    return db.session.scalar(query)


def roll_of(
    account: Account,
    config: Config,
    *,
    search: str = "",
    state: State | None = None,
    before: int | None = None,
    after: int | None = None,
) -> Roll:
    """Return one page of the account's affiliates, newest first."""
    query = select(Affiliate).where(Affiliate.account_id == account.id)
    if state is not None:
        query = query.where(Affiliate.state == state)
    if search:
        query = query.where(Affiliate.search_text.contains(search.casefold(), autoescape=True))
    page: Page[Any] = newest_first(query, Affiliate.id, before=before, after=after)
    welcomes = _welcomes([row.id for row in page.rows])
    entries = [Entry(row, link_of(row, account, config), welcomes.get(row.id)) for row in page.rows]
    return Roll(entries, page.older, page.newer, counts(account.id))


def counts(account_id: int) -> Mapping[State, int]:
    """Return how many affiliates stand where."""
    query = select(Affiliate.state, func.count()).where(Affiliate.account_id == account_id)
    return {row[0]: row[1] for row in db.session.execute(query.group_by(Affiliate.state))}


def _welcomes(idents: Iterable[int]) -> Mapping[int, Welcome]:
    query = (
        select(Event.affiliate_id, EventMail, OutboxMessage.status)
        .join(EventMail, EventMail.event_id == Event.id)
        .outerjoin(OutboxMessage, OutboxMessage.id == EventMail.message_id)
        .where(Event.affiliate_id.in_(list(idents)), EventMail.kind.in_(_WELCOMES))
        .order_by(EventMail.id)
    )
    return {ident: Welcome(mail, status) for ident, mail, status in db.session.execute(query) if ident}


def _plain(text: str) -> bool:
    """Whether a part of an address may be looked up; some databases raise at a NUL."""
    return text.isascii() and text.isprintable()
