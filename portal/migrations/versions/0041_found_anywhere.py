"""searches find emails by order number and without accents, and affiliates with one Gmail mailbox without reading all

On PostgreSQL the index of the words in subjects is built anew, about ten seconds for a million messages.
"""

import sqlalchemy as sa
from alembic import op

revision = "0041"
down_revision = "0040"

_HAS_ICU_COLLATION = (
    "SELECT count(*) FROM pg_collation WHERE collname = 'und-x-icu' AND getdatabaseencoding() = 'UTF8'"
)
_LOWER = 'lower($1 COLLATE "und-x-icu")'
_LOWER_WITHOUT_ACCENTS = (
    "lower(regexp_replace(normalize($1, NFKD), '[\\u0300-\\u036f]', '', 'g') COLLATE \"und-x-icu\")"
)
_IS_GMAIL = "(mailbox_key LIKE '%@gmail.com' OR mailbox_key LIKE '%@googlemail.com')"
_LOCAL = {
    "postgresql": "split_part(split_part(mailbox_key, '@', 1), '+', 1)",
    # The part before the first @ or +, whichever comes first.
    "sqlite": "substr(mailbox_key, 1, instr(replace(mailbox_key, '+', '@'), '@') - 1)",
}


def _fold_subjects(body: str) -> None:
    bind = op.get_bind()
    if bind.dialect.name != "postgresql" or not bind.exec_driver_sql(_HAS_ICU_COLLATION).scalar():
        return
    op.execute("DROP INDEX delivery_subjects")
    bind.exec_driver_sql(
        "CREATE OR REPLACE FUNCTION delivery_fold(text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE"
        f" AS $$ SELECT {body} $$"
    )
    op.execute(
        "CREATE INDEX delivery_subjects ON delivery_log USING gin (to_tsvector('simple', delivery_fold(subject)))"
    )


def upgrade() -> None:
    op.create_index("ix_ledger_entry_commission_id", "ledger_entry", ["commission_id"])
    op.add_column("affiliate", sa.Column("gmail_name", sa.String(64)))
    local = _LOCAL[op.get_bind().dialect.name]
    op.execute(f"UPDATE affiliate SET gmail_name = nullif(replace({local}, '.', ''), '') WHERE {_IS_GMAIL}")
    where = sa.text("gmail_name IS NOT NULL")
    op.create_index(
        "ix_affiliate_gmail", "affiliate", ["account_id", "gmail_name"], sqlite_where=where, postgresql_where=where
    )
    _fold_subjects(_LOWER_WITHOUT_ACCENTS)


def downgrade() -> None:
    _fold_subjects(_LOWER)
    op.drop_index("ix_affiliate_gmail", "affiliate")
    op.execute("ALTER TABLE affiliate DROP COLUMN gmail_name")
    op.drop_index("ix_ledger_entry_commission_id", "ledger_entry")
