"""a message may be a copy of another, and may be unsubscribed from with one click"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    with op.batch_alter_table("outbox_message") as table:
        table.add_column(sa.Column("unsubscribe_url", sa.Text(), nullable=False, server_default=""))
        table.add_column(sa.Column("origin_id", _ID, nullable=True))
