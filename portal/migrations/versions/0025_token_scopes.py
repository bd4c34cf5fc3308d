"""scopes of API tokens; those of before may report events and read them, as they could

The column is added in place, because rebuilding a table in SQLite would drop its triggers.
"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    op.add_column(
        "api_token", sa.Column("scope", sa.String(length=20), nullable=False, server_default="events")
    )


def downgrade() -> None:
    op.execute("ALTER TABLE api_token DROP COLUMN scope")
