"""tables and columns named by the terms of the field; no row changes its meaning

Columns are renamed in place (ALTER TABLE ... RENAME COLUMN), because rebuilding a table in SQLite would drop its
triggers. The triggers of the delivery log and its subject index are made again under their new names.
"""

import re

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_TABLES = {
    "outbox_slot": "connection_lease",
    "worker_beat": "worker_heartbeat",
    "budget_count": "rate_limit_counter",
    "settings_proof": "login_probe",
    "incident_care": "incident_policy",
    "hook_delivery": "webhook_delivery",
    "incident_watch": "monitor_run",
    "discarded_message": "message_cancellation",
    "bulk_order": "bulk_action",
    "roll_mark": "rollup_cursor",
    "delivery_line": "delivery_log",
    "delivery_keeping": "delivery_retention",
    "notice_look": "notice_branding",
}
_COLUMNS = (  # table as it is called from now on, old name, new name
    ("outbox_message", "private", "is_sealed"),
    ("outbox_message", "urgent", "is_test"),
    ("outbox_message", "origin_id", "copy_of_id"),
    ("outbox_message", "pinned_version", "forced_version_id"),
    ("outbox_message", "renewed_at", "retries_reset_at"),
    ("delivery_attempt", "fault", "traceback"),
    ("outbox_queue", "held_because", "hold_diagnosis"),
    ("outbox_queue", "pause_until", "paused_until"),
    ("outbox_queue", "troubles", "consecutive_failures"),
    ("outbox_queue", "probe_at", "next_probe_at"),
    ("outbox_queue", "probes", "failed_probes"),
    ("outbox_queue", "proven", "healthy"),
    ("outbox_queue", "width", "ramp_limit"),
    ("outbox_queue", "turn", "generation"),
    ("outbox_queue", "served_at", "last_served_at"),
    ("rate_limit_counter", "spent", "used"),
    ("smtp_settings", "advice", "credential_warnings"),
    ("smtp_settings", "bypassed_since", "failover_since"),
    ("settings_check", "rungs", "stages"),
    ("settings_check", "cure", "fix"),
    ("login_probe", "proven_at", "passed_at"),
    ("incident", "stops", "blocks_queue"),
    ("incident", "last_words", "last_reply"),
    ("incident", "began_at", "episode_started_at"),
    ("incident", "waited", "peak_waiting"),
    ("incident", "tellings", "alert_count"),
    ("incident_event", "happening", "kind"),
    ("incident_event", "words", "text"),
    ("incident_policy", "mail", "email_alerts"),
    ("incident_policy", "hook_on", "webhook_enabled"),
    ("incident_policy", "hook_url", "webhook_url"),
    ("monitor_run", "looked_at", "ran_at"),
    ("message_cancellation", "why", "reason"),
    ("bulk_action", "idents", "message_ids"),
    ("bulk_action", "upto", "max_message_id"),
    ("domain_check", "verdict", "status"),
    ("domain_check", "known", "last_known_status"),
    ("domain_change", "was", "previous_status"),
    ("domain_change", "became", "new_status"),
    ("domain_change", "why", "reason"),
    ("event", "occasion", "type"),
    ("event_mail", "why", "decision"),
)
_INDEXES = {  # those whose name does not follow from a table's
    "ix_outbox_message_line": "ix_outbox_message_recipient",
    "ix_outbox_message_urgent": "ix_outbox_message_test",
    "ix_outbox_message_origin": "ix_outbox_message_copy",
    "ix_delivery_attempt_fault": "ix_delivery_attempt_traceback",
}
_VALUES = (("detour", "failover"), ("detour-ended", "failback"))  # of incident_event.kind

_OLD_TRIGGERS = {
    "outbox_message": ("delivery_born", "delivery_moved", "delivery_gone"),
    "delivery_attempt": ("delivery_tried", "delivery_retold"),
    "delivery_line": ("delivery_words_in", "delivery_words_out"),
}
_OLD_FUNCTIONS = ("delivery_born", "delivery_moved", "delivery_gone", "delivery_tried")


def upgrade() -> None:
    _drop_triggers()
    for old, new in _TABLES.items():
        op.rename_table(old, new)
    for table, old, new in _COLUMNS:
        op.execute(f'ALTER TABLE "{table}" RENAME COLUMN "{old}" TO "{new}"')
    if op.get_bind().dialect.name == "postgresql":
        _rename_in_postgresql()
        made = _postgresql_triggers()
    else:
        _rename_in_sqlite()
        made = _sqlite_triggers()
    for old, new in _VALUES:
        op.execute(sa.text("UPDATE incident_event SET kind = :new WHERE kind = :old").bindparams(old=old, new=new))
    for statement in made:
        op.get_bind().exec_driver_sql(statement)


def _renamed(name: str) -> str:
    """Return the new name of an index, a constraint or a sequence, which holds the name of its table."""
    if name in _INDEXES:
        return _INDEXES[name]
    found = re.fullmatch(f"((?:ix|uq|pk|fk|ck)_|)({'|'.join(_TABLES)})(_.*|)", name)
    return f"{found[1]}{_TABLES[found[2]]}{found[3]}" if found else name


def _drop_triggers() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    for table, names in _OLD_TRIGGERS.items():
        for name in names:
            if not postgresql:
                op.execute(f"DROP TRIGGER {name}")
            elif not name.startswith("delivery_words"):
                op.execute(f"DROP TRIGGER {name} ON {table}")
    if postgresql:
        for name in _OLD_FUNCTIONS:
            op.execute(f"DROP FUNCTION {name}()")
        op.execute("ALTER INDEX delivery_words RENAME TO delivery_subjects")
    else:
        op.execute("DROP TABLE delivery_words")  # names its table in its text; it is built again below


def _rename_in_postgresql() -> None:
    bind = op.get_bind()
    ours = "n.nspname = current_schema()"
    constraints = bind.exec_driver_sql(
        "SELECT r.relname, c.conname FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid"
        f" JOIN pg_namespace n ON n.oid = r.relnamespace WHERE {ours}"
    ).all()
    for table, name in constraints:
        if _renamed(name) != name:
            op.execute(f"ALTER TABLE {table} RENAME CONSTRAINT {name} TO {_renamed(name)}")
    # The index of a constraint was renamed with it.
    others = bind.exec_driver_sql(
        "SELECT r.relname, r.relkind FROM pg_class r JOIN pg_namespace n ON n.oid = r.relnamespace"
        f" WHERE {ours} AND r.relkind IN ('i', 'S')"
    ).all()
    for name, kind in others:
        if _renamed(name) != name:
            what = "SEQUENCE" if kind in ("S", b"S") else "INDEX"
            op.execute(f"ALTER {what} {name} RENAME TO {_renamed(name)}")


def _rename_in_sqlite() -> None:
    """Rename indexes by making them again, and constraints in the text of the tables.

    SQLite has no statement that renames a constraint. Its documentation (lang_altertable.html, section 7) gives
    this way for changes that do not affect what is stored.
    """
    bind = op.get_bind()
    indexes = bind.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL").all()
    for name, statement in indexes:
        if _renamed(name) != name:
            op.execute(f"DROP INDEX {name}")
            bind.exec_driver_sql(re.sub(rf"\b{name}\b", _renamed(name), statement, count=1))
    tables = bind.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND sql IS NOT NULL").all()
    changed = {}
    for name, statement in tables:
        text = re.sub(r"(?<=CONSTRAINT )(\w+)", lambda found: _renamed(found[1]), statement)
        if text != statement:
            changed[name] = text
    (version,) = bind.exec_driver_sql("PRAGMA schema_version").one()
    bind.exec_driver_sql("PRAGMA writable_schema = ON")
    for name, text in changed.items():
        bind.exec_driver_sql("UPDATE sqlite_master SET sql = ? WHERE type = 'table' AND name = ?", (text, name))
    bind.exec_driver_sql(f"PRAGMA schema_version = {version + 1}")
    bind.exec_driver_sql("PRAGMA writable_schema = OFF")


# The triggers as this migration makes them; later changes are later migrations.
_COLUMNS_OF_LOG = (
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
_SUBJECT_INDEX = (
    "CREATE VIRTUAL TABLE delivery_subjects USING fts5(subject, account_id, content='delivery_log',"
    " content_rowid='message_id', tokenize='unicode61 remove_diacritics 2')"
)


def _inserted(domain: str, seconds: str) -> str:
    return (
        f"INSERT INTO delivery_log ({_COLUMNS_OF_LOG}) VALUES (new.id, new.account_id, new.created_at, new.status,"
        f" new.kind, lower(new.recipient), {domain}, new.subject, coalesce(new.message_id, ''), 0, '',"
        f" new.settled_at, {seconds})"
    )


def _updated(seconds: str) -> str:
    return (
        f"UPDATE delivery_log SET status = new.status, settled_at = new.settled_at, seconds = {seconds},"
        " reference = coalesce(new.message_id, ''), created_at = new.created_at WHERE message_id = new.id"
    )


def _sqlite_triggers() -> list[str]:
    domain = "substr(lower(new.recipient), length(rtrim(new.recipient, replace(new.recipient, '@', ''))) + 1)"
    seconds = (
        "CASE WHEN new.status = 'sent' THEN (julianday(new.settled_at) - julianday(new.created_at)) * 86400.0 END"
    )
    trigger = "CREATE TRIGGER {} AFTER {} BEGIN {}; END"
    started = "ON delivery_attempt WHEN new.outcome <> 'started'"
    return [
        _SUBJECT_INDEX,
        "INSERT INTO delivery_subjects (delivery_subjects) VALUES ('rebuild')",
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


def _postgresql_triggers() -> list[str]:
    domain = "lower(substring(new.recipient FROM '[^@]*$'))"
    seconds = "CASE WHEN new.status = 'sent' THEN extract(epoch FROM new.settled_at - new.created_at) END"
    function = "CREATE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {}; RETURN NULL; END $$"
    trigger = "CREATE TRIGGER {} AFTER {} FOR EACH ROW {} EXECUTE FUNCTION {}()"
    started = "WHEN (new.outcome <> 'started')"
    return [
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
        trigger.format("delivery_attempt_insert", "INSERT ON delivery_attempt", started, "delivery_log_attempt"),
        trigger.format(
            "delivery_attempt_update",
            f"UPDATE OF {_TRYING} ON delivery_attempt",
            started,
            "delivery_log_attempt",
        ),
    ]
