"""what was found about sending domains"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "domain_check",
        sa.Column("id", _ID, nullable=False),
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("version_id", _ID, nullable=False),
        sa.Column("domain", sa.String(length=253), nullable=False),
        sa.Column("selectors", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("verdict", sa.String(length=12), nullable=True),
        sa.Column("known", sa.String(length=12), nullable=True),
        sa.Column("findings", sa.JSON(), nullable=True),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_domain_check_account_id_account")),
        sa.ForeignKeyConstraint(
            ["version_id"], ["smtp_settings.id"], name=op.f("fk_domain_check_version_id_smtp_settings")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_domain_check")),
        sa.UniqueConstraint("version_id", name=op.f("uq_domain_check_version_id")),
    )
    with op.batch_alter_table("domain_check") as table:
        table.create_index(table.f("ix_domain_check_account_id"), ["account_id"], unique=False)
        table.create_index("ix_domain_check_state", ["state"], unique=False)
    op.create_table(
        "domain_change",
        sa.Column("id", _ID, nullable=False),
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("domain", sa.String(length=253), nullable=False),
        sa.Column("was", sa.String(length=12), nullable=False),
        sa.Column("became", sa.String(length=12), nullable=False),
        sa.Column("why", sa.String(length=500), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_domain_change_account_id_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_domain_change")),
    )
    with op.batch_alter_table("domain_change") as table:
        table.create_index(table.f("ix_domain_change_account_id"), ["account_id"], unique=False)
