"""the emails that wait for a digest are found by their account"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

_INDEX = "ix_event_mail_digest_account"
_WAITING = sa.text("digest_at IS NOT NULL")
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("event_mail", sa.Column("digest_account_id", _BIG, nullable=True))
    op.execute(
        "UPDATE event_mail SET digest_account_id = (SELECT account_id FROM event WHERE event.id = event_mail.event_id) "
        "WHERE digest_at IS NOT NULL"
    )
    columns = ["digest_account_id", "digest_at"]
    op.create_index(_INDEX, "event_mail", columns, sqlite_where=_WAITING, postgresql_where=_WAITING)


def downgrade() -> None:
    op.drop_index(_INDEX, table_name="event_mail")
    op.execute("ALTER TABLE event_mail DROP COLUMN digest_account_id")
