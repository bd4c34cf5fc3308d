"""test emails: their link, what they were sent as, and how they were received"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "test_email",
        sa.Column("id", _ID, nullable=False),
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("message_id", _ID, nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("recipient", sa.String(length=254), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("sent_at", _TIME, nullable=True),
        sa.Column("version_number", _ID, nullable=True),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("return_path", sa.String(length=254), nullable=False),
        sa.Column("reply_to", sa.String(length=254), nullable=False),
        sa.Column("header_id", sa.String(length=300), nullable=False),
        sa.Column("queue_id", sa.String(length=120), nullable=False),
        sa.Column("received_at", _TIME, nullable=True),
        sa.Column("pasted_at", _TIME, nullable=True),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("observed", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_test_email_account_id_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_test_email")),
        sa.UniqueConstraint("message_id", name=op.f("uq_test_email_message_id")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_test_email_token_hash")),
    )
    op.create_index("ix_test_email_list", "test_email", ["account_id", "id"], unique=False)


def downgrade() -> None:
    op.drop_table("test_email")
