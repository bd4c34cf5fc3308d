"""The owner's affiliates as a file of comma-separated values, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from ..affiliates.links import public_url
from ..affiliates.models import Affiliate
from ..db import db
from ..web.csv import csv_header, csv_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..accounts.models import Account
    from ..config import Config

_AT_ONCE = 500  # rows
_HEADERS = ("Name", "Email", "Status", "Code", "Link", "Signed up", "Agreed to emails", "Confirmed")


def stream_csv(account: Account, config: Config) -> Iterator[str]:
    """Yield the file in pieces, the first affiliate first; it is never in memory as a whole."""
    yield csv_header(_HEADERS)
    last = 0
    while rows := _batch(account.id, last):
        yield csv_lines(_cells(row, account, config) for row in rows)
        last = rows[-1].id
        db.session.expunge_all()


def _batch(account_id: int, last: int) -> list[Affiliate]:
    query = select(Affiliate).where(Affiliate.account_id == account_id, Affiliate.id > last)
    return list(db.session.scalars(query.order_by(Affiliate.id).limit(_AT_ONCE)))


def _cells(row: Affiliate, account: Account, config: Config) -> tuple[object, ...]:
    link = public_url(row, account, config)
    times = (row.created_at, row.consented_at, row.confirmed_at)
    return (row.name, row.mailbox, row.state.value, row.code, link, *times)
