"""API tokens have an optional end date and the id of the person who made them

The columns are added in place. Who made the tokens of before is recorded by name only, and names are not unique.
"""

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision = "0045"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("api_token", sa.Column("created_by_id", _ID, nullable=True))
    op.add_column("api_token", sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """The release before knows no end date, so tokens that have one are revoked: they would work forever."""
    op.execute(
        "UPDATE api_token SET revoked_at = CURRENT_TIMESTAMP, revoked_by = ''"
        " WHERE expires_at IS NOT NULL AND revoked_at IS NULL"
    )
    op.execute("ALTER TABLE api_token DROP COLUMN expires_at")
    op.execute("ALTER TABLE api_token DROP COLUMN created_by_id")
