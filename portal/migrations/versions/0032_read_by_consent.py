"""grants to read the mailbox for bounces

The columns are added in place, because rebuilding a table in SQLite would drop its triggers.
"""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    op.add_column("oauth_grant", sa.Column("purpose", sa.String(length=10), nullable=False, server_default="send"))
    kind = "BIGINT" if op.get_bind().dialect.name == "postgresql" else "INTEGER"
    op.execute(
        f"ALTER TABLE bounce_mailbox ADD COLUMN grant_id {kind} "
        "CONSTRAINT fk_bounce_mailbox_grant_id_oauth_grant REFERENCES oauth_grant (id)"
    )


def downgrade() -> None:
    op.execute("DELETE FROM bounce_mailbox WHERE grant_id IS NOT NULL")
    op.execute("ALTER TABLE bounce_mailbox DROP COLUMN grant_id")
    op.execute("UPDATE oauth_grant SET sealed_secret = NULL, sealed_refresh = NULL, sealed_access = NULL WHERE purpose <> 'send'")
    op.execute("ALTER TABLE oauth_grant DROP COLUMN purpose")
