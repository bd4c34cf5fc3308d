"""accounts are approved and may be suspended; owners and further mailboxes are confirmed; invitations to register

Every account, owner and mailbox of before counts as approved and confirmed, so nothing that was sent is held back.
Columns are added in place, because rebuilding a table in SQLite would drop its triggers.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_FILLED = (("account", "approved_at"), ("owner", "confirmed_at"), ("notice_mailbox", "confirmed_at"))
_ADDED = (
    ("account", sa.Column("approved_at", sa.DateTime(timezone=True), nullable=True)),
    ("account", sa.Column("is_waiting", sa.Boolean(), nullable=False, server_default=sa.false())),
    ("account", sa.Column("suspended_at", sa.DateTime(timezone=True), nullable=True)),
    ("account", sa.Column("suspension_reason", sa.String(length=300), nullable=False, server_default="")),
    ("owner", sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True)),
    ("notice_mailbox", sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True)),
    ("notice_mailbox", sa.Column("token_hash", sa.String(length=64), nullable=True)),
    ("outbox_message", sa.Column("is_custom", sa.Boolean(), nullable=False, server_default=sa.false())),
)


def upgrade() -> None:
    for table, column in _ADDED:
        op.add_column(table, column)
    for table, column in _FILLED:
        op.execute(f"UPDATE {table} SET {column} = created_at")
    op.create_index("ix_notice_mailbox_token_hash", "notice_mailbox", ["token_hash"], unique=True)
    op.create_table(
        "registration_invitation",
        sa.Column("id", _ID, nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("mailbox", sa.String(length=254), nullable=False),
        sa.Column("makes_operator", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registration_invitation")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_registration_invitation_token_hash")),
    )


def downgrade() -> None:
    op.drop_table("registration_invitation")
    op.drop_index("ix_notice_mailbox_token_hash", "notice_mailbox")
    for table, column in reversed(_ADDED):
        op.execute(f'ALTER TABLE "{table}" DROP COLUMN "{column.name}"')
