"""Database triggers that keep ``delivery_log`` and its full-text index of subjects up to date, for SQLite and PostgreSQL.

They run in the transaction of every change to a message, whether by a worker, a command or a statement by hand. A row of
the log belongs to one message, so the triggers add no conflict between transactions. The migrations have copies of their
own: to change a trigger, write a new migration.
"""

# ruff: noqa: S608 - the statements are built from constants of this module only

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

SUBJECT_INDEX = "delivery_subjects"  # the full-text index; in SQLite a virtual table with shadow tables

FOLD = "delivery_fold"  # removes accents and lower-cases in PostgreSQL, independent of the locale of the database
# What the index holds in PostgreSQL: the words of a subject and, as one more, its account, as SQLite's index has the column. A
# search reads the part of a word's rows that are also the account's, however often other accounts use the word. No word of a
# text has a space, so that none is mistaken for an account.
ACCOUNT_WORD = "account "
INDEXED_WORDS = (
    f"to_tsvector('simple', {FOLD}(delivery_log.subject))"
    f" || array_to_tsvector(ARRAY['{ACCOUNT_WORD}' || delivery_log.account_id::text])"
)
_UNICODE_FOLD = (
    "lower(regexp_replace(normalize($1, NFKD), '[\\u0300-\\u036f]', '', 'g') COLLATE \"und-x-icu\")"
)
_HAS_ICU_COLLATION = (
    "SELECT count(*) FROM pg_collation WHERE collname = 'und-x-icu' AND getdatabaseencoding() = 'UTF8'"
)

_COLUMNS = (
    "message_id, account_id, created_at, status, kind, recipient, domain, subject, reference, attempt, queue_id,"
    " settled_at, seconds"
)
_MESSAGE_COLUMNS = "status, settled_at, message_id, created_at"
_ATTEMPT_COLUMNS = "outcome, version_number, reply_code, queue_id, number"
_ATTEMPT_UPDATE = (
    "UPDATE delivery_log SET attempt = new.number, version = new.version_number, code = new.reply_code,"
    " queue_id = CASE WHEN new.queue_id <> '' THEN new.queue_id ELSE queue_id END"
    " WHERE message_id = new.message_id AND attempt <= new.number"
)
# As ``_ATTEMPT_UPDATE``, unless the trigger of the message has written the attempt already.
_ATTEMPT_UPDATE_IF_NEW = (
    f"{_ATTEMPT_UPDATE} AND (attempt, version, code, queue_id) IS DISTINCT FROM (new.number, new.version_number,"
    " new.reply_code, CASE WHEN new.queue_id <> '' THEN new.queue_id ELSE queue_id END)"
)
# PostgreSQL runs triggers at the end of a statement, so the trigger of a message that a statement settles together with
# its attempt finds that attempt, and writes both into the log at once: every write of a row goes to all of its indexes.
_WITH_ATTEMPT = (
    "IF new.status = 'sent' THEN UPDATE delivery_log AS log SET {values},"
    " attempt = CASE WHEN ended.number >= log.attempt THEN ended.number ELSE log.attempt END,"
    " version = CASE WHEN ended.number >= log.attempt THEN ended.version_number ELSE log.version END,"
    " code = CASE WHEN ended.number >= log.attempt THEN ended.reply_code ELSE log.code END,"
    " queue_id = CASE WHEN ended.number >= log.attempt AND ended.queue_id <> '' THEN ended.queue_id ELSE log.queue_id END"
    " FROM (SELECT new.id) AS own LEFT JOIN (SELECT number, version_number, reply_code, queue_id FROM delivery_attempt"
    " WHERE message_id = new.id AND outcome <> 'started' ORDER BY number DESC LIMIT 1) AS ended ON true"
    " WHERE log.message_id = new.id; ELSE {update}; END IF"
)
# Messages that are being sent are not in the index of words: they are few, and each of them leaves it soon.
NOT_BEING_SENT = "status <> 'sending'"
_CREATE_SUBJECT_INDEX = (
    "CREATE VIRTUAL TABLE delivery_subjects USING fts5(subject, account_id, content='delivery_log',"
    " content_rowid='message_id', tokenize='unicode61 remove_diacritics 2')"
)


def _insert_row(domain: str, seconds: str) -> str:
    return (
        f"INSERT INTO delivery_log ({_COLUMNS}) VALUES (new.id, new.account_id, new.created_at, new.status,"
        f" new.kind, lower(new.recipient), {domain}, new.subject, coalesce(new.message_id, ''), 0, '',"
        f" new.settled_at, {seconds})"
    )


def _message_values(seconds: str) -> str:
    return (
        f"status = new.status, settled_at = new.settled_at, seconds = {seconds},"
        " reference = coalesce(new.message_id, ''), created_at = new.created_at"
    )


def _update_row(seconds: str) -> str:
    return f"UPDATE delivery_log SET {_message_values(seconds)} WHERE message_id = new.id"


def _update_recipient(domain: str) -> str:
    return f"UPDATE delivery_log SET recipient = lower(new.recipient), domain = {domain} WHERE message_id = new.id"


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
            _insert_row(domain, seconds),
        ),
        trigger.format(
            "delivery_log_update", f"UPDATE OF {_MESSAGE_COLUMNS} ON outbox_message", _update_row(seconds)
        ),
        trigger.format(
            "delivery_log_recipient", "UPDATE OF recipient ON outbox_message", _update_recipient(domain)
        ),
        trigger.format(
            "delivery_log_delete",
            "DELETE ON outbox_message",
            "DELETE FROM delivery_log WHERE message_id = old.id",
        ),
        trigger.format("delivery_attempt_insert", f"INSERT {started}", _ATTEMPT_UPDATE),
        trigger.format("delivery_attempt_update", f"UPDATE OF {_ATTEMPT_COLUMNS} {started}", _ATTEMPT_UPDATE),
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
    function = (
        "CREATE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql {option} AS $$ BEGIN {}; RETURN NULL; END $$"
    )
    # A session keeps the plan of its first messages, when the table of attempts may have been empty.
    by_index = "SET enable_seqscan = off"
    trigger = "CREATE TRIGGER {} AFTER {} FOR EACH ROW {} EXECUTE FUNCTION {}()"
    started = "WHEN (new.outcome <> 'started')"
    update = _WITH_ATTEMPT.format(values=_message_values(seconds), update=_update_row(seconds))
    return [
        f"CREATE FUNCTION {FOLD}(text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE"
        f" AS $$ SELECT {_UNICODE_FOLD if unicode else 'lower($1)'} $$",
        f"CREATE INDEX {SUBJECT_INDEX} ON delivery_log USING gin (({INDEXED_WORDS})) WHERE {NOT_BEING_SENT}",
        function.format("delivery_log_insert", _insert_row(domain, seconds), option=""),
        function.format("delivery_log_update", update, option=by_index),
        function.format("delivery_log_recipient", _update_recipient(domain), option=""),
        function.format(
            "delivery_log_delete", "DELETE FROM delivery_log WHERE message_id = old.id", option=""
        ),
        function.format("delivery_log_attempt", _ATTEMPT_UPDATE_IF_NEW, option=""),
        trigger.format(
            "delivery_log_insert",
            "INSERT ON outbox_message",
            "WHEN (new.account_id IS NOT NULL)",
            "delivery_log_insert",
        ),
        trigger.format(
            "delivery_log_update",
            f"UPDATE OF {_MESSAGE_COLUMNS} ON outbox_message",
            "",
            "delivery_log_update",
        ),
        trigger.format(
            "delivery_log_recipient", "UPDATE OF recipient ON outbox_message", "", "delivery_log_recipient"
        ),
        trigger.format("delivery_log_delete", "DELETE ON outbox_message", "", "delivery_log_delete"),
        trigger.format(
            "delivery_attempt_insert", "INSERT ON delivery_attempt", started, "delivery_log_attempt"
        ),
        trigger.format(
            "delivery_attempt_update",
            f"UPDATE OF {_ATTEMPT_COLUMNS} ON delivery_attempt",
            started,
            "delivery_log_attempt",
        ),
    ]


def ddl(bind: Connection) -> None:
    """Create the triggers and the index of words in subjects."""
    if bind.dialect.name == "postgresql":
        statements = _postgresql(unicode=bool(bind.exec_driver_sql(_HAS_ICU_COLLATION).scalar()))
    else:
        statements = _sqlite()
    for statement in statements:
        bind.exec_driver_sql(statement)
