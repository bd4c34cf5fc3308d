"""drafts of the SMTP settings that were saved through the API wait for a person

The column is added in place, because rebuilding a table in SQLite would drop its triggers.
"""

import sqlalchemy as sa
from alembic import op

revision = "0047"
down_revision = "0046"


def upgrade() -> None:
    op.add_column(
        "smtp_settings", sa.Column("waits_for_person", sa.Boolean(), nullable=False, server_default=sa.false())
    )


def downgrade() -> None:
    """Discard the drafts that wait, which would go live in the release before, and revoke tokens of the scope it lacks."""
    bind = op.get_bind()
    settings = sa.table(
        "smtp_settings",
        sa.column("state", sa.String()),
        sa.column("sealed_password", sa.LargeBinary()),
        sa.column("waits_for_person", sa.Boolean()),
        sa.column("id"),
    )
    waits = settings.c.waits_for_person.is_(True)
    check = sa.table("settings_check", sa.column("version_id"), sa.column("state", sa.String()))
    bind.execute(
        sa.delete(check).where(
            check.c.version_id.in_(sa.select(settings.c.id).where(waits)), check.c.state.in_(("waiting", "running"))
        )
    )
    bind.execute(sa.update(settings).where(waits).values(state="discarded", sealed_password=b""))
    op.execute("UPDATE api_token SET revoked_at = CURRENT_TIMESTAMP WHERE scope = 'settings' AND revoked_at IS NULL")
    op.execute("UPDATE api_token SET scope = 'sending' WHERE scope = 'settings'")
    op.execute("ALTER TABLE smtp_settings DROP COLUMN waits_for_person")
