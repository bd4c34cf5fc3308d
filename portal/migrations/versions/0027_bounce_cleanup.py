"""old bounce events are found by what is left to clean up, however many others there are"""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"

_PARTIAL = {"ix_bounce_event_raw": "raw <> ''", "ix_bounce_event_unmatched": "state = 'unmatched'"}


def upgrade() -> None:
    op.drop_index("ix_bounce_event_received_at", "bounce_event")
    for name, condition in _PARTIAL.items():
        where = sa.text(condition)
        op.create_index(name, "bounce_event", ["received_at"], sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    for name in _PARTIAL:
        op.drop_index(name, "bounce_event")
    op.create_index("ix_bounce_event_received_at", "bounce_event", ["received_at"])
