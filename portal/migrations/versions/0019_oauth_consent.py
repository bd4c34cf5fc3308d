"""consents by authorization code: the refresh token of a grant, and the attempts

Columns are added in place, because rebuilding a table in SQLite would drop its triggers.
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("oauth_grant", sa.Column("sealed_refresh", sa.LargeBinary(), nullable=True))
    op.add_column(
        "oauth_grant", sa.Column("subject", sa.String(length=254), nullable=False, server_default="")
    )
    op.create_table(
        "oauth_attempt",
        sa.Column("id", _ID, nullable=False),
        sa.Column("state_hash", sa.String(length=64), nullable=False),
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("session_id", _ID, nullable=False),
        sa.Column("way", sa.String(length=20), nullable=False),
        sa.Column("tenant", sa.String(length=253), nullable=False),
        sa.Column("client_id", sa.String(length=254), nullable=False),
        sa.Column("mailbox", sa.String(length=254), nullable=False),
        sa.Column("is_shared", sa.Boolean(), nullable=False),
        sa.Column("nonce", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("used_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_oauth_attempt_account_id_account")
        ),
        sa.ForeignKeyConstraint(["owner_id"], ["owner.id"], name=op.f("fk_oauth_attempt_owner_id_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_oauth_attempt")),
        sa.UniqueConstraint("state_hash", name=op.f("uq_oauth_attempt_state_hash")),
    )


def downgrade() -> None:
    op.drop_table("oauth_attempt")
    for name in ("subject", "sealed_refresh"):
        op.execute(f"ALTER TABLE oauth_grant DROP COLUMN {name}")
