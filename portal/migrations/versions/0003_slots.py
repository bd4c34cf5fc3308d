"""slots of connections, and what the outbox needs to run on many machines"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_MOMENT = sa.DateTime(timezone=True)
_OPEN = "status IN ('queued', 'sending', 'held')"


def upgrade() -> None:
    op.create_table(
        "outbox_slot",
        sa.Column("token", sa.String(length=32), nullable=False),
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("lease_until", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("token", name=op.f("pk_outbox_slot")),
    )
    op.create_index("ix_outbox_slot_account_id", "outbox_slot", ["account_id"])
    with op.batch_alter_table("outbox_queue") as table:
        table.drop_column("lease_token")
        table.drop_column("lease_until")
        table.add_column(sa.Column("proven", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("width", _ID, nullable=True))
        table.add_column(sa.Column("turn", _ID, nullable=False, server_default="0"))
        table.add_column(sa.Column("served_at", _MOMENT, nullable=True))
    with op.batch_alter_table("delivery_attempt") as table:
        table.add_column(sa.Column("fault", sa.Text(), nullable=False, server_default=""))
    faulty = sa.text("fault <> ''")
    op.create_index(
        "ix_delivery_attempt_fault", "delivery_attempt", ["id"], sqlite_where=faulty, postgresql_where=faulty
    )
    op.drop_index("ix_outbox_message_leases", "outbox_message")
    op.drop_index("ix_outbox_message_due", "outbox_message")
    _index("due", ["account_id", "status", "next_attempt_at", "id"], _OPEN)
    _index("line", ["account_id", "recipient", "id"], _OPEN)
    _index("urgent", ["account_id", "next_attempt_at", "id"], f"{_OPEN} AND urgent")


def _index(name: str, columns: list[str], where: str) -> None:
    only = sa.text(where)
    op.create_index(
        f"ix_outbox_message_{name}", "outbox_message", columns, sqlite_where=only, postgresql_where=only
    )
