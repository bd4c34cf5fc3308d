"""programmes have a shop address, a form of their links, and counted visits

Accounts of before have no shop address, so their links lead nowhere until an owner enters one.
"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"

_TEXTS = {
    "shop_url": 300,
    "link_pattern": 300,
    "commission": 200,
    "description": 300,
    "picture": 50,
    "terms_url": 300,
    "privacy_url": 300,
}
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    columns = [
        sa.Column("link_form", sa.String(12), nullable=False, server_default="short"),
        sa.Column("visit_days", _ID, nullable=False, server_default="30"),
        sa.Column("script_seen_at", sa.DateTime(timezone=True)),
        *(
            sa.Column(name, sa.String(length), nullable=False, server_default="")
            for name, length in _TEXTS.items()
        ),
    ]
    for column in columns:
        op.add_column("account", column)
    op.create_table(
        "visit_count",
        sa.Column("affiliate_id", _ID, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        *(sa.Column(name, _ID, nullable=False) for name in ("visits", "visitors", "others")),
        sa.ForeignKeyConstraint(
            ["affiliate_id"],
            ["affiliate.id"],
            name="fk_visit_count_affiliate_id_affiliate",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("affiliate_id", "day", name="pk_visit_count"),
    )


def downgrade() -> None:
    op.drop_table("visit_count")
    for name in ("link_form", "visit_days", "script_seen_at", *_TEXTS):
        op.execute(f"ALTER TABLE account DROP COLUMN {name}")
