"""The triggers that keep ``delivery_log`` and its index of words, in the dialect at hand.

They live in the database, so that whatever changes a message (a worker, a command, a statement by hand)
keeps the log right in the same commit. A line belongs to one message, so no two transactions meet in it
that did not meet in the message already. Migration 0007 has its own copy: to change a trigger, write a new migration.
"""

# ruff: noqa: S608 - the statements are put together from what stands here, and from nothing else

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

SUBJECT_INDEX = (
    "delivery_subjects"  # the index of words in subjects: a table of its own in SQLite, with its shadows
)

FOLD = "delivery_fold"  # PostgreSQL's way to small letters, whatever the language of the database
_UNICODE = 'COLLATE "und-x-icu"'
_KNOWS_UNICODE = (
    "SELECT count(*) FROM pg_collation WHERE collname = 'und-x-icu' AND getdatabaseencoding() = 'UTF8'"
)

_DOMAIN = "substr(lower(m.recipient), length(rtrim(m.recipient, replace(m.recipient, '@', ''))) + 1)"
_SQLITE_SECONDS = (
    "CASE WHEN m.status = 'sent' THEN (julianday(m.settled_at) - julianday(m.created_at)) * 86400.0 END"
)
_SECONDS = "CASE WHEN m.status = 'sent' THEN extract(epoch FROM m.settled_at - m.created_at) END"
_COLUMNS = (
    "message_id, account_id, created_at, status, kind, recipient, domain, subject, reference, attempt, queue_id,"
    " settled_at, seconds"
)
_VALUES = (
    "m.id, m.account_id, m.created_at, m.status, m.kind, lower(m.recipient), {domain}, m.subject,"
    " coalesce(m.message_id, ''), 0, '', m.settled_at, {seconds}"
)
_CHANGES = (
    "status = m.status, settled_at = m.settled_at, seconds = {seconds}, reference = coalesce(m.message_id, ''),"
    " created_at = m.created_at"
)
_CHANGING = "status, settled_at, message_id, created_at"
_TRIED = (
    "attempt = new.number, version = new.version_number, code = new.reply_code,"
    " queue_id = CASE WHEN new.queue_id <> '' THEN new.queue_id ELSE queue_id END"
)
_LAST = "message_id = new.message_id AND attempt <= new.number"
_TRYING = "outcome, version_number, reply_code, queue_id, number"

# What the tables hold already, where the log comes to an older portal.
_FILL = (
    f"INSERT INTO delivery_log ({_COLUMNS}) SELECT {_VALUES} FROM outbox_message m WHERE m.account_id IS NOT NULL",
    """UPDATE delivery_log SET attempt = a.number, version = a.version_number, code = a.reply_code, queue_id = a.queue_id
       FROM delivery_attempt a WHERE a.message_id = delivery_log.message_id AND a.number =
       (SELECT max(b.number) FROM delivery_attempt b WHERE b.message_id = a.message_id AND b.outcome <> 'started')""",
)


def _sqlite() -> list[str]:
    def new(text: str) -> str:
        return text.format(domain=_DOMAIN, seconds=_SQLITE_SECONDS).replace("m.", "new.")

    return [
        """CREATE VIRTUAL TABLE delivery_subjects USING fts5(subject, account_id, content='delivery_log',
           content_rowid='message_id', tokenize='unicode61 remove_diacritics 2')""",
        f"""CREATE TRIGGER delivery_log_insert AFTER INSERT ON outbox_message WHEN new.account_id IS NOT NULL BEGIN
            INSERT INTO delivery_log ({_COLUMNS}) VALUES ({new(_VALUES)}); END""",
        f"""CREATE TRIGGER delivery_log_update AFTER UPDATE OF {_CHANGING} ON outbox_message BEGIN
            UPDATE delivery_log SET {new(_CHANGES)} WHERE message_id = new.id; END""",
        """CREATE TRIGGER delivery_log_delete AFTER DELETE ON outbox_message BEGIN
           DELETE FROM delivery_log WHERE message_id = old.id; END""",
        *[
            f"""CREATE TRIGGER delivery_attempt_{name} AFTER {when} ON delivery_attempt WHEN new.outcome <> 'started' BEGIN
                UPDATE delivery_log SET {_TRIED} WHERE {_LAST}; END"""
            for name, when in (("insert", "INSERT"), ("update", f"UPDATE OF {_TRYING}"))
        ],
        """CREATE TRIGGER delivery_subjects_insert AFTER INSERT ON delivery_log BEGIN
           INSERT INTO delivery_subjects (rowid, subject, account_id)
           VALUES (new.message_id, new.subject, new.account_id); END""",
        """CREATE TRIGGER delivery_subjects_delete AFTER DELETE ON delivery_log BEGIN
           INSERT INTO delivery_subjects (delivery_subjects, rowid, subject, account_id)
           VALUES ('delete', old.message_id, old.subject, old.account_id); END""",
    ]


def _postgresql(*, unicode: bool) -> list[str]:
    domain = "lower(substring(m.recipient FROM '[^@]*$'))"

    def new(text: str) -> str:
        return text.format(domain=domain, seconds=_SECONDS).replace("m.", "new.")

    function = "CREATE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {}; RETURN NULL; END $$"
    trigger = "CREATE TRIGGER {0} AFTER {1} FOR EACH ROW {2} EXECUTE FUNCTION {3}()"
    started = "WHEN (new.outcome <> 'started')"
    tried = f"UPDATE delivery_log SET {_TRIED} WHERE {_LAST}"
    return [
        f"CREATE FUNCTION {FOLD}(text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE"
        f" AS $$ SELECT lower($1{' ' + _UNICODE if unicode else ''}) $$",
        f"CREATE INDEX {SUBJECT_INDEX} ON delivery_log USING gin (to_tsvector('simple', {FOLD}(subject)))",
        function.format(
            "delivery_log_insert", f"INSERT INTO delivery_log ({_COLUMNS}) VALUES ({new(_VALUES)})"
        ),
        function.format(
            "delivery_log_update", f"UPDATE delivery_log SET {new(_CHANGES)} WHERE message_id = new.id"
        ),
        function.format("delivery_log_delete", "DELETE FROM delivery_log WHERE message_id = old.id"),
        function.format("delivery_log_attempt", tried),
        trigger.format(
            "delivery_log_insert",
            "INSERT ON outbox_message",
            "WHEN (new.account_id IS NOT NULL)",
            "delivery_log_insert",
        ),
        trigger.format(
            "delivery_log_update", f"UPDATE OF {_CHANGING} ON outbox_message", "", "delivery_log_update"
        ),
        trigger.format("delivery_log_delete", "DELETE ON outbox_message", "", "delivery_log_delete"),
        trigger.format(
            "delivery_attempt_insert", "INSERT ON delivery_attempt", started, "delivery_log_attempt"
        ),
        trigger.format(
            "delivery_attempt_update",
            f"UPDATE OF {_TRYING} ON delivery_attempt",
            started,
            "delivery_log_attempt",
        ),
    ]


def ddl(bind: Connection, *, backfill: bool) -> None:
    """Make the triggers and the index of words; with ``backfill``, the lines of what is there already."""
    postgresql = bind.dialect.name == "postgresql"
    domain = "lower(substring(m.recipient FROM '[^@]*$'))" if postgresql else _DOMAIN
    unicode = postgresql and bool(bind.exec_driver_sql(_KNOWS_UNICODE).scalar())
    for statement in _postgresql(unicode=unicode) if postgresql else _sqlite():
        bind.exec_driver_sql(statement)
    for statement in _FILL if backfill else ():
        bind.exec_driver_sql(
            statement.format(domain=domain, seconds=_SECONDS if postgresql else _SQLITE_SECONDS)
        )
