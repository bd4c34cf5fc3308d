"""commissions of orders and a ledger, filled from the events of before

Events of one order are tied together: refunds and declines are subtracted, and a second purchase of one order counts once
the owner has said that it is another. Nothing is mailed. What summaries have named already is not named again.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from itertools import groupby

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
_AT_ONCE = 500  # rows
_TYPES = (
    "lead",
    "purchase",
    "commission-approved",
    "commission-declined",
    "refund",
    "payout",
)
_MAX_UNITS = 10**17

_event = sa.table(
    "event",
    *(sa.column(name) for name in ("id", "account_id", "affiliate_id", "type", "source")),
    sa.column("values", sa.JSON()),
    sa.column("created_at", _TIME),
)


def upgrade() -> None:
    commission = op.create_table(
        "commission",
        sa.Column("id", _ID, nullable=False),
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("affiliate_id", _ID, nullable=False),
        sa.Column("order_ref", sa.String(length=64), nullable=False),
        sa.Column("slot", _ID, nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("is_purchased", sa.Boolean(), nullable=False),
        *(
            sa.Column(name, _ID, nullable=False)
            for name in ("amount", "earned", "refunded", "remaining", "paid")
        ),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("reason", sa.String(length=300), nullable=False),
        sa.Column("occurred_at", _TIME, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("decided_at", _TIME, nullable=True),
        sa.Column("event_id", _ID, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_commission_account_id_account")),
        sa.ForeignKeyConstraint(
            ["affiliate_id"], ["affiliate.id"], name=op.f("fk_commission_affiliate_id_affiliate")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commission")),
        sa.UniqueConstraint("account_id", "order_ref", "slot", name=op.f("uq_commission_account_id_order_ref_slot")),
    )
    entry = op.create_table(
        "ledger_entry",
        sa.Column("id", _ID, nullable=False),
        sa.Column("event_id", _ID, nullable=False),
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("affiliate_id", _ID, nullable=False),
        sa.Column("commission_id", _ID, nullable=True),
        sa.Column("type", sa.String(length=24), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("units", _ID, nullable=False),
        sa.Column("occurred_at", _TIME, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("week", sa.String(length=8), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_ledger_entry_account_id_account")),
        sa.ForeignKeyConstraint(
            ["affiliate_id"], ["affiliate.id"], name=op.f("fk_ledger_entry_affiliate_id_affiliate")
        ),
        sa.ForeignKeyConstraint(
            ["commission_id"], ["commission.id"], name=op.f("fk_ledger_entry_commission_id_commission")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entry")),
        sa.UniqueConstraint("event_id", name=op.f("uq_ledger_entry_event_id")),
    )
    op.create_table(
        "approval_rule",
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("days", _ID, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_approval_rule_account_id_account")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_approval_rule")),
    )
    _fill(commission, entry)
    op.create_index("ix_commission_state", "commission", ["account_id", "state", "id"])
    op.create_index("ix_commission_due", "commission", ["account_id", "state", "occurred_at"])
    op.create_index("ix_commission_affiliate", "commission", ["affiliate_id", "id"])
    op.create_index("ix_ledger_entry_week", "ledger_entry", ["account_id", "week", "affiliate_id"])
    op.create_index("ix_ledger_entry_affiliate", "ledger_entry", ["affiliate_id", "id"])


def downgrade() -> None:
    for name in ("approval_rule", "ledger_entry", "commission"):
        op.drop_table(name)


def _fill(commission: sa.Table, entry: sa.Table) -> None:
    """Fill the tables in the order of accounts and orders, so that only the events of one order are in memory."""
    bind, named, last_id = op.get_bind(), _named_until(), 0
    order = sa.func.coalesce(_event.c["values"]["order"].as_string(), "")
    query = (
        sa.select(_event, order.label("order_ref"))
        .where(_event.c.type.in_(_TYPES), _event.c.source != "played", _event.c.affiliate_id.is_not(None))
        .order_by(_event.c.account_id, order, _event.c.id)
    )
    commissions: list[dict] = []
    entries: list[dict] = []
    found = bind.execute(query.execution_options(yield_per=_AT_ONCE))
    for (_account_id, order_ref), events in groupby(found, lambda one: (one.account_id, one.order_ref)):
        rows: list[dict] = []
        for event in events:
            units, row = _apply(event, order_ref, rows)
            if row is not None and "id" not in row:
                last_id += 1
                row["id"] = last_id
            if units is not None:
                entries.append(_entry(event, units, row, named.get(event.account_id)))
            if not order_ref:
                _write(bind, commission, commissions, entry, entries, _AT_ONCE)
        commissions += rows
        _write(bind, commission, commissions, entry, entries, _AT_ONCE)
    _write(bind, commission, commissions, entry, entries, 0)
    if bind.dialect.name == "postgresql" and last_id:
        bind.exec_driver_sql(f"SELECT setval(pg_get_serial_sequence('commission', 'id'), {last_id})")


def _write(bind, commission, commissions, entry, entries, at_least: int) -> None:
    if max(len(commissions), len(entries)) > at_least:
        for table, rows in ((commission, commissions), (entry, entries)):
            if rows:
                bind.execute(sa.insert(table), rows)
                rows.clear()


def _named_until() -> dict[int, datetime]:
    """Return until when summaries have named what happened, by account."""
    week = sa.table("summary_week", *(sa.column(name) for name in ("account_id", "state")), sa.column("ends_at", _TIME))
    query = sa.select(week.c.account_id, sa.func.max(week.c.ends_at, type_=_TIME))
    rows = op.get_bind().execute(query.where(week.c.state != "planned").group_by(week.c.account_id))
    return {account_id: _utc(ends_at) for account_id, ends_at in rows}


def _apply(event: sa.Row, order_ref: str, rows: list[dict]) -> tuple[int | None, dict | None]:
    """Apply an event to the commissions of its order; return the units of its entry (None: no entry) and its commission."""
    earned, amount = _units(event, "commission"), _units(event, "amount")
    if event.type == "lead":
        return 0, None
    if event.type == "payout" and not order_ref:
        return amount, None
    if event.type == "purchase" and (earned < 0 or not order_ref):
        return earned, None
    currency = str(event.values.get("currency", ""))[:3]
    own = [row for row in rows if (row["affiliate_id"], row["currency"]) == (event.affiliate_id, currency)]
    counted = [row for row in own if row["state"] != "repeated"]
    if event.type == "purchase":
        is_repeated = any(row["is_purchased"] for row in rows)
        row = counted[0] if counted and not is_repeated else _new_row(event, order_ref, currency, rows)
        before = row["remaining"]
        row |= {"is_purchased": True, "amount": amount, "earned": earned, "event_id": event.id}
        row["occurred_at"] = _occurred_at(event)
        if is_repeated:
            row["state"] = "repeated"
            return None, row
        _settle(row)
        return row["remaining"] - before, row
    if not own:
        counted = [_new_row(event, order_ref, currency, rows)]
    elif not counted:
        return 0, own[0]
    row = counted[0]
    before = row["remaining"]
    if event.type == "refund":
        is_known = row["is_purchased"] or row["earned"]
        limit = row["earned"] if is_known else _MAX_UNITS
        row["refunded"] = max(row["refunded"], min(row["refunded"] + max(0, earned), limit))
    elif event.type == "payout":
        row["paid"] = min(row["paid"] + amount, _MAX_UNITS)
        return amount, row
    else:
        is_approval = event.type == "commission-approved"
        if is_approval and not row["is_purchased"] and not row["earned"]:
            row["earned"] = max(0, earned)
        row["state"] = "approved" if is_approval else "declined"
        row["reason"] = "" if is_approval else str(event.values.get("reason", ""))[:300]
        row["decided_at"] = _utc(event.created_at)
    _settle(row)
    return row["remaining"] - before, row


def _settle(row: dict) -> None:
    counts = row["state"] in ("pending", "approved")
    row["remaining"] = max(0, row["earned"] - row["refunded"]) if counts else 0


def _new_row(event: sa.Row, order_ref: str, currency: str, rows: list[dict]) -> dict:
    row = {
        "account_id": event.account_id,
        "affiliate_id": event.affiliate_id,
        "order_ref": order_ref[:64],
        "slot": len(rows),
        "currency": currency,
        "is_purchased": False,
        "amount": 0,
        "earned": 0,
        "refunded": 0,
        "remaining": 0,
        "paid": 0,
        "state": "pending",
        "reason": "",
        "occurred_at": _occurred_at(event),
        "created_at": _utc(event.created_at),
        "decided_at": None,
        "event_id": None,
    }
    rows.append(row)
    return row


def _entry(event: sa.Row, units: int, row: dict | None, named_until: datetime | None) -> dict:
    is_correction = event.type == "purchase" and units < 0 and row is None
    was_named = named_until is not None and _utc(event.created_at) < named_until
    return {
        "event_id": event.id,
        "account_id": event.account_id,
        "affiliate_id": event.affiliate_id,
        "commission_id": row["id"] if row is not None else None,
        "type": "correction" if is_correction else event.type,
        "currency": "" if event.type == "lead" else str(event.values.get("currency", ""))[:3],
        "units": units,
        "occurred_at": _occurred_at(event),
        "created_at": _utc(event.created_at),
        "week": "" if was_named else None,
    }


def _units(event: sa.Row, name: str) -> int:
    try:
        amount = Decimal(str(event.values.get(name, "")))
    except InvalidOperation:
        return 0
    units = int(amount * 10_000) if amount.is_finite() and abs(amount) < 10**13 else 0
    return max(-_MAX_UNITS, min(units, _MAX_UNITS))


def _occurred_at(event: sa.Row) -> datetime:
    """Return when an event happened, as far as that was reported and is not ahead of the report."""
    recorded = _utc(event.created_at)
    try:
        occurred = _utc(datetime.fromisoformat(str(event.values["occurred_at"])))
    except (KeyError, ValueError):
        return recorded
    return occurred if occurred <= recorded + timedelta(hours=1) else recorded


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
