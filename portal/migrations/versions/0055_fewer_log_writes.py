"""PostgreSQL writes the log row of a message that is sent twice instead of three times

The trigger of a message writes the attempt that ended in the same statement, too. SQLite stays as it is.
"""

from alembic import op

revision = "0055"
down_revision = "0054"

_MESSAGE = (
    "status = new.status, settled_at = new.settled_at, seconds = CASE WHEN new.status = 'sent' THEN extract(epoch FROM"
    " new.settled_at - new.created_at) END, reference = coalesce(new.message_id, ''), created_at = new.created_at"
)
_UPDATE = f"UPDATE delivery_log SET {_MESSAGE} WHERE message_id = new.id"
_UPDATE_WITH_ATTEMPT = (
    f"IF new.status = 'sent' THEN UPDATE delivery_log AS log SET {_MESSAGE},"
    " attempt = CASE WHEN ended.number >= log.attempt THEN ended.number ELSE log.attempt END,"
    " version = CASE WHEN ended.number >= log.attempt THEN ended.version_number ELSE log.version END,"
    " code = CASE WHEN ended.number >= log.attempt THEN ended.reply_code ELSE log.code END,"
    " queue_id = CASE WHEN ended.number >= log.attempt AND ended.queue_id <> '' THEN ended.queue_id ELSE log.queue_id END"
    " FROM (SELECT new.id) AS own LEFT JOIN (SELECT number, version_number, reply_code, queue_id FROM delivery_attempt"
    " WHERE message_id = new.id AND outcome <> 'started' ORDER BY number DESC LIMIT 1) AS ended ON true"
    f" WHERE log.message_id = new.id; ELSE {_UPDATE}; END IF"
)
_ATTEMPT = (
    "UPDATE delivery_log SET attempt = new.number, version = new.version_number, code = new.reply_code,"
    " queue_id = CASE WHEN new.queue_id <> '' THEN new.queue_id ELSE queue_id END"
    " WHERE message_id = new.message_id AND attempt <= new.number"
)
_ATTEMPT_IF_NEW = (
    f"{_ATTEMPT} AND (attempt, version, code, queue_id) IS DISTINCT FROM (new.number, new.version_number,"
    " new.reply_code, CASE WHEN new.queue_id <> '' THEN new.queue_id ELSE queue_id END)"
)


def _replace(update: str, attempt: str) -> None:
    bind = op.get_bind()
    if bind.dialect.name != "postgresql":
        return
    for name, body in (("delivery_log_update", update), ("delivery_log_attempt", attempt)):
        option = "SET enable_seqscan = off" if body is _UPDATE_WITH_ATTEMPT else ""
        bind.exec_driver_sql(
            f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql {option}"
            f" AS $$ BEGIN {body}; RETURN NULL; END $$"
        )


def upgrade() -> None:
    _replace(_UPDATE_WITH_ATTEMPT, _ATTEMPT_IF_NEW)


def downgrade() -> None:
    _replace(_UPDATE, _ATTEMPT)
