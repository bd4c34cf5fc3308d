"""The owner's affiliates as a file of comma-separated values, row by row."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from sqlalchemy import select

from ..affiliates.links import link_of
from ..affiliates.models import Affiliate
from ..db import db

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..accounts.models import Account
    from ..config import Config

_AT_ONCE = 500  # rows
_HEADERS = ("Name", "Email", "Status", "Code", "Link", "Signed up", "Agreed to emails", "Confirmed")
# Excel takes a file without this mark for one in the local encoding and spoils every name; others skip it.
_MARK = "\ufeff"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def rows_as_csv(account: Account, config: Config) -> Iterator[str]:
    """Yield the file in pieces, the first affiliate first; it is never in memory as a whole."""
    yield _MARK + _line(_HEADERS)
    last = 0
    while rows := _some(account.id, last):
        yield "".join(_line(_cells(row, account, config)) for row in rows)
        last = rows[-1].id
        db.session.expunge_all()


def _some(account_id: int, last: int) -> list[Affiliate]:
    query = select(Affiliate).where(Affiliate.account_id == account_id, Affiliate.id > last)
    return list(db.session.scalars(query.order_by(Affiliate.id).limit(_AT_ONCE)))


def _cells(row: Affiliate, account: Account, config: Config) -> tuple[str, ...]:
    moments = (row.created_at, row.consented_at, row.confirmed_at)
    told = (f"{moment:%Y-%m-%dT%H:%M:%SZ}" if moment else "" for moment in moments)
    return (row.name, row.mailbox, row.state.value, row.code, link_of(row, account, config), *told)


def _line(cells: tuple[str, ...]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow([tame(cell) for cell in cells])
    return line.getvalue()


def tame(cell: str) -> str:
    """Keep a spreadsheet from running a cell as a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
