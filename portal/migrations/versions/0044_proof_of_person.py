"""proof of person of a log-in session: time, method, network, and the values of the form that it interrupted"""

import sqlalchemy as sa
from alembic import op

revision = "0044"
down_revision = "0043"


def upgrade() -> None:
    """Add columns. Present sessions have proved nothing, so they are asked at the next operation that needs it."""
    for column in (
        sa.Column("network", sa.String(64), nullable=False, server_default=""),
        sa.Column("proved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("proved_by", sa.String(12), nullable=True),
        sa.Column("former_hash", sa.String(64), nullable=True),
        sa.Column("kept_form", sa.Text(), nullable=False, server_default=""),
    ):
        op.add_column("owner_session", column)
    op.create_index(op.f("ix_owner_session_former_hash"), "owner_session", ["former_hash"])


def downgrade() -> None:
    op.drop_index(op.f("ix_owner_session_former_hash"), table_name="owner_session")
    for name in ("kept_form", "former_hash", "proved_by", "proved_at", "network"):
        op.execute(f"ALTER TABLE owner_session DROP COLUMN {name}")
