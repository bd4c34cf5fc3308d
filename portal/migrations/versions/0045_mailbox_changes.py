"""changes of the mailbox that a person logs in with: the links to the new and to the former one"""

import sqlalchemy as sa
from alembic import op

revision = "0045"
down_revision = "0044"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "mailbox_change",
        sa.Column("id", _ID, nullable=False),
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("new_mailbox", sa.String(254), nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("asked_at", _TIME, nullable=False),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.Column("used_at", _TIME, nullable=True),
        sa.Column("former_mailbox", sa.String(254), nullable=False),
        sa.Column("undo_hash", sa.String(64), nullable=True),
        sa.Column("undone_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(["owner_id"], ["owner.id"], name=op.f("fk_mailbox_change_owner_id_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mailbox_change")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_mailbox_change_token_hash")),
        sa.UniqueConstraint("undo_hash", name=op.f("uq_mailbox_change_undo_hash")),
    )
    op.create_index(op.f("ix_mailbox_change_owner_id"), "mailbox_change", ["owner_id"])


def downgrade() -> None:
    op.drop_table("mailbox_change")
