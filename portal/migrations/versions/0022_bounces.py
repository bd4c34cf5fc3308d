"""bounces: hooks of providers, events, outcomes, breakers, lifted suppressions; the delivery log knows the outcome

The column is added in place, because rebuilding a table in SQLite would drop its triggers.
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)


def _text(name: str, length: int) -> sa.Column:
    return sa.Column(name, sa.String(length=length), nullable=False)


def _partial(name: str, table: str, columns: list[str], condition: str, *, unique: bool = False) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, unique=unique, sqlite_where=where, postgresql_where=where)


def _account(table: str) -> tuple[sa.Column, sa.ForeignKeyConstraint]:
    key = sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f(f"fk_{table}_account_id_account"))
    return sa.Column("account_id", _ID, nullable=False), key


def _hooks() -> None:
    account, key = _account("bounce_hook")
    op.create_table(
        "bounce_hook",
        sa.Column("id", _ID, nullable=False),
        account,
        _text("provider", 20),
        _text("secret_hash", 64),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=False),
        _text("former_hash", 64),
        sa.Column("former_until", _TIME, nullable=True),
        sa.Column("sealed_key", sa.LargeBinary(), nullable=True),
        _text("topic", 300),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("last_event_at", _TIME, nullable=True),
        sa.Column("events", _ID, nullable=False),
        sa.Column("refused", _ID, nullable=False),
        sa.Column("refused_at", _TIME, nullable=True),
        key,
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bounce_hook")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_bounce_hook_secret_hash")),
        sa.UniqueConstraint("account_id", "provider", name=op.f("uq_bounce_hook_account_id_provider")),
    )
    op.create_index("ix_bounce_hook_former_hash", "bounce_hook", ["former_hash"])


def _events() -> None:
    account, key = _account("bounce_event")
    op.create_table(
        "bounce_event",
        sa.Column("id", _ID, nullable=False),
        account,
        _text("source", 20),
        _text("key", 64),
        _text("proof", 80),
        _text("state", 12),
        _text("meaning", 12),
        _text("kind", 80),
        _text("recipient", 254),
        sa.Column("occurred_at", _TIME, nullable=False),
        _text("status", 12),
        sa.Column("reply_code", _ID, nullable=True),
        _text("reason", 300),
        _text("reference", 64),
        _text("queue_id", 120),
        _text("header_id", 300),
        sa.Column("is_listed", sa.Boolean(), nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.Column("message_id", _ID, nullable=True),
        sa.Column("received_at", _TIME, nullable=False),
        sa.Column("next_at", _TIME, nullable=True),
        sa.Column("tries", _ID, nullable=False),
        key,
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bounce_event")),
        sa.UniqueConstraint("account_id", "source", "key", name=op.f("uq_bounce_event_account_id_source_key")),
    )
    table = "bounce_event"
    _partial("uq_bounce_event_proof", table, ["account_id", "source", "proof"], "proof <> ''", unique=True)
    _partial("ix_bounce_event_due", table, ["next_at", "account_id", "id"], "next_at IS NOT NULL")
    _partial("ix_bounce_event_message", table, ["message_id", "id"], "message_id IS NOT NULL")
    op.create_index("ix_bounce_event_list", table, ["account_id", "state", "id"])
    op.create_index("ix_bounce_event_received_at", table, ["received_at"])


def _outcomes() -> None:
    table = "message_outcome"
    op.create_table(
        table,
        sa.Column("message_id", _ID, autoincrement=False, nullable=False),
        sa.Column("account_id", _ID, nullable=False),
        _text("mailbox_key", 254),
        _text("domain", 254),
        _text("meaning", 12),
        _text("source", 20),
        _text("event_key", 64),
        sa.Column("occurred_at", _TIME, nullable=False),
        sa.Column("noted_at", _TIME, nullable=False),
        _text("status", 12),
        sa.Column("reply_code", _ID, nullable=True),
        _text("reason", 300),
        sa.Column("is_listed", sa.Boolean(), nullable=False),
        sa.Column("sent_at", _TIME, nullable=False),
        _text("effect", 12),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_message_outcome")),
    )
    op.create_index("ix_message_outcome_mailbox", table, ["account_id", "mailbox_key", "sent_at"])
    refused = "meaning IN ('hard', 'blocked')"
    _partial("ix_message_outcome_refused", table, ["account_id", "domain", "meaning", "noted_at"], refused)
    op.create_table(
        "outcome_hour",
        sa.Column("account_id", _ID, autoincrement=False, nullable=False),
        sa.Column("hour", _TIME, nullable=False),
        _text("meaning", 12),
        sa.Column("count", _ID, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "hour", "meaning", name=op.f("pk_outcome_hour")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_outcome_hour_hour", "outcome_hour", ["hour"])


def _breakers() -> None:
    account, key = _account("bounce_breaker")
    op.create_table(
        "bounce_breaker",
        sa.Column("id", _ID, nullable=False),
        account,
        _text("domain", 254),
        sa.Column("opened_at", _TIME, nullable=False),
        sa.Column("last_seen_at", _TIME, nullable=False),
        sa.Column("closed_at", _TIME, nullable=True),
        _text("decision", 12),
        key,
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bounce_breaker")),
    )
    _partial("uq_bounce_breaker_open", "bounce_breaker", ["account_id", "domain"], "closed_at IS NULL", unique=True)
    op.create_index("ix_bounce_breaker_list", "bounce_breaker", ["account_id", "id"])


def _lifts() -> None:
    account, key = _account("suppression_lift")
    op.create_table(
        "suppression_lift",
        sa.Column("id", _ID, nullable=False),
        account,
        _text("mailbox_key", 254),
        _text("reason", 12),
        _text("note", 200),
        _text("why", 200),
        _text("lifted_by", 100),
        sa.Column("lifted_at", _TIME, nullable=False),
        key,
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suppression_lift")),
    )
    op.create_index(
        "ix_suppression_lift_mailbox", "suppression_lift", ["account_id", "mailbox_key", "lifted_at"]
    )


def upgrade() -> None:
    _hooks()
    _events()
    _outcomes()
    _breakers()
    _lifts()
    op.add_column(
        "incident_policy",
        sa.Column("message_events", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.execute("ALTER TABLE delivery_log ADD COLUMN outcome VARCHAR(12) NOT NULL DEFAULT ''")
    _partial("ix_delivery_log_outcome", "delivery_log", ["account_id", "outcome", "message_id"], "outcome <> ''")


def downgrade() -> None:
    op.drop_index("ix_delivery_log_outcome", "delivery_log")
    op.execute("ALTER TABLE delivery_log DROP COLUMN outcome")
    op.execute("ALTER TABLE incident_policy DROP COLUMN message_events")
    for table in ("suppression_lift", "bounce_breaker", "outcome_hour", "message_outcome", "bounce_event", "bounce_hook"):
        op.drop_table(table)
