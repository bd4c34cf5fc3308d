"""emails of events may wait for a digest"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

_CONDITION = sa.text("digest_at IS NOT NULL")


def upgrade() -> None:
    op.add_column("event_mail", sa.Column("digest_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_event_mail_digest_at",
        "event_mail",
        ["digest_at"],
        sqlite_where=_CONDITION,
        postgresql_where=_CONDITION,
    )


def downgrade() -> None:
    op.drop_index("ix_event_mail_digest_at", "event_mail")
    op.execute("ALTER TABLE event_mail DROP COLUMN digest_at")
