"""CSV export of the owner's affiliates, streamed in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from ..affiliates.consent import WAY_LABELS, version_of
from ..affiliates.links import public_url
from ..affiliates.models import Affiliate
from ..amounts import plain_number
from ..clock import utcnow
from ..db import db
from ..money import balances
from ..programme import counts
from ..web.csv import Number, csv_header, csv_lines
from ..web.translations import speaking

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..affiliates.consent import AgreementWay
    from ..config import Config
    from ..money.balances import Balance
    from ..shop_links import LinkedAccount

_BATCH_ROWS = 500
_HEADERS = (
    "Name", "Email", "Status", "Code", "Link", "Signed up", "Agreed to emails", "Confirmed", "Waits for approval",
    "Approved", "Paid", "Agreed how", "Agreed from network", "Source of the consent", "Words agreed to",
    "Version of the words", "Confirmed from network", "Your own id", "Notes", "Website",
)  # fmt: skip
_VISITS = "Visits"


def stream_csv(account: LinkedAccount, config: Config) -> Iterator[str]:
    """Yield the file in parts, oldest affiliate first. Only one batch of rows is in memory at a time.

    Visits have a column where they are counted. Without a shop address the links are left out.
    """
    has_visits, last_id = counts.are_counted(account.id), 0
    with speaking(None):  # a file has the same words for everyone, like its headers
        ways = {way: str(label) for way, label in WAY_LABELS.items()}
    yield csv_header([*_HEADERS, _VISITS] if has_visits else _HEADERS)
    while rows := _next_batch(account.id, last_id):
        money = balances.balances_by_affiliate(account.id, [row.id for row in rows])
        lines: list[tuple[object, ...]] = [
            (*_cells(row, account, config), *_money(money.get(row.id, [])), *_proof(row, ways))
            for row in rows
        ]
        if has_visits:
            visits = counts.totals_by_affiliate([row.id for row in rows], now=utcnow())
            numbers = [visits.get(row.id, counts.NO_VISITS).visits for row in rows]
            lines = [(*cells, number) for cells, number in zip(lines, numbers, strict=True)]
        yield csv_lines(lines)
        last_id = rows[-1].id
        db.session.expunge_all()


def _next_batch(account_id: int, last_id: int) -> list[Affiliate]:
    query = select(Affiliate).where(Affiliate.account_id == account_id, Affiliate.id > last_id)
    return list(db.session.scalars(query.order_by(Affiliate.id).limit(_BATCH_ROWS)))


def _cells(row: Affiliate, account: LinkedAccount, config: Config) -> tuple[object, ...]:
    link = public_url(row, account, config)
    times = (row.created_at, row.consented_at, row.confirmed_at)
    return (row.name, row.mailbox, row.state.value, row.code, link, *times)


def _proof(row: Affiliate, ways: Mapping[AgreementWay, str]) -> tuple[object, ...]:
    """Return the proof of consent, and what the owner has noted."""
    how = ways[row.consent_way] if row.consented_at else ""
    words = (row.consent_words, version_of(row.consent_words))
    return (
        how,
        row.consent_network,
        row.consent_source,
        *words,
        row.confirmed_network,
        row.external_id,
        row.notes,
        row.website,
    )


def _money(found: list[Balance]) -> Iterator[Number]:
    """Yield what waits, is approved and was paid, each with all currencies: ``12.25 EUR; 1.500 KWD``."""
    for name in ("pending", "approved", "paid"):
        yield Number(
            "; ".join(f"{plain_number(getattr(one, name), one.currency)} {one.currency}" for one in found)
        )
