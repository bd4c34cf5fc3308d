"""persons can be erased: the key of the hashes, the erasures, and affiliates' requests"""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("affiliate", sa.Column("erasure_asked_at", _TIME, nullable=True))
    asked = sa.text("erasure_asked_at IS NOT NULL")
    op.create_index(
        "ix_affiliate_erasure_asked",
        "affiliate",
        ["account_id", "erasure_asked_at"],
        sqlite_where=asked,
        postgresql_where=asked,
    )
    op.create_table(
        "erasure_key",
        sa.Column("id", _ID, autoincrement=False, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasure_key")),
    )
    op.create_table(
        "erasure",
        sa.Column("id", _ID, nullable=False),
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("affiliate_id", _ID, nullable=False),
        sa.Column("sealed_person", sa.LargeBinary(), nullable=True),
        sa.Column("erased_by", sa.String(100), nullable=False),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("done_at", _TIME, nullable=True),
        *(sa.Column(name, _ID, nullable=False) for name in ("step", "cursor", "blanked")),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_erasure_account_id_account")),
        sa.ForeignKeyConstraint(
            ["affiliate_id"], ["affiliate.id"], name=op.f("fk_erasure_affiliate_id_affiliate")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasure")),
        sa.UniqueConstraint("affiliate_id", name=op.f("uq_erasure_affiliate_id")),
    )
    running = sa.text("done_at IS NULL")
    op.create_index("ix_erasure_running", "erasure", ["id"], sqlite_where=running, postgresql_where=running)


def downgrade() -> None:
    """The release before does not know erased persons: they get no email as suspended ones, and their hashes mean nothing."""
    op.execute("UPDATE affiliate SET state = 'suspended' WHERE state = 'erased'")
    op.execute("DELETE FROM suppression WHERE reason = 'erased'")
    op.drop_table("erasure")
    op.drop_table("erasure_key")
    op.drop_index("ix_affiliate_erasure_asked", "affiliate")
    op.execute("ALTER TABLE affiliate DROP COLUMN erasure_asked_at")
