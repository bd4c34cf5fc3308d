"""refused jobs are listed for the operator, and heartbeats name the queues that a worker serves

The column is added in place; the workers of before fill it at their next heartbeat.
"""

import sqlalchemy as sa
from alembic import op

revision = "0051"
down_revision = "0050"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "refused_job",
        sa.Column("id", _ID, nullable=False),
        sa.Column("queue", sa.String(40), nullable=False),
        sa.Column("reason", sa.String(100), nullable=False),
        sa.Column("worker", sa.String(120), nullable=False),
        sa.Column("refused_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refused_job")),
    )
    op.add_column("worker_heartbeat", sa.Column("queues", sa.String(100), nullable=False, server_default=""))


def downgrade() -> None:
    op.execute("ALTER TABLE worker_heartbeat DROP COLUMN queues")
    op.drop_table("refused_job")
