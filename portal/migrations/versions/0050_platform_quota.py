"""an operator may set how many emails a day the platform's sender carries for an account

The column is added in place, because rebuilding a table in SQLite would drop its triggers.
"""

import sqlalchemy as sa
from alembic import op

revision = "0050"
down_revision = "0049"


def upgrade() -> None:
    op.add_column("account", sa.Column("platform_per_day", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.execute("ALTER TABLE account DROP COLUMN platform_per_day")
