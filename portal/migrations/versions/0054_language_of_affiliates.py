"""the language that an affiliate chose for pages and emails, empty for that of the programme"""

import sqlalchemy as sa
from alembic import op

revision = "0054"
down_revision = "0053"


def upgrade() -> None:
    op.add_column("affiliate", sa.Column("language", sa.String(8), nullable=False, server_default=""))


def downgrade() -> None:
    op.execute("ALTER TABLE affiliate DROP COLUMN language")
