"""proofs of domains; an account that sends from a domain at the upgrade may go on, also if others do"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "domain_proof",
        sa.Column("id", _ID, nullable=False),
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("domain", sa.String(length=253), nullable=False),
        sa.Column("proved_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_domain_proof_account_id_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_domain_proof")),
        sa.UniqueConstraint("account_id", "domain", name=op.f("uq_domain_proof_account_id_domain")),
    )
    op.execute(
        "INSERT INTO domain_proof (account_id, domain, proved_at)"
        " SELECT account_id, domain, created_at FROM smtp_settings WHERE state = 'live'"
    )


def downgrade() -> None:
    op.drop_table("domain_proof")
