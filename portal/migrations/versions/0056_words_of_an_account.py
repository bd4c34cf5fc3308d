"""words of subjects are searched within one account on PostgreSQL, however often other accounts use them

The index leaves out messages that are being sent. It is built anew, and meanwhile no message can be enqueued: about half a
minute for a million messages.
"""

from alembic import op

revision = "0056"
down_revision = "0055"

_WORDS = "to_tsvector('simple', delivery_fold(subject))"
_WITH_ACCOUNT = f"{_WORDS} || array_to_tsvector(ARRAY['account ' || account_id::text])"


def _index(words: str, where: str = "") -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP INDEX delivery_subjects")
        op.execute(f"CREATE INDEX delivery_subjects ON delivery_log USING gin (({words})){where}")


def upgrade() -> None:
    _index(_WITH_ACCOUNT, " WHERE status <> 'sending'")


def downgrade() -> None:
    _index(_WORDS)
