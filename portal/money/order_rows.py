"""The commissions of one order, locked, read and written by prepared statements.

An event of a shop runs without the ORM session (api/ingest.py), whose bookkeeping costs more than these statements.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select, update

from ..db import insert, new_row
from ..db.prepared import PreparedStatement
from ..db.transaction import current_dialect, flush_session
from .models import Commission, CommissionState

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from ..affiliates.models import Affiliate

_TABLE = Commission.__table__.c
_NAMES = tuple(column.key for column in _TABLE)
_FIXED = ("id", "account_id", "affiliate_id", "order_ref", "slot", "currency", "created_at")
_CHANGING = tuple(name for name in _NAMES if name not in _FIXED)
_OF_ORDER = (_TABLE.account_id == bindparam("account"), _TABLE.order_ref == bindparam("ref"))
_LOCK_FIRST = PreparedStatement(select(_TABLE.id).where(*_OF_ORDER, _TABLE.slot == 0).with_for_update())
_LOCK_ALL = PreparedStatement(select(*_TABLE).where(*_OF_ORDER).order_by(_TABLE.slot).with_for_update())
_UPDATE = PreparedStatement(
    update(Commission)
    .where(Commission.id == bindparam("commission"))
    .values({name: bindparam(f"v_{name}") for name in _CHANGING})
)


class Order:
    """The locked commissions of an order. They belong to no session: ``save`` writes those that were changed."""

    def __init__(self, new: dict[str, Any], rows: Iterable[Commission]) -> None:
        self.rows = list(rows)
        self._new = new  # values of a further commission, without its slot
        self._stored = {row.slot: _changing(row) for row in self.rows}

    def add(self) -> Commission:
        """Insert a further commission, of the affiliate and in the currency that the order was locked for."""
        row = _insert({**self._new, "slot": max(self._stored) + 1})
        if row is None:
            raise RuntimeError("the next slot of a locked order is taken")
        self.rows.append(row)
        self._stored[row.slot] = _changing(row)
        return row

    def save(self) -> None:
        """Write what was changed. The caller commits."""
        for row in self.rows:
            values = _changing(row)
            if values != self._stored[row.slot]:
                _UPDATE.rowcount(commission=row.id, **values)
                self._stored[row.slot] = values


def lock_order(affiliate: Affiliate, ref: str, currency: str, *, at: datetime, now: datetime) -> Order:
    """Return the commissions of an order, locked. The first one is created with the first event, which happened ``at``."""
    flush_session()
    new = {
        "account_id": affiliate.account_id,
        "affiliate_id": affiliate.id,
        "order_ref": ref,
        "currency": currency,
        "is_purchased": False,
        "amount": 0,
        "earned": 0,
        "refunded": 0,
        "remaining": 0,
        "paid": 0,
        "state": CommissionState.PENDING,
        "reason": "",
        "occurred_at": at,
        "created_at": now,
        "decided_at": None,
        "event_id": None,
    }
    first = _insert({**new, "slot": 0})
    if first is not None:  # further ones are added only after it was locked
        return Order(new, [first])
    order = {"account": affiliate.account_id, "ref": ref}
    _LOCK_FIRST.scalar(**order)
    found = _LOCK_ALL.all(**order)
    return Order(new, (new_row(Commission, dict(zip(_NAMES, row, strict=True))) for row in found))


def _changing(row: Commission) -> dict[str, Any]:
    """Return the values of the columns that events change, as parameters."""
    return {f"v_{name}": getattr(row, name) for name in _CHANGING}


def _insert(values: dict[str, Any]) -> Commission | None:
    """Insert a commission; return None if the order has one in this slot."""
    bound = {f"v_{name}": value for name, value in values.items()}
    id_: int | None = _insert_statement(current_dialect()).scalar(**bound)
    return new_row(Commission, {**values, "id": id_}) if id_ is not None else None


@cache
def _insert_statement(_dialect: str) -> PreparedStatement:
    values: dict[str, Any] = {name: bindparam(f"v_{name}") for name in _NAMES if name != "id"}
    keys = ["account_id", "order_ref", "slot"]
    statement = insert(Commission).values(values).on_conflict_do_nothing(index_elements=keys)
    return PreparedStatement(statement.returning(_TABLE.id))
