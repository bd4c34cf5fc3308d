"""the look for texts to be removed reads messages that still have one, and their removal writes one index less

The index is built anew, some seconds for ten million messages.
"""

import sqlalchemy as sa
from alembic import op

revision = "0057"
down_revision = "0056"

_OLD, _NEW = "ix_delivery_log_wiped", "ix_delivery_log_with_text"


def _create(name: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "delivery_log", columns, sqlite_where=where, postgresql_where=where)


def upgrade() -> None:
    op.drop_index(_OLD, "delivery_log")
    _create(_NEW, ["account_id", "settled_at"], "wiped_at IS NULL AND settled_at IS NOT NULL")


def downgrade() -> None:
    op.drop_index(_NEW, "delivery_log")
    _create(_OLD, ["account_id", "wiped_at", "settled_at"], "settled_at IS NOT NULL")
