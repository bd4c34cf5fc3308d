"""The migration of commissions fills its tables from the events of before, so that sums are right after the upgrade."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
import sqlalchemy as sa

from portal import create_app
from portal.db import db, readiness
from portal.db.migrate import downgrade, upgrade
from portal.money import balances, weekly_summary
from portal.money.models import Commission, LedgerEntry
from tests.conftest import make_config
from tests.migrations import make_tables
from tests.test_account_states_migration import _fill, _rows, _triggers

pytestmark = [pytest.mark.both_databases, pytest.mark.empty_database]
FOLDER = str(readiness.MIGRATIONS)
BEFORE, AFTER = "0022", "0023"
EUR = {"currency": "EUR"}
# Affiliate, type, values and minute of each event, in the order of their reports.
EVENTS = [
    (1, "purchase", {"order": "A-1", "amount": "100", "commission": "12.5", **EUR}, 1),
    (1, "refund", {"order": "A-1", "commission": "4.50", **EUR}, 2),
    (1, "commission-approved", {"order": "A-1", "commission": "12.50", **EUR}, 3),
    (1, "purchase", {"order": "A-2", "amount": "10", "commission": "5", **EUR}, 4),
    (1, "purchase", {"order": "A-2", "amount": "10", "commission": "5", **EUR}, 5),  # under another key
    (1, "purchase", {"order": "A-3", "amount": "10", "commission": "2", **EUR}, 6),
    (1, "commission-declined", {"order": "A-3", "commission": "2", "reason": "Fraud", **EUR}, 7),
    (1, "payout", {"amount": "3.00", **EUR}, 8),
    (2, "refund", {"order": "B-1", "commission": "1.00", "currency": "KWD"}, 9),  # before its purchase
    (2, "purchase", {"order": "B-1", "amount": "9", "commission": "1.500", "currency": "KWD"}, 10),
    (2, "lead", {"lead_name": "Robin"}, 11),
    (
        2,
        "purchase",
        {"order": "B-2", "amount": "9", "commission": "7", "occurred_at": "2026-01-05T09:00:00Z", **EUR},
        12,
    ),
    (
        2,
        "purchase",
        {"order": "B-3", "amount": "9", "commission": "1", "occurred_at": "2099-01-05T09:00:00Z", **EUR},
        13,
    ),
]


@pytest.fixture(autouse=True)
def a_worker():
    """Replace the fixture of the same name: these tests need no worker."""


def _insert_events(connection: sa.Connection) -> None:
    for table in ("event_mail", "api_request", "event", "summary_week"):
        connection.execute(sa.text(f"DELETE FROM {table}"))
    statement = sa.text(
        'INSERT INTO event (account_id, affiliate_id, type, key, "values", source, created_at)'
        " VALUES (1, :affiliate, :type, :key, :stored, :source, :at)"
    )
    for affiliate, type_, values, minute in EVENTS:
        row = {"affiliate": affiliate, "type": type_, "stored": json.dumps(values), "source": "api"}
        connection.execute(
            statement, row | {"key": f"k{minute}", "at": f"2026-03-02 09:{minute:02}:00+00:00"}
        )
    played = {
        "affiliate": 1,
        "type": "payout",
        "stored": json.dumps({"amount": "99", **EUR}),
        "source": "played",
    }
    connection.execute(statement, played | {"key": "p", "at": "2026-03-02 10:00:00+00:00"})
    connection.execute(
        sa.text(
            "INSERT INTO summary_week (account_id, week, starts_at, ends_at, due_at, state, after_id, ended_at)"
            " VALUES (1, '2026-W10', '2026-02-23 00:00:00+00:00', '2026-03-02 09:06:30+00:00',"
            " '2026-03-02 09:06:30+00:00', 'done', 0, '2026-03-02 09:06:30+00:00')"
        )
    )


def test_the_indexes_of_sums_replace_another_in_both_directions(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables("0033")
        with db.engine.begin() as connection:
            _fill(connection)
            before, indexes = _rows(connection, without="-"), _indexes(connection)
        upgrade(directory=FOLDER, revision="0034")
        with db.engine.begin() as connection:
            added = {
                name: columns
                for name, columns in _indexes(connection).items()
                if indexes.get(name) != columns
            }
            assert _rows(connection, without="-") | {"alembic_version": []} == before | {
                "alembic_version": []
            }
        assert set(added) == {"ix_commission_due", "ix_commission_sums", "ix_ledger_entry_payments"}
        assert added["ix_commission_due"] == ["account_id", "occurred_at", "id"]
        downgrade(directory=FOLDER, revision="0033")
        with db.engine.begin() as connection:
            assert _indexes(connection) == indexes
            assert _rows(connection, without="-") == before
        db.engine.dispose()


def _indexes(connection: sa.Connection) -> dict[str, list[str]]:
    found = (
        one for table in ("commission", "ledger_entry") for one in sa.inspect(connection).get_indexes(table)
    )
    return {one["name"]: one["column_names"] for one in found}


def test_sums_are_right_after_the_upgrade_and_nothing_else_changes(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables(BEFORE)
        with db.engine.begin() as connection:
            _fill(connection)
            connection.execute(sa.text("UPDATE affiliate SET account_id = 1"))
            _insert_events(connection)
            before, triggers = _rows(connection, without="-"), _triggers(connection)
        upgrade(directory=FOLDER, revision=AFTER)
        with db.engine.begin() as connection:
            after = _rows(connection, without="-")
            added = {name: after.pop(name) for name in ("approval_rule", "commission", "ledger_entry")}
            assert after | {"alembic_version": []} == before | {"alembic_version": []}
            assert _triggers(connection) == triggers
            assert added["approval_rule"] == []
        first, second = (
            {one.currency: (one.pending, one.approved, one.paid) for one in balances.balances_of(affiliate)}
            for affiliate in (1, 2)
        )
        assert first == {"EUR": (Decimal(5), Decimal(5), Decimal(3))}
        assert second == {"EUR": (Decimal(8), 0, 0), "KWD": (Decimal("0.5"), 0, 0)}
        rows = {row.order_ref + str(row.slot): row for row in db.session.scalars(sa.select(Commission))}
        assert rows["A-21"].state.value == "repeated"
        assert rows["A-30"].reason == "Fraud"
        entries = list(db.session.scalars(sa.select(LedgerEntry).order_by(LedgerEntry.event_id)))
        assert len(entries) == len(EVENTS) - 1, (
            "the order under another key and what was played count nowhere"
        )
        assert [entry.week for entry in entries[:4]] == [""] * 4
        assert {entry.week for entry in entries[6:]} == {None}, "no summary has named these"
        happened = {
            rows["B-20"].occurred_at.year,
            rows["B-20"].occurred_at.month,
            rows["B-30"].occurred_at.year,
        }
        assert happened == {2026, 1}
        assert weekly_summary.find_skipped(1) is None
        new = {"account_id": 1, "affiliate_id": 1, "order_ref": "C-1", "slot": 0, "currency": "EUR"}
        db.session.add(
            Commission(**new, occurred_at=entries[0].occurred_at, created_at=entries[0].created_at)
        )
        db.session.commit()
        db.session.remove()
        downgrade(directory=FOLDER, revision=BEFORE)
        with db.engine.begin() as connection:
            assert _rows(connection, without="-") == before
            assert _triggers(connection) == triggers
        db.engine.dispose()
