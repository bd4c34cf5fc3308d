"""fewer pages written for each sign-up: an index of what is known later holds nothing of what was just owed"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_LINE = "delivery_line"
_LATER = {  # index: its columns after the account, and which lines are in it
    "version": (["version", "message_id"], "version IS NOT NULL"),
    "code": (["code", "message_id"], "code IS NOT NULL"),
    "settled": (["settled_at", "status", "seconds"], "settled_at IS NOT NULL"),
    "wiped": (["wiped_at", "settled_at"], "settled_at IS NOT NULL"),
    "reference": (["reference"], "reference <> ''"),
    "queue_id": (["queue_id"], "queue_id <> ''"),
}


def upgrade() -> None:
    for name, (columns, known) in _LATER.items():
        where = sa.text(known)
        op.drop_index(f"ix_delivery_line_{name}", _LINE)
        op.create_index(
            f"ix_delivery_line_{name}", _LINE, ["account_id", *columns], sqlite_where=where, postgresql_where=where
        )
    _make_budgets("window_start", "key", rowid=False)
    # Until now the reasons of messages that were removed stayed behind.
    op.execute("DELETE FROM discarded_message WHERE message_id NOT IN (SELECT id FROM outbox_message)")


def downgrade() -> None:
    _make_budgets("key", "window_start", rowid=True)
    op.create_index("ix_budget_count_window_start", "budget_count", ["window_start"])
    for name, (columns, _) in _LATER.items():
        op.drop_index(f"ix_delivery_line_{name}", _LINE)
        op.create_index(f"ix_delivery_line_{name}", _LINE, ["account_id", *columns])


def _make_budgets(*key: str, rowid: bool) -> None:
    """Make the table of budgets anew, with its rows in the order of this key."""
    postgresql = op.get_bind().dialect.name == "postgresql"  # where two indexes cannot have one name
    op.create_table(
        "budget_count_anew",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("window_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("spent", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint(*key, name="pk_budget_count_anew" if postgresql else "pk_budget_count"),
        sqlite_with_rowid=rowid,
    )
    op.execute(
        "INSERT INTO budget_count_anew (key, window_start, spent) SELECT key, window_start, spent FROM budget_count"
    )
    op.drop_table("budget_count")
    op.rename_table("budget_count_anew", "budget_count")
    if postgresql:
        op.execute("ALTER INDEX pk_budget_count_anew RENAME TO pk_budget_count")
