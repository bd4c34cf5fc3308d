"""SMTP settings have an envelope sender, headers, messages per connection and a reply time; checks have a start

Columns are added in place, because rebuilding a table in SQLite would drop its triggers.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

_ADDED = (
    ("smtp_settings", sa.Column("envelope_sender", sa.String(length=254), nullable=False, server_default="")),
    ("smtp_settings", sa.Column("headers", sa.JSON(), nullable=False, server_default="[]")),
    ("smtp_settings", sa.Column("messages_per_connection", sa.Integer(), nullable=True)),
    ("smtp_settings", sa.Column("reply_seconds", sa.Integer(), nullable=True)),
    ("settings_check", sa.Column("started_at", sa.DateTime(timezone=True), nullable=True)),
)


def upgrade() -> None:
    for table, column in _ADDED:
        op.add_column(table, column)


def downgrade() -> None:
    for table, column in reversed(_ADDED):
        op.execute(f'ALTER TABLE "{table}" DROP COLUMN "{column.name}"')
