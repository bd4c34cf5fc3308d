"""programmes have a language and an own text of the confirmation, and affiliates choose how often their emails come

Programmes of before are in English, with the text that Signet ships, and each email comes at once.
"""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("account", sa.Column("language", sa.String(8), nullable=False, server_default="en"))
    op.add_column("account", sa.Column("confirm_version", _ID, nullable=False, server_default="0"))
    op.add_column("affiliate", sa.Column("email_pace", sa.String(8), nullable=False, server_default="at-once"))


def downgrade() -> None:
    op.execute("ALTER TABLE affiliate DROP COLUMN email_pace")
    op.execute("ALTER TABLE account DROP COLUMN confirm_version")
    op.execute("ALTER TABLE account DROP COLUMN language")
