"""the time zone in which a person sees times, empty for that of the programme, and whether keyboard shortcuts are on"""

import sqlalchemy as sa
from alembic import op

revision = "0053"
down_revision = "0052"


def upgrade() -> None:
    op.add_column("owner", sa.Column("time_zone", sa.String(64), nullable=False, server_default=""))
    op.add_column("owner", sa.Column("has_shortcuts", sa.Boolean, nullable=False, server_default=sa.true()))


def downgrade() -> None:
    op.execute("ALTER TABLE owner DROP COLUMN time_zone")
    op.execute("ALTER TABLE owner DROP COLUMN has_shortcuts")
