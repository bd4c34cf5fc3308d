"""The accounts of the portal with what an operator decides by: state, sending status, sender, emails and failures of 24 hours."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, or_, select

from ..accounts.models import Account, Membership, Owner
from ..accounts.standing import AccountState, state_of
from ..accounts.team.contact import contact_mailboxes
from ..db import db, read_only
from ..deliveries.models import LogRow
from ..outbox.models import Status
from ..settings.models import SmtpSettings, VersionState
from ..state import current_config
from ..status.sending import statuses_of
from ..web.pagination import Page, is_in, newest_first

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..status.model import SendingStatus

SPAN = timedelta(hours=24)
_PAGE_SIZE = 50


@dataclass(frozen=True)
class AccountRow:
    """One account. ``sender`` is the mailbox that its emails come from, empty if it has no way to send."""

    id: int
    slug: str
    name: str
    owner: str
    state: AccountState
    created_at: datetime
    is_approved: bool
    suspension_reason: str
    sender: str
    uses_platform: bool
    sent: int
    failed: int
    sending: SendingStatus

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; ``docs/commands.md`` describes them."""
        return {
            "id": self.id,
            "account": self.slug,
            "name": self.name,
            "owner": self.owner,
            "state": self.state.value,
            "approved": self.is_approved,
            "suspension_reason": self.suspension_reason or None,
            "created_at": self.created_at.isoformat(),
            "sender": self.sender or None,
            "platform_sender": self.uses_platform,
            "sent_24h": self.sent,
            "failed_24h": self.failed,
            "sending": self.sending.code.value,
        }


def list_page(*, before: int | None, after: int | None, now: datetime, search: str = "") -> Page[AccountRow]:
    """Return one page of accounts, newest first. ``search`` is part of their name, short name or a person's address."""
    query = select(Account)
    if search:
        people = select(Membership.account_id).join(Owner, Owner.id == Membership.owner_id)
        found = people.where(is_in(search, Owner.mailbox_key, Owner.name))
        query = query.where(or_(is_in(search, Account.name, Account.slug), Account.id.in_(found)))
    with read_only():
        page = newest_first(query, Account.id, before=before, after=after, size=_PAGE_SIZE)
        rows = rows_of(page.rows, now)
        db.session.rollback()
    return Page(rows, page.older, page.newer)


def list_all(now: datetime) -> Iterator[AccountRow]:
    """Yield all accounts, newest first."""
    before = None
    while True:
        page = list_page(before=before, after=None, now=now)
        yield from page.rows
        if page.older is None:
            return
        before = page.older


def rows_of(accounts: Sequence[Account], now: datetime) -> list[AccountRow]:
    """Return what the operator decides by, for each of some accounts."""
    ids = [account.id for account in accounts]
    owners, senders, counts = contact_mailboxes(ids), _own_senders(ids), _counts(ids, now)
    statuses = statuses_of(ids)
    platform = current_config().platform
    return [
        AccountRow(
            id=one.id,
            slug=one.slug,
            name=one.name,
            owner=owners.get(one.id, ""),
            state=state_of(one),
            created_at=one.created_at,
            is_approved=one.approved_at is not None,
            suspension_reason=one.suspension_reason,
            sender=senders.get(one.id) or platform.sender,
            uses_platform=one.id not in senders,
            sent=counts[one.id][Status.SENT],
            failed=counts[one.id][Status.FAILED],
            sending=statuses[one.id],
        )
        for one in accounts
    ]


def _own_senders(ids: Sequence[int]) -> dict[int, str]:
    """Return the sender of each account whose own SMTP settings are in use."""
    query = select(SmtpSettings).where(
        SmtpSettings.account_id.in_(ids),
        SmtpSettings.state == VersionState.LIVE,
        SmtpSettings.failover_since.is_(None),
    )
    return {version.account_id: version.sender for version in db.session.scalars(query)}


def _counts(ids: Sequence[int], now: datetime) -> defaultdict[int, defaultdict[Status, int]]:
    """Count the messages of each account that were settled within the span, by status."""
    query = (
        select(LogRow.account_id, LogRow.status, func.count())
        .where(LogRow.account_id.in_(ids), LogRow.settled_at > now - SPAN)
        .group_by(LogRow.account_id, LogRow.status)
    )
    counts: defaultdict[int, defaultdict[Status, int]] = defaultdict(lambda: defaultdict(int))
    for account_id, status, count in db.session.execute(query):
        counts[account_id][status] = count
    return counts
