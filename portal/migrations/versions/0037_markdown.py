"""the Markdown that a text was written in; texts of before are HTML"""

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"

_TABLES = ("notice_text", "notice_draft")


def upgrade() -> None:
    for table in _TABLES:
        op.add_column(table, sa.Column("markdown", sa.Text(), nullable=True))


def downgrade() -> None:
    for table in _TABLES:
        op.execute(f"ALTER TABLE {table} DROP COLUMN markdown")
