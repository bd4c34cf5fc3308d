"""the log follows a waiting email to another recipient; the list of affiliates finds welcome emails without their other events"""

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0041"

_SET = "UPDATE delivery_log SET recipient = lower(new.recipient), domain = {} WHERE message_id = new.id"
_DOMAIN = {
    "postgresql": "lower(substring(new.recipient FROM '[^@]*$'))",
    "sqlite": "substr(lower(new.recipient), length(rtrim(new.recipient, replace(new.recipient, '@', ''))) + 1)",
}


def _create_trigger() -> None:
    bind = op.get_bind()
    body, head = _SET.format(_DOMAIN[bind.dialect.name]), "AFTER UPDATE OF recipient ON outbox_message"
    if bind.dialect.name == "sqlite":
        bind.exec_driver_sql(f"CREATE TRIGGER delivery_log_recipient {head} BEGIN {body}; END")
        return
    bind.exec_driver_sql(
        "CREATE FUNCTION delivery_log_recipient() RETURNS trigger LANGUAGE plpgsql"
        f" AS $$ BEGIN {body}; RETURN NULL; END $$"
    )
    bind.exec_driver_sql(
        f"CREATE TRIGGER delivery_log_recipient {head} FOR EACH ROW EXECUTE FUNCTION delivery_log_recipient()"
    )


def _drop_trigger() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER delivery_log_recipient")
        return
    op.execute("DROP TRIGGER delivery_log_recipient ON outbox_message")
    op.execute("DROP FUNCTION delivery_log_recipient()")


def upgrade() -> None:
    _create_trigger()
    where = sa.text("type IN ('signed-up', 'approved')")
    op.create_index("ix_event_welcome", "event", ["affiliate_id"], sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    op.drop_index("ix_event_welcome", "event")
    _drop_trigger()
    # The release before does not know them.
    op.execute("DELETE FROM affiliate_link WHERE purpose IN ('withdrawn', 'former')")
