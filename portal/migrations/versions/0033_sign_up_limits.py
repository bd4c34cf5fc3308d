"""sign-up forms may ask for a website, and owners choose how many sign-ups they take at once"""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("affiliate", sa.Column("website", sa.String(300), nullable=False, server_default=""))
    for column in (
        sa.Column("asks_website", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("sign_ups_per_network", _ID, nullable=False, server_default="20"),
        sa.Column("sign_ups_at_once", _ID, nullable=False, server_default="20"),
        sa.Column("sign_ups_slow_until", sa.DateTime(timezone=True)),
    ):
        op.add_column("account", column)


def downgrade() -> None:
    for name in ("sign_ups_slow_until", "sign_ups_at_once", "sign_ups_per_network", "asks_website"):
        op.execute(f"ALTER TABLE account DROP COLUMN {name}")
    op.execute("ALTER TABLE affiliate DROP COLUMN website")
