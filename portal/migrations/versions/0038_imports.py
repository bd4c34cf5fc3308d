"""owners import affiliates from CSV files"""

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0037"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
_NUMBERS = ("lines", "cursor", "added", "left_out", "emails", "queued", "mail_cursor")


def upgrade() -> None:
    op.create_table(
        "affiliate_import",
        sa.Column("id", _ID, nullable=False),
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("file_name", sa.String(100), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("choices", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("uploaded_by", sa.String(100), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("ended_at", _TIME, nullable=True),
        *(sa.Column(name, _ID, nullable=False) for name in _NUMBERS),
        sa.Column("next_mail_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_affiliate_import_account_id_account")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_affiliate_import")),
        sa.UniqueConstraint("account_id", "key", name=op.f("uq_affiliate_import_account_id_key")),
    )
    op.create_index("ix_affiliate_import_list", "affiliate_import", ["account_id", "id"])
    op.create_index("ix_affiliate_import_state", "affiliate_import", ["state", "next_mail_at"])
    op.add_column("affiliate", sa.Column("import_id", _ID, nullable=True))
    imported = sa.text("import_id IS NOT NULL")
    op.create_index(
        "ix_affiliate_import", "affiliate", ["import_id", "id"], sqlite_where=imported, postgresql_where=imported
    )


def downgrade() -> None:
    op.execute("UPDATE event SET source = 'portal' WHERE source = 'import'")  # the release before has no imports
    op.drop_index("ix_affiliate_import", "affiliate")
    op.execute("ALTER TABLE affiliate DROP COLUMN import_id")
    op.drop_table("affiliate_import")
