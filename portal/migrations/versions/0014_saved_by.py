"""versions of the SMTP settings name the owner who saved them

The column is added in place; versions of before have no name, because nothing recorded who saved them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.add_column("smtp_settings", sa.Column("saved_by", sa.String(length=100), nullable=False, server_default=""))


def downgrade() -> None:
    op.execute('ALTER TABLE "smtp_settings" DROP COLUMN "saved_by"')
