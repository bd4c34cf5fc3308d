"""The triggers that maintain ``delivery_log`` and its index of subjects, in SQLite and in PostgreSQL.

They are part of the database, so any statement that changes a message (of a worker, a command, or typed by hand) updates
the log in the same commit. A row of the log belongs to one message, so two transactions contend for it only where they
contend for the message already. Migrations carry their own copies: to change a trigger, write a new migration.
"""

# ruff: noqa: S608 - the statements are built from constants of this module only

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

SUBJECT_INDEX = "delivery_subjects"  # in SQLite a virtual table, with shadow tables

FOLD = "delivery_fold"  # PostgreSQL's function for lower case, independent of the database's locale
_UNICODE = 'COLLATE "und-x-icu"'
_KNOWS_UNICODE = (
    "SELECT count(*) FROM pg_collation WHERE collname = 'und-x-icu' AND getdatabaseencoding() = 'UTF8'"
)

_COLUMNS = (
    "message_id, account_id, created_at, status, kind, recipient, domain, subject, reference, attempt, queue_id,"
    " settled_at, seconds"
)
_CHANGING = "status, settled_at, message_id, created_at"
_TRYING = "outcome, version_number, reply_code, queue_id, number"
_TRIED = (
    "UPDATE delivery_log SET attempt = new.number, version = new.version_number, code = new.reply_code,"
    " queue_id = CASE WHEN new.queue_id <> '' THEN new.queue_id ELSE queue_id END"
    " WHERE message_id = new.message_id AND attempt <= new.number"
)
_CREATE_SUBJECT_INDEX = (
    "CREATE VIRTUAL TABLE delivery_subjects USING fts5(subject, account_id, content='delivery_log',"
    " content_rowid='message_id', tokenize='unicode61 remove_diacritics 2')"
)


def _inserted(domain: str, seconds: str) -> str:
    return (
        f"INSERT INTO delivery_log ({_COLUMNS}) VALUES (new.id, new.account_id, new.created_at, new.status,"
        f" new.kind, lower(new.recipient), {domain}, new.subject, coalesce(new.message_id, ''), 0, '',"
        f" new.settled_at, {seconds})"
    )


def _updated(seconds: str) -> str:
    return (
        f"UPDATE delivery_log SET status = new.status, settled_at = new.settled_at, seconds = {seconds},"
        " reference = coalesce(new.message_id, ''), created_at = new.created_at WHERE message_id = new.id"
    )


def _sqlite() -> list[str]:
    domain = "substr(lower(new.recipient), length(rtrim(new.recipient, replace(new.recipient, '@', ''))) + 1)"
    seconds = "CASE WHEN new.status = 'sent' THEN (julianday(new.settled_at) - julianday(new.created_at)) * 86400.0 END"
    trigger = "CREATE TRIGGER {} AFTER {} BEGIN {}; END"
    started = "ON delivery_attempt WHEN new.outcome <> 'started'"
    return [
        _CREATE_SUBJECT_INDEX,
        trigger.format(
            "delivery_log_insert",
            "INSERT ON outbox_message WHEN new.account_id IS NOT NULL",
            _inserted(domain, seconds),
        ),
        trigger.format("delivery_log_update", f"UPDATE OF {_CHANGING} ON outbox_message", _updated(seconds)),
        trigger.format(
            "delivery_log_delete",
            "DELETE ON outbox_message",
            "DELETE FROM delivery_log WHERE message_id = old.id",
        ),
        trigger.format("delivery_attempt_insert", f"INSERT {started}", _TRIED),
        trigger.format("delivery_attempt_update", f"UPDATE OF {_TRYING} {started}", _TRIED),
        trigger.format(
            "delivery_subjects_insert",
            "INSERT ON delivery_log",
            "INSERT INTO delivery_subjects (rowid, subject, account_id)"
            " VALUES (new.message_id, new.subject, new.account_id)",
        ),
        trigger.format(
            "delivery_subjects_delete",
            "DELETE ON delivery_log",
            "INSERT INTO delivery_subjects (delivery_subjects, rowid, subject, account_id)"
            " VALUES ('delete', old.message_id, old.subject, old.account_id)",
        ),
    ]


def _postgresql(*, unicode: bool) -> list[str]:
    domain = "lower(substring(new.recipient FROM '[^@]*$'))"
    seconds = "CASE WHEN new.status = 'sent' THEN extract(epoch FROM new.settled_at - new.created_at) END"
    function = "CREATE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {}; RETURN NULL; END $$"
    trigger = "CREATE TRIGGER {} AFTER {} FOR EACH ROW {} EXECUTE FUNCTION {}()"
    started = "WHEN (new.outcome <> 'started')"
    return [
        f"CREATE FUNCTION {FOLD}(text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE"
        f" AS $$ SELECT lower($1{' ' + _UNICODE if unicode else ''}) $$",
        f"CREATE INDEX {SUBJECT_INDEX} ON delivery_log USING gin (to_tsvector('simple', {FOLD}(subject)))",
        function.format("delivery_log_insert", _inserted(domain, seconds)),
        function.format("delivery_log_update", _updated(seconds)),
        function.format("delivery_log_delete", "DELETE FROM delivery_log WHERE message_id = old.id"),
        function.format("delivery_log_attempt", _TRIED),
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


def ddl(bind: Connection) -> None:
    """Create the triggers and the index of subjects."""
    if bind.dialect.name == "postgresql":
        statements = _postgresql(unicode=bool(bind.exec_driver_sql(_KNOWS_UNICODE).scalar()))
    else:
        statements = _sqlite()
    for statement in statements:
        bind.exec_driver_sql(statement)
