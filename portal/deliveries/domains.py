"""How many of the newest messages the receivers' domains accepted, bounced or refused.

Only so many messages are read, through the index of the log, whatever the size of the account.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import Integer, bindparam, case, func, select

from ..bounces.meaning import BOUNCES, DELIVERED
from ..db.prepared import PreparedStatement, any_of
from ..outbox.models import Status
from .models import LogRow

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_MESSAGES = 2000
_MAX_DOMAINS = 10


@dataclass(frozen=True)
class DomainRow:
    """The messages to one domain, of those that were counted."""

    domain: str
    emails: int
    accepted: int
    delivered: int
    bounced: int
    failed: int


@dataclass(frozen=True)
class Domains:
    """The domains with the most messages, the most first, of ``counted`` messages."""

    rows: Sequence[DomainRow]
    counted: int


def read(account_id: int) -> Domains:
    """Return the domains to which an account's newest messages went."""
    found = [DomainRow(*row) for row in _statement().all(account=account_id, limit=MAX_MESSAGES)]
    found.sort(key=lambda row: (-row.emails, row.domain))
    return Domains(found[:_MAX_DOMAINS], sum(row.emails for row in found))


@cache
def _statement() -> PreparedStatement:
    """Return the statement, which every page of the log runs."""
    log = LogRow
    newest = (
        select(log.domain, log.status, log.outcome)
        .where(log.account_id == bindparam("account"))
        .order_by(log.message_id.desc())
        .limit(bindparam("limit", type_=Integer()))
        .subquery()
    )
    number = func.count()
    query = select(
        newest.c.domain,
        number,
        func.sum(case((newest.c.status == Status.SENT, 1), else_=0)),
        func.sum(case((any_of(newest.c.outcome, [one.value for one in DELIVERED]), 1), else_=0)),
        func.sum(case((any_of(newest.c.outcome, [one.value for one in BOUNCES]), 1), else_=0)),
        func.sum(case((newest.c.status == Status.FAILED, 1), else_=0)),
    )
    return PreparedStatement(query.group_by(newest.c.domain))
