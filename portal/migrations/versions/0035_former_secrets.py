"""several former addresses of a hook, and which report made a suppression"""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "bounce_hook_former",
        sa.Column("secret_hash", sa.String(64), nullable=False),
        sa.Column("hook_id", _ID, nullable=False),
        sa.Column("works_until", _TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["hook_id"], ["bounce_hook.id"], name=op.f("fk_bounce_hook_former_hook_id_bounce_hook")
        ),
        sa.PrimaryKeyConstraint("secret_hash", name=op.f("pk_bounce_hook_former")),
    )
    op.create_index(op.f("ix_bounce_hook_former_hook_id"), "bounce_hook_former", ["hook_id"])
    op.execute(
        "INSERT INTO bounce_hook_former (secret_hash, hook_id, works_until) "
        "SELECT former_hash, id, former_until FROM bounce_hook WHERE former_hash <> '' AND former_until IS NOT NULL"
    )
    op.drop_index("ix_bounce_hook_former_hash", "bounce_hook")
    op.execute("ALTER TABLE bounce_hook DROP COLUMN former_hash")
    op.execute("ALTER TABLE bounce_hook DROP COLUMN former_until")
    op.add_column("suppression", sa.Column("message_id", _ID, nullable=True))
    op.add_column(
        "suppression", sa.Column("was_unsubscribed", sa.Boolean(), nullable=False, server_default=sa.false())
    )


def downgrade() -> None:
    op.execute("ALTER TABLE suppression DROP COLUMN was_unsubscribed")
    op.execute("ALTER TABLE suppression DROP COLUMN message_id")
    op.add_column("bounce_hook", sa.Column("former_hash", sa.String(64), nullable=False, server_default=""))
    op.add_column("bounce_hook", sa.Column("former_until", _TIME, nullable=True))
    op.create_index("ix_bounce_hook_former_hash", "bounce_hook", ["former_hash"])
    last = "SELECT {} FROM bounce_hook_former WHERE hook_id = bounce_hook.id ORDER BY works_until DESC LIMIT 1"
    op.execute(
        f"UPDATE bounce_hook SET former_hash = ({last.format('secret_hash')}), former_until = ({last.format('works_until')}) "
        "WHERE id IN (SELECT hook_id FROM bounce_hook_former)"
    )
    op.drop_table("bounce_hook_former")
