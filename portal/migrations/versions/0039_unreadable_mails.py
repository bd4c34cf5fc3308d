"""mails that a server does not hand out are counted, and passed over by the reader of the mailbox for bounces"""

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision = "0038"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    for column in (
        sa.Column("failing_uid", _ID),
        sa.Column("uid_failures", _ID, nullable=False, server_default="0"),
        sa.Column("skipped", _ID, nullable=False, server_default="0"),
    ):
        op.add_column("bounce_mailbox", column)


def downgrade() -> None:
    """The release before has no incidents of a mailbox: they become incidents of bounces, which end by themselves."""
    op.execute("UPDATE incident SET kind = 'bounces' WHERE kind = 'mailbox'")
    op.execute("UPDATE incident SET ended = 'over' WHERE ended IN ('readable', 'removed')")
    op.execute("UPDATE incident_event SET text = 'over' WHERE kind = 'ended' AND text IN ('readable', 'removed')")
    for name in ("skipped", "uid_failures", "failing_uid"):
        op.execute(f"ALTER TABLE bounce_mailbox DROP COLUMN {name}")
