"""the mailbox that an account lets read for bounces"""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)


def _text(name: str, length: int) -> sa.Column:
    return sa.Column(name, sa.String(length=length), nullable=False)


def upgrade() -> None:
    op.create_table(
        "bounce_mailbox",
        sa.Column("id", _ID, nullable=False),
        sa.Column("account_id", _ID, nullable=False),
        _text("host", 253),
        sa.Column("port", _ID, nullable=False),
        _text("security", 20),
        _text("username", 254),
        _text("folder", 120),
        sa.Column("sealed_password", sa.LargeBinary(), nullable=False),
        sa.Column("generation", _ID, nullable=False),
        sa.Column("uid_validity", _ID, nullable=True),
        sa.Column("last_uid", _ID, nullable=True),
        _text("problem", 40),
        sa.Column("failures", _ID, nullable=False),
        sa.Column("next_read_at", _TIME, nullable=False),
        sa.Column("last_read_at", _TIME, nullable=True),
        sa.Column("last_tried_at", _TIME, nullable=True),
        sa.Column("last_report_at", _TIME, nullable=True),
        sa.Column("mails", _ID, nullable=False),
        sa.Column("reports", _ID, nullable=False),
        _text("saved_by", 100),
        sa.Column("saved_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_bounce_mailbox_account_id_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bounce_mailbox")),
        sa.UniqueConstraint("account_id", name=op.f("uq_bounce_mailbox_account_id")),
    )
    op.create_index(op.f("ix_bounce_mailbox_next_read_at"), "bounce_mailbox", ["next_read_at"])


def downgrade() -> None:
    op.drop_table("bounce_mailbox")
