"""grants of OAuth 2.0, with which a version of the SMTP settings logs in without a password

The column is added in place, because rebuilding a table in SQLite would drop its triggers.
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "oauth_grant",
        sa.Column("id", _ID, nullable=False),
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("flow", sa.String(length=20), nullable=False),
        sa.Column("issuer", sa.String(length=20), nullable=False),
        sa.Column("tenant", sa.String(length=253), nullable=False),
        sa.Column("client_id", sa.String(length=254), nullable=False),
        sa.Column("mailbox", sa.String(length=254), nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=True),
        sa.Column("secret_expires_on", sa.Date(), nullable=True),
        sa.Column("sealed_access", sa.LargeBinary(), nullable=True),
        sa.Column("access_expires_at", _TIME, nullable=True),
        sa.Column("generation", _ID, nullable=False),
        sa.Column("lease_until", _TIME, nullable=True),
        sa.Column("trouble", sa.JSON(), nullable=True),
        sa.Column("made_by", sa.String(length=100), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("refreshed_at", _TIME, nullable=True),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_oauth_grant_account_id_account")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_oauth_grant")),
    )
    op.create_index("ix_oauth_grant_account_id", "oauth_grant", ["account_id"])
    kind = "BIGINT" if op.get_bind().dialect.name == "postgresql" else "INTEGER"
    op.execute(
        f"ALTER TABLE smtp_settings ADD COLUMN grant_id {kind} "
        "CONSTRAINT fk_smtp_settings_grant_id_oauth_grant REFERENCES oauth_grant (id)"
    )


def downgrade() -> None:
    op.execute("ALTER TABLE smtp_settings DROP COLUMN grant_id")
    op.drop_index("ix_oauth_grant_account_id", "oauth_grant")
    op.drop_table("oauth_grant")
