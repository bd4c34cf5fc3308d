"""the language in which a person sees the portal: English for those of before"""

import sqlalchemy as sa
from alembic import op

revision = "0052"
down_revision = "0051"


def upgrade() -> None:
    op.add_column("owner", sa.Column("language", sa.String(8), nullable=False, server_default="en"))


def downgrade() -> None:
    op.execute("ALTER TABLE owner DROP COLUMN language")
