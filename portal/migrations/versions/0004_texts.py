"""an account's own texts and look"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _texts()
    _look()
    op.create_table(
        "notice_mailbox",
        sa.Column("id", _ID, nullable=False),
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("mailbox", sa.String(length=254), nullable=False),
        sa.Column("mailbox_key", sa.String(length=254), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_notice_mailbox_account_id_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice_mailbox")),
        sa.UniqueConstraint("account_id", "mailbox_key", name=op.f("uq_notice_mailbox_account_id_mailbox_key")),
    )


def _texts() -> None:
    op.create_table(
        "notice_text",
        sa.Column("id", _ID, nullable=False),
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("number", _ID, nullable=False),
        sa.Column("shipped", sa.Boolean(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("html", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("owner_name", sa.String(length=100), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_notice_text_account_id_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice_text")),
        sa.UniqueConstraint("account_id", "kind", "number", name=op.f("uq_notice_text_account_id_kind_number")),
    )
    op.create_table(
        "notice_draft",
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("html", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("based_on", _ID, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["owner.id"], name=op.f("fk_notice_draft_owner_id_owner")),
        sa.PrimaryKeyConstraint("owner_id", "kind", name=op.f("pk_notice_draft")),
    )


def _look() -> None:
    op.create_table(
        "notice_logo",
        sa.Column("id", _ID, nullable=False),
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("key", sa.String(length=40), nullable=False),
        sa.Column("media_type", sa.String(length=20), nullable=False),
        sa.Column("width", _ID, nullable=False),
        sa.Column("height", _ID, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_notice_logo_account_id_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice_logo")),
        sa.UniqueConstraint("key", name=op.f("uq_notice_logo_key")),
    )
    with op.batch_alter_table("notice_logo") as table:
        table.create_index(op.f("ix_notice_logo_account_id"), ["account_id"], unique=False)
    op.create_table(
        "notice_look",
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("accent", sa.String(length=7), nullable=False),
        sa.Column("address", sa.String(length=500), nullable=False),
        sa.Column("footer", sa.String(length=1000), nullable=False),
        sa.Column("logo_id", _ID, nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_notice_look_account_id_account")),
        sa.ForeignKeyConstraint(["logo_id"], ["notice_logo.id"], name=op.f("fk_notice_look_logo_id_notice_logo")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_notice_look")),
    )
