"""indexes for the sums of a programme, for what its rule approves, and for its payouts

The page of commissions reads its sums from two indexes alone, and the rule finds what it approves without reading what was
refunded.
"""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"

_CAN_BE_APPROVED = sa.text("state = 'pending' AND is_purchased AND (remaining > 0 OR earned = 0)")
_IS_PAYMENT = sa.text("type IN ('payout', 'correction')")


def upgrade() -> None:
    op.drop_index("ix_commission_due", "commission")
    op.create_index(
        "ix_commission_due",
        "commission",
        ["account_id", "occurred_at", "id"],
        sqlite_where=_CAN_BE_APPROVED,
        postgresql_where=_CAN_BE_APPROVED,
    )
    sums = ["account_id", "state", "currency", "is_purchased", "earned", "refunded", "remaining"]
    op.create_index("ix_commission_sums", "commission", sums)
    op.create_index(
        "ix_ledger_entry_payments",
        "ledger_entry",
        ["account_id", "type", "currency", "units"],
        sqlite_where=_IS_PAYMENT,
        postgresql_where=_IS_PAYMENT,
    )


def downgrade() -> None:
    op.execute("UPDATE commission SET state = 'dismissed' WHERE state = 'unmatched'")  # the release before has no such state
    op.drop_index("ix_ledger_entry_payments", "ledger_entry")
    op.drop_index("ix_commission_sums", "commission")
    op.drop_index("ix_commission_due", "commission")
    op.create_index("ix_commission_due", "commission", ["account_id", "state", "occurred_at"])
