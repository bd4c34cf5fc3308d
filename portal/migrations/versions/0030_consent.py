"""the proof of each affiliate's consent, and codes of up to 32 characters

What was agreed to before is not known, so the way of affiliates of before is empty.
"""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"

_TEXTS = {"consent_way": 12, "consent_network": 64, "consent_source": 200, "confirmed_network": 64}


def upgrade() -> None:
    for name, length in _TEXTS.items():
        op.add_column("affiliate", sa.Column(name, sa.String(length), nullable=False, server_default=""))
    op.add_column("affiliate", sa.Column("consent_words", sa.Text(), nullable=False, server_default=""))
    _set_code_length(32)


def downgrade() -> None:
    for name in (*_TEXTS, "consent_words"):
        op.execute(f"ALTER TABLE affiliate DROP COLUMN {name}")
    _set_code_length(16)


def _set_code_length(length: int) -> None:
    """Change the longest code, unless a longer one is in use. SQLite enforces no length, so its table need not be rebuilt."""
    bind = op.get_bind()
    if bind.dialect.name == "postgresql" and (bind.scalar(sa.text("SELECT max(length(code)) FROM affiliate")) or 0) <= length:
        op.alter_column("affiliate", "code", type_=sa.String(length))
