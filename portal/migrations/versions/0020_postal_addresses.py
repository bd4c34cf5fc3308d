"""invitations and summaries need a postal address, or the owner's choice to send without one

Accounts of before that have no address go on sending without one, so no summary is held back.
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"

_ACCENT = "#1f3f5c"  # the default of then
_WITHOUT_ROW = f"""
INSERT INTO notice_branding (account_id, accent, address, footer, updated_at, without_address)
SELECT id, '{_ACCENT}', '', '', created_at, true FROM account
WHERE NOT EXISTS (SELECT 1 FROM notice_branding WHERE notice_branding.account_id = account.id)
"""


def upgrade() -> None:
    op.add_column(
        "notice_branding",
        sa.Column("without_address", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.execute("UPDATE notice_branding SET without_address = true WHERE address = ''")
    op.execute(_WITHOUT_ROW)


def downgrade() -> None:
    op.execute("ALTER TABLE notice_branding DROP COLUMN without_address")
